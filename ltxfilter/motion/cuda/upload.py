"""Pictures on the device: planes as they are, luma at 8 bits, and the sizes motion is found at.

Planes come from host memory in one copy, or from the device itself (`DevicePlane`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.device_plane import DevicePlane, load_codes, to_default_stream
from ltxfilter.frame import Planes, PlaneShape, VideoInfo
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.area_averages import Area
from ltxfilter.motion.cuda.picture_kernels import mean_kernel
from ltxfilter.motion.grid import MotionGrid, bright_plane
from ltxfilter.motion.pyramid import SMALLEST, LumaPyramid

ALIGNED = 256  # bytes, of which the places of planes and levels are multiples


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A plane or a level inside a picture's bytes."""

    begin: int
    rows: int
    columns: int
    deep: bool  # two bytes per sample

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.begin + self.rows * self.columns * (1 + self.deep)

    def of(self, picture: Tensor) -> Tensor:
        """Return it, [rows, columns] uint8 or uint16."""
        flat = picture[self.begin : self.end]
        return (flat.view(torch.uint16) if self.deep else flat).view(self.rows, self.columns)

    def codes(self, picture: Tensor) -> Tensor:
        """Return it as uint8, or as int16 whose bits stand for uint16, which torch converts."""
        found = self.of(picture)
        return found.view(torch.int16) if self.deep else found


class ByteLayout:
    """Where planes and levels lie in a picture's bytes: planes first, so that they go in one copy.

    `luma` is the plane that motion is found in at 8 bits; `levels` are those of `LumaPyramid`.
    """

    def __init__(self, video: VideoInfo, grid: MotionGrid) -> None:
        self.shapes = video.layout
        self.bright = bright_plane(video.layout)
        self._end = 0
        self.planes = [self._plane(shape) for shape in video.layout]
        self.plane_bytes = self._end
        luma = self.planes[self.bright]
        self.luma = self._place(luma.rows, luma.columns) if luma.deep else luma
        self.first_level = self._end
        self.levels = [self._place(*size) for size in level_sizes(grid)]
        self.bytes = self._end

    def _plane(self, shape: PlaneShape) -> ByteRange:
        return self._place(shape.height, shape.width, deep=shape.depth > 8)

    def _place(self, rows: int, columns: int, *, deep: bool = False) -> ByteRange:
        place = ByteRange(self._end, rows, columns, deep)
        self._end = -(-place.end // ALIGNED) * ALIGNED
        return place

    def split(self, host: Tensor) -> Planes:
        """Return the planes in a picture's bytes in host memory, without copying them."""
        planes = []
        for place, shape in zip(self.planes, self.shapes, strict=True):
            flat = host.numpy()[place.begin : place.end]
            planes.append(flat.view(shape.dtype).reshape(place.rows, place.columns))
        return tuple(planes)

    def device_planes(self, picture: Tensor) -> Planes:
        """Return copies of the planes in a picture's bytes on the device, to be read anywhere."""
        planes: list[Any] = []
        for place in self.planes:
            codes = place.codes(picture)
            codes = codes.to(torch.int32) & 0xFFFF if place.deep else codes.clone()
            planes.append(DevicePlane(to_default_stream(codes)))
        return tuple(planes)

    def pyramid(self, picture: Tensor) -> LumaPyramid:
        """Return the levels in a picture's bytes, copied to host memory; wait for them."""
        host, first = picture[self.first_level :].cpu().numpy(), self.first_level
        return LumaPyramid(
            [
                host[level.begin - first : level.end - first].reshape(level.rows, level.columns)
                for level in self.levels
            ]
        )


def level_sizes(grid: MotionGrid) -> list[tuple[int, int]]:
    """Return rows and columns of the flow image, the work grid, and its halves."""
    sizes = [(2 * grid.rows, 2 * grid.columns), (grid.rows, grid.columns)]
    while min(sizes[-1]) >= SMALLEST:
        rows, columns = sizes[-1]
        sizes.append(((rows + 1) // 2, (columns + 1) // 2))
    return sizes


class Uploader:
    """Brings pictures to the device and averages them down there, as `luma_pyramid` does."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid) -> None:
        self._layout = layout
        self._scale = grid.scale
        sizes = [(level.rows, level.columns) for level in layout.levels]
        self._picture = torch.empty(layout.bytes, dtype=torch.uint8, device=device.NAME)
        self._run = device.ReplayedLaunches(self._shrink)
        self._areas = [Area(*pair) for pair in pairwise(sizes[1:])]

    def __call__(self, planes: Planes) -> Tensor:
        """Return a picture's bytes on the device, [layout.bytes] uint8; the copy may still run."""
        if any(isinstance(plane, DevicePlane) for plane in planes):
            self._copy(planes)
        else:
            self._upload(planes)
        self._run()
        return self._picture.clone()

    def _upload(self, planes: Planes) -> None:
        layout = self._layout
        host = device.pinned(layout.plane_bytes, dtype=torch.uint8)
        for target, plane in zip(layout.split(host), planes, strict=True):
            np.copyto(target, plane)
        self._picture[: layout.plane_bytes].copy_(host, non_blocking=True)

    def _copy(self, planes: Planes) -> None:
        for place, plane in zip(self._layout.planes, planes, strict=True):
            place.codes(self._picture).copy_(load_codes(plane, device.NAME))

    def _shrink(self) -> None:
        layout, picture = self._layout, self._picture
        luma, depth = layout.planes[layout.bright], layout.shapes[layout.bright].depth
        if luma.deep:
            self._mean(picture, luma, layout.luma, 1, 0.5 ** (depth - 8))
        fine, work, *halves = layout.levels
        factor = 255 / ((1 << depth) - 1) if luma.deep else 1.0
        self._mean(picture, luma, fine, self._scale, factor)
        self._mean(picture, fine, work, 2, 1.0)
        for area, large, small in zip(self._areas, [work, *halves], halves, strict=False):
            if large.rows % 2 or large.columns % 2:
                area.codes(large.of(picture), small.of(picture))
            else:
                self._mean(picture, large, small, 2, 1.0)

    @staticmethod
    def _mean(
        picture: Tensor, source: ByteRange, target: ByteRange, scale: int, factor: float
    ) -> None:
        sizes: tuple[Any, ...] = (source.columns, source.rows, target.columns, target.rows)
        count = target.rows * target.columns
        planes = source.of(picture), target.of(picture)
        device.launch(mean_kernel, count, *planes, *sizes, factor, scale=scale)
