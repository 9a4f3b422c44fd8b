"""Output frames by number: the same in any order, and the same as of the whole stream."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from functools import cache

import numpy as np
import pytest
from support.pictures import moving, video

from ltxfilter.api.random_access import RandomAccess
from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made
from ltxfilter.options import Options
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.pipeline.window_runner import Prepared, WindowRunner

COUNT = 34 * 10  # source frames, over three reset points
RATE_IN = F(16)


@cache
def stream(rate: F = F(40)):
    """Return what describes a stream, its frames and its whole output."""
    info = replace(video("gray", 64, 48), rate=RATE_IN, interval=1 / RATE_IN)
    given = moving(info, COUNT, 1.5)
    frames = [
        replace(frame, time=n / RATE_IN, duration=1 / RATE_IN, spliced=n in (50, 170))
        for n, frame in enumerate(given)
    ]
    path = FramePath(info, rate, options())
    whole = [made for frame in frames for made in path.push(frame)] + list(path.finish())
    return info, frames, whole


def options() -> Options:
    return Options(engine="flow", threads=1)


def access(rate: F = F(40), **changes):
    info, frames, _ = stream(rate)
    asked: list[int] = []

    def source(number: int) -> Frame:
        asked.append(number)
        return frames[number]

    return RandomAccess(source, len(frames), info, rate, options()), asked


def same(a: Frame, b: Frame) -> bool:
    return (a.time, a.made) == (b.time, b.made) and all(
        np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True)
    )


@pytest.mark.parametrize("rate", [F(40), F(60000, 1001)])
def test_frames_in_order_are_those_of_the_stream(rate: F):
    made, asked = access(rate)
    whole = stream(rate)[2]
    assert made.count == len(whole)
    assert all(same(made.frame(number), frame) for number, frame in enumerate(whole))
    assert asked == list(range(COUNT))
    assert {frame.made for frame in whole} == set(Made)


@pytest.mark.parametrize("rate", [F(40), F(60000, 1001)])
def test_frames_in_any_order_are_those_of_the_stream(rate: F, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ltxfilter.api.random_access.KEPT_BYTES", 20_000)
    made, asked = access(rate)
    whole = stream(rate)[2]
    last = len(whole) - 1
    begin = round(20 * rate)
    order = [begin, begin - 1, begin + 2, last, last - 3, 0, 200, 130, 129, 131, begin + 1, 2]
    for number in order:
        assert same(made.frame(number), whole[number]), number
    before = len(asked)
    made.frame(0)
    made.frame(last)
    assert made._kept_bytes == sum(frame.nbytes for frame in made._kept.values()) <= 20_000
    assert len(asked) - before < 5 + COUNT % 160 + 5  # of the last reset point, not of the begin
    made.close()


def test_what_lies_before_a_seek_is_prepared_and_not_drawn(monkeypatch: pytest.MonkeyPatch):
    drawn: list[int] = []
    draw = WindowRunner.draw

    def counted(self: WindowRunner, item: Prepared) -> list[Frame]:
        drawn.extend(slot.index for slot in item.window.slots)
        return draw(self, item)

    made, _ = access()
    whole = stream()[2]
    monkeypatch.setattr(WindowRunner, "draw", counted)
    assert same(made.frame(750), whole[750])
    assert min(drawn) in range(750 - 34, 750 - 30)
    drawn.clear()
    assert all(same(made.frame(number), whole[number]) for number in (730, 751, 749, 790))
    assert min(drawn) > 750


def test_what_the_source_raises_comes_through_and_the_next_call_begins_anew():
    info, frames, whole = stream()
    broken = {7}

    def source(number: int) -> Frame:
        if number in broken:
            raise InputError("frame 7 is broken")
        return frames[number]

    made = RandomAccess(source, len(frames), info, F(40), options())
    with pytest.raises(InputError, match="broken"):
        made.frame(30)
    broken.clear()
    assert same(made.frame(30), whole[30])
    with pytest.raises(IndexError, match="there are 0 to"):
        made.frame(len(whole))
