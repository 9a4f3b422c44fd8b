"""From motion to planes on the device: the steps of `trajectory` and `plane_drawer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import compress
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ltxfilter.device_plane import DevicePlane
from ltxfilter.frame import Planes
from ltxfilter.motion import kernels
from ltxfilter.motion.cuda import align_ends, device, grid_kernels, picture_kernels
from ltxfilter.motion.cuda.estimate import CudaPairFlow, Fill, empty
from ltxfilter.motion.cuda.fusion.launches import CudaFusion, Drawing
from ltxfilter.motion.cuda.upload import ALIGNED, ByteLayout, ByteRange
from ltxfilter.motion.flow import FlowMotion, FlowSettings, PairMotion
from ltxfilter.motion.fusion import tile_counts, tile_side
from ltxfilter.motion.grid import Array, MotionGrid
from ltxfilter.motion.plane_drawer import expected_psnr, rms, warp_tau
from ltxfilter.motion.trajectory import HALF, TILE, half_level

SUMS = 4  # of squares, of luma, and of how unsteady the motion of both keyframes is
LEAST_SPAN = 1e-9  # of what was never loaded; no neighbour is as short


class CudaDrawer:
    """Draws the pictures of one stream; any number of threads at once, each with a workspace."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid, settings: FlowSettings) -> None:
        self._make = partial(Workspace, layout, grid, settings)
        self._free: list[Workspace] = []
        self._lock = Lock()

    def pictures(self, motion: FlowMotion, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """Yield the planes at each tau, and the PSNR to expect of them in dB.

        The planes lie where those of the keyframes do: on the device, or in host memory.
        """
        with self._lock:
            workspace = self._free.pop() if self._free else None
        with device.enough_memory():
            workspace = workspace or self._make()
        try:
            with device.enough_memory():
                workspace.load(motion)
            for tau in taus:
                with device.enough_memory():
                    picture = workspace.draw(motion, tau)
                yield picture
        finally:
            workspace.finish()
            with self._lock:
                self._free.append(workspace)


class Workspace:
    """Buffers, a stream and a graph of launches that draw one picture at a time."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid, settings: FlowSettings) -> None:
        self._layout, self._grid, self._settings = layout, grid, settings
        self._stream = device.Stream()
        with self._stream.used():
            self._allocate()
        self._draw = device.ReplayedLaunches(self._launches)

    def _allocate(self) -> None:
        layout, grid = self._layout, self._grid
        rows, columns = self._shape = grid.rows, grid.columns
        self._flows = torch.zeros((3, 6, rows, columns), device=device.NAME)  # before, pair, after
        self._host_steps = device.pinned(8, dtype=torch.float32).zero_()
        self._steps = torch.zeros(8, device=device.NAME)  # [2, 3] of travel_kernel, then tau's bits
        self._ends = [empty(layout.bytes, dtype=torch.uint8) for _ in range(2)]
        self._static = empty(layout.luma.rows, layout.luma.columns, dtype=torch.uint8)
        self._fill = Fill(2, rows, columns)
        self._to_ends, self._share = empty(2, 2, rows, columns), empty(rows, columns)
        self._patches = patches = -(-rows // 4), -(-columns // 4)
        self._offsets = empty(2, *patches)
        shifts = {(shape.shift_x, shape.shift_y) for shape in layout.shapes}
        size = (5, rows + 2, columns + 2)
        self._fields = {shift: empty(*size, dtype=torch.int16) for shift in sorted(shifts)}
        # Sums come last: see `SUMS`.
        self._out = empty(layout.plane_bytes + ALIGNED, dtype=torch.uint8)
        self._sums = self._out[layout.plane_bytes :][: 8 * SUMS].view(torch.int64)
        self._taps = torch.from_numpy(packed_taps()).to(device.NAME)
        self._squares = empty(*tile_counts(grid), dtype=torch.int64)
        self._unsteadiness = Unsteadiness(layout.levels, self._taps)
        protect, most = self._settings.protect_static, self._settings.fused
        self._fusion = CudaFusion(layout, grid, most, protect=protect) if most else None

    def load(self, motion: FlowMotion) -> None:
        """Copy what pictures are drawn from into the buffers."""
        pair: CudaPairFlow = motion.pair.flows
        before = motion.before.flows if motion.before else pair
        after = motion.after.flows if motion.after else pair
        with self._stream.used():
            for number, flow in enumerate((before, pair, after)):
                self._stream.follow(flow.ready)
                self._flows[number].copy_(flow.motion)
            for target, source in zip(self._ends, motion.pair.pictures, strict=True):
                target.copy_(source)
            if motion.static_mask is not None:
                self._stream.follow(motion.static_mask.ready)
                self._static.copy_(motion.static_mask.mask)

    def draw(self, motion: FlowMotion, tau: float) -> tuple[Planes, float]:
        """Return the planes at `tau`, where the keyframes' are, and the PSNR to expect in dB."""
        self._set_steps(motion, tau)
        layout, stays = self._layout, isinstance(motion.pair.left.planes[0], DevicePlane)
        down = self._out[layout.plane_bytes if stays else 0 :]
        host = device.pinned(*down.shape, dtype=torch.uint8)
        with self._stream.used():
            self._steps.copy_(self._host_steps, non_blocking=True)
            self._draw()
            host.copy_(down, non_blocking=True)
            kept = layout.device_planes(self._out) if stays else None
            self._stream.finish()
        squares, light, *unsteady = host[-ALIGNED:][: 8 * SUMS].view(torch.int64).tolist()
        apart = rms(squares, layout.luma.rows * layout.luma.columns)
        luma = light / self._smallest(self._ends[0]).numel()
        known = motion.before is not None, motion.after is not None
        changes = [change / self._unsteadiness.unit for change in compress(unsteady, known)]
        unsteadiness = sum(changes) / len(changes) if changes else None
        return kept or layout.split(host), expected_psnr(apart, luma, unsteadiness)

    def _smallest(self, picture: Tensor) -> Tensor:
        """Return the smallest level of a picture."""
        return self._layout.levels[-1].of(picture)

    def _set_steps(self, motion: FlowMotion, tau: float) -> None:
        steps = self._host_steps.numpy()
        steps[0:3] = _steps(tau, motion.span_before, motion.before)
        steps[3:6] = _steps(1 - tau, motion.span_after, motion.after)
        steps.view(np.int32)[6] = warp_tau(tau)

    def finish(self) -> None:
        """Wait until nothing reads what the pictures are drawn from any more."""
        self._stream.finish()

    def _launches(self) -> None:
        self._find_moment()
        if self._settings.align_steps:
            self._align_ends()
        self._squares.zero_()
        self._sums[1].copy_(self._smallest(self._ends[0]).sum(dtype=torch.int64))
        for shift, field in self._fields.items():
            scales = [32 * self._grid.cell / (1 << axis) for axis in shift]
            inputs = self._to_ends, self._share, field, *self._shape, *scales
            device.launch(grid_kernels.field_kernel, field[0].numel(), *inputs)
        for index in range(len(self._layout.shapes)):
            self._warp(index)
        self._sums[0].copy_(self._squares.sum())
        self._unsteadiness.into(self._sums[2:], self._flows, self._steps, self._ends)
        if self._fusion is not None:
            self._fusion.improve(self._drawing())

    def _drawing(self) -> Drawing:
        """Return what the fusion reads, and the picture that it draws again."""
        (left, right), field = self._ends, self._fields[0, 0]
        found = self._flows, self._steps, self._to_ends, self._share, field
        seen = self._squares, self._static, self._tau, self._taps
        return Drawing(self._out, (left, right), *found, *seen)

    @property
    def _tau(self) -> Tensor:
        """Return the moment, one int32 in 1/32768."""
        return self._steps.view(torch.int32)[6:]

    def _find_moment(self) -> None:
        """Do what `motion.trajectory.moment` does."""
        shape, sums = self._shape, self._fill.cleared()
        count = shape[0] * shape[1]
        inputs = self._flows, self._steps, sums, *shape
        device.launch(grid_kernels.travel_kernel, count, *inputs, beside=2)
        self._fill.into(self._to_ends)
        device.launch(grid_kernels.share_kernel, count, sums, self._steps, self._share, *shape)

    def _align_ends(self) -> None:
        """Do what `kernels.align_ends` does."""
        down, across = self._patches
        count, shape, fine = down * across, self._shape, self._layout.levels[0]
        seen = [fine.of(end) for end in self._ends]
        steps = self._settings.align_steps
        inputs = *seen, self._to_ends, self._offsets, *shape, across, count, steps
        device.launch_patches(align_ends.offset_kernel, count, *inputs)
        inputs = self._offsets, self._share, self._steps, self._to_ends, *shape, across, count
        device.launch(align_ends.move_kernel, shape[0] * shape[1], *inputs)

    def _warp(self, index: int) -> None:
        """Draw one plane."""
        shape, place = self._layout.shapes[index], self._layout.planes[index]
        field = self._fields[shape.shift_x, shape.shift_y]
        ends, out = [place.of(end) for end in self._ends], place.of(self._out)
        inputs = *ends, field, self._taps, self._static, self._tau, out, self._squares
        sizes = shape.width, shape.height, field.shape[2], field.shape[1], (1 << shape.depth) - 1
        run = int(picture_kernels.RUN)
        device.launch(
            picture_kernels.warp_kernel,
            -(-shape.width // run) * run * shape.height,
            *inputs,
            *sizes,
            self._layout.luma.columns,
            self._squares.shape[1],
            shift_x=shape.shift_x,
            shift_y=shape.shift_y,
            cell_x=self._grid.cell >> shape.shift_x,
            cell_y=self._grid.cell >> shape.shift_y,
            depth=shape.depth,
            protect=self._settings.protect_static,
            tile=tile_side(self._grid) if index == self._layout.bright else 0,
        )


class Unsteadiness:
    """What `trajectory.unsteadiness` sums, for both keyframes."""

    def __init__(self, levels: Sequence[ByteRange], taps: Tensor) -> None:
        """Get ready. levels: where those of a picture's pyramid lie; taps: of the warp."""
        level = self._step = half_level(len(levels))
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


def _steps(passed: float, span: float, neighbour: PairMotion | None) -> tuple[float, float, float]:
    """Return what `kernels.travel` multiplies with; nothing bends without a neighbour."""
    bend = (passed * passed - passed) / (span * (span + 1)) if neighbour else 0.0
    return passed, span, bend


def packed_taps() -> Array:
    """Return [16] int32: the four signed bytes of each row of `kernels.CUBIC`, lowest first."""
    return np.ascontiguousarray(kernels.CUBIC).view("<i4")[:, 0]
