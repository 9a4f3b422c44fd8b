"""Flow both ways between two pictures: inverse search, neighbours' candidates, projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Flow, Grid, Shrunk
from ltxfilter.motion.pyramid import Effort, find_flow, resized

NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (4, 0), (-4, 0), (0, 4), (0, -4))  # cells
BIAS = 2048  # a neighbour's flow must match half a code better


@dataclass(frozen=True, slots=True, eq=False)
class PairFlow:
    """Motion between pictures 0 and 1, on the work grid, in cells."""

    forward: Flow  # flow_01, on the grid of picture 0
    backward: Flow  # flow_10, on the grid of picture 1
    sure_0: Floats  # [rows, columns] 0..1, how well forward and backward agree at 0
    sure_1: Floats  # the same at 1


class Estimator:
    """Finds the flow of pairs of pictures; one thread at a time."""

    def __init__(self, grid: Grid, finest: int, efforts: Sequence[Effort], neighbours: int) -> None:
        """Look on levels from `finest` on (0 the flow image, 1 the work grid) with `efforts`.

        neighbours: in how many directions cells then try their neighbours' flow: 0, 1 (forward)
        or 2.
        """
        self._grid = grid
        self._finest = finest
        self._efforts = efforts
        self._neighbours = neighbours
        self._shifts = np.array(NEIGHBOURS, np.int32)

    def pair(self, left: Shrunk, right: Shrunk, before: PairFlow | None) -> PairFlow:
        """Return the motion from `left` to `right`.

        before: motion of the pair that ends in `left`, where it is known: going on at the same
        speed is one of the guesses.
        """
        prior = None if before is None else -before.backward
        levels = left.levels[self._finest :], right.levels[self._finest :]
        flow = find_flow(levels, prior, self._efforts)
        forward = resized(flow, left.coarse.shape)
        if self._neighbours >= 1:
            forward = self._propagate(forward, left, right)
        backward = project(forward)
        if self._neighbours == 2:
            backward = self._propagate(backward, right, left)
        return PairFlow(
            forward, backward, kernels.agree(forward, backward), kernels.agree(backward, forward)
        )

    def _propagate(self, flow: Flow, seen: Shrunk, other: Shrunk) -> Flow:
        found = kernels.propagate(flow, seen.coarse, other.coarse, self._shifts, BIAS)
        return cv2.merge([cv2.medianBlur(part, 5) for part in cv2.split(found)])


def project(flow: Flow) -> Flow:
    """Return the flow back: `flow` seen from the picture that it points at, holes filled."""
    return kernels.fill(kernels.splat(flow, np.ones(flow.shape[:2], np.float32)))
