"""What y4m and rawvideo have in common: frames that are not encoded, one after another."""

from __future__ import annotations

import io
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from ltxfilter.errors import InputError, OptionError, OutputError, Stopped
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media import pixfmt
from ltxfilter.media.base import NOT_ASKED, FrameTimes, Source, SourceCounts, StreamPlan
from ltxfilter.media.carried.items import Item, OutputFormat
from ltxfilter.media.deinterlace import DEINTERLACER_FRAMES, deinterlaced
from ltxfilter.media.format_names import STDOUT_NAMES, Y4M
from ltxfilter.media.output_file import OutputFile
from ltxfilter.media.pipe.stdio import PipeInput, PipeOutput, open_stdout
from ltxfilter.media.raw.packing import SampleLayout
from ltxfilter.options import InputOptions, OutputOptions
from ltxfilter.values import round_half_up, scheme_of

if TYPE_CHECKING:
    from typing import Self

    import av

    from ltxfilter.media.network.address_output import AddressOutput
    from ltxfilter.media.segments.segment_file import SegmentReader

log = logging.getLogger("ltxfilter.media")

READ_AHEAD = 1 << 16  # bytes; frames larger than this are read straight into place


class RawSource(ABC):
    """Frames of a fixed size in bytes at a constant rate, each perhaps after a marker.

    Every frame is read into one buffer of its own; its planes are views of that.
    """

    pipe_format = Y4M
    other_streams = None
    carries: tuple[Item, ...] = ()
    first_picture: av.VideoFrame | None = None
    marker = b""  # stands before each frame, or begins what does

    def __init__(
        self, stream: PipeInput, info: VideoInfo, byte_layout: SampleLayout, options: InputOptions
    ) -> None:
        """Get ready to read frames of `info` from `stream`, which `close` closes."""
        self.name = stream.name
        self.info = info
        self.raw_pix_fmt = byte_layout.name
        self.duration: Fraction | None = None
        self.counts = SourceCounts()
        self.read = 0  # whole frames so far, those before -ss included
        self.byte_layout = byte_layout
        self.bottom_first = False  # order of the fields, if frames hold two
        self.interlaced = options.deinterlace == "on"
        self._stream = stream
        self._buffered = io.BufferedReader(stream, READ_AHEAD)
        self._start, self._length = _trim(options)
        self.clock = -self._start

    @property
    def delay(self) -> int:
        """Later frames that the deinterlacer needs, if there is one."""
        return int(self.interlaced)

    @property
    def held_bytes(self) -> int:
        """Bytes read ahead, and the frames that the deinterlacer holds."""
        return READ_AHEAD + (DEINTERLACER_FRAMES * self.info.frame_bytes if self.interlaced else 0)

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:
        """Yield every whole frame within -ss and -t. Raises InputError, Stopped.

        begin: seconds; frames shown earlier may be left out. seek: False reads them all the same.
        """
        self._stream.enlarge()
        if begin is not None and seek:
            self._skip_to(begin)
        pictures = self.pictures()
        if self.interlaced:
            pictures = deinterlaced(pictures, self.info, bottom_first=self.bottom_first)
        yield from self._timed(pictures)
        if not self.counts.frames:
            where = f" at or after {float(self._start):g} s" if self._start else ""
            raise InputError(f"{self.name}: no video frames{where}")

    def frame_times(self) -> FrameTimes | None:
        """Return when its frames are shown, as the size of a file tells; None of a pipe."""
        rate, duration = self.info.rate, self.duration
        if rate is None or duration is None:
            return None
        count = round_half_up(duration * rate)
        times = [number / rate for number in range(count)]
        return FrameTimes(times, duration, times)

    def cancel(self) -> None:
        """End a waiting read with Stopped; safe in signal handlers and other threads."""
        self._stream.cancel()

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        self._buffered.close()

    def _skip_to(self, begin: Fraction) -> None:
        """Leave out frames of a file that are shown before `begin`, seconds, if all are alike."""
        assert self.info.rate is not None
        size = len(self.marker) + self.byte_layout.frame_bytes
        count = floor((begin + self._start) * self.info.rate)
        count -= DEINTERLACER_FRAMES if self.interlaced else 0
        if count > 0 and self._stream.left % size == 0:
            self._stream.skip(count * size)
            self.read = count

    def duration_of(self, size: int, marker_bytes: int = 0) -> Fraction | None:
        """Return the seconds that a file lasts; None of a pipe.

        size: bytes of all frames with their markers; negative of a pipe.
        """
        assert self.info.rate is not None
        if size < 0:
            return None
        last = size // (self.byte_layout.frame_bytes + marker_bytes) / self.info.rate
        return max(Fraction(0), min(last - self._start, self._length or last))

    def read_marker(self) -> bool:
        """Consume what stands before a frame; return False at the end. Raises InputError."""
        return True

    def pictures(self) -> Iterator[Planes]:
        """Yield the planes of every whole frame. Raises InputError, Stopped."""
        frame_bytes, unpack = self.byte_layout.frame_bytes, self.byte_layout.unpack
        while self.read_marker():
            buffer = np.empty(frame_bytes, np.uint8)
            count = self._buffered.readinto(buffer.data)
            if count < frame_bytes:
                self.note_incomplete(count)
                return
            self.read += 1
            yield unpack(buffer)

    @abstractmethod
    def note_incomplete(self, count: int) -> None:
        """Deal with an input that ended `count` bytes after a marker. Raises InputError."""

    def _timed(self, pictures: Iterator[Planes]) -> Iterator[Frame]:
        """Number the pictures in time, drop those before -ss and end at -t."""
        assert self.info.rate is not None
        interval = 1 / self.info.rate
        first = ceil(self._start / interval)
        stop = None if self._length is None else ceil((self._start + self._length) / interval)
        skipped = self.read
        left = None if stop is None else max(stop - skipped, 0)
        for index, planes in enumerate(islice(pictures, left), skipped):
            if index >= first:
                self.counts.frames += 1
                yield Frame(index * interval - self._start, planes, duration=interval)


class RawSink:
    """Writes frames plane by plane to standard output, or to a file by way of NAME.part."""

    def __init__(
        self,
        options: OutputOptions,
        source: Source,
        rate: Fraction,
        kind: str,
        *,
        header: bytes = b"",
        marker: bytes = b"",
        pack: Callable[[Planes], Planes] | None = None,
    ) -> None:
        """Open the output. rate: frames per second. kind: FFmpeg's name of the format.

        header: written once. marker: written before each frame. pack: lays out the planes of a
        frame. Raises OutputError, OptionError.
        """
        self.held_bytes = self.index_bytes = 0
        self.output_format = OutputFormat(kind)
        self.plan = _plan(options, source)
        self._source_name = source.name
        self._rate = rate
        self._start = header + marker
        self._marker = marker
        self._pack = pack
        self._frames = 0  # written
        self._broken = False  # less is on disk than was written
        self._stalled = False  # a reader took nothing until the output was cancelled
        self._writing = RLock()  # held while anything is written
        self._ended = False  # finished or closed
        self._finished = False
        self._out = _open_output(options, kind)
        self.name = self._out.name

    @property
    def place(self) -> str:
        """NAME.part, or `name` where the output has no other."""
        return self.name if isinstance(self._out, PipeOutput) else str(self._out.part)

    def write(self, frame: Frame) -> None:
        """Write one frame. Raises OutputError, BrokenPipeError, Stopped."""
        self._write(self.laid_out(frame))

    def laid_out(self, frame: Frame) -> list[Any]:
        """Return the samples of a frame as they are written, in contiguous arrays."""
        planes = self._pack(frame.planes) if self._pack else frame.planes
        return list(map(np.ascontiguousarray, planes))

    def join(self, segment: SegmentReader, first: Frame) -> None:
        """Write the frames of a stored segment. Raises OutputError, BrokenPipeError, Stopped."""
        del first
        for packet in segment.packets():
            self._write([packet.data])

    def _write(self, samples: list[Any]) -> None:
        start = self._marker if self._frames else self._start
        with self._writing:
            try:
                self._out.write_all([start, *samples])
            except (OutputError, BrokenPipeError, Stopped) as error:
                self._note(error)
                raise
            self._frames += 1

    def finish(self) -> None:
        """Give a file its final name. Raises InputError, OutputError."""
        if not self._frames:
            raise InputError(f"{self._source_name}: no video frames")
        with self._noting_failure():
            if isinstance(self._out, PipeOutput):
                self._out.close()
            else:
                self._out.complete()
        self._ended = self._finished = True

    def close(self) -> str | None:
        """Release everything; return where an unfinished file is and how much it holds."""
        with self._writing:
            if self._ended:
                return None
            self._ended = True
            if not (isinstance(self._out, PipeOutput) or self._frames):
                self._out.discard()
                return self._unfinished()
            with suppress(OutputError, BrokenPipeError, Stopped), self._noting_failure():
                self._out.close()
            return self._unfinished()

    def cancel(self) -> None:
        """Make a write end soon whose reader takes nothing."""
        self._out.cancel()

    def abandon(self) -> str | None:
        """Close it; nothing but a write that is under way delays that."""
        with self._writing:
            return self.close() or self._unfinished()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Remember that what is done inside failed, and whether it was cancelled."""
        try:
            yield
        except (OutputError, BrokenPipeError, Stopped) as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        self._broken = True
        self._stalled = self._stalled or isinstance(error, Stopped)

    def _unfinished(self) -> str | None:
        """Return where the unfinished output is and what it holds; None where nothing is lost."""
        if self._stalled:
            return f"{self.name}: the reader takes nothing; the output is not complete"
        named = isinstance(self._out, OutputFile) and not self._out.direct
        if self._finished or not self._frames or not named:
            return None
        if self._broken:
            return f"{self.place} holds what was written before"
        seconds = float(self._frames / self._rate)
        return f"{self.place} holds the first {seconds:.3f} s ({self._frames} frames)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _open_output(options: OutputOptions, kind: str) -> PipeOutput | OutputFile | AddressOutput:
    """Open standard output, an address or a file. Raises OutputError, OptionError.

    kind: FFmpeg's name of the format.
    """
    if options.path in STDOUT_NAMES:
        return open_stdout()
    if scheme_of(options.path) is None:
        return OutputFile(options.path, options.overwrite)
    from ltxfilter.media.network.address_output import AddressOutput

    return AddressOutput(options, kind)


def check_size(name: str, width: int, height: int) -> None:
    """Raise InputError for a picture that is empty or larger than what may be allocated.

    name: what messages call the input. width, height: pixels.
    """
    if width < 1 or height < 1:
        raise InputError(f"{name}: a picture of {width}x{height} is empty")
    pixfmt.check_size(name, width, height)


def _plan(options: OutputOptions, source: Source) -> tuple[StreamPlan, ...]:
    """Say that only the video goes on, and warn of what else was asked for. Raises OptionError."""
    if source.other_streams is None:
        return (StreamPlan(0, "video", "rawvideo", "interpolate"),)
    plan = []
    for stream in source.other_streams.plan(options, Y4M):
        if stream.action == "copy" or (stream.action == "drop" and stream.reason != NOT_ASKED):
            stream = replace(stream, action="drop", reason="raw video carries nothing else")
            log.warning(
                "%s stream %d (%s) is left out: raw video carries nothing else; use -f nut",
                stream.kind,
                stream.index,
                stream.codec,
            )
        plan.append(stream)
    return tuple(plan)


def output_rate(info: VideoInfo, rate: Fraction | None, kind: str) -> Fraction:
    """Return the frames per second of an output without timestamps.

    rate: as asked for; None doubles the source's own. kind: the format, for messages. Raises
    OptionError if the source's own rate is needed and variable.
    """
    if rate is not None:
        return rate
    if info.rate is None:
        raise OptionError(f"{kind} has no timestamps for a variable rate; use -f nut, or --fps 60")
    return 2 * info.rate


def refuse_encoding(options: OutputOptions, kind: str) -> None:
    """Raise OptionError if there are options for an encoder or a muxer, which raw video has not.

    kind: the format, for messages.
    """
    given = [f"-{key}" for key in (*options.encoder, *options.muxer)]
    if options.codec not in (None, "rawvideo", "wrapped_avframe"):
        given.insert(0, f"-c:v {options.codec}")
    if options.tag is not None:
        given.append(f"-tag:v {options.tag}")
    if given:
        raise OptionError(f"{', '.join(given)}: {kind} holds frames that are not encoded")


def _trim(options: InputOptions) -> tuple[Fraction, Fraction | None]:
    """Return -ss, and how many seconds after it to stop, if at all."""
    if options.from_end is not None:
        raise OptionError("-sseof: such video does not say how long it is; use -ss")
    start = options.start or Fraction(0)
    if options.duration is not None:
        return start, options.duration
    return start, None if options.end is None else max(options.end - start, Fraction(0))
