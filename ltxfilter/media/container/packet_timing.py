"""Times of packets, without decoding: the rate of a stream, its frame count, its duration."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import av
import av.container

from ltxfilter.media.base import FrameTimes
from ltxfilter.media.container.demux import open_container, packets_of
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.stream_choice.video_choice import choose_video
from ltxfilter.media.pyav_compat import fraction, time_base_of
from ltxfilter.options import InputOptions
from ltxfilter.values import MAX_RATE, NTSC, round_half_up
from ltxfilter.windows.timeline import Snap

SHORT_SCAN = 600  # packets that are enough to know a rate
COARSE = 4  # ticks per interval; with fewer, rounded times would fit every rate
ROUGHLY = 10**4  # a header's rate may be off the one it means by one part in so many
PAUSE = Fraction(5, 2)  # intervals; a longer pause separates two runs of frames


@dataclass(frozen=True, slots=True)
class PacketScan:
    """The times of a stream's video packets, in the order in which they are shown."""

    ticks: Sequence[int]
    """Ascending, in units of `time_base`, on the container's clock."""

    time_base: Fraction
    """Seconds per tick."""

    rate: Fraction | None
    """Frames per second; None when variable."""

    interval: Fraction | None
    """Usual seconds from frame to frame; None if there is one frame without a duration."""

    last_duration: Fraction | None
    """Seconds, if the last packet declares it."""

    @property
    def snap(self) -> Snap | None:
        """What puts rounded times back onto the rate; None when the rate is variable."""
        if self.rate is None:
            return None
        return Snap(self.rate, self.ticks[0] * self.time_base, self.time_base)

    @property
    def times(self) -> Iterator[Fraction]:
        """Yield each frame's time in exact seconds on the container's clock."""
        snap = self.snap
        for tick in self.ticks:
            time = tick * self.time_base
            yield snap(time) if snap else time

    @property
    def start(self) -> Fraction:
        """Seconds of the first frame."""
        return self.ticks[0] * self.time_base

    @property
    def end(self) -> Fraction:
        """Seconds at which the last frame ends; a duration under half the median is the median."""
        interval = 1 / self.rate if self.rate else self.interval or Fraction(0)
        last = self.last_duration
        if last is None or last < interval / 2 or (self.rate and self._near(last, interval)):
            last = interval
        *_, time = self.times
        return time + last

    def _near(self, one: Fraction, other: Fraction) -> bool:
        return abs(one - other) <= self.time_base

    def frame_times(self) -> FrameTimes:
        """Return the times of its frames from the first one on."""
        start = self.start
        return FrameTimes([time - start for time in self.times], self.end - start)


def scan(options: InputOptions, limit: int | None = None) -> PacketScan | None:
    """Read the times of all video packets of a file, or of about the first `limit`.

    -ss, -t and -to are obeyed when `limit` is None. Returns None when no packet has a time, or none
    lies within what they leave. Raises InputError.
    """
    with open_container(options, format_name=options.format) as container:
        stream = choose_video(container, options, once=False).stream
        ticks, last_duration = _packet_times(container, stream, limit)
        if not ticks:
            return None
        scanned = scan_of(ticks, last_duration, stream)
        if options.rate is not None:  # -r: the timestamps are not to be believed
            interval = 1 / options.rate
            scanned = PacketScan(range(len(ticks)), interval, options.rate, interval, interval)
        if limit is not None:
            return scanned
        return _trimmed(scanned, Trim.of(options, container))


def _packet_times(
    container: av.container.InputContainer, stream: av.VideoStream, limit: int | None
) -> tuple[array[int], Fraction | None]:
    """Return the sorted distinct times of packets that are shown, and the last one's duration."""
    durations: dict[int, int] = {}  # pts -> ticks
    packets = packets_of(container, stream)
    while limit is None or len(durations) < limit:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break  # a damaged end is reported once it is decoded
        if packet.pts is not None and not packet.is_discard:
            durations[packet.pts] = packet.duration or 0
    ticks = array("q", sorted(durations))
    if limit is not None and len(ticks) == limit:
        del ticks[-limit // 10 :]  # frames still to come may be shown before these
    last = durations[ticks[-1]] if ticks else 0
    return ticks, last * time_base_of(stream) or None


def _trimmed(scanned: PacketScan, trim: Trim) -> PacketScan | None:
    """Return the frames of a scan that `trim` keeps; None if that is none."""
    times = list(scanned.times)
    first = 0 if trim.start is None else bisect_left(times, trim.start)
    end = len(times) if trim.end is None else bisect_left(times, trim.end)
    if first >= end:
        return None
    last_duration = scanned.last_duration if end == len(times) else None
    return replace(scanned, ticks=scanned.ticks[first:end], last_duration=last_duration)


def scan_of(
    ticks: Sequence[int], last_duration: Fraction | None, stream: av.VideoStream
) -> PacketScan:
    """Return a scan with the rate that explains `ticks`.

    ticks: at least one, ascending, in units of the stream's time base. last_duration: seconds.
    """
    time_base = time_base_of(stream)
    deltas = sorted(b - a for a, b in pairwise(ticks))
    if not deltas:
        rate = declared_rate(stream)
        interval = 1 / rate if rate else last_duration
        return PacketScan(ticks, time_base, rate, interval, last_duration)
    median = deltas[len(deltas) // 2] * time_base
    candidates = _candidates(stream, median, time_base)
    rate = next((rate for rate in candidates if _fits(ticks, time_base, rate)), None)
    return PacketScan(ticks, time_base, rate, 1 / rate if rate else median, last_duration)


def declared_rate(stream: av.VideoStream) -> Fraction | None:
    """Return the frames per second that the headers state, if plausible; never the average."""
    for rate in map(fraction, (stream.guessed_rate, stream.base_rate)):
        if rate and 0 < rate <= MAX_RATE:
            return rate
    return None


def _candidates(
    stream: av.VideoStream, median: Fraction, time_base: Fraction
) -> Iterator[Fraction]:
    """Yield rates whose interval is the median to within a tick: declared ones, then usual ones.

    median: seconds from frame to frame. A declared rate that is nearly a usual one means that.
    """
    headers = map(fraction, (stream.guessed_rate, stream.base_rate))
    declared = [rate for rate in headers if rate]
    whole = round_half_up(1 / median)
    near = range(max(whole - 1, 1), whole + 2)
    halves = [Fraction(round_half_up(2 / median), 2)]
    usual = [Fraction(n) for n in near] + [n * NTSC for n in near] + halves
    meant = [rate for said in declared for rate in usual if abs(rate - said) * ROUGHLY < said]
    exact = [1 / median] if median >= 1000 * time_base else []
    for rate in [*meant, *declared, *usual, *exact]:
        if 0 < rate <= MAX_RATE and abs(1 / rate - median) <= time_base:
            yield rate


def _fits(ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """Return True if every time lies within a tick of the grid that its run of frames started.

    Where a tick is not small beside the interval, that would prove nothing; times must be exact.
    """
    step = 1 / (rate * time_base)  # ticks from frame to frame
    slack = 1 if step >= COARSE else 0
    first = previous = ticks[0]  # `first` of the run of frames
    for tick in ticks:
        if tick - previous > PAUSE * step:
            first = tick
        off = (tick - first) - round_half_up((tick - first) / step) * step
        if abs(off) > slack:
            return False
        previous = tick
    return True
