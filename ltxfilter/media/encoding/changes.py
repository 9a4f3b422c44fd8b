"""The line that says what the pictures lose on their way into an encoder, and how to keep it."""

from __future__ import annotations

import logging

import av
import av.codec.codec

from ltxfilter.errors import LtxFilterError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.encoding.defaults import default_codec
from ltxfilter.media.encoding.pixel_formats import (
    Encoder,
    choose_pix_fmt,
    known_formats,
    loses_alpha,
)
from ltxfilter.media.format_names import STDOUT_NAMES
from ltxfilter.media.pixfmt import planar_name
from ltxfilter.options import OutputOptions

log = logging.getLogger("ltxfilter.media")

LOSSLESS = "-c:v ffv1 and a name that ends in .mkv"  # what takes nearly every format and size


def say_changes(
    info: VideoInfo,
    encoder: Encoder,
    video: VideoInfo,
    muxer: str,
    options: OutputOptions,
    *,
    playable: bool,
) -> None:
    """Warn in one line if the frames of `info` are not encoded as they are.

    video: what `encoder` is given. muxer: FFmpeg's name of the format. playable: whether the pixel
    format is the one that players take. A format that the user named is not mentioned.
    """
    padded = (info.width, info.height) != (video.width, video.height)
    converted = options.pix_fmt is None and planar_name(video.pix_fmt) != info.pix_fmt
    if not padded and not converted:
        return
    said = [_becomes(info, video, padded=padded, converted=converted)]
    if converted and playable:
        said.append("which players take")
    elif converted:
        said.append(f"since {encoder.name} cannot encode {info.pix_fmt}")
    if converted and loses_alpha(info, video.pix_fmt):
        said.append("without its alpha")
    if padded:
        said.append(_repeated(info, video))
    name = "standard output" if options.path in STDOUT_NAMES else options.shown
    if not converted:
        route = _size_kept(encoder, video)
    else:
        route = _format_kept(info, muxer) if options.codec is None else f"{LOSSLESS} keep it"
    log.warning("%s: %s; %s", name, ", ".join(said), route)


def _becomes(info: VideoInfo, video: VideoInfo, *, padded: bool, converted: bool) -> str:
    old, new = [], []
    if padded:
        old.append(f"{info.width}x{info.height}")
        new.append(f"{video.width}x{video.height}")
    if converted:
        old.append(info.pix_fmt)
        new.append(video.pix_fmt)
    return f"{' '.join(old)} is converted to {' '.join(new)}"


def _repeated(info: VideoInfo, video: VideoInfo) -> str:
    wider, higher = video.width > info.width, video.height > info.height
    edges = [name for name, more in (("column", wider), ("row", higher)) if more]
    return f"with the last {' and '.join(edges)} repeated"


def _format_kept(info: VideoInfo, muxer: str) -> str:
    """Return what to type so that the pixel format of `info` is encoded."""
    try:
        usual = av.codec.codec.Codec(default_codec(muxer, info, "", info.pix_fmt), "w")
        if planar_name(choose_pix_fmt(usual, info, None)) == info.pix_fmt:
            return f"-pix_fmt {choose_pix_fmt(usual, info, None)} keeps it"
    except (LtxFilterError, ValueError):
        pass
    return f"{LOSSLESS} keep it"


def _size_kept(encoder: Encoder, video: VideoInfo) -> str:
    """Return what to type so that an odd size is encoded."""
    whole = "yuv444p" if video.depth <= 8 else f"yuv444p{video.depth}le"
    if len(video.layout) == 1:
        whole = video.pix_fmt
    if whole in known_formats(encoder) and whole != video.pix_fmt:
        return f"-pix_fmt {whole} keeps the size"
    return f"{LOSSLESS} keep the size"
