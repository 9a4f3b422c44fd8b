"""A container as a source: the frames of its first video stream, with exact times."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container

from ltxfilter.errors import InputError, Stopped
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.avframe import color_of, view
from ltxfilter.media.base import SourceCounts
from ltxfilter.media.container.decode import (
    REORDER,
    Decoder,
    Deinterlacer,
    Shaper,
    Timed,
    ascending,
)
from ltxfilter.media.container.demux import (
    display_name,
    is_cover,
    open_container,
    packets_of,
    seek_before,
    video_stream,
)
from ltxfilter.media.container.packet_queue import PacketQueue
from ltxfilter.media.container.packet_timing import (
    SHORT_SCAN,
    PacketScan,
    clock_zero,
    declared_rate,
    scan,
    trim,
    understand,
)
from ltxfilter.media.container.stream_header import siting
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.pyav_compat import LIBAV_TICK, fraction, time_base_of
from ltxfilter.options import InputOptions, available_threads
from ltxfilter.windows.timeline import Snap

log = logging.getLogger("ltxfilter.media")

TOLERATED_LOSS = Fraction(1, 2)  # seconds by which headers and pictures may disagree
AHEAD_FRAMES, AHEAD_BYTES = 32, 32 << 20  # what is read of a pipe to know its rate
PARSED = 2  # frames until demuxer and parser know that one has ended, measured with mpegts
MAX_THREADS = 8  # of the decoder: each one holds a frame
HASTE = Fraction(1, 300)  # seconds; frames that follow each other faster have doubtful stamps


class ContainerSource:
    """Frames of the first video stream of a file, or of a pipe that carries a container."""

    def __init__(
        self,
        options: InputOptions,
        file: Any = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        """Open and decode the first frame. file: a readable pipe in place of the path.

        Raises InputError.
        """
        self.name = display_name(options)
        self.options = options
        self.seekable = file is None
        self.counts = SourceCounts()
        self.queue = PacketQueue()  # packets of other streams, where there is no second reading
        self.covers: dict[int, bytes] = {}  # stream index -> picture file
        self._file = file
        self._stopped = False
        self._jumps = 0  # of the container's clock
        self._ahead: deque[av.Packet[Any]] = deque()  # read before decoding began
        known = scan(options, SHORT_SCAN) if file is None else None
        self.container = _open(options, file, format or options.format)
        self.stream = video_stream(self.container, self.name)
        self._start, self._end = trim(options, self.container)
        self._base = time_base_of(self.stream)
        # Seconds on the container's clock that an output calls 0.
        self.zero = clock_zero(self.container) if self._start is None else self._start
        self._declared_end: Fraction | None = None  # on the same clock
        self.duration = self._declared_duration()
        threads = options.threads or min(MAX_THREADS, available_threads())
        self._decoder = Decoder(self.stream, threads, self.counts)
        facts = siting(self.stream)
        self._deinterlacer = Deinterlacer(options.deinterlace, facts.interlaced, self.stream)
        self._demuxed = self._demux()  # nothing is read yet
        if file is not None:
            known = self._look_ahead()
        if options.rate is not None:
            known = None  # the stamps are not to be believed
        self._rate = known.rate if known else options.rate or declared_rate(self.stream)
        self._snap = known.snap if known else None
        self._pictures = self._decoded()
        self._first = next(self._pictures, None)
        if self._first is None:
            self.close()
            raise InputError(f"{self.name}: no video frames")
        picture = self._first[0]
        self.info = VideoInfo(
            width=picture.width,
            height=picture.height,
            pix_fmt=picture.format.name,
            layout=plane_shapes(picture.format.name, picture.width, picture.height),
            rate=self._rate,
            interval=known.interval if known else (1 / self._rate if self._rate else None),
            color=color_of(picture, facts.chroma_location),
            sample_aspect=fraction(self.stream.sample_aspect_ratio) or Fraction(1),
        )
        self.held_bytes = (threads + REORDER) * self.info.frame_bytes
        if self.info.interval is not None and self.info.interval < HASTE:
            log.warning(
                "%s: its frames are stamped %.1f ms apart; if that is wrong, give their rate "
                "before -i: -r 25 stamps them anew",
                self.name,
                1000 * self.info.interval,
            )

    @property
    def clock(self) -> Fraction:
        """Seconds on the container's clock that -ss calls 0."""
        return clock_zero(self.container)

    @property
    def delay(self) -> int:
        """Later frames that libav wants before it lets one go; none where nothing is coded."""
        context = self.stream.codec_context
        own = int(self.options.deinterlace == "on")
        if context.name == "rawvideo":
            return own
        return own + PARSED + context.thread_count - 1 + REORDER * bool(context.has_b_frames)

    @property
    def span(self) -> tuple[Fraction | None, Fraction | None]:
        """What -ss, -t and -to leave, in seconds on the container's clock."""
        return self._start, self._end

    def frames(self) -> Iterator[Frame]:
        """Yield every frame once, times ascending. Raises InputError, Stopped."""
        self.queue.start()
        last: Fraction | None = None
        for time, picture, spliced in ascending(self._timed(), self.counts):
            last = time
            if self._start is not None and time < self._start:
                continue
            if self._end is not None and time >= self._end:
                break
            yield self._frame(picture, time, spliced)
            self.counts.frames += 1
        self._report(last)

    def frame_times(self) -> tuple[Sequence[Fraction], Fraction] | None:
        """Return every frame's seconds from the first, and all of their seconds together."""
        found = scan(self.options) if self.seekable else None
        if found is None:
            return None
        return [time - found.start for time in found.times], found.end - found.start

    def cancel(self) -> None:
        """Make a waiting read end soon; safe in signal handlers and other threads."""
        self._stopped = True
        if hasattr(self._file, "cancel"):
            self._file.cancel()

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        self._first = None
        # This waits until the decoder's threads rest. One that was about to log while an encoder
        # was opened needs the interpreter for that, which ends threads when it ends itself; and
        # then libav would wait for that thread for ever.
        self.stream.codec_context.flush_buffers()
        self.container.close()
        if self._file is not None:
            self._file.close()

    def _declared_duration(self) -> Fraction | None:
        """Return the seconds of video to come, as far as the headers tell."""
        if self.stream.duration is not None:
            whole = self.stream.duration * self._base
        elif self.container.duration is not None:
            whole = self.container.duration * LIBAV_TICK
        else:
            return None
        first = self.stream.start_time
        begin = clock_zero(self.container) if first is None else first * self._base
        self._declared_end = begin + whole
        start = begin if self._start is None else max(self._start, begin)
        end = begin + whole if self._end is None else min(self._end, begin + whole)
        return max(end - start, Fraction(0))

    def _with_first(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        if self._first is not None:
            yield self._first
            self._first = None
        yield from self._pictures

    def _timed(self) -> Iterator[Timed]:
        last: Fraction | None = None
        for picture, spliced in self._with_first():
            last = self._time(picture, last)
            yield last, picture, spliced

    def _frame(self, picture: av.VideoFrame, time: Fraction, spliced: bool) -> Frame:
        corrupt = picture.is_corrupt or picture.pts in self._decoder.damaged
        self.counts.corrupt += corrupt
        return Frame(
            time=time,
            planes=view(picture, self.info.layout),
            origin=picture,
            duration=self._duration_of(picture),
            corrupt=corrupt,
            lost=self._decoder.lost_before(time),
            spliced=spliced,
        )

    def _time(self, picture: av.VideoFrame, last: Fraction | None) -> Fraction:
        """Return when `picture` is shown.

        Without a stamp it is counted up at the rate, and with -r every one after the first is.
        """
        if self.options.rate is not None and last is not None:
            return last + 1 / self.options.rate
        if picture.pts is None:
            step = 1 / (self.options.rate or self._rate or Fraction(25))
            return self.zero if last is None else last + step
        time = picture.pts * (fraction(picture.time_base) or self._base)
        if self._snap is None and self._rate is not None:
            self._snap = Snap(self._rate, time, self._base)
        return self._snap(time) if self._snap else time

    def _duration_of(self, picture: av.VideoFrame) -> Fraction | None:
        """Return the duration that a frame declares, put back onto the rate like its time."""
        if self.options.rate is not None:
            return 1 / self.options.rate
        if not picture.duration:
            return None
        duration = picture.duration * (fraction(picture.time_base) or self._base)
        if self._rate is not None and abs(duration - 1 / self._rate) <= self._base:
            return 1 / self._rate
        return duration

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Yield decoded frames, all of one shape, and whether the shape changed before them."""
        if self._start is not None and self.seekable:
            seek_before(self.container, self.stream, self._start)
        shaper = Shaper(self.name)
        for packet in self._packets():
            for decoded in self._decoder.decode(packet):
                for frame in self._deinterlacer.push(decoded):
                    yield shaper.shape(frame)
        for frame in self._deinterlacer.drain():
            yield shaper.shape(frame)

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """Yield the video's packets, then None; set the others aside."""
        try:
            for packet in chain(_drained(self._ahead), self._demuxed):
                if self._stopped:
                    raise Stopped
                if packet.stream.index == self.stream.index:
                    yield packet
                elif is_cover(packet.stream) and packet.size:
                    self.covers[packet.stream_index] = bytes(packet)
                else:
                    self.queue.put(packet)
        except av.FFmpegError as error:
            log.warning("%s: reading ends early: %s", self.name, error.strerror)
            self.counts.corrupt += 1
            yield None

    def _demux(self) -> Iterator[av.Packet[Any]]:
        """Yield packets: all streams' where there is no second reading."""
        covers = [stream for stream in self.container.streams.video if is_cover(stream)]
        streams = [self.stream, *covers] if self.seekable else list(self.container.streams)
        return packets_of(self.container, *streams, on_jump=self._jumped)

    def _jumped(self, time: Fraction) -> None:
        if not self._jumps:
            log.warning("%s: its clock jumps at %.3f s; joined without a gap", self.name, time)
        self._jumps += 1

    def _look_ahead(self) -> PacketScan | None:
        """Read some packets of a pipe to know its rate: what headers declare may be wrong."""
        ticks: list[int] = []
        nbytes = 0
        with suppress(av.FFmpegError):  # it is met again, and reported, when reading goes on
            for packet in self._demuxed:
                self._ahead.append(packet)
                nbytes += packet.size
                if packet.stream.index == self.stream.index and packet.pts is not None:
                    ticks.append(packet.pts)
                if len(ticks) == AHEAD_FRAMES or nbytes > AHEAD_BYTES:
                    break
        shown = sorted(set(ticks))[: max(len(ticks) - REORDER, 2)]
        return understand(shown, None, self.stream) if shown else None

    def _report(self, last: Fraction | None) -> None:
        """Warn of damage, and of an end well before the declared one. Raises InputError."""
        if not self.counts.frames:
            raise InputError(f"{self.name}: no video frames between -ss and the end asked for")
        declared = self._declared_end if not self._jumps else None
        if last is not None and self._end is None and declared is not None:
            missing = declared - last - (self.info.interval or 0)
            if missing > TOLERATED_LOSS:
                log.warning("%s: the video ends %.3f s before its declared end", self.name, missing)
        if self.counts.corrupt:
            log.warning("%s: %d damaged packets or frames", self.name, self.counts.corrupt)
        if self.counts.out_of_order:
            log.warning(
                "%s: %d frames dropped, their time did not advance",
                self.name,
                self.counts.out_of_order,
            )


def _drained(packets: deque[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
    while packets:
        yield packets.popleft()


def _open(options: InputOptions, file: Any, format_name: str | None) -> av.container.InputContainer:
    """Open for decoding, on hardware if that is asked for and works."""
    if options.hwaccel and options.hwaccel != "none":
        from av.codec.hwaccel import HWAccel

        try:
            accel = HWAccel(options.hwaccel, allow_software_fallback=True)
            return open_container(options, file, format_name, accel)
        except (InputError, ValueError, av.FFmpegError, RuntimeError) as error:
            if file is not None:
                raise
            log.warning(
                "-hwaccel %s does not work here, decoding on the CPU: %s", options.hwaccel, error
            )
    return open_container(options, file, format_name)
