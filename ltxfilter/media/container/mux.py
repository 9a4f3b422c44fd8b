"""One output container: an encoded video and the streams copied beside it, merged by time."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, lcm
from pathlib import Path
from time import monotonic
from typing import Any

import av
import av.container

from ltxfilter.errors import OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import OtherStreams, StreamCopy, StreamPlan
from ltxfilter.media.encoding.settings import MOV_FAMILY, EncoderSettings, configure
from ltxfilter.media.encoding.side_data import display_matrix_of
from ltxfilter.media.encoding.thread_priority import ordinary_priority
from ltxfilter.media.format_names import IMAGES
from ltxfilter.media.many_files.names import MANY_FILES, SEGMENTS, is_pattern
from ltxfilter.media.pyav_compat import open_output
from ltxfilter.options import OutputOptions

LEAST_CLOCK = Fraction(1, 90000)  # seconds per tick; an output without a rate is at least as fine
# What can say that pixels are not square. nut: see pipe/nut_aspect.py.
ASPECT_CODECS = {"libx264", "libx265", "mpeg4", "mpeg2video", "h264_nvenc", "hevc_nvenc"}
ASPECT_MUXERS = {*MOV_FAMILY, "nut"}
ENDLESS = {"apng": {"plays": "0"}, "webp": {"loop": "0"}}  # how animations repeat, as a GIF does
MANY_NAMES = {"strftime", "update", "frame_pts"}  # options of image2 that name files otherwise
UNCLOSED: list[av.container.OutputContainer] = []  # kept, for libav fails where they are released
BUFFER = 1 << 20  # bytes; what a Python file is given at a time


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What goes into a container, as far as it is known before the first frame."""

    muxer: str
    """FFmpeg's name of the format."""

    muxer_options: Mapping[str, str]
    """What the user tells the muxer."""

    settings: EncoderSettings
    """How the video is encoded."""

    info: VideoInfo
    """What the frames have in common."""

    rate: Fraction | None
    """Frames per second; None: the frames keep their own times."""

    others: OtherStreams | None
    """What the source carries beside the video, if anything."""

    streams: tuple[StreamPlan, ...]
    """What becomes of each stream of the input; empty if that carries video only."""

    @property
    def nominal_rate(self) -> Fraction:
        """The rate to tell an encoder, frames per second; see `nominal_rate`."""
        return self.rate or nominal_rate(self.info)

    @property
    def encoder_clock(self) -> Fraction:
        """Seconds per tick of the encoder: one frame, if the rate is constant."""
        return 1 / self.rate if self.rate else self.clock

    @property
    def clock(self) -> Fraction:
        """Seconds per tick of the output: the source's and the output's times are whole ticks."""
        source_base = None if self.others is None else self.others.video_time_base
        base = source_base or LEAST_CLOCK
        if self.muxer == "avi":
            return self.encoder_clock if self.rate else base
        if self.rate is None:
            return base / (2 * -(-base // LEAST_CLOCK))
        ticks = lcm((1 / self.rate).denominator, base.denominator)
        return Fraction(1, ticks) if ticks < 1 << 31 else base

    @property
    def options(self) -> dict[str, str]:
        """What the muxer is told: our defaults, and the user's own words."""
        ours = {"max_interleave_delta": "500000", "flush_packets": "1"}
        has_cover = self.others is not None and self.others.has_cover(self.streams)
        if self.muxer in MOV_FAMILY and not has_cover:  # fragments would keep a cover's track
            # delay_moov: edit lists need the first packets; a finer clock keeps them exact.
            ours |= {"movflags": "hybrid_fragmented+delay_moov", "movie_timescale": "90000"}
        ours |= ENDLESS.get(self.muxer, {})
        return {**ours, **self.muxer_options}

    @property
    def loses_aspect(self) -> bool:
        """True if the sample aspect is lost: PyAV cannot tell muxers, so the codec has to."""
        tells = self.settings.codec in ASPECT_CODECS or self.muxer in ASPECT_MUXERS
        return self.info.sample_aspect != 1 and not tells


def nominal_rate(info: VideoInfo) -> Fraction:
    """Return about how many frames per second an output with the frames' own times has.

    That is twice the source's usual rate, since every interval is halved.
    """
    rate = 2 / info.interval if info.interval else Fraction(60)
    return rate.limit_denominator(1 << 30)


class Muxer:
    """An open container; libav's errors pass through, and nothing may be muxed after one."""

    def __init__(
        self,
        plan: MuxPlan,
        target: Any,
        decoded: av.VideoFrame | None,
        start: Fraction = Fraction(0),
        opener: Callable[[str, int, dict[str, str]], Any] | None = None,
    ) -> None:
        """Create the streams and write the header.

        target: URL or writable file. decoded: the first decoded frame, whose lasting side data goes
        into the header. start: seconds of output at which the encoder's tick 0 is shown. opener:
        opens each file of a muxer that writes many; see `OutputFiles.opener`.
        """
        self.start = start
        settings = plan.settings if decoded is None else plan.settings.with_hdr(decoded)
        self._plan = replace(plan, settings=settings)
        self._copied: StreamCopy | None = None
        self._muxed = 0  # packets of the video
        self._inside: set[int] = set()  # ticks of the pictures that the encoder holds
        self._out = open_output(
            target,
            format=plan.muxer,
            container_options=plan.options,
            buffer_size=BUFFER,
            io_open=opener,
        )
        matrix = None if decoded is None else display_matrix_of(decoded)
        if plan.others is None:
            self._video = self._add_video(matrix)
        else:
            self._add_all(plan.others, matrix)
        with ordinary_priority():
            self._out.start_encoding()

    def start_copying(self) -> None:
        """Begin to read the packets that are copied."""
        if self._copied is not None:
            self._copied.start()

    def encode(self, picture: av.VideoFrame | None, patience: float = inf) -> None:
        """Encode a picture stamped in ticks of the encoder, None to drain; mux what is ready.

        patience: seconds after which no more packets are asked for; see `first_lost`.
        """
        deadline = monotonic() + patience
        if picture is not None and picture.pts is not None:
            self._inside.add(picture.pts)
        for packet in self._video.codec_context.encode_lazy(picture):
            assert packet.pts is not None
            self._inside.discard(packet.pts)
            if self._plan.settings.codec == "libwebp_anim":  # one packet holds all
                self._inside.clear()
            self.copy(self._place(packet))
            self._out.mux(packet)
            self._muxed += 1
            if monotonic() > deadline:
                return

    @property
    def first_lost(self) -> int | None:
        """The tick of the first picture that went in and has not come out."""
        return min(self._inside, default=None)

    def copy(self, until: Fraction | None) -> None:
        """Mux the copied packets up to `until`, seconds of output; None for all that are left."""
        if self._copied is not None:
            for packet in self._copied.until(until):
                try:
                    self._out.mux(packet)
                except av.error.InvalidDataError:  # libav's own filters found it damaged
                    self._copied.count_damaged()

    def close(self) -> None:
        """Write the trailer."""
        if self._copied is not None:
            self._copied.close()
        if self._plan.muxer == "dash" and not self._muxed:
            UNCLOSED.append(self._out)  # libav would divide by the length of what it wrote
        else:
            self._out.close()

    def _place(self, packet: av.Packet[av.VideoStream]) -> Fraction:
        """Put an encoded packet onto the output's clock; return when it is decoded, in seconds."""
        clock, base = self._plan.encoder_clock, self._plan.clock
        assert packet.pts is not None
        dts = packet.pts if packet.dts is None else packet.dts
        shown, decoded = self.start + packet.pts * clock, self.start + dts * clock
        duration = clock if self._plan.rate else (packet.duration or 0) * clock
        packet.pts, packet.dts = round(shown / base), round(decoded / base)
        packet.duration = round(duration / base)
        packet.time_base, packet.stream = base, self._video
        return decoded

    def _add_all(self, others: OtherStreams, matrix: tuple[int, ...] | None) -> None:
        """Add all streams in the plan's order, and what belongs to the file as a whole."""
        self._copied = others.open_copy(self._plan.streams)
        for stream in self._plan.streams:
            if stream.action == "interpolate":
                self._video = self._add_video(matrix)
            else:
                self._copied.add(self._out, stream.index)
        others.copy_tags(self._out, self._video)

    def _add_video(self, matrix: tuple[int, ...] | None) -> av.VideoStream:
        """Add the encoded stream. matrix: how to turn or flip it for display, if at all."""
        plan = self._plan
        stream = self._out.add_stream(plan.settings.codec, rate=plan.nominal_rate)
        assert isinstance(stream, av.VideoStream)
        configure(
            stream.codec_context, plan.settings, plan.info, plan.encoder_clock, plan.nominal_rate
        )
        stream.time_base = plan.clock
        if matrix is not None:
            stream.set_display_matrix(matrix)
        return stream


def check_header(plan: MuxPlan, name: str, content: str) -> None:
    """Write the header to memory and forget it. Raises OutputError if it cannot be written.

    content: FFmpeg's name of the format that is written; of many files, that of each one.
    """
    if content == IMAGES:  # its files have no header but the encoder's
        return
    if content != plan.muxer:
        plan = replace(plan, muxer=content, muxer_options={})
    buffer = io.BytesIO()
    try:
        Muxer(plan, buffer, None)
    except (av.FFmpegError, ValueError, OSError) as error:
        kept = ", ".join(stream.codec for stream in plan.streams if stream.action == "copy")
        raise OutputError(
            f"{name}: {plan.muxer} cannot hold {plan.settings.codec} {plan.settings.pix_fmt}"
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
            found = av.ContainerFormat(name, "w").name
        except ValueError:
            raise OutputError(f"-f {name}: FFmpeg writes no such format") from None
    else:
        found = _guessed(options.path)
    if found in MANY_FILES and options.path == "-":
        raise OutputError(f"-f {found}: writes many files; name them, not standard output")
    if found == IMAGES and not is_pattern(options.path) and not MANY_NAMES & options.muxer.keys():
        path = Path(options.path)
        numbered = path.with_name(f"{path.stem}%06d{path.suffix}")
        raise OutputError(f"{path}: is one picture; name them by number: {numbered}")
    return found


def content_format(muxer: str, options: OutputOptions) -> str:
    """Return FFmpeg's name of the format of the files that a muxer of segments writes."""
    if muxer == "hls":
        return "mp4" if options.muxer.get("hls_segment_type") == "fmp4" else "mpegts"
    if muxer == "dash":
        return "webm" if options.muxer.get("dash_segment_type") == "webm" else "mp4"
    if muxer in SEGMENTS:
        name = options.muxer.get("segment_format")
        return av.ContainerFormat(name, "w").name if name else _guessed(options.path)
    return muxer


def _guessed(path: str) -> str:
    """Return FFmpeg's name of the format that a name asks for. Raises OutputError."""
    try:
        with open_output(_Named(path)) as container:
            return container.format.name
    except ValueError:
        raise OutputError(
            f"{path}: its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, or -f"
        ) from None


class _Named(io.BytesIO):
    """A file in memory with a name, from which libav guesses the format."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
