"""What the frames of a stream have in common once they are made larger: size, planes, tags."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ltxfilter.colorimetry import SD_HEIGHT, UNKNOWN, read_as
from ltxfilter.frame import PlaneShape, VideoInfo

BT2020 = 9  # primaries, H.273


def scaled_video(info: VideoInfo, factor: Fraction) -> VideoInfo:
    """Describe the frames of `info` when each side is `factor` times as long.

    Sides become even, since that is what encoders of subsampled chroma take: the nearest even
    number, the larger one where both are as near. A stream without a matrix that players would
    guess otherwise at the new height is tagged with the one that its samples have.
    """
    width, height = (_even(side * factor) for side in (info.width, info.height))
    layout = tuple(_resized(shape, width, height) for shape in info.layout)
    color = info.color
    untagged = color.matrix == UNKNOWN and color.primaries != BT2020
    if untagged and info.height <= SD_HEIGHT < height and any(s.role == "u" for s in layout):
        color = replace(color, matrix=read_as(color, info.height))
    return replace(info, width=width, height=height, layout=layout, color=color)


def written(factor: Fraction) -> str:
    """Write a factor as `--scale` takes it: 2x, 1.5x."""
    return f"{float(factor):g}x"


def _resized(shape: PlaneShape, width: int, height: int) -> PlaneShape:
    """Return a plane of a picture of another size, in pixels."""
    return replace(shape, width=-(-width >> shape.shift_x), height=-(-height >> shape.shift_y))


def _even(side: Fraction) -> int:
    """Return the even number nearest to `side`, the larger one of two that are as near."""
    return 2 * int(side / 2 + Fraction(1, 2))
