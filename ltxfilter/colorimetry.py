"""What the codes of samples mean: matrix, range and siting as numbers, for any library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from ltxfilter.frame import ColorInfo, PlaneShape

START, MIDDLE, END = "start", "middle", "end"  # where in its pair of luma samples chroma lies
SITES = {  # FFmpeg's chroma location -> (across, down)
    0: (START, MIDDLE),
    1: (START, MIDDLE),
    2: (MIDDLE, MIDDLE),
    3: (START, START),
    4: (MIDDLE, START),
    5: (START, END),
    6: (MIDDLE, END),
}
WEIGHTS = {  # H.273 matrix -> share of red and of blue in luma
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
YCGCO = 8
UNKNOWN = 2
SD_HEIGHT = 576  # untagged pictures up to this height are BT.601, taller ones BT.709

Values = TypeVar("Values", bound=Any)  # an array or a tensor: whatever adds and multiplies


@dataclass(frozen=True, slots=True)
class Scale:
    """How a plane's codes stand for values: `value = (code - zero) / span`."""

    zero: float
    span: float


def luma_weights(color: ColorInfo, height: int) -> tuple[float, float] | None:
    """Return red's and blue's share in luma; None for YCgCo, which is no such sum."""
    if color.matrix == YCGCO:
        return None
    return WEIGHTS.get(read_as(color, height), WEIGHTS[1])


def read_as(color: ColorInfo, height: int) -> int:
    """Return the matrix by which samples are read: the tag's, or by the height where none is."""
    if color.matrix != UNKNOWN:
        return color.matrix
    return 6 if height <= SD_HEIGHT else 1


def scale_of(shape: PlaneShape, color: ColorInfo) -> Scale:
    """Return how the codes of a plane are to be read."""
    top = (1 << shape.depth) - 1
    unit = 1 << (shape.depth - 8)
    if shape.role in "uv":
        return Scale(128 * unit, top if color.full_range else 224 * unit)
    if shape.role in "rgba" or color.full_range:
        return Scale(0, top)
    return Scale(16 * unit, 219 * unit)


def rgb_from_yuv(
    y: Values, u: Values, v: Values, weights: tuple[float, float] | None
) -> list[Values]:
    """Return red, green and blue, 0..1, of luma 0..1 and chroma -0.5..0.5 (H.273, 8.3).

    weights: what `luma_weights` returns. In YCgCo u is the excess of green, v that of orange.
    """
    if weights is None:
        rest = y - u
        return [rest + v, y + u, rest - v]
    red, blue = weights
    r = y + v * (2 * (1 - red))
    b = y + u * (2 * (1 - blue))
    return [r, (y - red * r - blue * b) / (1 - red - blue), b]


def yuv_from_rgb(
    r: Values, g: Values, b: Values, weights: tuple[float, float] | None
) -> list[Values]:
    """Return luma 0..1 and chroma -0.5..0.5 of red, green and blue, 0..1; see `rgb_from_yuv`."""
    if weights is None:
        return [(r + b) / 4 + g / 2, g / 2 - (r + b) / 4, (r - b) / 2]
    red, blue = weights
    y = red * r + (1 - red - blue) * g + blue * b
    return [y, (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))]
