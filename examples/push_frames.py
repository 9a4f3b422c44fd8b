"""Frames pushed and pulled one by one, as with av.filter.Graph: push_frames.py in.mp4."""

from __future__ import annotations

import sys

import av

import ltxfilter

with av.open(sys.argv[1]) as container, ltxfilter.Interpolator(fps=50) as interpolator:
    count = 0
    for frame in container.decode(video=0):
        interpolator.push(frame)
        count += sum(1 for _ in interpolator.frames())
    interpolator.push(None)  # the end of the stream
    count += sum(1 for _ in interpolator.frames())
print(f"{count} frames at 50 per second")
