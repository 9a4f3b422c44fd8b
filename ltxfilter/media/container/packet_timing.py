"""Packet times without decoding: the rate of a stream, its frame count, its duration."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
import av.container

from ltxfilter.media.container.demux import display_name, open_container, packets_of, video_stream
from ltxfilter.media.pyav_compat import LIBAV_TICK, fraction, time_base_of
from ltxfilter.options import InputOptions
from ltxfilter.values import MAX_RATE, NTSC, round_half_up
from ltxfilter.windows.timeline import Snap

SHORT_SCAN = 600  # packets that are enough to know a rate
COARSE = 4  # ticks per interval below which rounded times fit every rate
ROUGHLY = 10**4  # one part in so many is how far a header's rate may be off the one it means
PAUSE = Fraction(5, 2)  # times the median: a longer gap separates two runs of frames


@dataclass(frozen=True, slots=True)
class PacketScan:
    """The times of a stream's video packets, in the order they are shown."""

    ticks: Sequence[int]  # ascending, in units of time_base
    time_base: Fraction  # seconds
    rate: Fraction | None  # frames per second; None when variable
    interval: Fraction | None  # median seconds from frame to frame
    last_duration: Fraction | None  # seconds, if the last packet declares it

    @property
    def snap(self) -> Snap | None:
        """What puts rounded times back onto the rate; None when variable."""
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

    def share_on(self, rate: Fraction) -> Fraction:
        """Return the share of frames that fall on `start + k / rate`."""
        on = sum(((time - self.start) * rate).denominator == 1 for time in self.times)
        return Fraction(on, len(self.ticks)) if self.ticks else Fraction(0)


def scan(options: InputOptions, limit: int | None = None) -> PacketScan | None:
    """Read the times of all video packets of a file, or of the first `limit`.

    -ss, -t and -to are obeyed when `limit` is None. Returns None when no packet has a time.
    Raises InputError.
    """
    with open_container(options, format_name=options.format) as container:
        stream = video_stream(container, display_name(options))
        ticks, last_duration = _packet_times(container, stream, limit)
        if not ticks:
            return None
        found = understand(ticks, last_duration, stream)
        if options.rate is not None:  # -r: the stamps are not to be believed
            span = 1 / options.rate
            found = PacketScan(range(len(ticks)), span, options.rate, span, span)
        if limit is not None:
            return found
        start, end = trim(options, container)
        return _between(found, start, end)


def trim(
    options: InputOptions, container: av.container.InputContainer
) -> tuple[Fraction | None, Fraction | None]:
    """Return -ss and the end that -t or -to mean, as seconds on the container's clock."""
    zero = clock_zero(container)
    start = None if options.start is None else zero + options.start
    ends = []
    if options.end is not None:
        ends.append(zero + options.end)
    if options.duration is not None:
        ends.append((zero if start is None else start) + options.duration)
    return start, min(ends, default=None)


def clock_zero(container: av.container.InputContainer) -> Fraction:
    """Return the seconds at which the first of all streams starts."""
    return (container.start_time or 0) * LIBAV_TICK


def _packet_times(
    container: av.container.InputContainer, stream: av.VideoStream, limit: int | None
) -> tuple[array[int], Fraction | None]:
    """Return the sorted distinct times of packets that are shown, and the last one's duration."""
    found: dict[int, int] = {}
    packets = packets_of(container, stream)
    while limit is None or len(found) < limit:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break  # what a damaged tail hides is the decoder's to report
        if packet.pts is not None and not packet.is_discard:
            found[packet.pts] = packet.duration or 0
    ticks = array("q", sorted(found))
    if limit is not None and len(ticks) == limit:
        del ticks[-limit // 10 :]  # frames still to come may be shown before these
    last = found[ticks[-1]] if ticks else 0
    return ticks, last * time_base_of(stream) or None


def _between(found: PacketScan, start: Fraction | None, end: Fraction | None) -> PacketScan | None:
    """Return the part of a scan whose frames are shown from `start` until before `end`."""
    times = list(found.times)
    first = 0 if start is None else bisect_left(times, start)
    last = len(times) if end is None else bisect_left(times, end)
    if first >= last:
        return None
    return PacketScan(
        found.ticks[first:last],
        found.time_base,
        found.rate,
        found.interval,
        found.last_duration if last == len(times) else None,
    )


def understand(
    ticks: Sequence[int], last_duration: Fraction | None, stream: av.VideoStream
) -> PacketScan:
    """Find the rate that explains `ticks`, at least one and ascending."""
    time_base = time_base_of(stream)
    deltas = sorted(b - a for a, b in pairwise(ticks))
    if not deltas:
        rate = declared_rate(stream)
        interval = 1 / rate if rate else last_duration
        return PacketScan(ticks, time_base, rate, interval, last_duration)
    median = deltas[len(deltas) // 2] * time_base
    rate = next(
        (g for g in _candidates(stream, median, time_base) if _fits(ticks, time_base, g)), None
    )
    return PacketScan(ticks, time_base, rate, 1 / rate if rate else median, last_duration)


def declared_rate(stream: av.VideoStream) -> Fraction | None:
    """Return the rate that the headers state, if it can be one; never the average."""
    for rate in map(fraction, (stream.guessed_rate, stream.base_rate)):
        if rate and 0 < rate <= MAX_RATE:
            return rate
    return None


def _candidates(
    stream: av.VideoStream, median: Fraction, time_base: Fraction
) -> Iterator[Fraction]:
    """Yield rates whose interval is the median to within a tick: declared ones, then usual ones."""
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

    A tick that is not small beside the interval would prove nothing: then times must be exact.
    """
    step = 1 / (rate * time_base)  # ticks from frame to frame
    slack = 1 if step >= COARSE else 0
    origin = previous = ticks[0]
    for tick in ticks:
        if tick - previous > PAUSE * step:
            origin = tick
        off = (tick - origin) - round_half_up((tick - origin) / step) * step
        if abs(off) > slack:
            return False
        previous = tick
    return True
