"""One picture of a stream as a JPEG or PNG file in memory, with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from ltxfilter.errors import OutputError
from ltxfilter.frame import Plane, Planes, VideoInfo
from ltxfilter.media.avframe import FULL, LIMITED, from_planes

HD_HEIGHT = 720  # rows; where a stream does not say, taller pictures are BT.709 as players have it
SWSCALE = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M, 9: Colorspace.BT2020,
           10: Colorspace.BT2020}  # fmt: skip  # H.273 matrix -> swscale's; others are BT.601
QUALITIES = (4, 8, 14, 22, 31)  # of FFmpeg's mjpeg, 2 is best; the next where it takes too much
ENCODERS = {"jpeg": "mjpeg", "png": "png"}  # FFmpeg's names
LEAST = 2  # pixels of a side


@dataclass(frozen=True, slots=True)
class Still:
    """An encoded picture."""

    data: bytes  # the file
    kind: str  # "jpeg" or "png"
    width: int  # pixels
    height: int  # pixels


def still_of(
    planes: Planes,
    info: VideoInfo,
    longest: int | None = None,
    kind: str = "png",
    *,
    most_bytes: int | None = None,
) -> Still:
    """Return a picture of the stream `info` as a file that browsers show.

    Args:
        planes: Its samples, in the stream's format; planes of a device are copied to the host.
        info: What the frames of the stream have in common. PQ and HLG are not tone-mapped.
        longest: Pixels of the longer side at most; None keeps the picture's own size.
        kind: "jpeg" or "png"; a PNG is lossless after the conversion to RGB of 8 bits.
        most_bytes: A JPEG that would be larger is made with less quality, down to the least.

    Raises:
        OutputError: This FFmpeg lacks the encoder.
    """
    width, height = _size(info, longest)
    host = tuple(np.asarray(plane) for plane in planes)
    matrix = info.color.matrix if info.color.matrix != 2 else (1 if info.height >= HD_HEIGHT else 6)
    rgb = from_planes(host, info).reformat(
        width,
        height,
        "rgb24",
        src_colorspace=SWSCALE.get(matrix, Colorspace.ITU601),
        src_color_range=FULL if info.color.full_range else LIMITED,
        dst_color_range=FULL,
        interpolation="AREA" if (width, height) != (info.width, info.height) else "BICUBIC",
        threads=1,
    )
    return Still(_encoded(rgb, kind, most_bytes), kind, width, height)


def still_of_rgb(pixels: Plane, kind: str = "png") -> Still:
    """Return an array [H, W, 3] of uint8, red first, as a file. Raises OutputError."""
    height, width = pixels.shape[:2]
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return Still(_encoded(picture, kind), kind, width, height)


def _size(info: VideoInfo, longest: int | None) -> tuple[int, int]:
    """Return the size with square pixels, at most `longest` on its longer side."""
    width, height = info.width * info.sample_aspect, Fraction(info.height)
    scale = 1 if longest is None else min(Fraction(longest) / max(width, height), Fraction(1))
    return max(round(width * scale), LEAST), max(round(height * scale), LEAST)


def _encoded(rgb: av.VideoFrame, kind: str, most_bytes: int | None = None) -> bytes:
    """Encode one picture of rgb24. Raises OutputError."""
    if kind == "png":
        return _file(rgb, kind, {})
    picture = rgb.reformat(format="yuvj420p", dst_colorspace=Colorspace.ITU601, threads=1)
    data = b""
    for quality in QUALITIES:
        options = {"qmin": str(quality), "qmax": str(quality)}
        data = _file(picture, kind, options)
        if most_bytes is None or len(data) <= most_bytes:
            break
    return data


def _file(picture: av.VideoFrame, kind: str, options: dict[str, str]) -> bytes:
    """Return a picture as a file, by an encoder of its own. Raises OutputError."""
    name = ENCODERS[kind]
    try:
        encoder: Any = av.CodecContext.create(name, "w")
    except (av.FFmpegError, ValueError) as error:
        what = f"pictures of {kind.upper()}"
        raise OutputError(f"{what}: this FFmpeg has no encoder {name}") from error
    picture.pts = 0
    encoder.width, encoder.height = picture.width, picture.height
    encoder.pix_fmt, encoder.time_base = picture.format.name, Fraction(1, 25)
    encoder.options = options
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
