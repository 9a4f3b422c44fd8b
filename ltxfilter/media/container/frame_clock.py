"""Exact times of decoded frames: timestamps put back onto the rate that they were rounded from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from ltxfilter.media.base import UNSTATED_RATE
from ltxfilter.media.container.decode import DecodedFrame, TimedFrame
from ltxfilter.media.container.packet_timing import PacketScan, declared_rate
from ltxfilter.media.pyav_compat import fraction, time_base_of
from ltxfilter.windows.timeline import Snap


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """How the frames of a stream follow each other."""

    tick: Fraction
    """Seconds per tick of its timestamps."""

    rate: Fraction | None
    """Frames per second; None when variable."""

    interval: Fraction | None
    """Usual seconds from frame to frame, if known."""

    forced: bool = False
    """True if -r states the rate: timestamps are not believed then, but for the first."""

    snap: Snap | None = None
    """What puts rounded times back onto the rate; None before the grid is known, or without one."""

    @classmethod
    def of(
        cls, stream: av.VideoStream, scanned: PacketScan | None, forced: Fraction | None
    ) -> StreamTiming:
        """Return the timing of `stream`.

        scanned: what its packets tell, if any were looked at. forced: frames per second of -r.
        """
        tick = time_base_of(stream)
        if forced is not None:
            return cls(tick, forced, 1 / forced, forced=True)
        if scanned is not None:
            return cls(tick, scanned.rate, scanned.interval, snap=scanned.snap)
        rate = declared_rate(stream)
        return cls(tick, rate, 1 / rate if rate else None)


class FrameClock:
    """Gives the frames of one stream their times, in order."""

    def __init__(self, timing: StreamTiming, zero: Fraction) -> None:
        """Begin a stream. zero: seconds at which it starts if its first frame does not say."""
        self._timing = timing
        self._zero = zero

    def timed(self, frames: Iterable[DecodedFrame]) -> Iterator[TimedFrame]:
        """Yield the frames with their seconds on the container's clock."""
        last: Fraction | None = None
        for frame in frames:
            last = self._time(frame.picture, last)
            yield TimedFrame(last, frame.picture, frame.spliced)

    def duration_of(self, picture: av.VideoFrame) -> Fraction | None:
        """Return for how many seconds a frame says that it is shown, put back onto the rate."""
        timing = self._timing
        if timing.forced:
            return timing.interval
        if not picture.duration:
            return None
        duration = picture.duration * self._tick(picture)
        if timing.rate is not None and abs(duration - 1 / timing.rate) <= timing.tick:
            return 1 / timing.rate
        return duration

    def _time(self, picture: av.VideoFrame, last: Fraction | None) -> Fraction:
        """Return when `picture` is shown; last: the time of the frame before it.

        Without a timestamp it is counted up at the rate.
        """
        timing = self._timing
        if last is not None and (timing.forced or picture.pts is None):
            return last + 1 / (timing.rate or UNSTATED_RATE)
        if picture.pts is None:
            return self._zero
        time = picture.pts * self._tick(picture)
        if timing.snap is None and timing.rate is not None:
            snap = Snap(timing.rate, time, timing.tick)
            self._timing = timing = replace(timing, snap=snap)
        return timing.snap(time) if timing.snap else time

    def _tick(self, picture: av.VideoFrame) -> Fraction:
        return fraction(picture.time_base) or self._timing.tick
