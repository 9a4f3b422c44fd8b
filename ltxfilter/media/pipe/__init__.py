"""Byte streams: standard input and output, sniffing, file objects for libav."""
