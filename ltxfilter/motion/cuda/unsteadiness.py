"""How unsteady motion is, on the device: `trajectory.unsteadiness`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ltxfilter.motion.cuda import device, grid_kernels, picture_kernels
from ltxfilter.motion.cuda.estimate import empty
from ltxfilter.motion.cuda.upload import ByteRange
from ltxfilter.motion.trajectory import HALF, TILE, half_level

LEAST_SPAN = 1e-9  # of what was never loaded; no neighbour is as short


class Unsteadiness:
    """Sums of what changes in both keyframes where they move by half of a change of motion."""

    def __init__(self, levels: Sequence[ByteRange], taps: Tensor) -> None:
        """Get ready. levels: where those of a picture's pyramid lie; taps: of the warp."""
        level, self._step = half_level(len(levels))
        self._level, self._taps = levels[level], taps
        shape = rows, columns = self._level.rows, self._level.columns
        self._flows = torch.zeros(2, 2, *shape, device=device.NAME)  # the first stays 0
        self._share = torch.zeros(shape, device=device.NAME)
        self._field = empty(5, rows + 2, columns + 2, dtype=torch.int16)
        self._moved = empty(*shape, dtype=torch.uint8)
        self._squares = empty(-(-rows // TILE), -(-columns // TILE), dtype=torch.int64)
        self._tau = torch.zeros(1, dtype=torch.int32, device=device.NAME)

    @property
    def unit(self) -> int:
        """What sums are divided by to make means in squared codes."""
        return 16 * self._moved.numel()

    def into(self, sums: Tensor, flows: Tensor, steps: Tensor, ends: Sequence[Tensor]) -> None:
        """Write the sums of squares, in 1/4 codes, for the left keyframe and the right one.

        flows: of the pair before, the pair and the pair after, [3, 6, rows, columns]. steps: [2, 3]
        float32, per side passed, span and bend. ends: bytes of both pictures.
        """
        before, pair, after = flows
        spans = steps.clamp(min=LEAST_SPAN)
        changes = pair[0:2] + before[3:5] / spans[1], pair[3:5] + after[0:2] / spans[4]
        for number, (change, end) in enumerate(zip(changes, ends, strict=True)):
            self._flows[1].copy_(change[:, :: self._step, :: self._step])
            self._move(self._level.of(end))
            sums[number].copy_(self._squares.sum())

    def _move(self, picture: Tensor) -> None:
        rows, columns = picture.shape
        field, squares = self._field, self._squares
        scale = HALF / self._step
        inputs = self._flows, self._share, field, rows, columns, scale, scale
        device.launch(grid_kernels.field_kernel, field[0].numel(), *inputs)
        squares.zero_()
        run = int(picture_kernels.RUN)
        device.launch(
            picture_kernels.warp_kernel,
            -(-columns // run) * run * rows,
            *(picture, picture, field, self._taps, picture, self._tau, self._moved, squares),
            *(columns, rows, field.shape[2], field.shape[1], 255, columns, squares.shape[1]),
            shift_x=0,
            shift_y=0,
            cell_x=1,
            cell_y=1,
            depth=8,
            protect=False,
            tile=TILE,
        )
