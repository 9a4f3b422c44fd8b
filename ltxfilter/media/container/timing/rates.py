"""The frame rate behind the times of packets, which a container has rounded to its clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from math import floor, lcm

from ltxfilter.values import MAX_RATE, NTSC, round_half_up
from ltxfilter.windows.timeline import DECIMALS, Snap

COARSE = 4  # ticks per interval; with fewer, times a tick off would fit every rate
ROUGHLY = 10**4  # a header's rate may be off the one it means by one part in so many
PAUSE = Fraction(5, 2)  # intervals; a longer pause separates two runs of frames
GUESSWORK = 200  # parts of an interval; times that are added up are off by one, at most
STEADY = Fraction(3, 4)  # of the frames of a coarse clock follow the one before at the rate
FASTEST = 300  # frames per second that times on a coarse clock are believed to mean
ENOUGH = 100  # frames that tell a rate that no header states and nobody uses


@dataclass(frozen=True, slots=True)
class Clock:
    """How a container counts time, and what its headers say of the rate."""

    tick: Fraction
    """Seconds per tick."""

    declared: tuple[Fraction, ...] = ()
    """Frames per second that headers state, the most trusted first."""

    drifts: bool = False
    """True if every interval is rounded by itself, so that the errors add up."""

    guessed: bool = False
    """True if times are added up from intervals where a packet states none, as MPEG has them."""


def constant_rate(ticks: Sequence[int], clock: Clock) -> Snap | None:
    """Return the rate that explains `ticks`, as what puts times back onto it; None: variable.

    ticks: at least two, strictly ascending, in ticks of `clock`.
    """
    deltas = sorted(b - a for a, b in pairwise(ticks))
    median = deltas[len(deltas) // 2]
    steady = [delta for delta in deltas if abs(delta - median) <= 1]
    mean = Fraction(sum(steady), len(steady))
    drift = Fraction(1, 2 * median) if clock.drifts else Fraction(0)
    likely = list(_candidates(clock, (Fraction(median), mean), same=deltas[0] == deltas[-1]))
    for followers in (Fraction(1), STEADY):
        for rate in chain(likely, _simplest_rate(ticks, clock.tick)):
            snap = _explained(ticks, clock, rate, max(drift, _drift(rate)), followers)
            if snap is not None:
                return snap
    return None


def _drift(rate: Fraction) -> Fraction:
    """Return how far, in parts of the time, a clock may go wrong that means `rate`."""
    return DECIMALS if rate.denominator == NTSC.denominator else Fraction(0)


def _candidates(
    clock: Clock, intervals: tuple[Fraction, Fraction], *, same: bool
) -> Iterator[Fraction]:
    """Yield rates whose interval is the usual one to within a tick: declared ones, usual ones.

    intervals: the median one and the mean one, ticks. same: True if all of them are equal. A
    declared rate that is nearly a usual one means that.
    """
    usual = [rate for ticks in intervals for rate in _usual(1 / (ticks * clock.tick))]
    exact = 1 / (intervals[0] * clock.tick)
    meant = [rate for said in clock.declared for rate in usual if _near(rate, said, ROUGHLY)]
    decimal = [rate for rate in usual if same and _near(rate, exact, 1 / DECIMALS)]
    measured = [exact] if same or intervals[0] >= 1000 else []
    if same and intervals[0] < COARSE:  # one rate only can be that of such a clock
        candidates = [*decimal, *measured]
    elif clock.drifts:
        candidates = [*usual, *clock.declared, *measured]
    else:
        candidates = [*meant, *clock.declared, *usual, *measured]
    for rate in candidates:
        step = 1 / (rate * clock.tick)
        likely = any(abs(step - ticks) <= 1 for ticks in intervals)
        if 0 < rate <= MAX_RATE and step > 1 - DECIMALS and likely:
            yield rate


def _usual(rate: Fraction) -> list[Fraction]:
    """Return the rates near `rate` that are in use: whole ones, those of NTSC, halves."""
    whole = round_half_up(rate)
    near = range(max(whole - 1, 1), whole + 2)
    half = Fraction(round_half_up(2 * rate), 2)
    return [*map(Fraction, near), *(n * NTSC for n in near), *([half] if half else [])]


def _near(one: Fraction, other: Fraction, parts: Fraction | int) -> bool:
    return abs(one - other) * parts <= other


def _explained(
    ticks: Sequence[int], clock: Clock, rate: Fraction, drift: Fraction, followers: Fraction
) -> Snap | None:
    """Return what puts `ticks` onto `rate`; None if they do not lie there.

    followers: the part of the frames that follow the one before at the rate, on a coarse clock.
    """
    step = 1 / (rate * clock.tick)  # ticks from frame to frame
    if step >= COARSE:
        slack = max(step / GUESSWORK, Fraction(1)) if clock.guessed else Fraction(1)
        fits = _fits(ticks, step, slack, drift)
        return Snap(rate, ticks[0] * clock.tick, slack * clock.tick, drift) if fits else None
    phase = _phase(ticks, step, drift, followers) if rate <= FASTEST else None
    if phase is None:
        return None
    return Snap(rate, (ticks[0] + phase) * clock.tick, clock.tick / 2, drift)


def _fits(ticks: Sequence[int], step: Fraction, slack: Fraction, drift: Fraction) -> bool:
    """Return True if every time lies within `slack` ticks of the grid that its run started."""
    scale = lcm(step.denominator, slack.denominator, drift.denominator)
    whole_step, whole_slack, whole_drift = (int(part * scale) for part in (step, slack, drift))
    longest = floor(PAUSE * step)
    first = previous = ticks[0]  # `first` of the run of frames
    for tick in ticks:
        if tick - previous > longest:
            first = tick
        past = tick - first
        off = (past * scale + whole_step // 2) % whole_step - whole_step // 2
        if abs(off) > whole_slack + whole_drift * past:
            return False
        previous = tick
    return True


def _phase(
    ticks: Sequence[int], step: Fraction, drift: Fraction, followers: Fraction
) -> Fraction | None:
    """Return how many ticks after `ticks[0]` the grid of a coarse clock starts, -1/2..1/2.

    Every time must be what the grid rounds to, and so many `followers` must follow the frame before
    at the rate: a tick is not small beside the interval, so less would prove nothing. None: they do
    not.
    """
    run, singles = _Run(ticks[0], step), 1
    first_run: _Run | None = None
    for before, tick in pairwise(ticks):
        skipped = run.add(tick, drift)
        if skipped is None:
            if tick - before <= PAUSE * step:
                return None
            first_run, run = first_run or run, _Run(tick, step)
        singles += not skipped
    if singles < followers * len(ticks) - 1:  # one may be missing anywhere
        return None
    return (first_run or run).phase


@dataclass(slots=True)
class _Run:
    """Frames of a coarse clock without a pause, counted along a grid."""

    first: int  # ticks
    step: Fraction  # ticks from frame to frame
    _number: int = 0  # of the latest frame on the grid, from 0
    _low: Fraction = Fraction(0)  # how far off the grid the frames are, ticks
    _high: Fraction = Fraction(0)

    def add(self, tick: int, drift: Fraction) -> int | None:
        """Take the next frame and return how many are missing before it; None: it does not fit."""
        exact = 1 if self.step >= 2 else 1 - Fraction(1, self.step.denominator)
        width = exact + drift * (tick - self.first)  # of what rounding makes of a grid
        off = tick - self.first - (self._number + 1) * self.step
        likely = round_half_up((off - (self._low + self._high) / 2) / self.step)
        for skipped in (0, likely):
            low = min(self._low, off - skipped * self.step)
            high = max(self._high, off - skipped * self.step)
            if skipped >= 0 and high - low <= width:
                self._low, self._high = low, high
                self._number += 1 + skipped
                return skipped
        return None

    @property
    def phase(self) -> Fraction:
        """Ticks by which the grid must move for no frame to be more than half a tick off."""
        return min(max(Fraction(0), self._high - Fraction(1, 2)), self._low + Fraction(1, 2))


def _simplest_rate(ticks: Sequence[int], tick: Fraction) -> Iterator[Fraction]:
    """Yield the simplest rate at which no frame is a tick off; none if there are few frames."""
    if len(ticks) < ENOUGH:
        return
    places = [(number, place - ticks[0]) for number, place in enumerate(ticks)][1:]
    shortest = max(Fraction(place - 1, number) for number, place in places)
    longest = min(Fraction(place + 1, number) for number, place in places)
    if 0 < shortest <= longest:
        yield simplest_between(1 / (longest * tick), 1 / (shortest * tick))


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction in [low, high] with the smallest denominator; 0 < low <= high."""
    whole = low.numerator // low.denominator
    if whole == low:
        return low
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / simplest_between(1 / (high - whole), 1 / (low - whole))
