from __future__ import annotations

from fractions import Fraction as F

import pytest

from ltxfilter.media.base import SourceCounts
from ltxfilter.media.container.decode import TimedFrame, ascending


@pytest.mark.parametrize(
    ("times", "kept", "dropped"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 0),
        ([0, 1, 1, 0, 2], [0, 1, 2], 2),
        ([0, 1, 900, 3, 4], [0, 1, 3, 4], 1),  # one damaged stamp
        ([0, 1, 90000, 3, 70000, 5], [0, 1, 3, 5], 2),
        ([0, 1, 60, 61, 62], [0, 1, 60, 61, 62], 0),  # a pause
        ([0, 1, 60, 120, 180], [0, 1, 60, 120, 180], 0),
        ([0, 1, 60], [0, 1, 60], 0),
        ([0, 1, 60, 1, 61], [0, 1, 60, 61], 1),
        ([50, 51], [50, 51], 0),
    ],
)
def test_one_damaged_stamp_costs_one_frame(times, kept, dropped):
    counts = SourceCounts()
    frames = ascending([TimedFrame(F(time), None, False) for time in times], counts)
    assert [frame.time for frame in frames] == kept
    assert counts.out_of_order == dropped


def test_a_splice_is_never_lost():
    times = [0, 900, 2, 3]
    frames = [TimedFrame(F(time), None, spliced=time == 900) for time in times]
    kept = ascending(frames, SourceCounts())
    assert [frame.spliced for frame in kept] == [False, True, False]
