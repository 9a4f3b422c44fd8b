"""The rate behind times that a container rounded to a fine clock, or to a coarse one."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import av
import pytest
from support.media import make_video, ramp

from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.timing.rates import (
    GUESSWORK,
    Clock,
    _fits,
    constant_rate,
    simplest_between,
)
from ltxfilter.options import InputOptions
from ltxfilter.values import round_half_up
from ltxfilter.windows.timeline import DECIMALS

F = Fraction
NTSC = F(1000, 1001)


def rounded(rate: F, tick: F, count: int, first: int = 0) -> list[int]:
    return [first + round_half_up(number / rate / tick) for number in range(count)]


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("clock", [50, 60, 90, 100, 120, 1000, 600, 90000])
@pytest.mark.parametrize("rate", [F(12), F(15), F(24), 24 * NTSC, F(25), F(30), 30 * NTSC, F(42)])
def test_a_rate_is_found_on_any_clock(rate: F, clock: int, first: int) -> None:
    """Whatever the clock, no frame is more than a tick off, and none shares its time."""
    tick = F(1, clock)
    ticks = rounded(rate, tick, 600, first)
    snap = constant_rate(ticks, Clock(tick, (F(clock),)))
    assert snap is not None
    assert abs(snap.rate / rate - 1) < F(1, 600)
    placed = [snap(time * tick) for time in ticks]
    assert {b - a for a, b in pairwise(placed)} == {1 / snap.rate}
    assert all(abs(a - b * tick) <= tick for a, b in zip(placed, ticks, strict=True))


def test_whole_numbers_decide_as_fractions_would() -> None:
    def fits(ticks: list[int], step: F, slack: F, drift: F) -> bool:
        off = (tick - round_half_up(tick / step) * step for tick in ticks)
        return all(abs(gap) <= slack + drift * tick for gap, tick in zip(off, ticks, strict=True))

    random = Random(7)
    found = set()
    for _ in range(500):
        step = F(random.randint(30, 9000), random.choice((1, 2, 7, 1001))) + 5
        slack, drift = random.choice((F(1), step / GUESSWORK)), random.choice((F(0), DECIMALS))
        errors = random.choice(((0,), (0, F(1, 2), 1), (0, 1, F(3, 2))))
        ticks = [max(int(n * step + random.choice(errors)), 0) for n in range(30)]
        ticks = [tick - ticks[0] for tick in ticks]
        found.add(expected := fits(ticks, step, slack, drift))
        assert _fits(ticks, step, slack, drift) is expected
    assert found == {True, False}


@pytest.mark.parametrize("clock", [60, 100, 1000])
def test_missing_frames_do_not_hide_a_rate(clock: int) -> None:
    tick = F(1, clock)
    kept = [number for number in range(200) if number % 11]
    ticks = [round_half_up(number / F(25) / tick) for number in kept]
    snap = constant_rate(ticks, Clock(tick))
    assert snap is not None
    assert snap.rate == 25
    start = snap(ticks[0] * tick)
    assert [snap(time * tick) - start for time in ticks] == [F(n - kept[0], 25) for n in kept]


@pytest.mark.parametrize("clock", [60, 100, 1000])
def test_a_variable_rate_is_none(clock: int) -> None:
    steps = [3, 9, 4, 7, 3, 12, 5, 3, 8, 6, 4, 11] * 8
    ticks = [sum(steps[:number]) for number in range(len(steps))]
    assert constant_rate(ticks, Clock(F(1, clock), (F(clock),))) is None


@pytest.mark.parametrize("steps", [[1, 2], [2, 3, 3, 1], [1, 1, 2, 1, 3]])
def test_a_clock_is_no_rate(steps: list[int]) -> None:
    """Times that lie on the ticks of a clock do not say that its frames come so fast."""
    steps = [step for number, step in enumerate(steps * 40) if number % 7]
    ticks = [sum(steps[:number]) for number in range(len(steps))]
    snap = constant_rate(ticks, Clock(F(1, 60), (F(60),)))
    assert snap is None or snap.rate < 60


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (F(2997, 125), 24 * NTSC),
        (F(2997, 100), 30 * NTSC),
        (F(2997, 50), 60 * NTSC),
        (F(5994, 125), 48 * NTSC),
        (F(1199, 50), F(1199, 50)),
        (F(299, 10), F(299, 10)),
        (F(45000, 1499), F(45000, 1499)),
        (F(1000000, 33367), F(1000000, 33367)),
        (F(25), F(25)),
    ],
)
@pytest.mark.parametrize("hours", [0, 2])
def test_decimal_rates(said: F, meant: F, hours: int) -> None:
    """Where the clock is the frame's own, as in AVI, and after hours on a fine one."""
    snap = constant_rate(range(600), Clock(1 / said))
    assert snap is not None
    assert snap.rate == meant
    number = round_half_up(hours * 3600 * said) + 100
    assert snap(number / said) == number / meant
    tick = 1 / (500 * said)
    snap = constant_rate(range(0, 500 * 600, 500), Clock(tick, (said,)))
    assert snap is not None
    assert snap.rate == meant or abs(snap.rate / said - 1) < F(1, 10**4)
    if snap.rate == meant:
        assert snap(number / said) == number / meant


@pytest.mark.parametrize("rate", [F(12), F(30), F(33), F(42), 30 * NTSC, 60 * NTSC])
def test_intervals_that_are_rounded_one_by_one(rate: F) -> None:
    """As those of APNG are: the errors add up."""
    step = round_half_up(100000 / rate)
    snap = constant_rate(range(0, 300 * step, step), Clock(F(1, 100000), (F(100000, step),), True))
    assert snap is not None
    assert snap.rate == rate
    assert snap(F(299 * step, 100000)) == 299 / rate


def test_an_odd_rate_that_nobody_states() -> None:
    ticks = rounded(F(299, 10), F(1, 1000), 200)
    snap = constant_rate(ticks, Clock(F(1, 1000), (F(1000),)))
    assert snap is not None
    assert snap.rate == F(299, 10)


def test_the_simplest_fraction() -> None:
    assert simplest_between(F(3, 10), F(4, 10)) == F(1, 3)
    assert simplest_between(F(299, 10), F(301, 10)) == 30
    assert simplest_between(F(5), F(6)) == 5


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.avi", "mpeg4", F(2997, 125)),
        ("a.avi", "mjpeg", F(2997, 50)),
        ("a.avi", "mpeg4", F(1199, 50)),
        ("a.flv", "flv1", F(24000, 1001)),
        ("a.gif", "gif", F(30)),
        ("a.apng", "apng", F(30)),
        ("a.mov", "libx264", F(45000, 1499)),
    ],
)
def test_files_of_a_constant_rate(tmp_path: Path, name: str, codec: str, rate: F) -> None:
    pix_fmt = {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    path = make_video(tmp_path / name, 40, rate=rate, codec=codec, pix_fmt=pix_fmt)
    source = ContainerSource(InputOptions(path=str(path)))
    times = [frame.time for frame in source.frames()]
    source.close()
    found = source.info.rate
    assert found is not None
    assert abs(found / rate - 1) < F(1, 10**5)
    assert times == [times[0] + number / found for number in range(40)]


@pytest.mark.parametrize(("rate", "clock"), [(25, 60), (24, 60), (30, 50), (24, 50), (25, 90)])
def test_captures_on_a_coarse_clock(tmp_path: Path, rate: int, clock: int) -> None:
    """Steps of 2 and 3 ticks are no pauses: the film is captured at a constant rate."""
    ticks = rounded(F(rate), F(1, clock), 60)
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=clock, width=32, height=32)
        stream.pix_fmt = "yuvj420p"
        for number, tick in enumerate(ticks):
            frame = ramp(number, (32, 32), "yuvj420p")
            frame.pts, frame.time_base = tick, F(1, clock)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = ContainerSource(InputOptions(path=str(path)))
    planned = source.frame_times()
    frames = list(source.frames())
    source.close()
    assert source.info.rate == rate
    assert [frame.time - frames[0].time for frame in frames] == [F(n, rate) for n in range(60)]
    assert planned is not None
    assert planned.duration == F(60, rate)
