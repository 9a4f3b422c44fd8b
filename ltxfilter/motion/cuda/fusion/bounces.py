"""Which tiles show what may bounce between two keyframes: `trajectory.bounces` on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ltxfilter.motion import fusion
from ltxfilter.motion.cuda import device
from ltxfilter.motion.grid import MotionGrid


class Bounces:
    """Looks for bounces in the middle of every tile of one stream's pictures."""

    def __init__(self, grid: MotionGrid) -> None:
        """Get ready, on this thread's stream."""
        tiles = np.indices(fusion.tile_counts(grid)).reshape(2, -1).T
        cells = fusion.middles(tiles, grid)
        self._rows, self._columns = (torch.from_numpy(part).to(device.NAME) for part in cells)
        self._least = float(fusion.tile_side(grid) // grid.cell)

    def found(self, flows: Tensor, steps: Tensor, to_ends: Tensor) -> Tensor:
        """Return whether something may bounce in each tile, [N] bool, row by row.

        flows: of the pair before, the pair and the pair after, [3, 6, rows, columns]. steps: per
        side passed, span and bend, float32; nothing bends where a neighbour is not known. to_ends:
        [2, 2, rows, columns].
        """
        before, pair, after = flows
        left = self._turns(to_ends[0], pair[0:2], before[3:5] / steps[1])
        right = self._turns(to_ends[1], pair[3:5], after[0:2] / steps[4])
        return left & right & (steps[2] != 0) & (steps[5] != 0)

    def _turns(self, to_end: Tensor, ahead: Tensor, behind: Tensor) -> Tensor:
        """Return whether the motion at a keyframe changes by much more than it is long."""
        moved, (rows, columns) = to_end[:, self._rows, self._columns], ahead.shape[1:]
        # Clamped as integers: before anything was loaded there may be NaN.
        row = (self._rows + moved[1]).round().long().clamp(0, rows - 1)
        column = (self._columns + moved[0]).round().long().clamp(0, columns - 1)
        own = ahead[:, row, column]
        change = own + behind[:, row, column]
        return change.abs().amax(0) > own.abs().amax(0) + self._least
