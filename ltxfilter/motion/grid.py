"""The grids that motion lives on: the picture, the flow image and the work grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Luma = NDArray[Any]  # [H, W] uint8
Flow = NDArray[Any]  # [H, W, 2] float32, x then y
Floats = NDArray[Any]  # [H, W] float32
Field = NDArray[Any]  # [5, H, W] int16: see kernels.warp

SMALLEST = 32  # samples; a level whose shorter side is less than this has none below it
LEAST_CELLS = 8  # per side, so that the flow image is never smaller than two patches of DIS
SMALL_PICTURE = 250_000  # pixels; up to here flow is found at full size
MEDIUM_PICTURE = 1_000_000  # up to here a grid twice as fine is better, beyond it is worse
LARGE_PICTURE = 2_200_000  # pixels; up to here (1080p) at half size, beyond at a quarter


@dataclass(frozen=True, slots=True)
class MotionGrid:
    """Sizes: a sample of the flow image covers `scale` pixels, a cell of the work grid `cell`.

    Both grids start at the picture's top left corner and may reach over its other edges, where
    the picture is taken to repeat its border.
    """

    width: int  # pixels of the picture
    height: int
    scale: int  # pixels per sample of the flow image; a power of two

    @property
    def cell(self) -> int:
        """Pixels per cell of the work grid, along each axis."""
        return 2 * self.scale

    @property
    def columns(self) -> int:
        """Cells along x."""
        return max(-(-self.width // self.cell), LEAST_CELLS)

    @property
    def rows(self) -> int:
        """Cells along y."""
        return max(-(-self.height // self.cell), LEAST_CELLS)


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """A picture's luma at the two sizes that motion is found at."""

    levels: list[Luma]  # the flow image [2 * rows, 2 * columns], the work grid, and its halves

    @property
    def coarse(self) -> Luma:
        """Luma on the work grid, [rows, columns]."""
        return self.levels[1]

    @property
    def luma(self) -> float:
        """The mean luma of the smallest level, in codes."""
        return float(self.levels[-1].mean())


def choose_sizes(pixels: int, *, fine: bool = False) -> tuple[int, int]:
    """Return pixels per sample of the flow image that suit a picture, and the finest level.

    On that level motion is searched: 0 is the flow image, 1 the work grid. fine: up to 720p, find
    motion in the same image but carry it, and draw, on a work grid of twice the resolution.
    """
    if pixels <= SMALL_PICTURE:
        return 1, 0
    if fine and pixels <= MEDIUM_PICTURE:
        return 1, 1
    return (2 if pixels <= LARGE_PICTURE else 4), 0


def shrink(luma: Array, depth: int, grid: MotionGrid) -> Shrunk:
    """Average a luma plane of `depth` bits down to both grids, at 8 bits."""
    import cv2

    right = grid.columns * grid.cell - grid.width
    bottom = grid.rows * grid.cell - grid.height
    if right or bottom:
        luma = cv2.copyMakeBorder(luma, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = (2 * grid.columns, 2 * grid.rows)
    if grid.scale == 1:
        fine = np.ascontiguousarray(luma)  # a decoder's rows are padded, and DIS takes none such
    else:
        fine = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    if depth > 8:
        fine = cv2.convertScaleAbs(fine, alpha=255 / ((1 << depth) - 1))
    half = cv2.resize(fine, (grid.columns, grid.rows), interpolation=cv2.INTER_AREA)
    return Shrunk([fine, *pyramid(half)])


def pairs(flow: Flow) -> Array:
    """Return a flow as [rows, columns] with x and y in one: NumPy is slow where two lie last."""
    return np.ascontiguousarray(flow).view(np.complex64)[..., 0]


def unpaired(flow: Array) -> Flow:
    """Return `pairs` as a flow again."""
    return np.ascontiguousarray(flow).view(np.float32).reshape(*flow.shape, 2)


def thinned(flow: Flow, step: int, first: int = 0) -> Flow:
    """Return every `step`-th row and column of a flow, as an array of its own."""
    return unpaired(pairs(flow)[first::step, first::step])


def pyramid(picture: Luma) -> list[Luma]:
    """Return a picture and its halves, finest first."""
    import cv2

    levels = [picture]
    while min(levels[-1].shape) >= SMALLEST:
        rows, columns = levels[-1].shape
        half = ((columns + 1) // 2, (rows + 1) // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    return levels
