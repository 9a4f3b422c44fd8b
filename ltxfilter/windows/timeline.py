"""Exact output times: which moments of the source the output shows, in rational seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil
from statistics import median

from ltxfilter.errors import OptionError
from ltxfilter.values import NTSC, parse_fraction, parse_rate, round_half_up

TARGETS = (Fraction(50), 60 * NTSC, Fraction(60))  # what `--fps auto` chooses among
PAUSE_FACTOR = Fraction(5, 2)  # times the usual interval: a longer pause is not drawn across
LONGEST_PAUSE = 3600  # seconds; a longer one is a damaged timestamp


@dataclass(frozen=True, slots=True)
class Slot:
    """An output frame to be produced."""

    index: int  # position in the output, from 0
    time: Fraction  # seconds on the source's clock
    left: int  # position of its earlier keyframe in the window
    # 0 <= tau < 1 between its two keyframes; exactly 0 passes the earlier through. Below 0 the
    # earlier one is missing, and `left` is held before its time.
    tau: Fraction


@dataclass(slots=True)
class Timeline:
    """Output times `start + k / rate`; with `rate` None, every source interval in `split` parts.

    start: seconds of the first source frame.
    """

    rate: Fraction | None
    start: Fraction
    split: int = 2
    _next: int = 0
    _known: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))  # a time, its place in slots

    def between(
        self, left: Fraction, right: Fraction, hidden: Sequence[Fraction] = ()
    ) -> Iterator[tuple[int, Fraction, Fraction]]:
        """Yield (index, time, tau) of every output time with `left <= time < right`.

        hidden: times of source frames between the two, which count where the source's own
        timeline is kept; tau goes from `left` to `right` all the same.
        """
        if self.rate is None:
            for begin, end in pairwise((left, *hidden, right)):
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
        self, left: Fraction, end: Fraction, hidden: Sequence[Fraction] = ()
    ) -> Iterator[tuple[int, Fraction, Fraction]]:
        """Yield the output times from the last source frame at `left` to the stream's `end`.

        With a rate their total number, earlier ones included, is round((end - start) * rate);
        the last source frame itself is never lost.
        """
        if self.rate is None:
            yield from self.between(left, end, hidden)
            return
        first = max(ceil((left - self.start) * self.rate), 0)
        count = max(round_half_up((end - self.start) * self.rate), 1)
        for index in range(first, count):
            time = self.start + index / self.rate
            yield index, time, (time - left) / max(end - left, time - left + 1 / self.rate)


@dataclass(slots=True)
class UsualInterval:
    """How far apart source frames are: `nominal` seconds, or else the median of the latest."""

    nominal: Fraction | None
    _recent: deque[Fraction] = field(default_factory=lambda: deque(maxlen=31))

    def add(self, step: Fraction) -> None:
        """Take note of the seconds from one frame to the next."""
        if self.nominal is None:
            self._recent.append(step)

    def forget(self) -> None:
        """Begin anew."""
        self._recent.clear()

    @property
    def usual(self) -> Fraction | None:
        """Seconds from frame to frame; None before anything is known."""
        if self.nominal is not None or not self._recent:
            return self.nominal
        return median(self._recent)

    def is_pause(self, step: Fraction) -> bool:
        """Say whether the source paused for `step` seconds."""
        if self.nominal is not None and step <= self.nominal:  # the common case, cheaply
            return False
        usual = self.usual
        return usual is not None and step > PAUSE_FACTOR * usual

    def last(self, declared: Fraction | None, rate: Fraction | None) -> Fraction:
        """Return how long the last frame is shown, seconds.

        declared: its own duration. rate: the output's, for want of anything better.
        """
        usual = self.usual
        if usual is None:
            usual = declared or (1 / rate if rate else Fraction(1, 25))
        if declared is None or declared < usual / 2 or declared > LONGEST_PAUSE:
            return usual
        return declared


@dataclass(frozen=True, slots=True)
class Snap:
    """Put times that a container rounded to `tick` back onto their rational rate.

    A time within one tick of `start + n / rate` becomes exactly that; others stay as they are.
    It keeps no state, so a run that starts in the middle snaps alike.
    """

    rate: Fraction
    start: Fraction  # seconds
    tick: Fraction  # seconds

    def __call__(self, time: Fraction) -> Fraction:
        """Return `time`, snapped."""
        exact = self.start + round_half_up((time - self.start) * self.rate) / self.rate
        return exact if abs(time - exact) <= self.tick else time


def auto_rate(source: Fraction | None) -> Fraction:
    """Return what `--fps auto` means for a source rate (None: variable).

    Among 50, 60000/1001 and 60 the rate whose ratio to the source is the simplest (smallest
    numerator + denominator, the higher rate on a tie); sources at 50 or more keep theirs.
    """
    if source is None:
        return Fraction(60)
    if source >= 50:
        return source

    def complexity(target: Fraction) -> tuple[int, Fraction]:
        ratio = target / source
        return ratio.numerator + ratio.denominator, -target

    return min(TARGETS, key=complexity)


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
        try:
            return parse_rate(str(source * parse_fraction(fps[:-1])))
        except (ValueError, ZeroDivisionError):
            raise OptionError(f"--fps {fps!r} is not a multiple; use 2x or 5/2x") from None
    return parse_rate(fps)
