"""Output times are exact and tile the stream once; rates mean what people mean by them."""

from fractions import Fraction as F
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.errors import OptionError
from ltxfilter.values import parse_rate
from ltxfilter.windows.timeline import DECIMALS, Snap, Timeline, auto_rate, output_rate

RATES = st.sampled_from([F(50), F(60), F(60000, 1001), F(24000, 1001), F(25), F(120), F(7, 3)])
TICKS = st.sampled_from([F(1, 1000), F(1, 90000), F(1, 12800), F(1001, 30000)])


@st.composite
def source_times(draw):
    tick, start = draw(TICKS), draw(st.integers(-5000, 5000))
    times = [start * tick]
    for step in draw(st.lists(st.integers(1, 400), min_size=1, max_size=25)):
        times.append(times[-1] + step * tick)
    return times


@given(rate=RATES, times=source_times())
def test_slots_tile_the_output_exactly_once(rate, times):
    line = Timeline(rate, times[0])
    found = [slot for pair in pairwise(times) for slot in line.between(*pair)]
    assert [index for index, _, _ in found] == list(range(len(found)))
    assert all(time == times[0] + index / rate for index, time, _ in found)
    assert all(0 <= tau < 1 for _, _, tau in found)
    assert times[0] + len(found) / rate >= times[-1]


@given(rate=RATES, times=source_times(), last=st.integers(1, 400), tick=TICKS)
def test_the_tail_completes_the_count(rate, times, last, tick):
    end = times[-1] + last * tick
    line = Timeline(rate, times[0])
    body = [slot for pair in pairwise(times) for slot in line.between(*pair)]
    tail = list(line.tail(times[-1], end))
    total = (end - times[0]) * rate
    count = len(body) + len(tail)
    assert count >= 1
    assert abs(count - total) <= F(1, 2) or count == max(len(body), 1)
    assert all(0 <= tau < 1 for _, _, tau in tail)
    assert [index for index, _, _ in body + tail] == list(range(count))


def test_a_source_timeline_doubles_each_interval():
    line = Timeline(None, F(0))
    slots = [*line.between(F(0), F(1)), *line.between(F(1), F(4))]
    assert [(i, t) for i, t, _ in slots] == [(0, 0), (1, F(1, 2)), (2, 1), (3, F(5, 2))]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("25", "50"),
        ("24", "60"),
        ("30", "60"),
        ("20", "60"),
        ("48", "60"),
        ("24000/1001", "60000/1001"),
        ("30000/1001", "60000/1001"),
        ("50", "50"),
        ("60", "60"),
        ("120", "120"),
        ("1199/50", "1199/20"),
        ("299/10", "299/5"),
        ("45000/1499", "90000/1499"),
        ("54455/1817", "108910/1817"),
        ("499/10", "499/10"),
    ],
)
def test_auto_picks_the_simplest_ratio(source, target):
    assert auto_rate(F(source)) == F(target)
    assert auto_rate(None) == 60


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("59.94", F(60000, 1001)),
        ("23.976", F(24000, 1001)),
        ("29.97", F(30000, 1001)),
        ("60000/1001", F(60000, 1001)),
        ("30000:1001", F(30000, 1001)),
        ("12.5", F(25, 2)),
        ("50", F(50)),
        ("ntsc", F(30000, 1001)),
    ],
)
def test_rates_are_read_as_meant(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "0", "-25", "1/0", "1e9", "2000", "nan", "inf"])
def test_other_rates_are_refused_by_name(text):
    with pytest.raises(OptionError, match="frame rate"):
        parse_rate(text)


def test_output_rate_understands_multiples_and_the_source():
    assert output_rate("2x", F(25)) == 50
    assert output_rate("5/2x", F(24)) == 60
    assert output_rate("source", F(25)) is None
    assert output_rate("auto", F(25)) == 50
    for wrong in ("x", "ax", "0x", "1/0x"):
        with pytest.raises(OptionError):
            output_rate(wrong, F(25))
    with pytest.raises(OptionError, match="constant"):
        output_rate("2x", None)


@given(
    rate=st.sampled_from([F(24), F(24000, 1001), F(25), F(30000, 1001), F(60)]),
    start=st.integers(0, 10**6),
    numbers=st.lists(st.integers(0, 10**6), max_size=30),
)
def test_snap_undoes_millisecond_rounding(rate, start, numbers):
    tick = F(1, 1000)
    first = F(start, 1000)
    snap = Snap(rate, first, tick)
    for number in numbers:
        exact = first + number / rate
        assert snap(round(exact / tick) * tick) == exact


def test_snap_follows_a_clock_that_drifts():
    exact, said = F(24000, 1001), F(2997, 125)
    number = 4 * 3600 * 24
    time = F(round(number / said * 90000), 90000)
    assert Snap(exact, F(0), F(1, 90000), DECIMALS)(time) == number / exact
    assert Snap(exact, F(0), F(1, 90000))(time) == time
    between = (number + F(1, 2)) / exact
    assert Snap(exact, F(0), F(1, 90000), DECIMALS)(between) == between


def test_snap_leaves_other_times_alone():
    snap = Snap(F(25), F(0), F(1, 1000))
    assert snap(F(50, 1000)) == F(50, 1000)


@given(st.fractions(F(1), F(60), max_denominator=1001))
def test_the_multiple_of_an_odd_rate_is_the_simplest_of_all(source):
    chosen = auto_rate(source)
    if chosen in (50, 60, F(60000, 1001)) or source >= 50:
        return
    low, high = F(50) * 99 / 100, F(60) * 101 / 100
    ratios = [
        F(whole, part)
        for part in range(1, 5)
        for whole in range(1, 300)
        if low <= source * F(whole, part) <= high
    ]
    best = min(ratios, key=lambda ratio: (ratio.numerator + ratio.denominator, -ratio))
    assert chosen == source * best


def test_a_source_of_one_frame_in_two_days_has_a_rate_at_once():
    assert 49 < auto_rate(F(1, 165600)) < 61
