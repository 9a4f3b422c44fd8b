"""What encoders change for the whole process, and need of it, in processes of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import av
import pytest
from support.tools import ltxfilter, make_clip, run_pipe

OPEN_ONE = """
import av, os, sys
from fractions import Fraction
from ltxfilter.media.encoding.process_state import ordinary_priority
context = av.CodecContext.create("libsvtav1", "w")
context.width = context.height = 64
context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
with ordinary_priority():
    context.open()
tasks = os.listdir("/proc/self/task")
print(len(tasks) > 2, {os.sched_getscheduler(int(task)) for task in tasks}, file=sys.stderr)
"""

CONVERT = """
import os, sys
from ltxfilter.cli import main
code = main.run(sys.argv[1:])
print("ended", code, os.sched_getscheduler(0), file=sys.stderr)
"""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's scheduler"),
    pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="no SVT-AV1 in this FFmpeg"),
]


def test_threads_of_an_encoder_are_scheduled_like_ours():
    result = run_pipe([sys.executable, "-c", OPEN_ONE])
    assert f"True {{{os.sched_getscheduler(0)}}}" in result.err


def test_a_run_with_svt_av1_leaves_scheduling_alone(tmp_path: Path):
    """As root it would make us and our children real-time, which starves the machine."""
    clip = make_clip(tmp_path / "a.y4m", "-pix_fmt", "yuv420p", size="64x64", seconds=0.4)
    words = ("-i", clip, "--engine", "hold", "-c:v", "libsvtav1", "-preset", "11")
    result = run_pipe([sys.executable, "-c", CONVERT, *map(str, words), str(tmp_path / "out.mkv")])
    assert f"ended 0 {os.sched_getscheduler(0)}" in result.err


def test_libx264_gives_the_same_packets_on_every_run(tmp_path: Path):
    """It reads memory that it never wrote, in pictures whose rows are no multiple of 64 pixels."""
    noise = ("-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-crf", "10")
    clip = make_clip(tmp_path / "in.mkv", *noise, size="360x240", seconds=1.2)
    found = set()
    for number in range(4):
        out = tmp_path / f"{number}.mkv"
        run_pipe(ltxfilter("-i", clip, "--fps", "50", "--engine", "blend", out))
        with av.open(str(out)) as container:
            found.add(b"".join(map(bytes, container.demux(video=0))))
    assert len(found) == 1
