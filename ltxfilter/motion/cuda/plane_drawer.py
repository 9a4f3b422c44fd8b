"""From motion to planes on the device: the steps of `motion.trajectory` and `motion.drawing`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.frame import Planes
from ltxfilter.motion import kernels
from ltxfilter.motion.cuda import align_ends, device, grid_kernels, picture_kernels
from ltxfilter.motion.cuda.estimate import CudaPairFlow, Fill, empty
from ltxfilter.motion.cuda.upload import ALIGNED, ByteLayout
from ltxfilter.motion.grid import Array, MotionGrid
from ltxfilter.motion.plane_drawer import estimate_psnr
from ltxfilter.motion.trajectory import spread


@dataclass(frozen=True, slots=True, eq=False)
class StaticMask:
    """Where the pictures around a pair stand still."""

    mask: Tensor  # [H, W] of luma, uint8: 255 there, else 0
    ready: Any  # the event after which it is there


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the pictures between two keyframes are drawn from."""

    pair: CudaPairFlow
    before: CudaPairFlow | None
    after: CudaPairFlow | None
    spans: tuple[float, float]  # how long the pairs before and after last, in lengths of this one
    ends: tuple[Tensor, Tensor]  # the two keyframes' bytes
    still: StaticMask | None  # None: nothing is protected


class StaticMaskFinder:
    """Finds what stands still, and remembers it from pair to pair; one thread, one stream."""

    def __init__(self, layout: ByteLayout) -> None:
        self._luma = layout.luma
        size = layout.luma.rows, layout.luma.columns
        buffers = [empty(*size, dtype=torch.uint8) for _ in range(7)]
        *self._pictures, self._detail, self._seen, self._mask = buffers
        self._run = device.Replayed(self._launches)

    def __call__(self, pictures: Sequence[Tensor], *, fresh: bool) -> Tensor:
        """Return the mask of four consecutive pictures' bytes; fresh: nothing is remembered."""
        for target, source in zip(self._pictures, pictures, strict=True):
            target.copy_(self._luma.of(source))
        if fresh:
            self._seen.zero_()
        self._run()
        return self._mask.clone()

    def _launches(self) -> None:
        rows, columns = self._mask.shape
        count, detail = rows * columns, self._detail
        device.launch(picture_kernels.detail_kernel, count, *self._pictures, detail, columns, rows)
        inputs = detail, self._seen, self._mask, columns, rows
        device.launch(picture_kernels.company_kernel, count, *inputs)


class CudaDrawer:
    """Draws the pictures of one stream; any number of threads at once, each on its own desk."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid, *, protect: bool, settle: int) -> None:
        """Prepare; protect: cross-fade what stands still; settle: steps of `kernels.align_ends`."""
        self._make = partial(Desk, layout, grid, protect=protect, settle=settle)
        self._desks: list[Desk] = []
        self._lock = Lock()

    def pictures(self, scene: Scene, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """Yield the planes at each tau, in host memory, and the PSNR to expect of them in dB."""
        with self._lock:
            desk = self._desks.pop() if self._desks else None
        with device.enough_memory():
            desk = desk or self._make()
        try:
            with device.enough_memory():
                desk.lay_out(scene)
            for tau in taus:
                with device.enough_memory():
                    found = desk.draw(scene, tau)
                yield found
        finally:
            desk.clear()
            with self._lock:
                self._desks.append(desk)


class Desk:
    """Buffers and launches for one picture at a time, in one order of work."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid, *, protect: bool, settle: int) -> None:
        self._layout, self._grid, self._protect, self._settle = layout, grid, protect, settle
        self._stream = device.Stream()
        rows, columns = self._shape = grid.rows, grid.columns
        self._passage = torch.zeros((3, 6, rows, columns), device=device.NAME)
        self._host_steps = torch.zeros(8, pin_memory=not device.INTERPRETED)
        self._steps = torch.zeros(8, device=device.NAME)  # [2, 3] of travel_kernel, then tau's bits
        self._ends = [empty(layout.bytes, dtype=torch.uint8) for _ in range(2)]
        luma = layout.luma.rows, layout.luma.columns
        self._still = empty(*luma, dtype=torch.uint8)
        self._fill = Fill(2, rows, columns)
        self._ways, self._share = empty(2, 2, rows, columns), empty(rows, columns)
        self._patches = patches = -(-rows // 4), -(-columns // 4)
        self._apart = empty(2, *patches)
        shifts = {(shape.shift_x, shape.shift_y) for shape in layout.shapes}
        size = (5, rows + 2, columns + 2)
        self._fields = {shift: empty(*size, dtype=torch.int16) for shift in sorted(shifts)}
        # Two sums come last: of squared differences, and of luma.
        self._out = empty(layout.plane_bytes + ALIGNED, dtype=torch.uint8)
        self._squares, self._light = self._out[layout.plane_bytes :][:16].view(torch.int64)
        self._taps = torch.from_numpy(packed_taps()).to(device.NAME)
        self._draw = device.Replayed(self._draw_launches)
        device.settle()

    def lay_out(self, scene: Scene) -> None:
        """Bring a scene's pictures and motion to the desk."""
        before, after = scene.before or scene.pair, scene.after or scene.pair
        with self._stream.used():
            for number, flow in enumerate((before, scene.pair, after)):
                self._stream.follow(flow.ready)
                self._passage[number].copy_(flow.motion)
            for target, source in zip(self._ends, scene.ends, strict=True):
                target.copy_(source)
            if scene.still is not None:
                self._stream.follow(scene.still.ready)
                self._still.copy_(scene.still.mask)

    def draw(self, scene: Scene, tau: float) -> tuple[Planes, float]:
        """Return the planes at `tau` in host memory, and the PSNR to expect of them in dB."""
        self._set_steps(scene, tau)
        host = torch.empty(self._out.shape, dtype=torch.uint8, pin_memory=not device.INTERPRETED)
        with self._stream.used():
            self._steps.copy_(self._host_steps, non_blocking=True)
            self._draw()
            host.copy_(self._out, non_blocking=True)
            self._stream.finish()
        total, light = host[self._layout.plane_bytes :][:16].view(torch.int64).tolist()
        rows, columns = self._shape
        step = spread(rows * columns)
        rms = sqrt(total / (-(-rows // step) * -(-columns // step)))
        luma = light / self._smallest(self._ends[0]).numel()
        return self._layout.split(host), estimate_psnr(np.array([rms]), luma)

    def _smallest(self, picture: Tensor) -> Tensor:
        """Return the smallest level of a picture."""
        return self._layout.levels[-1].of(picture)

    def _set_steps(self, scene: Scene, tau: float) -> None:
        steps = self._host_steps.numpy()
        steps[0:3] = _steps(tau, scene.spans[0], scene.before)
        steps[3:6] = _steps(1 - tau, scene.spans[1], scene.after)
        steps.view(np.int32)[6] = min(round(tau * 32768), 32767)

    def clear(self) -> None:
        """Let go of the scene: nothing reads it any more."""
        self._stream.finish()

    def _draw_launches(self) -> None:
        shape = self._shape
        count, sums = shape[0] * shape[1], self._fill.cleared()
        device.launch(
            grid_kernels.travel_kernel, count, self._passage, self._steps, sums, *shape, beside=2
        )
        self._fill.into(self._ways)
        device.launch(grid_kernels.share_kernel, count, sums, self._steps, self._share, *shape)
        if self._settle:
            self._settle_ends()
        fine, step = self._layout.levels[0], spread(count)
        seen = [fine.of(end) for end in self._ends]
        self._squares.zero_()
        self._light.copy_(self._smallest(self._ends[0]).sum(dtype=torch.int64))
        device.launch(
            grid_kernels.apart_kernel, count, self._ways, *seen, self._squares, *shape, step
        )
        for shift, field in self._fields.items():
            scales = [32 * self._grid.cell / (1 << axis) for axis in shift]
            inputs = self._ways, self._share, field, *shape, *scales
            device.launch(grid_kernels.field_kernel, field[0].numel(), *inputs)
        for index in range(len(self._layout.shapes)):
            self._warp(index)

    def _settle_ends(self) -> None:
        """Bring the keyframes together at the moment drawn."""
        down, across = self._patches
        count, shape, fine = down * across, self._shape, self._layout.levels[0]
        seen = [fine.of(end) for end in self._ends]
        inputs = *seen, self._ways, self._apart, *shape, across, count, self._settle
        device.launch_patches(align_ends.apart_kernel, count, *inputs)
        inputs = self._apart, self._share, self._steps, self._ways, *shape, across, count
        device.launch(align_ends.move_kernel, shape[0] * shape[1], *inputs)

    def _warp(self, index: int) -> None:
        """Draw one plane."""
        shape, part = self._layout.shapes[index], self._layout.planes[index]
        field = self._fields[shape.shift_x, shape.shift_y]
        ends, out = [part.of(end) for end in self._ends], part.of(self._out)
        tau = self._steps.view(torch.int32)[6:]
        inputs = *ends, field, self._taps, self._still, tau, out
        sizes = shape.width, shape.height, field.shape[2], field.shape[1], (1 << shape.depth) - 1
        device.launch(
            picture_kernels.warp_kernel,
            shape.width * shape.height,
            *inputs,
            *sizes,
            self._layout.luma.columns,
            shift_x=shape.shift_x,
            shift_y=shape.shift_y,
            cell_x=self._grid.cell >> shape.shift_x,
            cell_y=self._grid.cell >> shape.shift_y,
            deep=shape.depth > 8,
            protect=self._protect,
        )


def _steps(
    passed: float, span: float, neighbour: CudaPairFlow | None
) -> tuple[float, float, float]:
    """Return what `kernels.travel` multiplies with; nothing bends without a neighbour."""
    bend = (passed * passed - passed) / (span * (span + 1)) if neighbour else 0.0
    return passed, span, bend


def packed_taps() -> Array:
    """Return [16] int32: the four signed bytes of each row of `kernels.CUBIC`, lowest first."""
    return np.ascontiguousarray(kernels.CUBIC).view("<i4")[:, 0]
