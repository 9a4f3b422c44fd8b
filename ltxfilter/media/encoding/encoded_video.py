"""The video that an encoder is given: format, size and tags, by the source's and the options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import ColorInfo, PlaneShape, VideoInfo
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.options import OutputOptions

RGB, BT709, UNSPECIFIED, BT601, BT2020 = 0, 1, 2, 6, 9  # matrices and primaries, H.273
LIMITED, FULL = 1, 2  # code ranges, as FFmpeg numbers them
LEFT = 1  # the chroma location that MPEG-2, H.264 and H.265 assume where none is stated
SD_HEIGHT = 576  # pictures up to this height are BT.601 where nothing says so, taller ones BT.709


def has_role(info: VideoInfo, role: str) -> bool:
    """Return True if a plane of `info` is of this role: "r" of RGB, "a" alpha, "u" chroma."""
    return any(shape.role == role for shape in info.layout)


def matrix_of(info: VideoInfo) -> int:
    """Return the YUV matrix of a stream, or the one that suits it where none is tagged."""
    if info.color.matrix not in (RGB, UNSPECIFIED):
        return info.color.matrix
    if info.color.primaries == BT2020:
        return BT2020
    return BT601 if info.height <= SD_HEIGHT else BT709


def tagged(info: VideoInfo, options: OutputOptions) -> VideoInfo:
    """Return `info` with what -aspect and -color_* say of it; no sample is changed by that.

    Raises OptionError for a name that FFmpeg does not know.
    """
    aspect = info.sample_aspect
    if options.aspect is not None:
        aspect = options.aspect * Fraction(info.height, info.width)
    return replace(info, color=_overridden(info.color, options.color), sample_aspect=aspect)


def encoded_video(info: VideoInfo, pix_fmt: str, options: OutputOptions) -> VideoInfo:
    """Describe the frames of `info` in pixel format `pix_fmt`, FFmpeg's name.

    RGB becomes YUV of limited range by the matrix of its primaries or its size; YUV becomes RGB of
    full range. -color_range and -colorspace overrule that. Raises OptionError.
    """
    video = _in_format(info, pix_fmt)
    color = info.color
    if has_role(video, "r"):
        if not has_role(info, "r"):
            color = replace(color, matrix=RGB, range=FULL)
    elif has_role(info, "r"):
        color = replace(color, matrix=matrix_of(tagged(info, options)), range=LIMITED)
    elif color.matrix == RGB:  # gray that came from a format of RGB
        color = replace(color, matrix=UNSPECIFIED)
    if video.layout != info.layout and not color.chroma_location and _is_420(video.layout):
        color = replace(color, chroma_location=LEFT)
    return tagged(replace(video, color=color), options)


def padded_sizes(video: VideoInfo) -> Iterator[VideoInfo]:
    """Yield `video` as it is, with whole chroma samples, and with even sides; no size twice."""
    yield video
    odd = video.width % 2, video.height % 2
    halved = [any(shifts) for shifts in zip(*map(_shifts, video.layout), strict=True)]
    whole = odd[0] and halved[0], odd[1] and halved[1]
    for columns, rows in dict.fromkeys((whole, odd)):
        if columns or rows:
            larger = replace(video, width=video.width + columns, height=video.height + rows)
            yield _in_format(larger, video.pix_fmt)


def _in_format(info: VideoInfo, pix_fmt: str) -> VideoInfo:
    """Return `info` with the planes that pixel format `pix_fmt` has at its size."""
    try:
        layout = plane_shapes(planar_name(pix_fmt), info.width, info.height)
    except InputError:
        layout = info.layout  # only an encoder on hardware knows such a format
    return replace(info, pix_fmt=pix_fmt, layout=layout)


def _shifts(shape: PlaneShape) -> tuple[int, int]:
    return shape.shift_x, shape.shift_y


def _is_420(layout: Sequence[PlaneShape]) -> bool:
    return (1, 1) in map(_shifts, layout)


def _overridden(color: ColorInfo, given: Mapping[str, str]) -> ColorInfo:
    """Return `color` with the tags that are named in `given`, as libavcodec reads them."""
    if not given:
        return color
    context = av.CodecContext.create("rawvideo", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 16, 16, "gray"
    context.time_base = Fraction(1)
    context.colorspace, context.color_range = color.matrix, color.range
    context.color_primaries, context.color_trc = color.primaries, color.transfer
    context.options = dict(given)
    try:
        context.open()
    except (av.FFmpegError, ValueError, OverflowError):
        shown = " ".join(f"-{key} {value}" for key, value in given.items())
        raise OptionError(
            f"{shown}: FFmpeg knows no such tag; names are bt709, smpte170m, bt2020nc, bt2020, "
            "smpte2084 and the like, for -color_range tv and pc"
        ) from None
    read: dict[str, Any] = {
        "matrix": int(context.colorspace),
        "range": int(context.color_range),
        "primaries": int(context.color_primaries),
        "transfer": int(context.color_trc),
    }
    return replace(color, **read)
