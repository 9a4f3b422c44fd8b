"""Segments: what is made of all of them is what is made of the whole stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction as F
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.jobs.segments import plan_segments
from ltxfilter.media.base import FrameTimes
from ltxfilter.pipeline.stages import windows
from ltxfilter.windows.missing import MissingFrames
from ltxfilter.windows.rolling import RollingWindow, WindowCounts
from ltxfilter.windows.segment import Segment, segment_frames
from ltxfilter.windows.window import Join, WindowShape

PLANES = (np.zeros((2, 2), np.uint8),)
JOINS = (Join.INTERPOLATE, Join.INTERPOLATE, Join.INTERPOLATE, Join.CUT, Join.DUPLICATE)

Made = tuple[F, F, F, bool]  # of a slot: its time, tau, the keyframe's time, whether it is made


class Shots:
    """Relates two frames by their times alone."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:
        """Return the same answer for the same two frames."""
        del reset
        return JOINS[hash((left.time, right.time)) % len(JOINS)]


steps = st.one_of(
    st.sampled_from([F(1, 2), F(1), F(1, 3)]),
    st.fractions(F(1, 10), F(30), max_denominator=10),
)
kinds = st.sampled_from(["good"] * 8 + ["hidden", "corrupt", "lost"])
shapes = st.builds(
    WindowShape, keyframes=st.integers(2, 5), before=st.integers(0, 2), after=st.integers(0, 2)
)


@st.composite
def streams(draw: st.DrawFn) -> list[Frame]:
    """Return frames that begin at any time, some of them missing."""
    start = draw(st.fractions(-1, 2, max_denominator=7))
    given_steps = draw(st.lists(steps, min_size=1, max_size=60))
    times = [start + time for time in accumulate([F(0), *given_steps])]
    marked = [draw(kinds) for _ in times]
    return [
        Frame(
            time,
            PLANES,
            hidden=kind == "hidden",
            corrupt=kind == "corrupt",
            lost=kind == "lost",
        )
        for time, kind in zip(times, marked, strict=True)
    ]


def made(
    frames: Sequence[Frame],
    shape: WindowShape,
    rate: F | None,
    repeats: str,
    segment: Segment | None,
) -> tuple[list[Made], WindowCounts]:
    """Return the slots of a stream, or of a segment of it."""
    later = segment is not None and segment.begin is not None
    rolling = RollingWindow(
        shape,
        rate,
        Shots(),
        None,
        repeats,
        missing=MissingFrames(),
        start=segment.start if segment is not None and later else None,
        end=None if segment is None else segment.end,
    )
    source: Iterator[Frame] = iter(frames)
    if segment is not None:
        source = segment_frames(source, segment, shape, rolling)
    all_windows = windows(source, rolling)
    slots = [
        (slot.time, slot.tau, window.keyframes[slot.left].time, window.draws(slot))
        for window in all_windows
        for slot in window.slots
    ]
    return slots, rolling.counts


@given(
    frames=streams(),
    shape=shapes,
    rate=st.sampled_from([None, F(2), F(5), F(24000, 1001)]),
    repeats=st.sampled_from(["report", "smooth"]),
    seconds=st.sampled_from([10, 20]),
)
def test_segments_are_the_stream(
    frames: list[Frame], shape: WindowShape, rate: F | None, repeats: str, seconds: int
) -> None:
    try:
        whole, counts = made(frames, shape, rate, repeats, None)
    except InputError:
        return  # nothing good is left
    start = frames[0].time
    times = FrameTimes([frame.time - start for frame in frames], frames[-1].time - start + 1)
    plan = plan_segments(times, start, seconds, F(1))
    parts = [made(frames, shape, rate, repeats, segment) for segment in plan.segments]
    assert [slot for slots, _ in parts for slot in slots] == whole
    for name in ("cuts", "duplicates", "pauses"):
        assert sum(getattr(part, name) for _, part in parts) == getattr(counts, name), name


def test_the_plan_names_what_is_decoded_again() -> None:
    times = [F(n, 2) for n in range(90)]
    entries = [F(0), F(8), F(21), F(40)]
    plan = plan_segments(FrameTimes(times, F(45), entries), F(3), 10, F(1))
    assert [segment.begin for segment in plan.segments] == [None, 13, 23, 33, 43]
    assert [segment.end for segment in plan.segments] == [13, 23, 33, 43, None]
    assert plan.decoded_again == (10 - 8) + (20 - 8) + (30 - 21) + 0
    assert all(segment.seek for segment in plan.segments)


def test_a_plan_at_another_speed_is_cut_in_output_time() -> None:
    times = [F(n) for n in range(31)]
    plan = plan_segments(FrameTimes(times, F(31), times), F(0), 10, F(2))
    assert [segment.begin for segment in plan.segments] == [None, 10]
    assert plan.segments[1].source_begin(F(2)) == 20


def test_pauses_leave_no_segment_without_a_frame() -> None:
    times = [F(0), F(1), F(37), F(38)]
    plan = plan_segments(FrameTimes(times, F(39)), F(0), 10, F(1))
    assert [segment.begin for segment in plan.segments] == [None, 30]
    assert not plan.segments[0].seek


@pytest.mark.parametrize("seconds", [10, 20, 60])
def test_a_short_stream_is_one_segment(seconds: int) -> None:
    plan = plan_segments(FrameTimes([F(0), F(9)], F(10)), F(0), seconds, F(1))
    assert len(plan.segments) == 1
    assert plan.again == 0
