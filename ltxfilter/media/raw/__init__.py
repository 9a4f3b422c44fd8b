"""Raw video: y4m and headerless rawvideo, and the ffmpeg that feeds our pipe."""
