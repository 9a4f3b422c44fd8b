"""Pictures on the device: planes as they are, luma at 8 bits, and the sizes motion is found at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.frame import Planes, PlaneShape, VideoInfo
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.area_averages import Area
from ltxfilter.motion.cuda.picture_kernels import mean_kernel
from ltxfilter.motion.grid import SMALLEST, MotionGrid

ALIGNED = 256  # bytes that parts of a picture begin at
BRIGHT = ("y", "g")  # the plane that motion is found in, by preference


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


class ByteLayout:
    """Where the parts of a picture lie in its bytes: planes first, so that they go in one copy."""

    def __init__(self, video: VideoInfo, grid: MotionGrid) -> None:
        roles = [shape.role for shape in video.layout]
        self.shapes = video.layout
        self.bright = next((roles.index(role) for role in BRIGHT if role in roles), 0)
        self._end = 0
        self.planes = [self._plane(shape) for shape in video.layout]
        self.plane_bytes = self._end
        luma = self.planes[self.bright]
        self.luma = self._part(luma.rows, luma.columns) if luma.deep else luma
        self.first_level = self._end
        self.levels = [self._part(*size) for size in level_sizes(grid)]
        self.bytes = self._end

    def _plane(self, shape: PlaneShape) -> ByteRange:
        return self._part(shape.height, shape.width, deep=shape.depth > 8)

    def _part(self, rows: int, columns: int, *, deep: bool = False) -> ByteRange:
        part = ByteRange(self._end, rows, columns, deep)
        self._end = -(-part.end // ALIGNED) * ALIGNED
        return part

    def split(self, host: Tensor) -> Planes:
        """Return the planes in a picture's bytes in host memory, without copying them."""
        found = []
        for part, shape in zip(self.planes, self.shapes, strict=True):
            flat = host.numpy()[part.begin : part.end]
            found.append(flat.view(shape.dtype).reshape(part.rows, part.columns))
        return tuple(found)


def level_sizes(grid: MotionGrid) -> list[tuple[int, int]]:
    """Return rows and columns of the flow image, the work grid, and its halves."""
    sizes = [(2 * grid.rows, 2 * grid.columns), (grid.rows, grid.columns)]
    while min(sizes[-1]) >= SMALLEST:
        rows, columns = sizes[-1]
        sizes.append(((rows + 1) // 2, (columns + 1) // 2))
    return sizes


class Uploader:
    """Brings pictures to the device and shrinks them there, as `grid.shrink` does."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid) -> None:
        self._layout = layout
        self._scale = grid.scale
        sizes = [(part.rows, part.columns) for part in layout.levels]
        self._picture = torch.empty(layout.bytes, dtype=torch.uint8, device=device.NAME)
        self._run = device.Replayed(self._shrink)
        self._areas = [Area(*pair) for pair in pairwise(sizes[1:])]

    def __call__(self, planes: Planes) -> Tensor:
        """Return a picture's bytes on the device, [layout.bytes] uint8; the copy may still run."""
        layout, pinned = self._layout, not device.INTERPRETED
        host = torch.empty(layout.plane_bytes, dtype=torch.uint8, pin_memory=pinned)
        for target, plane in zip(layout.split(host), planes, strict=True):
            np.copyto(target, plane)
        self._picture[: layout.plane_bytes].copy_(host, non_blocking=True)
        self._run()
        return self._picture.clone()

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
