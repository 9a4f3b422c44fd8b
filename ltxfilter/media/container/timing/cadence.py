"""How the frames of a stream follow each other, and the exact times that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from ltxfilter.media.container.timing.pulldown import Item, Pulldown, Stamped, find_pulldown
from ltxfilter.media.container.timing.rates import Clock, constant_rate
from ltxfilter.media.container.timing.stamps import PacketTimes
from ltxfilter.windows.timeline import DECIMALS, Snap


@dataclass(frozen=True, slots=True)
class Cadence:
    """What puts the times of a stream's frames back to where they were before they were rounded."""

    rate: Fraction | None
    """Frames per second; None when variable."""

    interval: Fraction | None
    """Usual seconds from frame to frame, if known."""

    snap: Snap | None = None
    """What puts rounded times back onto the rate; None without a rate, or before a first time."""

    pulldown: Pulldown | None = None
    """What takes 2:3 pulldown out of the times; None if there is none."""

    def place(self, shown: Iterable[Stamped[Item]]) -> Iterator[tuple[Fraction, Item]]:
        """Yield (seconds, item) with exact times, in the order in which they are shown.

        With pulldown each is held until the next one comes.
        """
        for time, item in self.smooth(shown):
            yield self.snap(time) if self.snap else time, item

    def smooth(self, shown: Iterable[Stamped[Item]]) -> Iterator[tuple[Fraction, Item]]:
        """Yield (seconds, item) without pulldown, but not yet on the rate; see `place`."""
        if self.pulldown is not None:
            yield from self.pulldown.smooth(shown)
            return
        for frame in shown:
            yield frame.time, frame.item

    def duration(self, seconds: Fraction, tick: Fraction) -> Fraction:
        """Return how long a frame lasts that is said to last `seconds`, rounded to `tick`."""
        if self.rate is None:
            return seconds
        slack = tick if self.pulldown is None else tick + self.pulldown.field / 2
        return 1 / self.rate if abs(seconds - 1 / self.rate) <= slack else seconds


def find_cadence(shown: PacketTimes, clock: Clock) -> Cadence:
    """Return the cadence that explains the times of a stream's first frames, at least one."""
    ticks = shown.ticks
    if len(ticks) < 2:
        rate = next(iter(clock.declared), None)
        if rate is None:
            return Cadence(None, shown.durations[-1] * clock.tick or None)
        return Cadence(rate, 1 / rate, Snap(rate, ticks[0] * clock.tick, clock.tick))
    snap = constant_rate(ticks, replace(clock, guessed=shown.guessed))
    if snap is not None:
        return Cadence(snap.rate, 1 / snap.rate, snap)
    stamped = list(shown.stamped(clock.tick))
    pulldown = find_pulldown(stamped, guessed=shown.guessed)
    if pulldown is not None:
        return _film(stamped, clock.tick, pulldown)
    deltas = sorted(b - a for a, b in pairwise(ticks))
    return Cadence(None, deltas[len(deltas) // 2] * clock.tick)


def _film(shown: Sequence[Stamped[None]], tick: Fraction, pulldown: Pulldown) -> Cadence:
    """Return the cadence of film with 2:3 pulldown, or of video where that is the larger part."""
    times = [time for time, _ in pulldown.smooth(shown)]
    steps = [b - a for a, b in pairwise(times)]
    intervals = (pulldown.film_interval, pulldown.video_interval)
    interval = max(
        intervals, key=lambda usual: sum(abs(step - usual) <= 2 * tick for step in steps)
    )
    return Cadence(1 / interval, interval, Snap(1 / interval, times[0], tick, DECIMALS), pulldown)
