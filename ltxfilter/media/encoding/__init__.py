"""How video is encoded: encoder, pixel format, side data, what this FFmpeg build has."""
