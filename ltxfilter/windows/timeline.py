"""Exact output times: which moments of the source the output shows, in rational seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from statistics import median

from ltxfilter.errors import OptionError
from ltxfilter.values import LEAST_RATE, NTSC, check_multiple, parse_rate, round_half_up

TARGETS = (Fraction(50), 60 * NTSC, Fraction(60))  # what `--fps auto` chooses among
ODD = 100  # numerator + denominator of a ratio that keeps next to no source frame
MOST_PARTS = 4  # largest denominator of a multiple that is taken instead
PAUSE_FACTOR = Fraction(5, 2)  # times the usual interval: what is longer is a pause
LONGEST_PAUSE = int(1 / LEAST_RATE)  # seconds; what is longer is a damaged time stamp
DECIMALS = Fraction(1, 500_000)  # by which 2997/125, written for 24000/1001, may be off, and more

MOST_DRIFT = Fraction(9, 20)  # intervals; with more, it would be another frame's time

Place = tuple[int, Fraction, Fraction]  # of a slot: index, time in seconds, tau


@dataclass(slots=True)
class Timeline:
    """The output times: `start + k / rate`, or every source interval in `split` equal parts."""

    rate: Fraction | None  # output frames per second; None keeps the source's own timeline
    start: Fraction  # seconds: time of the first source frame
    split: int = 2  # parts of a source interval where the source's own timeline is kept
    _next: int = 0  # index of the next slot, where the source's own timeline is kept
    _known: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))  # a time, its place in slots

    def between(
        self, left: Fraction, right: Fraction, missing: Sequence[Fraction] = ()
    ) -> Iterator[Place]:
        """Yield (index, time, tau) of every output time with `left <= time < right`.

        missing: times of missing source frames between the two. Where the source's own timeline is
        kept they divide the interval as if they were there; tau goes from `left` to `right` anyway.
        """
        if self.rate is None:
            for begin, end in pairwise((left, *missing, right)):
                for part in range(self.split):
                    time = begin + (end - begin) * part / self.split
                    yield self._next, time, (time - left) / (right - left)
                    self._next += 1
            return
        begin = self._place(left)
        end = self._place(right)  # in units of the output interval
        span = end - begin
        for index in range(max(ceil(begin), 0), ceil(end)):
            offset = index - begin
            time = self.start + index / self.rate if offset else left
            yield index, time, offset / span

    def _place(self, time: Fraction) -> Fraction:
        """Return `time` in output intervals from the start; the latest answer is remembered."""
        if self._known[0] != time:
            assert self.rate is not None
            self._known = time, (time - self.start) * self.rate
        return self._known[1]

    def tail(
        self, left: Fraction, end: Fraction, missing: Sequence[Fraction] = ()
    ) -> Iterator[Place]:
        """Yield the output times from the last source frame at `left` to the stream's `end`.

        With a rate their total number, earlier ones included, is round((end - start) * rate);
        the last source frame itself is never lost.
        """
        if self.rate is None:
            yield from self.between(left, end, missing)
            return
        first = max(ceil((left - self.start) * self.rate), 0)
        count = max(round_half_up((end - self.start) * self.rate), 1)
        for index in range(first, count):
            time = self.start + index / self.rate
            yield index, time, (time - left) / max(end - left, time - left + 1 / self.rate)


@dataclass(slots=True)
class UsualInterval:
    """How far apart source frames usually are: `nominal`, or else the median of the latest 31."""

    nominal: Fraction | None  # seconds; None where the stream has no constant rate
    _recent: deque[Fraction] = field(default_factory=lambda: deque(maxlen=31))

    def add(self, step: Fraction) -> None:
        """Count the seconds from one frame to the next."""
        if self.nominal is None:
            self._recent.append(step)

    def forget(self) -> None:
        """Begin anew, with no interval counted."""
        self._recent.clear()

    @property
    def usual(self) -> Fraction | None:
        """Seconds from frame to frame; None before anything is known."""
        if self.nominal is not None or not self._recent:
            return self.nominal
        return median(self._recent)

    def is_pause(self, step: Fraction) -> bool:
        """Return True if `step` seconds from one frame to the next are a pause."""
        if self.nominal is not None and step <= self.nominal:  # the common case, cheaply
            return False
        usual = self.usual
        return usual is not None and step > PAUSE_FACTOR * usual

    def last(self, declared: Fraction | None, rate: Fraction | None) -> Fraction:
        """Return how long the last frame is shown, seconds.

        declared: the frame's own duration in seconds, not believed under half the usual interval
        or over LONGEST_PAUSE.
        rate: output frames per second, used if there is no usual interval.
        """
        if declared is not None and declared > LONGEST_PAUSE:
            declared = None
        usual = self.usual
        if usual is None:
            usual = declared or (1 / rate if rate else Fraction(1, 25))
        if declared is None or declared < usual / 2:
            return usual
        return declared


@dataclass(frozen=True, slots=True)
class Snap:
    """Put times that a container rounded to its clock back onto their rational rate.

    A time within `slack` of `start + n / rate` becomes exactly that; others stay as they are.
    It keeps no state, so a run that starts in the middle snaps alike.
    """

    rate: Fraction
    start: Fraction  # seconds
    slack: Fraction  # seconds: a tick of the container's clock, half a tick of a coarse one
    drift: Fraction = Fraction(0)  # seconds that the clock may go wrong per second since `start`

    def __call__(self, time: Fraction) -> Fraction:
        """Return `time`, snapped."""
        exact = self.start + round_half_up((time - self.start) * self.rate) / self.rate
        return exact if abs(time - exact) <= self._slack_at(time) else time

    def _slack_at(self, time: Fraction) -> Fraction:
        """Return how far off `time` may be; drift adds up, to nearly half an interval."""
        if not self.drift:
            return self.slack
        drifted = self.slack + abs(time - self.start) * self.drift
        return min(drifted, max(self.slack, MOST_DRIFT / self.rate))


def auto_rate(source: Fraction | None) -> Fraction:
    """Return what `--fps auto` means for a source rate (None: variable).

    Among 50, 60000/1001 and 60 the rate whose ratio to the source is the simplest (smallest
    numerator + denominator, the higher rate on a tie); sources at 50 or more keep theirs. Where no
    ratio is simple, as with 45000/1499, it is the simplest multiple of the source that is about as
    high, so that source frames fall on output times.
    """
    if source is None:
        return Fraction(60)
    if source >= 50:
        return source
    best = min(TARGETS, key=lambda target: (_complexity(target / source), -target))
    if _complexity(best / source) <= ODD:
        return best
    low, high = TARGETS[0] * 99 / 100, TARGETS[-1] * 101 / 100
    lowest = {part: ceil(part * low / source) for part in range(1, MOST_PARTS + 1)}
    multiples = (  # slow sources have millions; the lowest that cannot be reduced are enough
        Fraction(whole, part)
        for part, first in lowest.items()
        for whole in range(first, min(floor(part * high / source), first + part) + 1)
    )
    chosen = min(multiples, key=lambda ratio: (_complexity(ratio), -ratio), default=None)
    return best if chosen is None else source * chosen


def _complexity(ratio: Fraction) -> int:
    return ratio.numerator + ratio.denominator


def output_rate(fps: str, source: Fraction | None) -> Fraction | None:
    """Return the rate that `--fps` asks for; None keeps the source's own timeline, doubled.

    fps: "auto", "source", "2x" (a multiple of a constant source rate) or a rate.
    Raises OptionError.
    """
    if fps == "auto":
        return auto_rate(source)
    if fps == "source":
        return None
    if fps.endswith("x"):
        if source is None:
            raise OptionError(f"--fps {fps} needs a constant source rate; use --fps source or 60")
        return parse_rate(str(source * check_multiple(fps)))
    return parse_rate(fps)
