"""Raise the frame rate of video in a stream."""

__version__ = "0.1.0"
