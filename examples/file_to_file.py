"""From a file to a file, everything else in it kept: file_to_file.py in.mkv out.mkv."""

from __future__ import annotations

import sys

import ltxfilter

done = ltxfilter.convert(
    sys.argv[1],
    sys.argv[2],
    fps=60,
    video={"codec": "libx264", "crf": 20, "preset": "veryfast"},
    on_progress=lambda progress: print(f"{progress.frames_out} frames", end="\r"),
)
print(f"{done.passed} passed through, {done.interpolated} interpolated, {done.repeated} repeated")
