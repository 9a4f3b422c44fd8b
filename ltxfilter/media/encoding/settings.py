"""Encoder, pixel format and options of the output: chosen, and checked by opening the encoder."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.codec.codec
import av.logging

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.encoding.side_data import HDR_TRANSFERS, encoder_params
from ltxfilter.media.encoding.thread_priority import ordinary_priority
from ltxfilter.media.picture_formats import as_pictures, picture_encoder, picture_pix_fmt
from ltxfilter.media.pyav_compat import open_output
from ltxfilter.options import OutputOptions

log = logging.getLogger("ltxfilter.media")

H265_MUXERS = {"mp4", "mov", "matroska", "mpegts"}
MOV_FAMILY = {"mp4", "mov", "ipod", "3gp", "3g2", "psp", "f4v"}
QUALITY = {  # encoder -> options where the user asked for no rate and no quality
    "libx264": {"crf": "18", "preset": "medium"},
    "libx265": {"crf": "20", "preset": "medium"},
    "libsvtav1": {"crf": "26", "preset": "8"},
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "3"},
    "libvpx": {"crf": "8", "b": "8M", "cpu-used": "3"},
    "mpeg4": {"q": "2"},
    "mpeg2video": {"q": "2"},
    "mjpeg": {"q": "2"},
    "h264_nvenc": {"rc": "vbr", "cq": "19", "preset": "p5"},
    "hevc_nvenc": {"rc": "vbr", "cq": "21", "preset": "p5"},
    "av1_nvenc": {"rc": "vbr", "cq": "25", "preset": "p5"},
}
UNUSABLE = {  # encoder -> formats that FFmpeg lists, but that the encoder or players do not take
    "libx265": ("yuva420p", "yuva420p10le"),
    "libvpx-vp9": ("yuva422p", "yuva444p", "gbrap"),
}
# Options that set the quality or the bit rate, so that our own quality does not apply.
RATE_OPTIONS = {"crf", "b", "qp", "q", "qscale", "global_quality", "cq", "lossless"}
REFUSED = re.compile(r"Unknown option|Error parsing option|Invalid value for")
LAMBDA = 118  # units of global_quality per step of -q (FFmpeg's FF_QP2LAMBDA)
LOOKAHEAD = {  # encoder -> preset -> frames that it looks ahead
    "libx264": {"ultrafast": 0, "superfast": 0, "veryfast": 10, "faster": 20, "fast": 30,
                "medium": 40, "slow": 50, "slower": 60, "veryslow": 60, "placebo": 60},
    "libx265": {"ultrafast": 5, "superfast": 10, "veryfast": 15, "faster": 15, "fast": 15,
                "medium": 20, "slow": 25, "slower": 40, "veryslow": 40, "placebo": 60},
}  # fmt: skip
# Measured memory of an encoder in frames: what it always holds, and more per frame of lookahead.
HOLDS = {"libx264": (30, 2.5), "libx265": (60, 2.5), "libsvtav1": (94, 0), "libvpx-vp9": (64, 0)}


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How to encode: checked, except for what the first frame's side data adds."""

    codec: str
    """FFmpeg's name of the encoder."""

    pix_fmt: str
    """FFmpeg's name of the pixel format that it is given."""

    options: Mapping[str, str]
    """As libavcodec takes them."""

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

    def held_bytes(self, info: VideoInfo) -> int:
        """Estimate how many bytes the encoder holds at most, for frames of `info`."""
        base, per_frame = HOLDS.get(self.codec, (8, 1))
        preset = self.options.get("preset", "medium")
        ahead = LOOKAHEAD.get(self.codec, {}).get(preset, 0)
        if self.options.get("tune") == "zerolatency":
            ahead = 0
        return int((base + per_frame * ahead) * info.frame_bytes)


def encoder_settings(
    options: OutputOptions, muxer: str, info: VideoInfo, rate: Fraction
) -> EncoderSettings:
    """Choose encoder, pixel format and options, and check them by opening the encoder once.

    muxer: FFmpeg's name of the output's format. rate: frames per second. Raises OptionError for
    what the user wrote, OutputError for what cannot be encoded.
    """
    codec = options.codec or picture_encoder(muxer, options.path)
    codec = codec or default_codec(muxer, info, options.path)
    try:
        encoder = av.codec.codec.Codec(codec, "w")
    except ValueError:
        raise OptionError(f"-c:v {codec}: FFmpeg has no such encoder here") from None
    if encoder.type != "video":
        raise OptionError(f"-c:v {codec}: is not a video encoder")
    try:
        open_output(io.BytesIO(), format=muxer).add_stream(codec)
    except ValueError:
        raise OutputError(
            f"{options.path}: {muxer} cannot hold {encoder.canonical_name} video; choose another "
            "-c:v or another container such as .mkv"
        ) from None
    settings = EncoderSettings(
        codec, choose_pix_fmt(encoder, info, options.pix_fmt), _merged(codec, options, info)
    )
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    configure(context, settings, as_pictures(codec, info), 1 / rate, rate)
    _try_open(context, settings, options)
    return settings


def default_codec(muxer: str, info: VideoInfo, path: str) -> str:
    """Return FFmpeg's name of the encoder for a container where the user named none.

    muxer: FFmpeg's name of the format. path: of the output, for messages. Raises OutputError.
    """
    deep = info.depth > 10 or info.color.transfer in HDR_TRANSFERS
    rgb = any(shape.role == "r" for shape in info.layout)
    alpha = any(shape.role == "a" for shape in info.layout)
    if muxer in ("nut", "rawvideo"):
        return "rawvideo"
    if alpha and muxer in ("mov", "matroska"):
        return "prores_ks" if muxer == "mov" else "ffv1"
    if muxer in H265_MUXERS:
        return "libx265" if deep or rgb else "libx264"
    if muxer in MOV_FAMILY:
        return "libx264"
    if muxer == "webm":
        return "libsvtav1" if info.depth > 8 and not alpha else "libvpx-vp9"
    table = {"avi": "mpeg4", "flv": "libx264", "mpeg": "mpeg2video", "vob": "mpeg2video",
             "mxf": "mpeg2video", "h264": "libx264", "hevc": "libx265", "ivf": "libsvtav1",
             "asf": "mpeg4", "mpegvideo": "mpeg2video", "mpeg2video": "mpeg2video"}  # fmt: skip
    if muxer not in table:
        raise OutputError(
            f"{path}: no usual video encoder for {muxer}; name one with -c:v, or write .mkv, "
            ".mp4, .mov, .webm or .ts"
        )
    return table[muxer]


def choose_pix_fmt(encoder: av.codec.codec.Codec, info: VideoInfo, wanted: str | None) -> str:
    """Return the pixel format to encode in: the stream's own, or the one that loses least.

    Raises OptionError if `wanted` is not one that the encoder takes.
    """
    known = [fmt.name for fmt in encoder.video_formats or ()]
    known = [name for name in known if name not in UNUSABLE.get(encoder.name, ())]
    if wanted is not None:
        if known and wanted not in known:
            raise OptionError(f"-pix_fmt {wanted}: {encoder.name} takes {', '.join(known)}")
        return wanted
    if pictures := picture_pix_fmt(encoder.name, info):
        return pictures
    if not known or info.pix_fmt in known:
        return info.pix_fmt
    alpha = any(shape.role == "a" for shape in info.layout)
    rgb = any(shape.role == "r" for shape in info.layout)
    alike = [name for name in known if not name.startswith("yuvj") and rgb == ("b" in name)]
    if len(info.layout) == 1:  # gray has no chroma to lose
        alike = [name for name in alike if "420" in name or "gray" in name]
    best, loss = av.codec.codec.find_best_pix_fmt_of_list(alike or known, info.pix_fmt, alpha)
    if best is None:
        raise OptionError(f"-c:v {encoder.name}: takes {', '.join(known)}, not {info.pix_fmt}")
    log.warning(
        "%s cannot encode %s; converted to %s%s",
        encoder.name,
        info.pix_fmt,
        best.name,
        ", without its alpha" if loss & av.codec.codec.PixFmtLoss.ALPHA else "",
    )
    return best.name


def configure(
    context: av.VideoCodecContext,
    settings: EncoderSettings,
    info: VideoInfo,
    time_base: Fraction,
    rate: Fraction,
) -> None:
    """Set up an encoder that is not yet open.

    time_base: seconds per tick of its timestamps. rate: frames per second.
    """
    context.width, context.height, context.pix_fmt = info.width, info.height, settings.pix_fmt
    context.framerate = rate
    context.time_base = time_base
    context.sample_aspect_ratio = info.sample_aspect
    context.color_range = info.color.range
    context.colorspace = info.color.matrix
    context.color_primaries = info.color.primaries
    context.color_trc = info.color.transfer
    context.options = dict(settings.options)


def _merged(codec: str, options: OutputOptions, info: VideoInfo) -> dict[str, str]:
    """Return the default options, overridden by the user's, as libavcodec names them."""
    given = dict(options.encoder)
    defaults = dict(QUALITY.get(codec, {}))
    if RATE_OPTIONS & set(given):
        defaults = {
            key: defaults[key] for key in ("preset", "row-mt", "cpu-used") if key in defaults
        }
    merged = {**defaults, **given, **options.color}
    for name in ("q", "qscale"):
        if name in merged:
            merged["global_quality"] = str(round(_number(name, merged.pop(name)) * LAMBDA))
            merged["flags"] = merged.get("flags", "") + "+qscale"
    if info.color.chroma_location:
        merged.setdefault("chroma_sample_location", str(info.color.chroma_location))
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; it writes to stderr by itself
    if codec == "libx265":
        quiet = [] if "log-level" in merged.get("x265-params", "") else ["log-level=error"]
        merged["x265-params"] = ":".join([*filter(None, [merged.get("x265-params")]), *quiet])
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
        what = "; ".join([what, *(text.strip() for _, _, text in said)])
        if written:
            raise OptionError(f"{settings.codec} does not take {shown}: {what}") from error
        raise OutputError(
            f"{options.path}: {settings.codec} cannot encode {context.width}x{context.height} "
            f"{settings.pix_fmt}: {what}"
        ) from error
    finally:
        av.logging.set_level(level)
    for _, _, text in said:
        if REFUSED.match(text):  # within x264-params and its like
            raise OptionError(f"{settings.codec} does not take {shown}: {text.strip()}")
    unknown = set(context.options) & set(written)
    if unknown:
        raise OptionError(f"{settings.codec} has no option {', '.join(sorted(unknown))}")
