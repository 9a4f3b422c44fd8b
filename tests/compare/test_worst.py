from __future__ import annotations

from fractions import Fraction

from support.small_clips import info_of, moving

from ltxfilter.compare.candidates import Attempt
from ltxfilter.compare.comparison import ComparedFrame
from ltxfilter.compare.results.contact_sheet import contact_sheet
from ltxfilter.compare.worst import WorstFrames
from ltxfilter.frame import Frame

INFO = info_of()
PLANES = moving(1, INFO)[0]


def offered(levels: list[tuple[float, float]], count: int, spacing: int) -> WorstFrames:
    worst = WorstFrames(INFO, "true", count, spacing)
    for index, (a, b) in enumerate(levels):
        attempts = {name: Attempt(index, PLANES) for name in "ab"}
        true = Frame(Fraction(index, 25), PLANES)
        worst.offer(ComparedFrame(index, true, attempts, scored=True), {"a": a, "b": b})
    return worst


def test_the_worst_are_those_where_even_the_best_candidate_is_far_off():
    found = offered([(30, 40), (20, 39), (35, 35), (38, 30)], count=2, spacing=1).frames()
    assert [frame.index for frame in found] == [2, 3]
    assert [frame.best for frame in found] == [35, 38]


def test_neighbours_of_a_worse_frame_are_left_out():
    levels = [(float(level), 0.0) for level in (30, 20, 21, 29, 25, 26)]
    assert [each.index for each in offered(levels, 3, spacing=3).frames()] == [1, 4]


def test_all_pictures_of_a_frame_have_one_size_and_make_a_sheet():
    found = offered([(30, 40), (20, 25)], count=2, spacing=1).frames()
    assert list(found[0].pictures) == ["true", "a", "b"]
    assert {picture.shape for frame in found for picture in frame.pictures.values()} == {
        (48, 64, 3)
    }
    sheet = contact_sheet(found)
    assert sheet.shape == (2 * (48 + 20), 3 * 64, 3)


def test_nothing_is_kept_where_nothing_is_asked_for():
    assert offered([(30, 40)], count=0, spacing=1).frames() == []
