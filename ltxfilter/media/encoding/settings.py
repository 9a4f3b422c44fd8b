"""Encoder, pixel format and options of the output: chosen, and checked by opening the encoder."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.codec.codec
import av.logging

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.carried.items import MOV_FAMILY
from ltxfilter.media.encoding.changes import say_changes
from ltxfilter.media.encoding.defaults import (
    MPEGTS_CODECS,
    default_codec,
    default_options,
)
from ltxfilter.media.encoding.encoded_video import encoded_video, padded_sizes, tagged
from ltxfilter.media.encoding.ffmpeg_build import missing_device, software_way
from ltxfilter.media.encoding.library_logs import quiet_svt, x265_log_level
from ltxfilter.media.encoding.pixel_formats import (
    Encoder,
    choose_pix_fmt,
    loses_alpha,
    playable_pix_fmt,
)
from ltxfilter.media.encoding.process_state import ordinary_priority
from ltxfilter.media.encoding.side_data import encoder_params
from ltxfilter.media.many_files.picture_formats import as_pictures, picture_encoder
from ltxfilter.media.pyav_compat import open_output
from ltxfilter.options import OutputOptions

REFUSED = re.compile(r"Unknown option|Error parsing option|Invalid value for")
LAMBDA = 118  # units of global_quality per step of -q (FFmpeg's FF_QP2LAMBDA)


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How to encode: checked, except for what the first frame's side data adds."""

    codec: str
    """The encoder's own name, such as libx265 where the user wrote hevc."""

    video: VideoInfo
    """The frames that it is given: pixel format, size and tags."""

    options: Mapping[str, str]
    """As libavcodec takes them."""

    tag: str | None = None
    """Four characters by which the container calls the codec; None leaves it to the muxer."""

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of the pixel format that the encoder is given."""
        return self.video.pix_fmt

    @property
    def described(self) -> str:
        """Encoder, pixel format and tag, for messages."""
        tagged = f" tagged {self.tag}" if self.tag else ""
        return f"{self.codec} {self.pix_fmt}{tagged}"

    def with_hdr(self, frame: av.VideoFrame) -> EncoderSettings:
        """Return settings that also write the HDR10 data of `frame`; what the user gave stays."""
        hdr = encoder_params(self.codec, frame)
        if hdr is None:
            return self
        option, params = hdr
        given = self.options.get(option, "")
        keys = {param.partition("=")[0] for param in given.split(":")}
        added = [param for param in params if param.partition("=")[0] not in keys]
        merged = ":".join([*filter(None, [given]), *added])
        return replace(self, options={**self.options, option: merged})


def encoder_settings(
    options: OutputOptions, muxer: str, info: VideoInfo, rate: Fraction
) -> EncoderSettings:
    """Choose encoder, pixel format and options, and check them by opening the encoder once.

    muxer: FFmpeg's name of the output's format. info: the source's frames. rate: frames per second.
    Warns of what the frames lose on the way. Raises OptionError for what the user wrote,
    OutputError for what cannot be encoded.
    """
    wanted = tagged(info, options)
    codec = options.codec or picture_encoder(muxer, options.path)
    codec = codec or default_codec(muxer, wanted, options.shown, options.pix_fmt)
    encoder = _encoder(codec, muxer, options)
    playable = None
    if options.codec is None and options.pix_fmt is None:
        playable = playable_pix_fmt(encoder, muxer, info)
    pix_fmt = playable or choose_pix_fmt(encoder, info, options.pix_fmt)
    video = tagged(_padded(encoder, encoded_video(info, pix_fmt, options)), options)
    video = as_pictures(encoder.name, video)
    settings = EncoderSettings(
        encoder.name,
        video,
        _merged(encoder.name, options, video),
        _tag(encoder, muxer, options.tag),
    )
    context = av.CodecContext.create(settings.codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    configure(context, settings, 1 / rate, rate)
    _try_open(context, settings, options)
    usual = picture_encoder(muxer, options.path) == encoder.name  # pictures are RGB as a rule
    if not usual or loses_alpha(info, pix_fmt):
        say_changes(info, encoder, video, muxer, options, playable=playable is not None)
    return settings


def _encoder(name: str, muxer: str, options: OutputOptions) -> Encoder:
    """Return the encoder called `name`, or the one of the codec `name`, if `muxer` can hold it.

    Raises OptionError, OutputError.
    """
    try:
        encoder = av.codec.codec.Codec(name, "w")
    except ValueError:
        raise OptionError(
            f"-c:v {name}: FFmpeg has no such encoder here{software_way(name)}"
        ) from None
    if encoder.type != "video":
        raise OptionError(f"-c:v {name}: is not a video encoder")
    if not _holds(muxer, encoder):
        raise OutputError(
            f"{options.shown}: {muxer} cannot hold {encoder.canonical_name} video; choose another "
            "-c:v or another container such as .mkv"
        )
    return encoder


def _holds(muxer: str, encoder: Encoder) -> bool:
    """Return True if a container holds what `encoder` makes, so that it can be read again."""
    if muxer == "mpegts" and encoder.canonical_name not in MPEGTS_CODECS:
        return False  # FFmpeg writes anything into it, as private data
    try:
        open_output(io.BytesIO(), format=muxer).add_stream(encoder.name)
    except ValueError:
        return False
    return True


def _padded(encoder: Encoder, video: VideoInfo) -> VideoInfo:
    """Return `video`, with a column or a row more where `encoder` takes no odd size."""
    sizes = list(padded_sizes(video))
    if len(sizes) == 1:
        return video
    return next((padded for padded in sizes if _opens(encoder, padded)), video)


def _opens(encoder: Encoder, video: VideoInfo) -> bool:
    """Return True if `encoder` opens for frames like `video`, without options of anybody."""
    context = av.CodecContext.create(encoder.name, "w")
    assert isinstance(context, av.VideoCodecContext)
    quiet = {"x265-params": "log-level=none"} if encoder.name == "libx265" else {}
    configure(context, EncoderSettings(encoder.name, video, quiet), Fraction(1, 25), Fraction(25))
    try:
        with ordinary_priority():
            context.open()
    except (av.FFmpegError, ValueError, OverflowError):
        return False
    return True


def _tag(encoder: Encoder, muxer: str, given: str | None) -> str | None:
    """Return the tag to write: the user's, or the one by which Apple's players know HEVC."""
    if given is None:
        return "hvc1" if encoder.canonical_name == "hevc" and muxer in MOV_FAMILY else None
    if len(given) == 4 and given.isascii() and given.isprintable():
        return given
    raise OptionError(f"-tag:v {given}: give four characters, such as hvc1")


def configure(
    context: av.VideoCodecContext,
    settings: EncoderSettings,
    time_base: Fraction,
    rate: Fraction,
) -> None:
    """Set up an encoder that is not yet open.

    time_base: seconds per tick of its timestamps. rate: frames per second.
    """
    info = settings.video
    context.width, context.height, context.pix_fmt = info.width, info.height, settings.pix_fmt
    context.framerate = rate
    context.time_base = time_base
    context.sample_aspect_ratio = info.sample_aspect
    context.color_range = info.color.range
    context.colorspace = info.color.matrix
    context.color_primaries = info.color.primaries
    context.color_trc = info.color.transfer
    context.options = dict(settings.options)
    if settings.tag is not None:
        context.codec_tag = settings.tag


def _merged(codec: str, options: OutputOptions, info: VideoInfo) -> dict[str, str]:
    """Return the default options, overridden by the user's, as libavcodec names them."""
    given = dict(options.encoder)
    merged = {**default_options(codec, set(given)), **given, **options.color}
    for name in ("q", "qscale"):
        if name in merged:
            merged["global_quality"] = str(round(_number(name, merged.pop(name)) * LAMBDA))
            merged["flags"] = merged.get("flags", "") + "+qscale"
    if info.color.chroma_location:
        merged.setdefault("chroma_sample_location", str(info.color.chroma_location))
    if codec == "libsvtav1":
        quiet_svt()
    if codec == "libx265":
        params = [merged["x265-params"]] if merged.get("x265-params") else []
        if "log-level" not in "".join(params):
            params.append(f"log-level={x265_log_level()}")
        merged["x265-params"] = ":".join(params)
    return merged


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"-{name} {text}: is not a number") from None


def _try_open(
    context: av.VideoCodecContext, settings: EncoderSettings, options: OutputOptions
) -> None:
    """Open `context`, or say which option keeps it from that. Raises OptionError, OutputError."""
    written = {**options.encoder, **options.color}
    shown = " ".join(f"-{key} {value}" for key, value in written.items())
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as said, ordinary_priority():
            context.open()
    except (av.FFmpegError, ValueError, OverflowError) as error:
        what = getattr(error, "strerror", None) or str(error)
        reasons = [text.strip() for _, _, text in said]
        if missing := missing_device(settings.codec):
            raise OutputError(f"{options.shown}: {missing}") from error
        what = "; ".join([what, *reasons])
        if written:
            raise OptionError(f"{settings.codec} does not take {shown}: {what}") from error
        raise OutputError(
            f"{options.shown}: {settings.codec} cannot encode {context.width}x{context.height} "
            f"{settings.pix_fmt}: {what}; name another encoder with -c:v"
        ) from error
    finally:
        av.logging.set_level(level)
    for _, _, text in said:
        if REFUSED.match(text):  # within x264-params and its like
            raise OptionError(f"{settings.codec} does not take {shown}: {text.strip()}")
    unknown = set(context.options) & set(written)
    if unknown:
        raise OptionError(f"{settings.codec} has no option {', '.join(sorted(unknown))}")
