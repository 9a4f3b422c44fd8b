"""One run: what is opened, the path of a frame, its threads, its memory and its numbers."""
