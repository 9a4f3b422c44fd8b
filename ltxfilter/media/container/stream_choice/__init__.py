"""Which streams of a container are taken: the video that is read, and what -map names."""
