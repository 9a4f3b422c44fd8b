"""Windows: each slot lies in one of them, none spans a scene cut, context and resets are right."""

from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.windows.missing import MissingFrames
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, WindowShape

SHAPES = st.builds(
    WindowShape, keyframes=st.integers(2, 6), before=st.integers(0, 2), after=st.integers(0, 2)
)


class Script:
    """Answers from the right frame's first sample: 0 interpolate, 1 scene cut, 2 duplicate."""

    def __init__(self):
        self.resets = []

    def join(self, left, right, reset):
        self.resets.append((right.time, reset))
        return [Join.INTERPOLATE, Join.CUT, Join.DUPLICATE][right.planes[0][0, 0]]


def frame(time, code=0, **more):
    return Frame(F(time), (np.full((2, 2), code, np.uint8),), **more)


def windows(frames, shape, rate=F(50), **more):
    rolling = RollingWindow(shape, rate, Script(), **more)
    found = [window for item in frames for window in rolling.push(item)]
    return found + list(rolling.finish()), rolling


STREAMS = st.lists(
    st.tuples(st.sampled_from([F(1, 25), F(1, 24), F(1001, 30000), F(1, 5)]), st.integers(0, 2)),
    max_size=40,
).map(
    lambda steps: [
        frame(sum((d for d, _ in steps[: i + 1]), F(1)), c) for i, (_, c) in enumerate(steps)
    ]
)


@given(
    frames=STREAMS,
    shape=SHAPES,
    smooth=st.booleans(),
    rate=st.sampled_from([F(50), F(60000, 1001), None]),
)
def test_every_slot_is_produced_once_in_order(frames, shape, smooth, rate):
    found, rolling = windows(frames, shape, rate, repeats="smooth" if smooth else "report")
    slots = [slot for window in found for slot in window.slots]
    assert [slot.index for slot in slots] == list(range(len(slots)))
    assert [window.index for window in found] == list(range(len(found)))
    if frames and rate:
        assert abs(len(slots) - rolling.duration * rate) <= 1
        assert len(slots) >= 1


@given(frames=STREAMS, shape=SHAPES)
def test_windows_have_their_context_and_never_interpolate_across_their_borders(frames, shape):
    found, _ = windows(frames, shape)
    for window in found:
        assert len(window.intervals) == len(window.keyframes) - 1
        assert window.first <= shape.before
        assert window.last - window.first < shape.keyframes
        assert len(window.keyframes) <= shape.before + shape.keyframes + shape.after
        times = [key.time for key in window.keyframes]
        assert times == sorted(times)
        inside = window.intervals[window.first : window.last]
        assert len(inside) <= 1 or all(interval.draws for interval in inside)
        assert not any(interval.reset for interval in inside[1:])
        for slot in window.slots:
            left = window.keyframes[slot.left]
            assert window.first <= slot.left <= window.last
            assert left.time <= slot.time
            if window.draws(slot):
                right = window.keyframes[slot.left + 1]
                assert slot.time == left.time + slot.tau * (right.time - left.time)


def test_a_pair_engine_sees_one_frame_on_each_side():
    found, _ = windows([frame(F(n, 25)) for n in range(5)], WindowShape(2, 1, 1), F(50))
    spans = [(len(w.keyframes), w.first, w.last, len(w.slots)) for w in found]
    assert spans == [(3, 0, 1, 2), (4, 1, 2, 2), (4, 1, 2, 2), (3, 1, 2, 2), (2, 1, 1, 2)]


def test_windows_come_as_soon_as_their_context_is_there():
    rolling = RollingWindow(WindowShape(2, 0, 1), F(50), Script())
    counts = [len(list(rolling.push(frame(F(n, 25))))) for n in range(4)]
    assert counts == [0, 0, 1, 1]


def test_before_a_scene_cut_the_earlier_keyframe_is_repeated():
    found, rolling = windows([frame(0), frame(F(1, 25), 1), frame(F(2, 25))], WindowShape(), F(50))
    assert [list(w.to_draw()) != [] for w in found] == [False, True, False]
    assert rolling.counts.cuts == 1
    assert found[1].reset


def test_nothing_is_interpolated_across_a_pause_a_splice_or_damage_that_is_shown():
    frames = [frame(F(n, 25)) for n in range(4)]
    frames += [frame(1), frame(F(26, 25), spliced=True), frame(F(27, 25), corrupt=True)]
    shown = MissingFrames(conceal=False)
    found, rolling = windows(frames, WindowShape(), F(50), interval=F(1, 25), missing=shown)
    joins = [w.intervals[w.first].join for w in found if w.first < w.last]
    assert joins == [Join.INTERPOLATE] * 3 + [Join.PAUSE, Join.SPLICE, Join.CORRUPT]
    assert rolling.counts.pauses == 1


def test_state_is_reset_at_the_first_frame_after_each_ten_seconds():
    frames = [frame(F(1, 3) + F(n, 24)) for n in range(24 * 21)]
    found, _ = windows(frames, WindowShape(2, 1, 1), F(60))
    starts = [w.keyframes[w.first].time - F(1, 3) for w in found if w.reset and w.first < w.last]
    assert starts == [0, 10, 20]


@given(code=st.lists(st.integers(0, 2), min_size=24 * 11, max_size=24 * 12), smooth=st.booleans())
@settings(max_examples=15)
def test_a_segment_from_a_reset_point_sees_what_the_whole_stream_sees(code, smooth):
    frames = [frame(F(n, 24), c) for n, c in enumerate(code)]
    repeats = "smooth" if smooth else "report"
    whole, _ = windows(frames, WindowShape(2, 1, 1), F(48), repeats=repeats)
    part, _ = windows(frames[240:], WindowShape(2, 1, 1), F(48), repeats=repeats)
    tail = [w for w in whole if w.keyframes[w.first].time >= 10]

    def seen(window):
        begin = window.first if window.reset else 0
        keys = window.keyframes[begin:]
        return (
            [k.time for k in keys],
            window.intervals[begin:],
            [(s.time, s.tau) for s in window.slots],
        )

    assert [seen(w) for w in part[1:]] == [seen(w) for w in tail[1:]]
    assert seen(part[0])[2] == seen(tail[0])[2]


def test_short_runs_of_duplicates_are_smoothed_over_and_long_ones_shown():
    codes = [0, 2, 0, 2, 2, 0, 2, 2, 2, 2, 0]
    frames = [frame(F(n, 24), code) for n, code in enumerate(codes)]
    found, rolling = windows(frames, WindowShape(), F(24), repeats="smooth")
    drawn = [slot.index for w in found for slot in w.to_draw()]
    assert drawn == [1, 3, 4]
    assert rolling.counts.duplicates == 7
    found, _ = windows(frames, WindowShape(), F(24), repeats="report")
    assert not [slot for w in found for slot in w.to_draw()]


def test_one_frame_lasts_as_long_as_it_says():
    found, rolling = windows([frame(5, duration=F(1, 2))], WindowShape(), F(50))
    assert rolling.duration == F(1, 2)
    assert sum(len(w.slots) for w in found) == 25


def test_a_last_duration_under_half_the_median_lasts_the_median():
    frames = [frame(F(n, 25), duration=F(1, 1000)) for n in range(5)]
    _, rolling = windows(frames, WindowShape(), F(50))
    assert rolling.duration == F(5, 25)


def test_no_frames_no_windows():
    assert windows([], WindowShape())[0] == []


def test_an_absurd_jump_in_time_is_damage():
    with pytest.raises(InputError, match="timestamps are damaged"):
        windows([frame(0), frame(10**6)], WindowShape())


def test_an_interval_that_no_video_has_is_not_believed(caplog):
    hours = F(46 * 3600)
    found, _ = windows([frame(0, duration=hours)], WindowShape(), interval=hours)
    assert sum(len(window.slots) for window in found) == 1
    assert "165600 s apart" in caplog.text


@pytest.mark.parametrize("time", [0, 1])
def test_the_times_of_frames_have_to_ascend(time):
    with pytest.raises(InputError, match="have to ascend"):
        windows([frame(1), frame(time)], WindowShape())


def test_a_long_pause_comes_in_bounded_windows():
    found, _ = windows([frame(0), frame(F(1, 25)), frame(100)], WindowShape(), F(60))
    assert max(len(window.slots) for window in found) <= 64
