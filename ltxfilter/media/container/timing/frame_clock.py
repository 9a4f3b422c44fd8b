"""Exact times of decoded frames: timestamps put back onto the rate that they were rounded from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from ltxfilter.media.base import UNSTATED_RATE
from ltxfilter.media.container.decode import DecodedFrame, TimedFrame
from ltxfilter.media.container.timing.cadence import Cadence
from ltxfilter.media.container.timing.packet_timing import PacketScan, declared_rate
from ltxfilter.media.container.timing.pulldown import Stamped
from ltxfilter.media.pyav_compat import fraction, time_base_of
from ltxfilter.windows.timeline import Snap


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """How the frames of a stream follow each other, and how their stamps are to be read."""

    tick: Fraction
    """Seconds per tick of its timestamps."""

    cadence: Cadence
    """What places its frames."""

    forced: bool = False
    """True if -r states the rate: timestamps are not believed then, but for the first."""

    @classmethod
    def of(
        cls, stream: av.VideoStream, scanned: PacketScan | None, forced: Fraction | None
    ) -> StreamTiming:
        """Return the timing of `stream`.

        scanned: what its packets tell, if any were looked at. forced: frames per second of -r.
        """
        tick = time_base_of(stream)
        if forced is not None:
            return cls(tick, Cadence(forced, 1 / forced), forced=True)
        if scanned is not None:
            return cls(tick, scanned.cadence)
        rate = declared_rate(stream)
        return cls(tick, Cadence(rate, 1 / rate if rate else None))


class FrameClock:
    """Gives the frames of one stream their times, in order."""

    def __init__(self, timing: StreamTiming, zero: Fraction) -> None:
        """Begin a stream. zero: seconds at which it starts if its first frame does not say."""
        self.cadence = timing.cadence
        self._tick = timing.tick
        self._forced = timing.forced
        self._zero = zero

    @property
    def delay(self) -> int:
        """Later frames that it wants before it lets one go."""
        return int(self.cadence.pulldown is not None)

    def timed(self, frames: Iterable[DecodedFrame]) -> Iterator[TimedFrame]:
        """Yield the frames with their seconds on the container's clock."""
        for time, frame in self.cadence.smooth(self._stamped(frames)):
            snap = self.cadence.snap
            yield TimedFrame(snap(time) if snap else time, frame.picture, frame.spliced)

    def duration_of(self, picture: av.VideoFrame) -> Fraction | None:
        """Return for how many seconds a frame says that it is shown, put back onto the rate."""
        if self._forced:
            return self.cadence.interval
        if not picture.duration:
            return None
        return self.cadence.duration(picture.duration * self._tick_of(picture), self._tick)

    def _stamped(self, frames: Iterable[DecodedFrame]) -> Iterator[Stamped[DecodedFrame]]:
        """Yield frames as the stamps say; without a stamp the time is counted up at the rate."""
        last: Fraction | None = None
        for frame in frames:
            picture, tick = frame.picture, self._tick_of(frame.picture)
            if last is not None and (self._forced or picture.pts is None):
                last += self.cadence.interval or 1 / UNSTATED_RATE
            elif picture.pts is None:
                last = self._zero
            else:
                last = picture.pts * tick
                self._begin_at(last)
            yield Stamped(last, picture.duration * tick or None, frame)

    def _begin_at(self, time: Fraction) -> None:
        """Let the grid of the rate start at `time` if nothing told where it starts."""
        rate = self.cadence.rate
        if rate is not None and self.cadence.snap is None:
            self.cadence = replace(self.cadence, snap=Snap(rate, time, self._tick))

    def _tick_of(self, picture: av.VideoFrame) -> Fraction:
        return fraction(picture.time_base) or self._tick
