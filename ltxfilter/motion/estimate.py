"""Flow both ways between two pictures: inverse search, neighbours' candidates, projection."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Flow, Luma, MotionGrid, thinned
from ltxfilter.motion.pyramid import LumaPyramid, SearchSettings, find_flow, resized

NEAR = ((1, 0), (-1, 0), (0, 1), (0, -1))  # cells
FAR = ((4, 0), (-4, 0), (0, 4), (0, -4))  # cells
BIAS = 2048  # in 1/4096 codes: a neighbour's flow must match half a code better


@dataclass(frozen=True, slots=True, eq=False)
class PairFlow:
    """Motion between pictures 0 and 1, on the work grid, in cells."""

    forward: Flow  # flow_01, on the grid of picture 0
    backward: Flow  # flow_10, on the grid of picture 1
    sure_0: Floats  # [rows, columns] 0..1, how well forward and backward agree at 0
    sure_1: Floats  # the same at 1


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """What the search of a pair yields: `refine` starts from it, and the next pair's search."""

    flow: Flow  # flow_01 on the finest level, in its samples
    backward: Flow  # flow_10 on every second cell of the work grid, in its own samples


class Estimator:
    """Finds the flow of pairs of pictures; pure, any number of threads at once."""

    def __init__(self, grid: MotionGrid, settings: SearchSettings) -> None:
        self._grid = grid
        self._settings = settings
        self._shifts = np.array(shifts(settings), np.int32)

    def search(
        self, left: LumaPyramid, right: LumaPyramid, before: SearchResult | None
    ) -> SearchResult:
        """Search the motion from `left` to `right`, coarse to fine.

        before: that of the pair that ends in `left`, where it is known: one of the guesses is that
        everything goes on at the same speed.
        """
        prior = None if before is None else -before.backward
        flow = find_flow(self._levels(left, right), prior, self._settings.efforts)
        return SearchResult(flow, onward(flow, self._grid))

    def refine(self, searched: SearchResult, left: LumaPyramid, right: LumaPyramid) -> PairFlow:
        """Return the motion from `left` to `right`, both ways, after a search.

        Cells try their neighbours' flow forward in one pass; forward and back in two; back,
        forward and back again in three, each time along the flow that was seen from there.
        """
        flow = searched.flow
        if self._settings.polish:
            levels = self._levels(left, right)
            flow = kernels.polish((levels[0][0], levels[1][0]), flow, self._settings.polish)
        forward = resized(flow, left.coarse.shape)
        passes = self._settings.neighbours
        if passes in (1, 2):
            forward = self._propagate(forward, left, right)
        backward = project(forward)
        if passes >= 2:
            backward = self._propagate(backward, right, left)
        if passes >= 3:
            forward = self._propagate(project(backward), left, right, forward)
            backward = self._propagate(project(forward), right, left, backward)
        return PairFlow(
            forward, backward, kernels.agree(forward, backward), kernels.agree(backward, forward)
        )

    def _levels(self, left: LumaPyramid, right: LumaPyramid) -> tuple[list[Luma], list[Luma]]:
        """Return the levels of both pictures that motion is searched on."""
        finest = min(self._settings.finest, len(left.levels) - 1)
        return left.levels[finest:], right.levels[finest:]

    def _propagate(
        self, flow: Flow, seen: LumaPyramid, other: LumaPyramid, former: Flow | None = None
    ) -> Flow:
        """Let cells take over neighbours' flow that matches better, then take medians."""
        pictures = seen.coarse, other.coarse
        fixed = kernels.propagate(pictures, flow, self._shifts, BIAS, former)
        return np.multiply(cv2.medianBlur(fixed, 5), np.float32(1 / 128))


def shifts(settings: SearchSettings) -> tuple[tuple[int, int], ...]:
    """Return where the neighbours are whose flow a cell tries: x and y in cells from it."""
    return NEAR + FAR if settings.near else FAR


def onward(flow: Flow, grid: MotionGrid) -> Flow:
    """Return `flow` from 0 to 1 as seen from 1, on every second cell of the work grid.

    The search of the next pair starts from it, turned round.
    """
    step = max(2 * flow.shape[0] // grid.rows, 1)
    first = (step - 1) // 2
    sparse = thinned(flow, step, first)
    sparse *= np.float32(1 / step)
    return project(sparse)


def project(flow: Flow) -> Flow:
    """Return the flow back, seen from the picture that `flow` points at, with holes filled."""
    return kernels.fill(kernels.splat(flow, np.ones(flow.shape[:2], np.float32)))
