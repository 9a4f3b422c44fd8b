"""The grids that motion lives on: the picture, the flow image and the work grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.frame import PlaneShape

Array = NDArray[Any]
Luma = NDArray[Any]  # [H, W] uint8
Flow = NDArray[Any]  # [H, W, 2] float32, x then y
Floats = NDArray[Any]  # [H, W] float32
Field = NDArray[Any]  # [5, H, W] int16: see kernels.warp

BRIGHT = ("y", "g")  # roles of the plane that motion is found in, by preference
LEAST_CELLS = 8  # per side, so that the flow image holds two patches of a search along each axis
SMALL_PICTURE = 250_000  # pixels; up to here flow is found at full size
MEDIUM_PICTURE = 1_000_000  # pixels; up to here a grid twice as fine is better, beyond it is worse
LONGEST_SIDE = 32766  # samples of the flow image along each axis; cv2.remap takes no more
MOST_PIXELS = 1 << 16, 1 << 28  # of a picture along each axis, and in all: kernels take no more
LARGE_PICTURE = 2_200_000  # pixels; up to here (1080p) at half size, beyond at a quarter


@dataclass(frozen=True, slots=True)
class MotionGrid:
    """Sizes: a sample of the flow image covers `scale` pixels, a cell of the work grid `cell`.

    Both grids start at the picture's top left corner and may reach over its other edges, where
    the picture is taken to repeat its border.
    """

    width: int  # pixels of the picture
    height: int  # pixels of the picture
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


def choose_sizes(pixels: int, *, fine: bool = False) -> tuple[int, int]:
    """Return pixels per sample of the flow image that suit a picture, and the finest level.

    The finest level is the one that motion is searched on last: 0 is the flow image, 1 the work
    grid. fine: up to 720p, find motion in the same image but carry it, and draw, on a work grid of
    twice the resolution.
    """
    if pixels <= SMALL_PICTURE:
        return 1, 0
    if fine and pixels <= MEDIUM_PICTURE:
        return 1, 1
    return (2 if pixels <= LARGE_PICTURE else 4), 0


def least_scale(width: int, height: int) -> int:
    """Return the fewest pixels per sample at which no side of the flow image is too long."""
    cells = LONGEST_SIDE // 2  # each of two samples
    scale = 1
    while max(width, height) > cells * 2 * scale:
        scale *= 2
    return scale


def bright_plane(layout: Sequence[PlaneShape]) -> int:
    """Return the number of the plane that motion is found in: luma, green, or else the first."""
    roles = [shape.role for shape in layout]
    return next((roles.index(role) for role in BRIGHT if role in roles), 0)


def mask_for(static: Luma | None, shape: PlaneShape) -> Luma | None:
    """Return the mask of static luma samples for a plane of another shape, contiguous.

    static: [H, W], contiguous, or None. A column of two is dropped by narrowing pairs of bytes, in
    an eighth of the time that NumPy takes for a step of two.
    """
    if static is None:
        return None
    rows = static[:: 1 << shape.shift_y]
    if shape.shift_x == 1 and static.shape[1] % 2 == 0:
        return rows.view("<u2").astype(np.uint8)
    return np.ascontiguousarray(rows[:, :: 1 << shape.shift_x])


def as_complex(flow: Flow) -> Array:
    """Return a flow as [rows, columns] complex64: NumPy is slow where the last axis has two."""
    return np.ascontiguousarray(flow).view(np.complex64)[..., 0]


def as_flow(pairs: Array) -> Flow:
    """Return the flow that `as_complex` made [rows, columns] complex64 of."""
    return np.ascontiguousarray(pairs).view(np.float32).reshape(*pairs.shape, 2)


def thinned(flow: Flow, step: int, first: int = 0) -> Flow:
    """Return every `step`-th row and column of a flow, from number `first` on, contiguous."""
    return as_flow(as_complex(flow)[first::step, first::step])
