"""A container as a sink: encode frames, mux them with all else that the source carries."""

from __future__ import annotations

import io
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any

import av
import av.container

from ltxfilter.errors import InputError, LtxFilterError, OutputError
from ltxfilter.frame import Frame, Made
from ltxfilter.media import Source, StreamPlan
from ltxfilter.media.avframe import Copies, from_planes
from ltxfilter.media.container_source import ContainerSource
from ltxfilter.media.copied import (
    CopiedStreams,
    lasting_tags,
    plan_streams,
    read_again,
    refuse_lost_audio,
)
from ltxfilter.media.decode import reshape
from ltxfilter.media.demux import open_container
from ltxfilter.media.encode import MOV_FAMILY, configure, recipe_for
from ltxfilter.media.hdr import display_matrix_of
from ltxfilter.media.partfile import PartFile
from ltxfilter.options import OutputOptions

if TYPE_CHECKING:
    from typing import Self

LEAST_CLOCK = 90000  # ticks per second of an output without a rate, at least


class ContainerSink:
    """Encodes frames into a file or a pipe, with all else that the source carries."""

    def __init__(
        self,
        options: OutputOptions,
        source: Source,
        rate: Fraction | None,
        file: Any = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        """Check everything that can be checked before the first frame.

        rate: output frames per second; None takes the frames' own times. file: a writable pipe in
        place of the path. Raises OptionError, OutputError.
        """
        self.name = "standard output" if file is not None else options.path
        self.info = source.info
        self._source = source
        self.rate = rate
        self._clock = _clock(source, rate)
        self._muxer = _muxer(options, format)
        hint = rate or (2 / self.info.interval if self.info.interval else Fraction(60))
        self._hint = hint.limit_denominator(1 << 30)
        self.recipe = recipe_for(options, self._muxer, self.info, self._hint)
        self.held_bytes = self.recipe.held_bytes(self.info)
        self._copied: CopiedStreams | None = None
        self.plan: tuple[StreamPlan, ...] = ()
        if isinstance(source, ContainerSource):
            self.plan = plan_streams(source.container, source.stream, options, self._muxer)
            refuse_lost_audio(self.plan, self.name)
            source.queue.want({plan.index for plan in self.plan if plan.action == "copy"})
        self._part = (
            None if file is not None else PartFile(options.path, options.overwrite, source.name)
        )
        self._options = options
        self._file = file
        self._copies = Copies()
        self._out: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._origin = Fraction(0)  # output seconds of the first frame
        self._first: Fraction | None = None  # its time on the source's clock
        self._pts = -1
        self._began = False  # the header is written
        self._broken = False  # libav failed: it crashes if it is asked for more than the end
        self._ended = False

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError, BrokenPipeError."""
        try:
            if self._out is None:
                self._begin(frame)
            picture = self._picture(frame)
            assert self._first is not None
            ticks = (frame.time - self._first) / self._encoder_base
            self._pts = max(round(ticks), self._pts + 1)
            picture.pts, picture.time_base = self._pts, self._encoder_base
            picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
            assert self._stream is not None
            self._mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Drain, complete the file and give it its final name. Raises InputError, OutputError."""
        if self._out is None:
            self._ended = True
            if self._part:
                self._part.discard()
            raise InputError(f"{self._source.name}: no video frames")
        self._complete(None)
        if self._part:
            self._part.complete()

    def close(self) -> str | None:
        """Release everything; an unfinished file is completed and said where it is."""
        if self._ended:
            return None
        self._ended = True
        if not self._began:
            if self._part is not None:
                self._part.discard()
            return None
        try:
            if self._broken:
                self._trailer()
            else:
                self._complete(self._shown_until)
        except (LtxFilterError, BrokenPipeError):
            self._broken = True
        if self._part is None:
            return None
        if self._broken:
            return f"{self._part.part} holds what was written before"
        return f"{self._part.part} holds the first {float(self._shown_until - self._origin):.3f} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _encoder_base(self) -> Fraction:
        return 1 / self.rate if self.rate else self._clock

    @property
    def _shown_until(self) -> Fraction:
        """Output seconds at which the last frame written ends."""
        return self._origin + (self._pts * self._encoder_base) + 1 / self._hint

    def _begin(self, frame: Frame) -> None:
        """Create the streams, now that a frame shows what goes into their headers."""
        self._first = frame.time
        source = self._source
        self._origin = frame.time - (
            source.zero if isinstance(source, ContainerSource) else frame.time
        )
        target = self._file if self._part is None else f"file:{self._part.part}"
        self._out = out = av.open(
            target,
            "w",
            format=self._muxer,
            container_options=self._muxer_options(),
            buffer_size=1 << 20,
        )
        if isinstance(source, ContainerSource):
            self._add_all(out, source, frame)
        else:
            self._stream = self._add_video(out, frame)
        out.start_encoding()
        self._began = True

    def _muxer_options(self) -> dict[str, str]:
        options = {"max_interleave_delta": "500000", "flush_packets": "1"}
        if self._muxer in MOV_FAMILY and not self._has_cover:  # its track would stay, empty
            # delay_moov: edit lists need the first packets; a finer clock keeps them exact.
            options |= {"movflags": "hybrid_fragmented+delay_moov", "movie_timescale": "90000"}
        return {**options, **self._options.muxer}

    @property
    def _has_cover(self) -> bool:
        source = self._source
        return isinstance(source, ContainerSource) and any(
            plan.action == "copy" and plan.index in source.covers for plan in self.plan
        )

    def _add_all(
        self, out: av.container.OutputContainer, source: ContainerSource, frame: Frame
    ) -> None:
        """Add all streams in the input's order, and what belongs to the file as a whole."""
        start, end = source.span
        self._copied = copied = CopiedStreams(source.container, self.plan, source.zero, start, end)
        for plan in self.plan:
            if plan.action == "draw":
                self._stream = self._add_video(out, frame)
                tags = lasting_tags(source.stream.metadata)
                self._stream.metadata.update(tags)
                self._stream.disposition = source.stream.disposition
            else:
                copied.add(out, plan.index, source.covers.get(plan.index))
        out.metadata.update(lasting_tags(source.container.metadata))
        out.set_chapters(_chapters(source))
        if not source.seekable:
            copied.read_from(source.queue)
        elif copied.indices:
            again = open_container(source.options, None, source.options.format)
            copied.read_from(read_again(again, copied.indices, start, end))

    def _add_video(self, out: av.container.OutputContainer, frame: Frame) -> av.VideoStream:
        recipe = self.recipe if frame.origin is None else self.recipe.with_hdr(frame.origin)
        stream = out.add_stream(recipe.codec, rate=self._hint)
        assert isinstance(stream, av.VideoStream)
        configure(stream.codec_context, recipe, self.info, self._encoder_base, self._hint)
        stream.time_base = self._encoder_base if self._muxer == "avi" else self._clock
        matrix = None if frame.origin is None else display_matrix_of(frame.origin)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        return stream

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """Return what to encode: the decoded frame itself, or one made to look like it."""
        if frame.origin is None:
            picture = from_planes(frame.planes, self.info)
        elif frame.made is Made.DRAWN:
            picture = self._copies.redraw(frame.origin, frame.planes, self.info.layout)
        elif frame.made is Made.HELD:
            picture = self._copies.share(frame.origin)
        else:
            picture = frame.origin
        if picture.format.name == self.recipe.pix_fmt:
            return picture
        if picture is frame.origin:
            picture = self._copies.share(picture)  # reformatting touches the frame it reads
        return reshape(picture, self.info.width, self.info.height, self.recipe.pix_fmt)

    def _mux(self, packets: list[av.Packet[Any]]) -> None:
        """Stamp encoded packets with output time, let copied ones go first, and mux both."""
        assert self._out is not None
        assert self._stream is not None
        base = Fraction(self._clock)
        for packet in packets:
            assert packet.pts is not None
            dts = packet.pts if packet.dts is None else packet.dts
            shown, decoded = (self._origin + t * self._encoder_base for t in (packet.pts, dts))
            packet.pts, packet.dts = round(shown / base), round(decoded / base)
            if self.rate:
                packet.duration = round(1 / self.rate / base)
            else:
                packet.duration = round((packet.duration or 0) * self._encoder_base / base)
            packet.time_base = base
            packet.stream = self._stream
            self._mux_copied(decoded)
            self._out.mux(packet)

    def _mux_copied(self, until: Fraction | None) -> None:
        if self._copied is not None:
            assert self._out is not None
            for packet in self._copied.until(until):
                self._out.mux(packet)

    def _complete(self, until: Fraction | None) -> None:
        """Drain the encoder and the copied streams (up to `until`) and write the trailer."""
        assert self._out is not None
        assert self._stream is not None
        self._ended = True
        try:
            self._mux(self._stream.encode(None))
            self._mux_copied(until)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        self._trailer()

    def _trailer(self) -> None:
        assert self._out is not None
        try:
            self._out.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one of libav's; nothing may be muxed after it."""
        self._broken = True
        if isinstance(error, BrokenPipeError):
            return error
        return OutputError(f"{self.name}: cannot be written: {getattr(error, 'strerror', error)}")


def _clock(source: Source, rate: Fraction | None) -> Fraction:
    """Return a time base that holds the output's times: the source's start and each 1/rate."""
    base = Fraction(1, LEAST_CLOCK)
    if isinstance(source, ContainerSource) and source.stream.time_base:
        base = Fraction(source.stream.time_base)
    if rate is None:
        base /= 2
        return (
            base / -(-Fraction(1, LEAST_CLOCK) // base) if base > Fraction(1, LEAST_CLOCK) else base
        )
    den = lcm((1 / rate).denominator, base.denominator)
    return Fraction(1, den) if den < 1 << 31 else base


def _muxer(options: OutputOptions, format_name: str | None) -> str:
    """Return FFmpeg's name of the container to write. Raises OutputError."""
    if format_name or options.format:
        name = format_name or options.format or ""
        try:
            return av.ContainerFormat(name, "w").name
        except ValueError:
            raise OutputError(f"-f {name}: FFmpeg writes no such format") from None

    class Named(io.BytesIO):
        name = options.path

    try:
        with av.open(Named(), "w") as container:
            return container.format.name
    except ValueError:
        raise OutputError(
            f"{options.path}: its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, or -f"
        ) from None


def _chapters(source: ContainerSource) -> list[Any]:
    """Return the source's chapters, moved onto the output's clock and cut to what is kept."""
    start, end = source.span
    kept = []
    for chapter in source.container.chapters():
        base = Fraction(chapter["time_base"] or 1)
        first = max(Fraction(chapter["start"] * base), start or source.zero)
        last = chapter["end"] * base if end is None else min(chapter["end"] * base, end)
        if first < last:
            begin, until = ((t - source.zero) / base for t in (first, last))
            kept.append({**chapter, "start": round(begin), "end": round(until)})
    return kept
