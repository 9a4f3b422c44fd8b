"""Which keyframes of a window may be used: those of its shot, in parts that are planned alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ltxfilter.windows.window import Slot, Window


@dataclass(frozen=True, slots=True)
class GridSpan:
    """A part of a window that is planned as if it were a window of its own."""

    window: Window
    first: int  # position in window.keyframes of the keyframe that the part begins with
    last: int  # position of the keyframe that it ends with
    before: int  # most keyframes before `first` that may be used as context
    after: int  # most keyframes after `last` that may be used as context

    def to_draw(self) -> list[Slot]:
        """Return the slots to interpolate, in order."""
        return [slot for slot in self.window.to_draw() if self.first <= slot.left < self.last]

    def shot(self) -> tuple[int, int]:
        """Return the positions of the first and the last keyframe that may be used."""
        low, high = shot_bounds(self.window, self.first, self.last)
        return max(low, self.first - self.before), min(high, self.last + self.after)


def grid_spans(window: Window, intervals: int, before: int, after: int) -> Iterator[GridSpan]:
    """Yield a window in parts of `intervals` intervals; the last one may be shorter.

    before, after: most keyframes of context on either side of a part.
    """
    for first in range(window.first, window.last, intervals):
        yield GridSpan(window, first, min(first + intervals, window.last), before, after)


def shot_bounds(
    window: Window, first: int | None = None, last: int | None = None
) -> tuple[int, int]:
    """Return the positions of the first and the last keyframe that may be used.

    An interval that is not interpolated in ends the shot in both directions, a reset ends it
    backwards only. first, last: positions of the keyframes of a part; None takes the window's.
    """
    intervals = window.intervals
    low = window.first if first is None else first
    high = window.last if last is None else last
    while low > 0 and intervals[low - 1].draws and not intervals[low].reset:
        low -= 1
    while high < len(intervals) and intervals[high].draws:
        high += 1
    return low, high


def reflected(number: int, low: int, high: int) -> int:
    """Return a position in low..high for any number, by reflection at both ends."""
    period = max(2 * (high - low), 1)
    folded = (number - low) % period
    return low + min(folded, period - folded) if high > low else low
