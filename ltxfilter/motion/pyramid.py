"""Pyramids of pictures, and flow from one picture to another through them, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Array, Flow, Luma, MotionGrid, as_complex, as_flow

SMALLEST = 32  # samples; a level whose shorter side is less than this has none below it
PATCH = 8  # samples along each side of a patch, as kernels.search has it


@dataclass(frozen=True, slots=True, eq=False)
class LumaPyramid:
    """A picture's luma at the sizes that motion is found at."""

    levels: list[Luma]  # the flow image [2 * rows, 2 * columns], the work grid, and its halves

    @property
    def coarse(self) -> Luma:
        """Luma on the work grid, [rows, columns]."""
        return self.levels[1]

    @property
    def luma(self) -> float:
        """The mean luma of the smallest level, in codes."""
        return float(self.levels[-1].mean())


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to search on one level; see kernels.search."""

    step: int = 4  # samples from patch to patch, 4 or 8
    rounds: int = 3  # of trying neighbours' flow
    steps: int = 5  # Gauss-Newton steps at a time, at most


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How hard to search for the motion of a pair of pictures."""

    efforts: Sequence[Effort]  # per level, finest first; the last one serves all that are left
    finest: int = 0  # level to search on last: 0 the flow image, 1 the work grid
    neighbours: int = 2  # passes in which cells then try their neighbours' flow, see `refine`
    near: bool = True  # whether adjacent cells are among those neighbours
    polish: int = 0  # Gauss-Newton steps of a second search of the finest level; 0: none


def luma_pyramid(luma: Array, depth: int, grid: MotionGrid) -> LumaPyramid:
    """Average a luma plane of `depth` bits down to both grids and their halves, at 8 bits."""
    right = grid.columns * grid.cell - grid.width
    bottom = grid.rows * grid.cell - grid.height
    if right or bottom:
        luma = cv2.copyMakeBorder(luma, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = (2 * grid.columns, 2 * grid.rows)
    if grid.scale == 1:
        fine = np.ascontiguousarray(luma)  # a decoder's rows are padded, kernels take none such
    else:
        fine = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    if depth > 8:
        fine = cv2.convertScaleAbs(fine, alpha=255 / ((1 << depth) - 1))
    half = cv2.resize(fine, (grid.columns, grid.rows), interpolation=cv2.INTER_AREA)
    return LumaPyramid([fine, *pyramid(half)])


def pyramid(picture: Luma) -> list[Luma]:
    """Return a picture, its half, the half of that and so on."""
    levels = [picture]
    while min(levels[-1].shape) >= SMALLEST:
        rows, columns = levels[-1].shape
        half = ((columns + 1) // 2, (rows + 1) // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    return levels


def find_flow(
    pictures: tuple[list[Luma], list[Luma]], prior: Flow | None, efforts: Sequence[Effort]
) -> Flow:
    """Return flow [H, W, 2] in samples of the finest level, from the first picture to the second.

    pictures: two pyramids, finest first. prior: a first guess at any size whose unit is its own
    sample. efforts: one per level, finest first; the last one serves all that are left.
    """
    flow: Flow | None = None
    for depth in reversed(range(len(pictures[0]))):
        pair = pictures[0][depth], pictures[1][depth]
        effort = efforts[min(depth, len(efforts) - 1)]
        places = patch_places(pair[0].shape, effort.step)
        known = [at(guess, pair[0].shape, places) for guess in (flow, prior) if guess is not None]
        zero = np.zeros((len(places[0]), len(places[1]), 2), np.float32)
        guesses = np.stack([*known, zero])
        flow = kernels.search(pair, guesses, effort.step, effort.rounds, effort.steps)
    assert flow is not None
    return flow


def resized(flow: Flow, shape: tuple[int, ...]) -> Flow:
    """Return `flow` at another size, in samples of that size."""
    rows, columns = shape
    if flow.shape[:2] == (rows, columns):
        return flow
    smaller = rows < flow.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    other = cv2.resize(flow, (columns, rows), interpolation=method)
    other *= np.float32(2.0 ** round(np.log2(rows / flow.shape[0])))
    return other


def at(flow: Flow, shape: tuple[int, ...], places: tuple[Array, Array]) -> Flow:
    """Return `flow`, of any size, at places of a picture of `shape`, in its samples."""
    if shape[0] < flow.shape[0]:
        flow = resized(flow, shape)
    y, x = (
        place * had // has for place, had, has in zip(places, flow.shape[:2], shape, strict=True)
    )
    scale = np.float32(2.0 ** round(np.log2(shape[0] / flow.shape[0])))
    there = as_flow(as_complex(flow)[y[:, None], x])
    there *= scale
    return there


def patch_places(shape: tuple[int, ...], step: int) -> tuple[Array, Array]:
    """Return the rows and the columns of the centres of patches over a picture."""
    y, x = (
        np.minimum(np.arange(patches_over(side, step)) * step + PATCH // 2, side - 1)
        for side in shape
    )
    return y, x


def patches_over(samples: int, step: int) -> int:
    """Return how many patches, `step` samples apart, cover that many samples along one axis."""
    return max(-(-(samples - PATCH) // step), 0) + 1
