"""The status line, the -progress blocks and the closing lines."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.cli.progress_line import (
    clock,
    key_values,
    memory_line,
    rate_text,
    status_line,
    summary,
)
from ltxfilter.engines.base import Choice
from ltxfilter.frame import Credit, Frame, Made
from ltxfilter.pipeline.progress import Outcome, Pace, Progress, bottleneck, busy
from ltxfilter.pipeline.threads import StageStats
from ltxfilter.values import MIB


def run_of(
    elapsed: float = 10.0,
    *,
    decode: tuple[float, float, float] = (0.0, 0.0, 0.0),
    motion: tuple[float, float, float] = (0.0, 0.0, 0.0),
    draw: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Progress:
    """Return a finished run; each stage is (elapsed, send_wait, receive_wait) in seconds."""
    names = {"decode": decode, "motion": motion, "interpolate": draw}
    stages = tuple(
        StageStats(name, elapsed=own, send_wait=sent, receive_wait=received, peak_bytes=MIB)
        for name, (own, sent, received) in names.items()
    )
    return Progress(elapsed=elapsed, stages=stages)


def test_the_counts_add_up():
    progress = Progress(
        passed=3, interpolated=2, repeated=1, out_time=Fraction(1), duration=Fraction(4)
    )
    assert progress.frames_out == 6
    assert progress.done == 0.25
    assert Progress().done is None


def test_the_closing_lines_say_whether_the_partner_was_asked_and_taken():
    progress = Progress(interpolated=9)
    progress.outcome.partner = "ltx-motion"
    assert "ltx-motion: not asked, as no interval was hard enough" in list(summary(progress))
    picture: dict[str, Any] = {"time": Fraction(0), "planes": (), "made": Made.INTERPOLATED}
    for choice in (
        Choice("flow", 0.7, tried="ltx-motion", share=0.25),
        Choice("ltx-motion", 0.8, tried="ltx-motion", share=0.75),
        Choice("flow", 0.7, tried="ltx-motion", reason="flow was expected to be better"),
        Choice("flow", 0.7, tried="ltx-motion", failed=True, reason="engine x: no memory"),
        Choice("flow", 0.1),
    ):
        progress.outcome.add(Frame(**picture, credit=Credit("auto", choice=choice)))
    progress.outcome.add(Frame(**picture, credit=Credit("blend", "its mean left the range")))
    assert progress.outcome.engines == {"flow": 4, "ltx-motion": 1, "blend": 1}
    lines = list(summary(progress))
    assert (
        "ltx-motion: asked for 4 of 9 interpolated frames: taken in 2 (50 % of their area), not "
        "taken in 1 (flow was expected to be better), not taken in 1 (engine x: no memory)"
    ) in lines
    assert "fallbacks: 1 by blend: its mean left the range" in lines


def test_outcomes_of_segments_add_up():
    one, two = Outcome({"flow": 2}, {"blend: black": 1}), Outcome()
    one.partner, one.asked, one.taken, one.area, one.refused = "onnx", 3, 2, 1.5, {"worse": 1}
    for _ in range(2):
        two.merge(json.loads(json.dumps(asdict(one))))
    assert asdict(two) == {
        "engines": {"flow": 4}, "fallbacks": {"blend: black": 2}, "partner": "onnx", "asked": 6,
        "taken": 4, "area": 3.0, "refused": {"worse": 2},
    }  # fmt: skip


def test_an_even_pace_is_estimated_exactly():
    pace, progress = Pace(), Progress(duration=Fraction(100))
    assert pace.speed is None
    assert pace.remaining(progress) is None
    for second in range(1, 11):
        progress.elapsed, progress.out_time = float(second), Fraction(2 * second)
        pace.observe(progress)
    assert pace.speed == pytest.approx(2)
    assert pace.remaining(progress) == pytest.approx(40)
    progress.duration = None
    assert pace.remaining(progress) is None


def test_the_pace_follows_within_a_minute():
    pace, progress = Pace(), Progress()
    for speed in (1, 5):
        for _ in range(90):
            progress.elapsed += 1
            progress.out_time += speed
            pace.observe(progress)
    assert pace.speed == pytest.approx(5, rel=0.06)


def test_the_status_line_has_the_keys_of_ffmpeg():
    progress = Progress(passed=50, interpolated=50, out_time=Fraction(4), elapsed=2.0)
    pace = Pace()
    assert status_line(progress, pace) == "frame=  100 fps=50 time=00:00:04.00 speed=? ? eta=?"
    progress.duration = Fraction(8)
    pace.observe(progress)
    assert status_line(progress, pace) == (
        "frame=  100 fps=50 time=00:00:04.00 speed=2x 50% eta=00:00:02"
    )


def test_progress_blocks_have_the_keys_of_ffmpeg():
    progress = Progress(passed=5, interpolated=4, repeated=1, out_time=Fraction(1, 3), elapsed=0.5)
    block = dict(line.split("=") for line in key_values(progress, ended=False).splitlines())
    assert block == {
        "frame": "10", "fps": "20.00", "out_time_us": "333333", "out_time_ms": "333333",
        "out_time": "00:00:00.333333", "dup_frames": "1", "drop_frames": "0",
        "speed": "0.667x", "progress": "continue",
    }  # fmt: skip
    assert key_values(Progress(), ended=True).endswith("progress=end\n")


@given(st.integers(0, 10**7), st.integers(0, 99))
def test_seconds_are_shown_as_a_clock(seconds: int, hundredths: int):
    text = clock(seconds + hundredths / 100)
    hours, minutes, rest = text.split(":")
    assert int(hours) * 3600 + int(minutes) * 60 + Fraction(rest) == seconds + Fraction(
        hundredths, 100
    )


def test_a_clock_that_is_rounded_carries_over():
    assert clock(59.999) == "00:01:00.00"
    assert clock(3599.6, 0) == "01:00:00"


def test_the_busy_time_of_a_stage_excludes_its_waiting():
    progress = run_of(decode=(10, 6, 1), motion=(5, 0, 0), draw=(12, 0, 3))
    assert busy(progress) == {"decode": 4, "motion": 4, "interpolate": 12, "encode": 7}


@pytest.mark.parametrize(
    ("progress", "name"),
    [
        (run_of(decode=(10, 9, 0), motion=(1, 0, 0), draw=(4, 0, 1)), "encode"),
        (run_of(decode=(10, 9, 0), motion=(4, 0, 0), draw=(15, 0, 9)), "interpolate"),
        (run_of(decode=(10, 9, 0), motion=(9, 0, 0), draw=(9, 0, 9)), "motion"),
        (run_of(decode=(10, 0, 8), motion=(9, 0, 0), draw=(1, 0, 9)), "decode"),
        (Progress(elapsed=1.0), "encode"),
    ],
)
def test_the_bottleneck_is_what_the_others_wait_for(progress: Progress, name: str):
    assert bottleneck(progress) == name


def test_the_summary_names_what_happened():
    progress = run_of(draw=(18, 0, 9))
    progress.frames_in, progress.passed, progress.interpolated, progress.repeated = 10, 10, 9, 1
    lines = list(summary(progress))
    assert lines[0] == "in 10, out 20: 10 passed through, 9 interpolated, 1 repeated"
    assert lines[1].startswith("took 10.0 s; busy: decode 0.0, ")
    assert "bottleneck: interpolate" in lines[1]
    assert lines[1].endswith("queues took at most 3 MB")
    progress.cuts, progress.corrupt = 2, 1
    assert "noticed: scene cuts 2, damaged 1" in list(summary(progress))


def test_the_memory_line_names_every_part():
    parts = {"decode": 12 * MIB, "window": 75 * MIB, "encode": 0, "small": 1}
    line = "memory: decode 12 + window 75 + encode 0 + small 1 = ~87 MB"
    assert memory_line(parts) == line
    assert memory_line(parts, 1500 << 20) == f"{line}; models on the GPU: 1500 MB"


def test_rates_are_shown_as_people_write_them():
    assert rate_text(Fraction(60000, 1001)) == "60000/1001 fps"
    assert rate_text(Fraction(25)) == "25 fps"
    assert rate_text(None) == "variable rate"
