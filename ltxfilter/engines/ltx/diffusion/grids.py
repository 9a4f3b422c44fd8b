"""Which grid of latent frames draws which slots of a window, and which keyframes it sees.

A grid is 8k + 1 frames at the output's own times: a latent holds one frame, each further one
eight. Grids are as large at a shot's end as in its middle; where keyframes give out, time is
reflected, so that a model never extrapolates and every draw of a run has one size.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import ceil, floor, gcd

from ltxfilter.windows.window import Slot, Window, WindowShape

CAP = Fraction(60)  # frames per second; the models know no faster, time is stretched above it
SPAN = 8  # frames of a latent
LEAST, MOST = 2, 6  # latents beyond the first in a grid that ends on keyframes
USUAL = 3  # in one that cannot
SPLIT = 2  # parts of an interval where the source's timeline is doubled in place


@dataclass(frozen=True, slots=True)
class KeyframeToken:
    """A keyframe as a grid sees it."""

    keyframe: int  # position in the window
    at: Fraction  # grid frames after the earliest still or grid frame


@dataclass(frozen=True, slots=True)
class LatentGrid:
    """One draw: latent frames, the keyframes given, the slots taken."""

    latents: int  # k + 1
    offset: Fraction  # of its first frame after the earliest still, in grid frames
    rate: Fraction  # grid frames per second
    time: Fraction  # seconds on the source's clock of its first frame
    stills: tuple[KeyframeToken, ...]  # ascending
    picks: tuple[tuple[Slot, int], ...]  # a slot to draw, and the frame of the grid that shows it
    start: Fraction = Fraction(0)  # seconds on the source's clock of the stream's first frame

    @property
    def frames(self) -> int:
        """How many frames it draws."""
        return SPAN * (self.latents - 1) + 1

    @property
    def model_rate(self) -> Fraction:
        """LatentGrid frames per second as the models are told."""
        return min(self.rate, CAP)

    @property
    def scene(self) -> Fraction:
        """Seconds of the video whose prompt holds: of the first slot, not of the lead."""
        return (self.picks[0][0].time if self.picks else self.time) - self.start

    def around(self, frame: int) -> tuple[Fraction, Fraction]:
        """Return the places, in its own frames, of the stills before and after one of them."""
        at = frame + self.offset
        later = next(n for n, still in enumerate(self.stills) if still.at > at)
        left, right = self.stills[later - 1 : later + 1]
        return left.at - self.offset, right.at - self.offset

    def held(self) -> Iterator[int]:
        """Yield for each of its frames the keyframe that a player would show then."""
        at = self.offset
        for _ in range(self.frames):
            yield next(still.keyframe for still in reversed(self.stills) if still.at <= at)
            at += 1

    def time_of(self, still: KeyframeToken) -> Fraction:
        """Return seconds on the source's clock where a still is seen."""
        return self.time + (still.at - self.offset) / self.rate

    def moment(self, latent: int) -> Fraction:
        """Return seconds on the source's clock where a latent frame ends."""
        return self.time + SPAN * latent / self.rate


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the windows of one stream.

    The first latents of a grid may be drawn to be thrown away (`lead`): its very first is a
    picture of its own and no stretch of video, which shows where it meets the previous grid.
    """

    rate: Fraction | None  # output frames per second; None doubles the source's timeline in place
    latents: int  # k, in grids of 8k + 1 frames
    lead: int  # latents before the first slot; at least 1, the first frame itself
    keyframes: int  # of a window, or of each stretch of it that is drawn for itself
    before: int  # keyframes of context that the lead-in looks back to
    after: int  # keyframes of context that a grid reaches when it cannot end on the window's last
    stills: int  # least number that a grid sees
    batch: int = 1  # stretches of a window

    @classmethod
    def choose(
        cls,
        rate: Fraction | None,
        interval: Fraction | None,
        latents: int = 0,
        lead: int = 1,
        batch: int = 1,
    ) -> Planner:
        """Return the planner for a stream.

        interval: usual seconds between keyframes; None is taken as 1/24. latents: 0 picks grids
        that begin and end on keyframes, if there are any of reasonable size. batch: how many times
        as long a window is to be, which changes no grid.
        """
        pace = Fraction(SPLIT) if rate is None else rate * (interval or Fraction(1, 24))
        if not latents:
            aligned = pace.numerator // gcd(SPAN, pace.numerator)
            latents = aligned * ceil(Fraction(LEAST, aligned))
            latents = latents if latents <= MOST else USUAL
        latents = max(latents, lead)
        drawn = SPAN * (latents - lead + 1)
        whole = (drawn / pace).denominator == 1
        intervals = max(floor((drawn if whole else drawn + 1) / pace), 1)
        if whole and lead == 1:
            stills = intervals + 1
        elif lead == 1:
            stills = ceil((drawn + 1) / pace) + 1
        else:
            stills = ceil(SPAN * latents / pace) + 2
        return cls(
            rate,
            latents,
            lead,
            intervals + 1,
            before=ceil(SPAN * (lead - 1) / pace),
            after=0 if whole else max(ceil((drawn + 1) / pace) - intervals, 0),
            stills=stills,
            batch=batch,
        )

    def shape(self) -> WindowShape:
        """Return the windows that it plans, as far as keyframes are concerned."""
        return WindowShape(self.batch * (self.keyframes - 1) + 1, self.before, self.after, slots=0)

    def plan(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return the grids that draw every slot of `window.to_draw()` once, in order."""
        parts = stretches(window, self.keyframes - 1, self.before, self.after)
        return tuple(grid for part in parts for grid in self._plan(part))

    def _plan(self, part: GridSpan) -> Iterator[LatentGrid]:
        """Yield the grids of one stretch, whatever lies beside it in the window."""
        slots = part.to_draw()
        if not slots:
            return
        ruler = Ruler(part, self.rate)
        reach = SPAN * (self.latents - self.lead + 1)
        while slots:
            start = ruler.start(slots[0])
            taken = [slot for slot in slots if ruler.place(slot) <= start + reach]
            slots = slots[len(taken) :]
            yield self._grid(ruler, start - SPAN * (self.lead - 1), taken)

    def _grid(self, ruler: Ruler, start: Fraction, slots: Sequence[Slot]) -> LatentGrid:
        places = ruler.stills(start, start + SPAN * self.latents, self.stills)
        zero = places[0][1]
        picks = tuple((slot, int(ruler.place(slot) - start)) for slot in slots)
        return LatentGrid(
            latents=self.latents + 1,
            offset=start - zero,
            rate=ruler.rate,
            time=ruler.time(start),
            stills=tuple(KeyframeToken(keyframe, at - zero) for keyframe, at in places),
            picks=picks,
            start=ruler.video_start,
        )


class Ruler:
    """Measures one stretch in output frames: where its slots and keyframes lie."""

    def __init__(self, part: GridSpan, rate: Fraction | None) -> None:
        """Take the shot around the stretch; zero lies at its first keyframe."""
        window, first = part.window, part.first
        keys = window.keyframes
        low, high = part.shot()
        self.video_start = window.start
        self._start = keys[first].time
        known = range(low, high + 1)
        if rate is None:
            parts = [
                len(interval.missing) + 1 for interval in window.intervals
            ]  # hidden frames have their time
            self._times = [keys[low].time]
            for key in range(low, high):
                self._times += [*window.intervals[key].missing, keys[key + 1].time]
            self._zero = sum(parts[low:first])
            self.rate = SPLIT * sum(parts[low:high]) / (keys[high].time - keys[low].time)
            places = [Fraction(SPLIT * (sum(parts[low:key]) - self._zero)) for key in known]
        else:
            self._times = []
            self.rate = rate
            places = [(keys[key].time - self._start) * rate for key in known]
        self._known = list(zip(known, places, strict=True))

    def place(self, slot: Slot) -> Fraction:
        """Return where a slot lies."""
        if not self._times:
            return (slot.time - self._start) * self.rate
        part = bisect(self._times, slot.time) - 1
        begin, end = self._times[part : part + 2]
        return SPLIT * (part - self._zero + (slot.time - begin) / (end - begin))

    def start(self, slot: Slot) -> Fraction:
        """Return where a grid should begin that draws `slot` first.

        On the keyframe before it where that falls on an output time, else on the slot.
        """
        place = self.place(slot)
        left = next(at for key, at in self._known if key == slot.left)
        return left if place - left == 1 else place

    def time(self, place: Fraction) -> Fraction:
        """Return seconds on the source's clock."""
        return self._start + place / self.rate

    def stills(self, start: Fraction, end: Fraction, least: int) -> list[tuple[int, Fraction]]:
        """Return keyframes and their places: those that enclose a stretch, at least so many."""
        found = self._known
        while found[0][1] > start:
            found = [*self._reflected(found, found[0][1]), *found[1:]]
        while found[-1][1] < end:
            found = [*found[:-1], *self._reflected(found, found[-1][1])]
        begin = max(n for n, (_, at) in enumerate(found) if at <= start)
        stop = next(n for n in count(begin) if found[n][1] >= end)
        while stop - begin + 1 < least:
            if stop + 1 == len(found):
                found = [*found[:-1], *self._reflected(found, found[-1][1])]
            stop += 1
        return found[begin : stop + 1]

    def _reflected(
        self, known: Sequence[tuple[int, Fraction]], mirror: Fraction
    ) -> Iterator[tuple[int, Fraction]]:
        return ((key, 2 * mirror - at) for key, at in reversed(known))


@dataclass(frozen=True, slots=True)
class GridSpan:
    """A part of a window that is planned as if it were a window of its own."""

    window: Window
    first: int  # positions of the keyframes that it draws between
    last: int
    before: int  # keyframes of context that it may look back to, and ahead
    after: int

    def to_draw(self) -> list[Slot]:
        """Return the slots that an engine draws, in order."""
        return [slot for slot in self.window.to_draw() if self.first <= slot.left < self.last]

    def shot(self) -> tuple[int, int]:
        """Return the positions of the first and last keyframe that drawing may see."""
        low, high = shot(self.window, self.first, self.last)
        return max(low, self.first - self.before), min(high, self.last + self.after)


def stretches(window: Window, intervals: int, before: int, after: int) -> Iterator[GridSpan]:
    """Yield the parts of a window, `intervals` long but for the last."""
    for first in range(window.first, window.last, intervals):
        yield GridSpan(window, first, min(first + intervals, window.last), before, after)


def shot(window: Window, first: int | None = None, last: int | None = None) -> tuple[int, int]:
    """Return the positions of the first and last keyframe that a window's drawing may see.

    Intervals that are not drawn in end it; a reset ends it backwards only. first, last: a part.
    """
    intervals = window.intervals
    low = window.first if first is None else first
    high = window.last if last is None else last
    while low > 0 and intervals[low - 1].draws and not intervals[low].reset:
        low -= 1
    while high < len(intervals) and intervals[high].draws:
        high += 1
    return low, high
