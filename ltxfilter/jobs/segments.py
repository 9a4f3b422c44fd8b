"""Which segments a job is cut into, from the times of the source's frames alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ltxfilter.media.base import FrameTimes
from ltxfilter.windows.segment import Segment


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """The segments of a job, in order."""

    segments: tuple[Segment, ...]

    decoded_again: Fraction
    """Seconds of the source that are decoded once more to reach the beginnings of segments."""

    duration: Fraction
    """Seconds of the source."""

    @property
    def again(self) -> float:
        """The share of the source that is decoded once more."""
        return float(self.decoded_again / self.duration) if self.duration else 0.0


def plan_segments(times: FrameTimes, start: Fraction, seconds: int, speed: Fraction) -> SegmentPlan:
    """Cut a stream every `seconds` of output time.

    A cut is a reset point: nothing is carried over it from pair to pair. A segment without a source
    frame is left to the one before. times: of the source's frames. start: seconds on the source's
    clock at which the first one is shown. seconds: a multiple of RESET_SECONDS. speed: how many
    times as fast the source is shown.
    """
    step = seconds * speed  # of the source
    cuts: list[Fraction] = []  # seconds of the source from its first frame
    firsts: list[Fraction] = []  # when the first frame at or after each is shown
    place = 0
    while True:
        cut = step * (times.times[place] // step + 1)
        place = bisect_left(times.times, cut)
        if place >= len(times.times):
            break
        shown = times.times[place]
        cuts.append(step * (shown // step))
        firsts.append(shown)
    seek = bool(times.entries)
    bounds = [None, *(start + cut / speed for cut in cuts), None]
    segments = tuple(
        Segment(number, start, begin, end, seek)
        for number, (begin, end) in enumerate(pairwise(bounds))
    )
    again = sum((shown - _entry_before(times, shown) for shown in firsts), Fraction(0))
    return SegmentPlan(segments, again, times.duration)


def _entry_before(times: FrameTimes, shown: Fraction) -> Fraction:
    """Return when the frame is shown at which decoding begins for the one shown at `shown`."""
    place = bisect_right(times.entries, shown) - 1
    return times.entries[place] if place >= 0 else Fraction(0)
