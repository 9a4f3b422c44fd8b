"""Flow both ways between two pictures: inverse search, neighbours' candidates, projection."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Flow, Luma, MotionGrid, Shrunk, thinned
from ltxfilter.motion.pyramid import Search, find_flow, resized

NEAR = ((1, 0), (-1, 0), (0, 1), (0, -1))  # cells
FAR = ((4, 0), (-4, 0), (0, 4), (0, -4))
BIAS = 2048  # a neighbour's flow must match half a code better


@dataclass(frozen=True, slots=True, eq=False)
class PairFlow:
    """Motion between pictures 0 and 1, on the work grid, in cells."""

    forward: Flow  # flow_01, on the grid of picture 0
    backward: Flow  # flow_10, on the grid of picture 1
    sure_0: Floats  # [rows, columns] 0..1, how well forward and backward agree at 0
    sure_1: Floats  # the same at 1


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """What a first look at a pair found; better than none, and enough to start the next pair."""

    flow: Flow  # on the finest level, in its samples
    backward: Flow  # flow_10 on every second cell of the work grid, in its own samples


class Estimator:
    """Finds the flow of pairs of pictures; pure, any number of threads at once."""

    def __init__(self, grid: MotionGrid, search: Search) -> None:
        self._grid = grid
        self._search = search
        self._shifts = np.array(shifts(search), np.int32)

    def glimpse(self, left: Shrunk, right: Shrunk, before: Glimpse | None) -> Glimpse:
        """Return a first look at the motion from `left` to `right`.

        before: that of the pair that ends in `left`, where it is known: going on at the same
        speed is one of the guesses.
        """
        prior = None if before is None else -before.backward
        flow = find_flow(self._levels(left, right), prior, self._search.efforts)
        return Glimpse(flow, onward(flow, self._grid))

    def refined(self, found: Glimpse, left: Shrunk, right: Shrunk) -> PairFlow:
        """Return the motion from `left` to `right` after a first look at it.

        Cells try their neighbours' flow forward in one pass; forward and back in two; back,
        forward and back again in three, each time along the flow that was seen from there.
        """
        flow = found.flow
        if self._search.polish:
            levels = self._levels(left, right)
            flow = kernels.polish((levels[0][0], levels[1][0]), flow, self._search.polish)
        forward = resized(flow, left.coarse.shape)
        passes = self._search.neighbours
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

    def _levels(self, left: Shrunk, right: Shrunk) -> tuple[list[Luma], list[Luma]]:
        finest = min(self._search.finest, len(left.levels) - 1)
        return left.levels[finest:], right.levels[finest:]

    def _propagate(
        self, flow: Flow, seen: Shrunk, other: Shrunk, former: Flow | None = None
    ) -> Flow:
        found = kernels.propagate((seen.coarse, other.coarse), flow, self._shifts, BIAS, former)
        return np.multiply(cv2.medianBlur(found, 5), np.float32(1 / 128))


def shifts(search: Search) -> tuple[tuple[int, int], ...]:
    """Return how far away, x and y in cells, those lie whose flow a cell tries."""
    return NEAR + FAR if search.near else FAR


def onward(flow: Flow, grid: MotionGrid) -> Flow:
    """Return `flow` from 0 to 1 seen from 1, on every second cell: what going on starts from."""
    step = max(2 * flow.shape[0] // grid.rows, 1)
    first = (step - 1) // 2
    sparse = thinned(flow, step, first)
    sparse *= np.float32(1 / step)
    return project(sparse)


def project(flow: Flow) -> Flow:
    """Return the flow back: `flow` seen from the picture that it points at, holes filled."""
    return kernels.fill(kernels.splat(flow, np.ones(flow.shape[:2], np.float32)))
