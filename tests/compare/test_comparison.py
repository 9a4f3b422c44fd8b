from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from support.small_clips import info_of, moving

from ltxfilter.compare.candidates import Attempt, EngineCandidate, conformed
from ltxfilter.compare.comparison import ComparedFrame, Comparison
from ltxfilter.frame import Frame
from ltxfilter.options import ModelOptions

INFO = info_of()
FRAMES = moving(13, INFO)


class Late:
    """A candidate that is `lag` frames late and ends after `count`."""

    def __init__(self, name: str, lag: int, count: int = 10**9) -> None:
        self.name, self.lag, self.count = name, lag, count
        self.ended = self.closed = False
        self.held: list[Attempt] = []
        self.most = 0

    def push(self, index: int, frame: Frame) -> Iterator[Attempt]:
        if index < self.count:
            self.held.append(Attempt(index, frame.planes))
        elif not self.held:
            self.ended = True
        while len(self.held) > self.lag:
            yield self.held.pop(0)

    def finish(self) -> Iterator[Attempt]:
        held, self.held = self.held, []
        return iter(held)

    def close(self) -> None:
        self.closed = True


def compared(
    candidates: list[Late], count: int = 13, step: int = 2, skip_end: int = 0
) -> list[ComparedFrame]:
    clip = [Frame(Fraction(at, 25), planes) for at, planes in enumerate(FRAMES[:count])]
    with Comparison(candidates, step, skip_end) as comparison:
        return list(comparison.frames(clip))


@pytest.mark.parametrize(
    ("count", "step", "skip_end", "scored"),
    [
        (13, 2, 0, [1, 3, 5, 7, 9, 11]),
        (12, 2, 0, [1, 3, 5, 7, 9]),  # nothing follows the last one
        (13, 2, 2, [1, 3, 5, 7]),
        (13, 4, 0, [1, 2, 3, 5, 6, 7, 9, 10, 11]),
        (13, 4, 1, [1, 2, 3, 5, 6, 7]),
        (4, 1, 0, [0, 1, 2, 3]),
        (2, 2, 0, []),
    ],
)
def test_frames_are_scored_that_engines_did_not_see_and_that_lie_between_others(
    count: int, step: int, skip_end: int, scored: list[int]
):
    found = compared([Late("a", 0), Late("b", 3)], count, step, skip_end)
    assert [each.index for each in found] == list(range(count))
    assert [each.index for each in found if each.scored] == scored


def test_every_frame_comes_with_what_all_candidates_show_for_it():
    found = compared([Late("a", 0), Late("b", 5)])
    for each in found:
        assert {name: attempt.index for name, attempt in each.attempts.items()} == {
            "a": each.index,
            "b": each.index,
        }


def test_true_frames_around_a_frame_are_known():
    found = compared([Late("a", 0)])
    for before, now, after in zip(found, found[1:], found[2:], strict=False):
        assert now.around is not None
        assert now.around[0] is before.frame.planes[0]
        assert now.around[1] is after.frame.planes[0]
    assert found[0].around is None
    assert found[-1].around is None


def test_what_follows_the_end_of_the_shortest_is_not_scored():
    found = compared([Late("a", 0), Late("short", 0, count=6)])
    assert [each.index for each in found if each.scored] == [1, 3, 5]
    assert "short" not in found[7].attempts


def test_damaged_frames_are_not_scored():
    clip = [Frame(Fraction(at, 25), FRAMES[at], corrupt=at == 3) for at in range(7)]
    with Comparison([Late("a", 0)], 2) as comparison:
        assert [each.index for each in comparison.frames(clip) if each.scored] == [1, 5]


def test_no_more_frames_wait_than_candidates_are_late():
    waiting, late = 0, Late("a", 3)
    most = 0

    def clip() -> Iterator[Frame]:
        nonlocal waiting, most
        for at in range(400):
            waiting += 1
            most = max(most, waiting)
            yield Frame(Fraction(at, 25), FRAMES[at % 13])

    with Comparison([late], 2) as comparison:
        for _ in comparison.frames(clip()):
            waiting -= 1
    assert most <= 3 + 3
    assert late.closed


@pytest.mark.parametrize("step", [2, 3])
def test_an_engine_gets_its_own_frames_only_and_numbers_all(step: int):
    candidate = EngineCandidate("flow", INFO, step, ModelOptions())
    found = []
    for index, planes in enumerate(FRAMES):
        hidden = tuple(np.zeros_like(plane) for plane in planes)
        shown = planes if index % step == 0 else hidden
        found += candidate.push(index, Frame(Fraction(index, 25), shown))
    found += candidate.finish()
    candidate.close()
    assert [each.index for each in found] == list(range(len(found)))
    assert len(found) >= 13
    for each in found[:13]:
        if each.index % step == 0:
            assert each.made == "source"
            assert all(map(np.array_equal, each.planes, FRAMES[each.index]))
        else:
            assert each.made == "interpolated"
            assert each.planes[0].mean() > 50


def test_frames_of_another_depth_and_chroma_are_conformed():
    planes = moving(1, info_of(pix_fmt="yuv444p"))[0]
    deep = conformed(planes, info_of(pix_fmt="yuv444p"), info_of(pix_fmt="yuv420p10le"))
    assert [plane.shape for plane in deep] == [(48, 64), (24, 32), (24, 32)]
    assert np.array_equal(deep[0], planes[0].astype(np.uint16) * 4)
    gray = conformed((planes[0],), info_of(pix_fmt="gray"), INFO)
    assert np.array_equal(gray[0], planes[0])
    assert set(gray[1].ravel()) == {128}
    back = conformed(deep, info_of(pix_fmt="yuv420p10le"), INFO)
    assert np.array_equal(back[0], planes[0])
