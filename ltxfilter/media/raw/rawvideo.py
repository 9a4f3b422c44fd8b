"""rawvideo: frames without any header; their geometry is declared, or found out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.avframe import FULL
from ltxfilter.media.base import Source
from ltxfilter.media.format_names import RAW
from ltxfilter.media.pipe.stdio import PipeInput
from ltxfilter.media.raw.base import (
    RawSink,
    RawSource,
    check_size,
    log,
    output_rate,
    refuse_encoding,
)
from ltxfilter.media.raw.packing import SampleLayout
from ltxfilter.options import InputOptions, OutputOptions

ADVICE = (
    "Say what it holds: -s 1920x1080 -pix_fmt yuv420p -r 25; or let it describe itself: "
    "ffmpeg -i in.mp4 -f yuv4mpegpipe - | ltxfilter | ffmpeg -i - out.mp4 "
    "(-f nut -c:v rawvideo keeps variable timing and sound too)"
)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the bytes of a headerless stream stand for."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    pix_fmt: str
    """FFmpeg's name; packed formats too."""

    rate: Fraction
    """Frames per second."""

    color: ColorInfo = field(default_factory=ColorInfo)
    """How samples stand for colour."""

    sample_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""


class RawvideoSource(RawSource):
    """Frames of a headerless stream."""

    def __init__(self, stream: PipeInput, geometry: Geometry, options: InputOptions) -> None:
        """Describe the frames, without reading any.

        Raises OptionError for a geometry that cannot be held.
        """
        try:
            check_size(stream.name, geometry.width, geometry.height)
            byte_layout = SampleLayout(geometry.pix_fmt, geometry.width, geometry.height)
        except InputError as error:
            raise OptionError(str(error)) from None
        super().__init__(stream, _video_info(geometry, byte_layout), byte_layout, options)
        self.duration = self.duration_of(stream.size)

    def note_incomplete(self, count: int) -> None:
        """Warn that the last frame is not whole: the only sign of a wrong geometry."""
        what = (
            f"{self.info.width}x{self.info.height} {self.byte_layout.name} "
            f"({self.byte_layout.frame_bytes} bytes a frame)"
        )
        if not count:
            return
        if not self.read:
            raise InputError(f"{self.name}: {count} bytes are not even one frame of {what}")
        log.warning(
            "%s: %d trailing bytes: is -s/-pix_fmt right? Taken as %s", self.name, count, what
        )


def geometry_from(options: InputOptions) -> Geometry | None:
    """Return the geometry that -s, -pix_fmt and -r declare; None if there is no -s nor -pix_fmt.

    Raises OptionError if some are missing.
    """
    given = {
        "-s": options.width and options.height and f"{options.width}x{options.height}",
        "-pix_fmt": options.pix_fmt,
        "-r": options.rate and str(options.rate),
    }
    if not given["-s"] and not given["-pix_fmt"]:
        return None
    missing = [flag for flag, value in given.items() if not value]
    if missing:
        told = " ".join(f"{flag} {value}" for flag, value in given.items() if value)
        raise OptionError(
            f"raw video needs -s, -pix_fmt and -r: {told} is given, "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        )
    width, height = options.width or 0, options.height or 0
    return Geometry(width, height, options.pix_fmt or "", options.rate or Fraction(0))


def open_sink(options: OutputOptions, source: Source, rate: Fraction | None) -> RawSink:
    """Open a headerless output for frames of `source`, arranged as its own bytes were.

    Raises OutputError, OptionError.
    """
    info = source.info
    refuse_encoding(options, "rawvideo")
    pix_fmt = options.pix_fmt or source.raw_pix_fmt
    try:
        byte_layout = SampleLayout(pix_fmt, info.width, info.height)
    except InputError as error:
        raise OptionError(f"-pix_fmt {pix_fmt}: {error}") from None
    if byte_layout.planar != info.pix_fmt:
        raise OptionError(
            f"-pix_fmt {options.pix_fmt}: raw frames keep their samples ({info.pix_fmt}); "
            "convert in the ffmpeg that follows"
        )
    return RawSink(options, source, output_rate(info, rate, RAW), RAW, pack=byte_layout.pack)


def _video_info(geometry: Geometry, byte_layout: SampleLayout) -> VideoInfo:
    color = geometry.color
    if geometry.pix_fmt.startswith("yuvj") and not color.range:
        color = replace(color, range=FULL)
    return VideoInfo(
        geometry.width,
        geometry.height,
        byte_layout.planar,
        byte_layout.layout,
        geometry.rate,
        1 / geometry.rate,
        color,
        geometry.sample_aspect,
    )
