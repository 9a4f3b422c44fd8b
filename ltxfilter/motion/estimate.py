"""Flow both ways between two pictures: inverse search, neighbours' candidates, projection."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Flow, Grid, Shrunk
from ltxfilter.motion.pyramid import find_flow, resized

NEIGHBOURS = ((3, 0), (-3, 0), (0, 3), (0, -3), (6, 0), (-6, 0), (0, 6), (0, -6))  # cells
BIAS = 4096  # a neighbour's flow must match one code better


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look for motion."""

    finest: int = 1  # the finest level searched: 0 the flow image, 1 the work grid
    rounds: int = 2  # how often patches try their neighbours' flow
    steps: int = 5  # most Gauss-Newton steps at a time
    neighbours: int = 2  # directions whose cells try their neighbours': 0, 1 (forward), 2


@dataclass(frozen=True, slots=True, eq=False)
class PairFlow:
    """Motion between pictures 0 and 1, on the work grid, in cells."""

    forward: Flow  # flow_01, on the grid of picture 0
    backward: Flow  # flow_10, on the grid of picture 1
    sure_0: Floats  # [rows, columns] 0..1, how well forward and backward agree at 0
    sure_1: Floats  # the same at 1


class Estimator:
    """Finds the flow of pairs of pictures; one thread at a time."""

    def __init__(self, grid: Grid, effort: Effort) -> None:
        self._grid = grid
        self._effort = effort
        self._shifts = np.array(NEIGHBOURS, np.int32)

    def pair(self, left: Shrunk, right: Shrunk, before: PairFlow | None) -> PairFlow:
        """Return the motion from `left` to `right`.

        before: motion of the pair that ends in `left`, where it is known: going on at the same
        speed is one of the guesses.
        """
        prior = None if before is None else -before.backward
        effort = self._effort
        levels = left.levels[effort.finest :], right.levels[effort.finest :]
        flow = find_flow(levels, prior, effort.rounds, effort.steps)
        forward = resized(flow, left.coarse.shape)
        if self._effort.neighbours >= 1:
            forward = self._propagate(forward, left, right)
        backward = project(forward)
        if self._effort.neighbours == 2:
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
