"""One output container: an encoded video and the streams copied beside it, merged by time."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, lcm
from time import monotonic
from typing import Any

import av
import av.container

from ltxfilter.errors import OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import StreamPlan
from ltxfilter.media.container.copied_streams import CopiedStreams, lasting_tags, read_again
from ltxfilter.media.container.demux import open_container
from ltxfilter.media.container.source import ContainerSource
from ltxfilter.media.encoding.settings import MOV_FAMILY, EncoderSettings, configure
from ltxfilter.media.encoding.side_data import display_matrix_of
from ltxfilter.media.encoding.thread_priority import ordinary_priority
from ltxfilter.media.pyav_compat import fraction, open_output, time_base_of
from ltxfilter.options import OutputOptions

LEAST_CLOCK = Fraction(1, 90000)  # seconds; an output without a rate is at least as fine
TELLING_CODECS = {"libx264", "libx265", "mpeg4", "mpeg2video", "h264_nvenc", "hevc_nvenc"}
TELLING_MUXERS = {*MOV_FAMILY, "nut"}  # nut: see nut.py
BUFFER = 1 << 20  # bytes given to a Python file at a time


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What goes into a container, as far as it is known before the first frame."""

    muxer: str  # FFmpeg's name
    muxer_options: Mapping[str, str]  # the user's
    recipe: EncoderSettings
    info: VideoInfo
    rate: Fraction | None  # frames per second; None: their own times
    source: ContainerSource | None  # whose other streams go along
    plan: tuple[StreamPlan, ...]

    @property
    def nominal_rate(self) -> Fraction:
        """The rate to tell an encoder: for a variable one, twice the source's usual."""
        return self.rate or nominal_rate(self.info)

    @property
    def encoder_clock(self) -> Fraction:
        """Seconds per tick of the encoder: one frame, if the rate is constant."""
        return 1 / self.rate if self.rate else self.clock

    @property
    def clock(self) -> Fraction:
        """Seconds per tick of the output: the source's and the output's times are whole ticks."""
        base = LEAST_CLOCK
        if self.source is not None and self.source.stream.time_base:
            base = time_base_of(self.source.stream)
        if self.muxer == "avi":
            return self.encoder_clock if self.rate else base
        if self.rate is None:
            return base / (2 * -(-base // LEAST_CLOCK))
        ticks = lcm((1 / self.rate).denominator, base.denominator)
        return Fraction(1, ticks) if ticks < 1 << 31 else base

    @property
    def options(self) -> dict[str, str]:
        """What the muxer is told."""
        ours = {"max_interleave_delta": "500000", "flush_packets": "1"}
        if self.muxer in MOV_FAMILY and not self._has_cover:  # in fragments its track would stay
            # delay_moov: edit lists need the first packets; a finer clock keeps them exact.
            ours |= {"movflags": "hybrid_fragmented+delay_moov", "movie_timescale": "90000"}
        return {**ours, **self.muxer_options}

    @property
    def loses_aspect(self) -> bool:
        """True if the sample aspect is lost: PyAV cannot tell muxers, so the codec has to."""
        tells = self.recipe.codec in TELLING_CODECS or self.muxer in TELLING_MUXERS
        return self.info.sample_aspect != 1 and not tells

    @property
    def _has_cover(self) -> bool:
        covers = {} if self.source is None else self.source.covers
        return any(plan.action == "copy" and plan.index in covers for plan in self.plan)


def nominal_rate(info: VideoInfo) -> Fraction:
    """Return about how many frames per second an output with the frames' own times has."""
    rate = 2 / info.interval if info.interval else Fraction(60)
    return rate.limit_denominator(1 << 30)


class Muxer:
    """An open container; libav's errors pass through, and nothing may be muxed after one."""

    def __init__(self, layout: MuxPlan, target: Any, picture: av.VideoFrame | None) -> None:
        """Create the streams and write the header.

        target: URL or writable file. picture: the first decoded frame, whose lasting side data
        goes into the header.
        """
        self._layout = layout
        self._copied: CopiedStreams | None = None
        self._inside: set[int] = set()  # ticks of the pictures that the encoder holds
        recipe = layout.recipe if picture is None else layout.recipe.with_hdr(picture)
        self._layout = layout = replace(layout, recipe=recipe)
        self._out = open_output(
            target,
            format=layout.muxer,
            container_options=layout.options,
            buffer_size=BUFFER,
        )
        matrix = None if picture is None else display_matrix_of(picture)
        if layout.source is None:
            self._video = self._add_video(matrix)
        else:
            self._add_all(layout.source, matrix)
        with ordinary_priority():
            self._out.start_encoding()

    def encode(
        self, picture: av.VideoFrame | None, origin: Fraction, patience: float = inf
    ) -> None:
        """Encode a picture stamped in ticks of the encoder, None to drain; mux what is ready.

        origin: output seconds of the encoder's tick 0. patience: seconds after which no more
        packets are asked for; see `lost`.
        """
        clock, base = self._layout.encoder_clock, self._layout.clock
        deadline = monotonic() + patience
        if picture is not None and picture.pts is not None:
            self._inside.add(picture.pts)
        for packet in self._video.codec_context.encode_lazy(picture):
            assert packet.pts is not None
            self._inside.discard(packet.pts)
            dts = packet.pts if packet.dts is None else packet.dts
            shown, decoded = origin + packet.pts * clock, origin + dts * clock
            lasting = clock if self._layout.rate else (packet.duration or 0) * clock
            packet.pts, packet.dts = round(shown / base), round(decoded / base)
            packet.duration = round(lasting / base)
            packet.time_base, packet.stream = base, self._video
            self.copy(decoded)
            self._out.mux(packet)
            if monotonic() > deadline:
                return

    @property
    def lost(self) -> int | None:
        """The tick of the first picture that went in and has not come out."""
        return min(self._inside, default=None)

    def copy(self, until: Fraction | None) -> None:
        """Mux the copied packets up to `until` output seconds; None for all that are left."""
        if self._copied is not None:
            for packet in self._copied.until(until):
                try:
                    self._out.mux(packet)
                except av.error.InvalidDataError:  # libav's own filters found it damaged
                    self._copied.damaged += 1

    def read_copied(self) -> None:
        """Start reading the packets to copy: from the source's queue, or from its file again."""
        source, copied = self._layout.source, self._copied
        if source is None or copied is None:
            return
        if not source.seekable:
            copied.read_from(source.queue)
        elif copied.indices:
            again = open_container(source.options, None, source.options.format)
            copied.read_from(read_again(again, copied.indices, *source.span))

    def close(self) -> None:
        """Write the trailer."""
        if self._copied is not None:
            self._copied.close()
        self._out.close()

    def _add_all(self, source: ContainerSource, matrix: tuple[int, ...] | None) -> None:
        """Add all streams in the input's order, and what belongs to the file as a whole."""
        self._copied = CopiedStreams(source.container, self._layout.plan, source.zero, *source.span)
        for plan in self._layout.plan:
            if plan.action == "draw":
                self._video = self._add_video(matrix)
                self._video.metadata.update(lasting_tags(source.stream.metadata))
                self._video.disposition = source.stream.disposition
            else:
                self._copied.add(self._out, plan.index, source.covers.get(plan.index))
        self._out.metadata.update(lasting_tags(source.container.metadata))
        self._out.set_chapters(_chapters(source))

    def _add_video(self, matrix: tuple[int, ...] | None) -> av.VideoStream:
        layout = self._layout
        stream = self._out.add_stream(layout.recipe.codec, rate=layout.nominal_rate)
        assert isinstance(stream, av.VideoStream)
        configure(
            stream.codec_context,
            layout.recipe,
            layout.info,
            layout.encoder_clock,
            layout.nominal_rate,
        )
        stream.time_base = layout.clock
        if matrix is not None:
            stream.set_display_matrix(matrix)
        return stream


def check_header(layout: MuxPlan, name: str) -> None:
    """Write the header to memory and forget it. Raises OutputError if it cannot be written."""
    buffer = io.BytesIO()
    try:
        Muxer(layout, buffer, None)
    except (av.FFmpegError, ValueError, OSError) as error:
        kept = ", ".join(plan.codec for plan in layout.plan if plan.action == "copy")
        raise OutputError(
            f"{name}: {layout.muxer} cannot hold {layout.recipe.codec} {layout.recipe.pix_fmt}"
            f"{' with ' + kept if kept else ''}: {getattr(error, 'strerror', None) or error}; "
            "another container such as .mkv can"
        ) from error
    finally:
        buffer.close()  # so that PyAV forgets the trailer, which some muxers refuse an empty file


def muxer_name(options: OutputOptions, given: str | None) -> str:
    """Return FFmpeg's name of the container to write. Raises OutputError."""
    name = given or options.format
    if name:
        try:
            return av.ContainerFormat(name, "w").name
        except ValueError:
            raise OutputError(f"-f {name}: FFmpeg writes no such format") from None
    try:
        with open_output(_Named(options.path)) as container:
            return container.format.name
    except ValueError:
        raise OutputError(
            f"{options.path}: its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, or -f"
        ) from None


class _Named(io.BytesIO):
    """A file in memory with a name, from which libav guesses the format."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _chapters(source: ContainerSource) -> list[Any]:
    """Return the source's chapters, moved onto the output's clock and cut to what is kept."""
    start, end = source.span
    kept = []
    for chapter in source.container.chapters():
        base = fraction(chapter["time_base"]) or Fraction(1)
        first = max(Fraction(chapter["start"] * base), start or source.zero)
        last = chapter["end"] * base if end is None else min(chapter["end"] * base, end)
        if first < last:
            begin, until = ((t - source.zero) / base for t in (first, last))
            kept.append({**chapter, "start": round(begin), "end": round(until)})
    return kept
