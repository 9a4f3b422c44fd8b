"""Flow both ways between two pictures: inverse search, neighbours' candidates, projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.fill import fill
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
            forward, backward, agreement(forward, backward), agreement(backward, forward)
        )

    def _propagate(self, flow: Flow, seen: Shrunk, other: Shrunk) -> Flow:
        found = kernels.propagate(flow, seen.coarse, other.coarse, self._shifts, BIAS)
        return cv2.merge([cv2.medianBlur(part, 5) for part in cv2.split(found)])


def project(flow: Flow) -> Flow:
    """Return the flow back: `flow` seen from the picture that it points at, holes filled."""
    return fill(kernels.splat(flow, np.ones(flow.shape[:2], np.float32)))


def agreement(there: Flow, back: Flow) -> Floats:
    """Return how surely `there` is right: 1 where `back` returns to the start, falling to 0.05.

    The forward-backward check of Sundaram et al., ECCV 2010, made soft.
    """
    rows, columns = there.shape[:2]
    target = there + positions(rows, columns)
    error = there + cv2.remap(back, target, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    off = cv2.magnitude(error[..., 0], error[..., 1])
    length = cv2.magnitude(there[..., 0], there[..., 1])
    off /= 1 + np.float32(0.05) * length
    np.minimum(off, 3, out=off)
    return cv2.exp(-off)


_positions: dict[tuple[int, int], Any] = {}


def positions(rows: int, columns: int) -> Flow:
    """Return [rows, columns, 2]: where each cell is, x then y. Shared: do not write."""
    if (rows, columns) not in _positions:
        x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        _positions[rows, columns] = np.dstack([x, y])
    return _positions[rows, columns]
