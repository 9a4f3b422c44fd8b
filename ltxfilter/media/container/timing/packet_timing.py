"""Times of packets, without decoding: the rate of a stream, its frame count, its duration."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import av
import av.container

from ltxfilter.media.base import UNSTATED_RATE, FrameTimes
from ltxfilter.media.container.demux import open_container, packets_of
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.stream_choice.video_choice import choose_video
from ltxfilter.media.container.timing.cadence import Cadence, find_cadence
from ltxfilter.media.container.timing.rates import Clock
from ltxfilter.media.container.timing.stamps import PacketStamps, PacketTimes, keep_stamps
from ltxfilter.media.pyav_compat import fraction, reorder_depth, time_base_of
from ltxfilter.options import InputOptions
from ltxfilter.values import MAX_RATE

SHORT_SCAN = 600  # packets that are enough to know a rate
DRIFTING = {"apng"}  # codecs whose frames state how long each is shown, which libav rounds


@dataclass(frozen=True, slots=True)
class PacketScan:
    """The times of a stream's video packets, in the order in which they are shown."""

    shown: PacketTimes
    """When and for how long, in units of `time_base`, on the container's clock."""

    time_base: Fraction
    """Seconds per tick."""

    cadence: Cadence
    """How the frames follow each other, as far as `shown` tells."""

    jumps: int = 0
    """How often the container's clock started anew."""

    def frame_times(self, cadence: Cadence, trim: Trim) -> FrameTimes | None:
        """Return the times of the frames that `trim` keeps, from the first one on.

        cadence: what places them, maybe that of the first packets only. None if no frame is kept.
        """
        times = [time for time, _ in cadence.place(self.shown.stamped(self.time_base))]
        first = 0 if trim.start is None else bisect_left(times, trim.start)
        end = len(times) if trim.end is None else bisect_left(times, trim.end)
        if first >= end:
            return None
        kept = times[first:end]
        declared = self.shown.durations[end - 1] * self.time_base or None
        duration = kept[-1] + self._last(cadence, kept, declared) - kept[0]
        return FrameTimes(
            [time - kept[0] for time in kept],
            duration,
            [time - kept[0] for time in self._entries(cadence) if kept[0] <= time <= kept[-1]],
        )

    def _entries(self, cadence: Cadence) -> list[Fraction]:
        """Return when the frames are shown at which decoding can begin, seconds, ascending.

        Empty where times depend on what was shown before: their clock jumps, or pulldown is taken
        out.
        """
        if self.jumps or cadence.pulldown is not None:
            return []
        times = sorted(ticks * self.time_base for ticks in self.shown.entries)
        return [cadence.snap(time) for time in times] if cadence.snap else times

    def _last(
        self, cadence: Cadence, times: Sequence[Fraction], declared: Fraction | None
    ) -> Fraction:
        """Return for how long the last frame is shown; under half the median is the median."""
        interval = cadence.interval or declared or 1 / UNSTATED_RATE
        if cadence.rate is None and len(times) > 1:
            deltas = sorted(b - a for a, b in pairwise(times[-32:]))
            interval = deltas[len(deltas) // 2]
        if declared is None or declared < interval / 2:
            return interval
        return cadence.duration(declared, self.time_base)


def scan(options: InputOptions, limit: int | None = None) -> PacketScan | None:
    """Read the times of all video packets of a file, or of about the first `limit`.

    Returns None when there is no packet. Raises InputError.
    """
    with open_container(options, format_name=options.format) as container:
        keep_stamps(container)
        stream = choose_video(container, options, once=False).stream
        jumps: list[Fraction] = []
        stamps = _packet_stamps(container, stream, limit, jumps.append)
        if not stamps.count:
            return None
        complete = limit is None or stamps.count < limit
        scanned = scan_of(stamps, stream, options.rate, complete=complete)
        return replace(scanned, jumps=len(jumps))


def _packet_stamps(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    limit: int | None,
    on_jump: Callable[[Fraction], None],
) -> PacketStamps:
    """Return the stamps of packets that are shown. on_jump: see `packets_of`."""
    stamps = PacketStamps()
    packets = packets_of(container, stream, on_jump=on_jump)
    while limit is None or stamps.count < limit:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break  # a damaged end is reported once it is decoded
        if packet.size and not packet.is_discard:
            stamps.add(packet)
    return stamps


def scan_of(
    stamps: PacketStamps,
    stream: av.VideoStream,
    forced: Fraction | None = None,
    *,
    complete: bool = False,
) -> PacketScan:
    """Return a scan with the rate that explains the stamps of at least one packet.

    forced: frames per second of -r; stamps are not believed then. complete: True if these are all
    packets of the stream; else frames still to come may be shown before the last ones.
    """
    shown = stamps.times(reorder_depth(stream.codec_context), complete=complete)
    if forced is not None or shown is None:
        rate = forced or declared_rate(stream) or UNSTATED_RATE
        counted = PacketTimes(range(stamps.count), [1] * stamps.count)
        return PacketScan(counted, 1 / rate, Cadence(rate, 1 / rate))
    clock = clock_of(stream)
    return PacketScan(shown, clock.tick, find_cadence(shown, clock))


def clock_of(stream: av.VideoStream) -> Clock:
    """Return how a stream counts time, and the plausible rates that its headers state."""
    headers = map(fraction, (stream.guessed_rate, stream.base_rate, stream.average_rate))
    declared = tuple(rate for rate in headers if rate and rate <= MAX_RATE)
    drifts = stream.codec_context.name in DRIFTING
    return Clock(time_base_of(stream), declared, drifts)


def declared_rate(stream: av.VideoStream) -> Fraction | None:
    """Return the frames per second that the headers state, if plausible."""
    return next(iter(clock_of(stream).declared), None)
