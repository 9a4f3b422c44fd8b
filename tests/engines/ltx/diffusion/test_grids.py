"""Grids of latent frames: they hold every slot once, at its exact time, between keyframes."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.engines.ltx.diffusion.grids import GridPlanner
from ltxfilter.frame import Frame
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join

RATES = [
    ("25", "50"), ("25", "60"), ("24", "60"), ("24000/1001", "60000/1001"),
    ("24000/1001", "60"), ("30000/1001", "60000/1001"), ("30000/1001", "60"), ("30", "60"),
    ("30", "50"), ("24", "50"), ("25", "60000/1001"), ("50", "60"), ("25", "100"), ("24", "48"),
    ("25", "200"),
]  # fmt: skip
PLANE = np.zeros((2, 2), np.uint8)


class CutsAt:
    """Finds a scene cut before the frames whose times are given."""

    def __init__(self, cuts=()):
        self.cuts = set(cuts)

    def join(self, left, right, reset):
        return Join.CUT if right.time in self.cuts else Join.INTERPOLATE


def stream(times, planner, rate, interval=None, cuts=(), hidden=()):
    rolling = RollingWindow(planner.shape(), rate, CutsAt(cuts), interval)
    for time in times:
        yield from rolling.push(Frame(time, (PLANE,), hidden=time in hidden))
    yield from rolling.finish()


def check(planner, windows, rate):
    """Check every grid; return the slots that the grids hold, the slots to draw, and the grids."""
    drawn, wanted, grids = [], [], []
    for window in windows:
        wanted += [slot.index for slot in window.to_draw()]
        start = window.keyframes[window.first].time
        for grid in planner.plan(window):
            grids.append(grid)
            drawn += [slot.index for slot, _ in grid.slots]
            places = [key.at for key in grid.keyframes]
            assert grid.latents == planner.latents + 1
            assert places[0] == 0 <= grid.offset
            assert places == sorted(set(places))
            assert places[-1] >= grid.offset + grid.frames - 1  # never beyond the last keyframe
            assert len(places) >= planner.least_keyframes
            for slot, frame in grid.slots:
                assert 8 * (planner.lead - 1) <= frame < grid.frames
                if rate is not None:
                    assert grid.time + frame / rate == slot.time
                    assert grid.model_rate == min(rate, 60)
                    # not reflected keyframes are at their own times on both sides of the slot
                    near = {
                        grid.time + (key.at - grid.offset) / rate
                        for key in grid.keyframes
                        if grid.time + (key.at - grid.offset) / rate
                        == window.keyframes[key.keyframe].time
                    }
                    keys = window.keyframes[slot.left : slot.left + 2]
                    assert {key.time for key in keys} <= near
            assert start is not None
    return drawn, wanted, grids


@pytest.mark.parametrize("lead", [1, 2])
@pytest.mark.parametrize(("source", "target"), RATES)
def test_usual_rates_have_every_slot_once(source, target, lead):
    source, target = F(source), F(target)
    planner = GridPlanner.choose(target, 1 / source, lead=lead)
    times = [F(7, 3) + n / source for n in range(400)]
    drawn, wanted, grids = check(
        planner, stream(times, planner, target, 1 / source, {times[90], times[93]}), target
    )
    assert drawn == wanted
    assert wanted
    sizes = {len(grid.keyframes) for grid in grids}
    assert sizes <= {
        planner.least_keyframes,
        planner.least_keyframes + 1,
    }  # a shot may begin between two slots


@pytest.mark.parametrize(
    ("source", "target", "latents", "keyframes"),
    [
        ("25", "50", 2, 9),
        ("25", "60", 3, 11),
        ("24000/1001", "60000/1001", 5, 17),
        ("30", "50", 5, 25),
        ("25", "100", 2, 5),
        ("50", "60", 3, 21),
        ("24", "50", 3, 13),
    ],
)
def test_windows_end_on_keyframes_where_rates_allow(source, target, latents, keyframes):
    planner = GridPlanner.choose(F(target), 1 / F(source))
    assert (planner.latents, planner.keyframes) == (latents, keyframes)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([1001, 2002, 1500, 3003, 500, 40000]), min_size=2, max_size=60),
    st.sampled_from([F(50), F(60), F(60000, 1001), F(120), None]),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from([None, F(1, 30), F(1, 2)]),
    st.sets(st.integers(0, 59)),
    st.sets(st.integers(1, 59), max_size=8),
)
def test_variable_rates_have_every_slot_once(steps, rate, latents, lead, interval, cuts, hidden):
    times = [F(0)]
    for step in steps:
        times.append(times[-1] + F(step, 30000))
    planner = GridPlanner.choose(rate, interval, latents, lead)
    cut_times = {times[n] for n in cuts if n < len(times)}
    gone = {times[n] for n in hidden if n < len(times)}
    drawn, wanted, _ = check(planner, stream(times, planner, rate, interval, cut_times, gone), rate)
    assert drawn == wanted


def test_no_keyframe_is_used_across_a_cut_or_before_a_reset():
    planner = GridPlanner.choose(F(60), F(1, 24), latents=3, lead=2)
    times = [F(n, 24) for n in range(24 * 11)]
    cut = times[100]
    for window in stream(times, planner, F(60), F(1, 24), {cut}):
        for grid in planner.plan(window):
            seen = [window.keyframes[key.keyframe].time for key in grid.keyframes]
            assert (max(seen) < cut) or (min(seen) >= cut)
            if window.keyframes[window.first].time >= 10:
                assert min(seen) >= 10


def test_a_run_from_a_reset_point_has_the_same_grids():
    planner = GridPlanner.choose(F(60), F(1, 25), lead=2)
    times = [F(n, 25) for n in range(600)]

    def plans(source):
        return [
            (
                grid.time,
                grid.offset,
                [(window.keyframes[key.keyframe].time, key.at) for key in grid.keyframes],
                [(slot.time, frame) for slot, frame in grid.slots],
            )
            for window in stream(source, planner, F(60), F(1, 25))
            for grid in planner.plan(window)
            if window.keyframes[window.first].time >= 10
        ]

    whole = plans(times)
    assert len(whole) > 20
    assert whole == plans([time for time in times if time >= 10])


def seen(planner, times, rate, interval, cuts):
    """Return what a stream's grids contain."""
    return [
        (
            grid.time, grid.offset, grid.rate,
            [(window.keyframes[key.keyframe].time, key.at) for key in grid.keyframes],
            [(slot.time, frame) for slot, frame in grid.slots],
        )
        for window in stream(times, planner, rate, interval, cuts)
        for grid in planner.plan(window)
    ]  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([1001, 1001, 1001, 1500, 40000]), min_size=2, max_size=120),
    st.sampled_from([F(50), F(60), F(60000, 1001), None]),
    st.integers(0, 4),
    st.integers(1, 3),
    st.sampled_from([None, F(1001, 30000)]),
    st.sets(st.integers(0, 119), max_size=4),
    st.integers(2, 5),
)
def test_longer_windows_have_the_same_grids(steps, rate, latents, lead, interval, cuts, batch):
    times = [F(9)]  # a reset point follows at 10 s
    for step in steps:
        times.append(times[-1] + F(step, 30000))
    cut_times = {times[n] for n in cuts if n < len(times)}
    alone = GridPlanner.choose(rate, interval, latents, lead)
    together = GridPlanner.choose(rate, interval, latents, lead, batch)
    assert together.shape().keyframes == batch * (alone.keyframes - 1) + 1
    assert seen(alone, times, rate, interval, cut_times) == seen(
        together, times, rate, interval, cut_times
    )


def test_keyframes_are_repeated_for_a_reference_clip():
    planner = GridPlanner.choose(F(50), F(1, 25))
    window = next(stream([F(n, 25) for n in range(30)], planner, F(50), F(1, 25)))
    (grid,) = planner.plan(window)
    assert list(grid.repeated_keyframes()) == [frame // 2 for frame in range(17)]


@pytest.mark.parametrize("rate", [F(50), F(60), None])
def test_prompt_times_count_from_the_first_frame(rate):
    planner = GridPlanner.choose(rate, F(1, 25), batch=2)
    times = [F(3601) + F(n, 25) for n in range(400)]  # a clock that does not begin at zero
    for window in stream(times, planner, rate, F(1, 25)):
        for grid in planner.plan(window):
            assert grid.prompt_time == grid.slots[0][0].time - 3601
            assert 0 < grid.prompt_time < 16
