"""Options of ffmpeg's command lines that are not ltxfilter's own: accepted, passed on, refused."""
