"""Flow both ways between two pictures on the device: the steps of `motion.estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import Tensor

from ltxfilter.motion.cuda import candidates, device, grid_kernels
from ltxfilter.motion.cuda.area_averages import Area, Bilinear
from ltxfilter.motion.cuda.search import blend_kernel, polish_kernel, spread_kernel, start_kernel
from ltxfilter.motion.cuda.upload import ByteLayout
from ltxfilter.motion.estimate import BIAS, shifts
from ltxfilter.motion.pyramid import PATCH, Effort, SearchSettings, patches_over


@dataclass(frozen=True, slots=True, eq=False)
class CudaPairFlow:
    """Motion between pictures 0 and 1, on the work grid, in cells."""

    motion: Tensor  # [6, rows, columns]: flow_01 and how sure it is, flow_10 and how sure
    backward: (
        Tensor  # [2, half the rows, half the columns]: as motion.estimate's SearchResult has it
    )
    ready: Any  # the event after which it is there


class Level:
    """One level of the search: its sizes and the buffers that it works in."""

    def __init__(self, rows: int, columns: int, effort: Effort) -> None:
        self.rows, self.columns, self.effort = rows, columns, effort
        down, self.across = (patches_over(side, effort.step) for side in (rows, columns))
        self.count = down * self.across
        self.flow = empty(2, rows, columns)
        self._flows = empty(2, self.count), empty(2, self.count)  # of patches, and spare
        self._error = empty(self.count, dtype=torch.int64)

    def search(
        self, seen: Tensor, other: Tensor, coarse: Tensor | None, prior: Tensor, scale: float
    ) -> None:
        """Write `flow`: `kernels.search` from the coarser level's flow, `prior` and none.

        seen, other: [rows, columns] uint8. coarse: half the size, in its own samples. prior:
        [2, R, C], which times `scale` is in samples of this level.
        """
        flows, spare = self._flows
        self._start(seen, other, coarse, prior, scale)
        rounds = self.effort.rounds
        for hop in (1 << (rounds - 1 - k) for k in range(rounds)):
            self._launch(spread_kernel, (seen, other, flows, self._error, spare), (hop,))
            flows, spare = spare, flows
        self._blend(seen, other, flows)

    def polish(self, seen: Tensor, other: Tensor, guess: Tensor) -> None:
        """Write `flow`: `kernels.polish` from `guess`, this level's flow."""
        self._launch(polish_kernel, (seen, other, guess, self._flows[0], self._error), ())
        self._blend(seen, other, self._flows[0])

    def _blend(self, seen: Tensor, other: Tensor, flows: Tensor) -> None:
        each = PATCH // self.effort.step
        sizes = self.rows, self.columns, self.across, self.count, self.effort.step
        pixels = self.rows * self.columns
        device.launch(blend_kernel, pixels, seen, other, flows, self.flow, *sizes, each=each)

    def _start(
        self, seen: Tensor, other: Tensor, coarse: Tensor | None, prior: Tensor, scale: float
    ) -> None:
        given = (seen, other, prior if coarse is None else coarse, prior, self._flows[0])
        shapes = () if coarse is None else coarse.shape[1:]
        extra = (*(shapes or (1, 1)), *prior.shape[1:], scale)
        self._launch(start_kernel, (*given, self._error), extra, has_coarse=coarse is not None)

    def _launch(self, kernel: Any, buffers: Sequence[Tensor], extra: Any, **flags: bool) -> None:
        sizes = self.rows, self.columns, self.across, self.count, self.effort.step
        args = (*buffers, *sizes, *extra, self.effort.steps)
        device.launch_patches(kernel, self.count, *args, **flags)


class CudaEstimator:
    """Finds the flow of pairs of pictures; one thread at a time, always on the same stream."""

    def __init__(self, layout: ByteLayout, settings: SearchSettings) -> None:
        self._layout, self._passes = layout, settings.neighbours
        fine, work = layout.levels[:2]
        self._shape = work.rows, work.columns
        self._places = places = layout.levels[min(settings.finest, len(layout.levels) - 1) :]
        efforts = settings.efforts
        chosen = [efforts[min(depth, len(efforts) - 1)] for depth in range(len(places))]
        self._levels = [
            Level(place.rows, place.columns, effort)
            for place, effort in zip(places, chosen, strict=True)
        ]
        finest_size = self._levels[0].rows, self._levels[0].columns
        self._polished = (
            Level(*finest_size, Effort(PATCH // 2, 0, settings.polish)) if settings.polish else None
        )
        self._pictures = [empty(layout.bytes, dtype=torch.uint8) for _ in range(2)]
        self._halved = Area((fine.rows, fine.columns), self._shape)
        self._enlarged = (
            Bilinear(finest_size, self._shape) if finest_size[0] < self._shape[0] else None
        )
        self._half = (work.rows + 1) // 2, (work.columns + 1) // 2
        self._prior = torch.zeros((2, *self._half), device=device.NAME)
        self._sparse, self._onward = empty(2, *self._half), empty(2, *self._half)
        self._priors = [self._prior_for(level) for level in self._levels]
        self._motion = empty(6, *self._shape)
        self._tried, self._chosen = empty(2, *self._shape), empty(2, *self._shape)
        self._shifts = torch.tensor(shifts(settings), dtype=torch.int32, device=device.NAME)
        self._cost = empty(len(self._shifts) + 2, *self._shape, dtype=torch.int16)
        self._fill, self._sparse_fill = Fill(1, *self._shape), Fill(1, *self._half)
        self._run = device.ReplayedLaunches(self._launches)

    def pair(
        self, left: Tensor, right: Tensor, before: CudaPairFlow | None
    ) -> tuple[Tensor, Tensor]:
        """Return both tensors of a CudaPairFlow from `left` to `right`, pictures' bytes.

        before: motion of the pair that ends in `left`, where it is known.
        """
        first = self._layout.first_level
        for target, source in zip(self._pictures, (left, right), strict=True):
            target[first:].copy_(source[first:])
        if before is None:
            self._prior.zero_()
        else:
            self._prior.copy_(before.backward)
        self._run()
        return self._motion.clone(), self._onward.clone()

    def _prior_for(self, level: Level) -> tuple[Tensor, Area | None, float]:
        """Return the prior that a level starts from, how it is made, and to what scale."""
        rows = self._half[0]
        scale = -(2.0 ** round(log2(level.rows / rows)))
        if level.rows >= rows:
            return self._prior, None, scale
        size = level.rows, level.columns
        return empty(2, *size), Area(self._half, size), scale

    def _launches(self) -> None:
        left, right = self._pictures
        coarse: Tensor | None = None
        levels = [*zip(self._levels, self._places, self._priors, strict=True)]
        for level, place, (prior, area, prior_scale) in reversed(levels):
            scale = prior_scale
            if area is not None:
                area.flows(self._prior, prior, prior_scale)
                scale = 1.0
            level.search(place.of(left), place.of(right), coarse, prior, scale)
            coarse = level.flow
        self._go_on(self._levels[0].flow)
        if self._polished is not None:
            fine = self._places[0]
            self._polished.polish(fine.of(left), fine.of(right), self._levels[0].flow)
        self._to_work_grid((self._polished or self._levels[0]).flow)
        work = self._layout.levels[1]
        forward, backward = self._motion[0:2], self._motion[3:5]
        left, right = work.of(left), work.of(right)
        if self._passes in (1, 2):
            self._propagate(forward, left, right)
        self._fill.project(forward, backward)
        if self._passes >= 2:
            self._propagate(backward, right, left)
        if self._passes >= 3:
            self._again(forward, backward, left, right)
            self._again(backward, forward, right, left)
        device.launch(grid_kernels.agree_kernel, self._cells, self._motion, *self._shape, beside=2)

    @property
    def _cells(self) -> int:
        return self._shape[0] * self._shape[1]

    def _go_on(self, flow: Tensor) -> None:
        """Write what `motion.estimate.onward` makes of the finest level's flow."""
        step = max(2 * flow.shape[1] // self._shape[0], 1)
        first = (step - 1) // 2
        self._sparse.copy_(flow[:, first::step, first::step] * (1 / step))
        self._sparse_fill.project(self._sparse, self._onward)

    def _to_work_grid(self, flow: Tensor) -> None:
        """Write the finest level's flow to `forward`, in cells."""
        rows, forward = flow.shape[1], self._motion[0:2]
        if rows == self._shape[0]:
            forward.copy_(flow)
        elif self._enlarged is None:
            self._halved.flows(flow, forward, 0.5)
        else:
            larger = self._enlarged(flow)
            forward.copy_(larger * 2.0 ** round(log2(self._shape[0] / rows)))

    def _propagate(self, flow: Tensor, seen: Tensor, other: Tensor) -> None:
        """Let cells take over neighbours' flow that matches better, then take medians."""
        self._tried.copy_(flow)
        self._choose(flow, seen, other, more=0)

    def _again(self, flow: Tensor, back: Tensor, seen: Tensor, other: Tensor) -> None:
        """Do the same for `back` projected to this picture, and try `flow` too."""
        self._fill.project(back, self._tried)
        self._choose(flow, seen, other, more=1)

    def _choose(self, flow: Tensor, seen: Tensor, other: Tensor, more: int) -> None:
        """Write to `flow` what cells choose of `_tried`, and of `flow` itself if `more` is 1."""
        others, shape, costs, chosen = len(self._shifts), self._shape, self._cost, self._chosen
        inputs = self._tried, flow, seen, other, self._shifts, costs, *shape
        beside = others + 1 + more
        device.launch(candidates.cost_kernel, self._cells, *inputs, beside=beside, others=others)
        inputs = self._tried, flow, costs, self._shifts, chosen, *shape, BIAS
        device.launch(candidates.choose_kernel, self._cells, *inputs, others=others, more=more)
        device.launch(candidates.median_kernel, self._cells, chosen, flow, *shape, beside=2)


class Fill:
    """Sums of `count` splats side by side, and the flows that are made of them."""

    def __init__(self, count: int, rows: int, columns: int) -> None:
        shape = count, 3, rows, columns
        self.sums = empty(*shape, dtype=torch.int32)
        self._across, self._table = (empty(*shape, dtype=torch.int64) for _ in range(2))
        self._tries, reach = 1, 2
        while reach < max(rows, columns):
            self._tries, reach = self._tries + 1, 3 * reach + 1

    def cleared(self) -> Tensor:
        """Return the sums, set to 0."""
        return self.sums.zero_()

    def project(self, flow: Tensor, back: Tensor) -> None:
        """Write `back`, the flow back along `flow`, both [2, rows, columns]; count is 1."""
        rows, columns = flow.shape[1:]
        device.launch(
            grid_kernels.project_kernel, rows * columns, flow, self.cleared(), rows, columns
        )
        self.into(back)

    def into(self, out: Tensor) -> None:
        """Write flows [count, 2, rows, columns] of what was splatted, holes filled."""
        count, _, rows, columns = self.sums.shape
        torch.cumsum(self.sums, 3, dtype=torch.int64, out=self._across)
        torch.cumsum(self._across, 2, out=self._table)
        args = (self.sums, self._table, out, rows, columns, self._tries)
        device.launch(grid_kernels.fill_kernel, rows * columns, *args, beside=count)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a buffer on the device."""
    return torch.empty(shape, dtype=dtype, device=device.NAME)
