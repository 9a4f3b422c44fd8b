"""Several pictures on one, each under its label, in the stream's own samples.

Nothing is converted between colour spaces: where pictures are not made smaller, a panel holds the
samples that it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from ltxfilter.colorimetry import scale_of
from ltxfilter.compare.pictures.labels import label, label_rows
from ltxfilter.frame import Plane, Planes, PlaneShape, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes

WIDEST = 3840  # pixels; beyond that panels are made smaller
MOST_IN_A_ROW = 3


class Panels:
    """Lays out pictures of one stream in rows."""

    def __init__(self, info: VideoInfo, count: int, rate: Fraction | None) -> None:
        """Plan the layout. count: of pictures. rate: of the video that is made of them."""
        self._given = info
        self._count = count
        self._columns = count if count <= MOST_IN_A_ROW else -(-count // 2)
        step = 1 << max(1, *(max(shape.shift_x, shape.shift_y) for shape in info.layout))
        share = min(Fraction(1), Fraction(WIDEST, self._columns * info.width))
        self._smaller = share < 1
        if self._smaller:
            width, height = (max(int(side * share) // step, 1) * step for side in _size(info))
        else:
            width, height = (-(-side // step) * step for side in _size(info))
        self._panel = plane_shapes(info.pix_fmt, width, height)
        self._bar = -(-label_rows(height) // step) * step  # rows of a label
        size = (self._columns * width, -(-count // self._columns) * (height + self._bar))
        self._cell = width, height + self._bar
        interval = None if rate is None else 1 / rate
        self.info = replace(
            info,
            width=size[0],
            height=size[1],
            layout=plane_shapes(info.pix_fmt, *size),
            rate=rate,
            interval=interval,
        )

    def draw(self, pictures: Sequence[Planes | None], labels: Sequence[str]) -> Planes:
        """Return all pictures on one, each under its label; None leaves its panel empty."""
        planes = self._empty()
        width, height = self._cell
        for at, (picture, text) in enumerate(zip(pictures, labels, strict=True)):
            row, column = divmod(at, self._columns)
            bar = label(text, width, self._bar)
            for number, shape in enumerate(self._panel):
                y, x = (row * height) >> shape.shift_y, (column * width) >> shape.shift_x
                rows = self._bar >> shape.shift_y
                if shape.role not in "uva":
                    plane = planes[number]
                    plane[y : y + rows, x : x + shape.width] = _as_codes(bar, shape, self._given)
                if picture is not None:
                    place = planes[number][y + rows :, x:][: shape.height, : shape.width]
                    place[:] = self._fitted(picture[number], shape)
        return planes

    def _empty(self) -> Planes:
        """Return a black picture."""
        planes = []
        for shape in self.info.layout:
            code = (1 << shape.depth) - 1 if shape.role == "a" else self._black(shape)
            planes.append(np.full((shape.height, shape.width), code, shape.dtype))
        return tuple(planes)

    def _black(self, shape: PlaneShape) -> int:
        return int(scale_of(shape, self._given.color).zero)

    def _fitted(self, plane: Plane, shape: PlaneShape) -> Plane:
        """Return a plane at the size of a panel's."""
        wanted = shape.height, shape.width
        if self._smaller:
            return cv2.resize(plane, wanted[::-1], interpolation=cv2.INTER_AREA)
        missing = [(0, side - own) for side, own in zip(wanted, plane.shape, strict=True)]
        return np.pad(plane, missing, "edge")


def _size(info: VideoInfo) -> tuple[int, int]:
    return info.width, info.height


def _as_codes(picture: Plane, shape: PlaneShape, info: VideoInfo) -> Plane:
    """Return a gray picture of 0..255 as codes of a plane."""
    scale = scale_of(shape, info.color)
    codes = picture.astype(np.float32) * (scale.span / 255) + scale.zero
    return np.rint(codes).astype(shape.dtype)
