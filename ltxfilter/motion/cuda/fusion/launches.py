"""The learned fusion on the device: its buffers, and the launches that improve one picture.

How many tiles are marked is known on the device alone, so that the host need not wait: buffers
have room for as many as may be, and programs of places that are left end at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ltxfilter.frame import PlaneShape
from ltxfilter.motion import fusion
from ltxfilter.motion.cuda import device, grid_kernels
from ltxfilter.motion.cuda.estimate import empty
from ltxfilter.motion.cuda.fusion import (
    feature_kernels,
    limit_kernels,
    network_kernels,
    sample_kernels,
    sharpen_kernels,
    tile_kernels,
)
from ltxfilter.motion.cuda.fusion.bounces import Bounces
from ltxfilter.motion.cuda.upload import ByteLayout
from ltxfilter.motion.grid import MotionGrid
from ltxfilter.motion.kernels.fusion_sizes import (
    BLOCKS,
    FEATURES,
    HALVINGS,
    OUTPUTS,
    PAIRS,
    SAMPLES,
    UNITS,
    WEIGHTS,
)

CELLS = BLOCKS**2  # blocks of a tile
SHIFTS = 8, 10, 10, 9  # of the sums of each layer: see kernels.tile_weights
PLACES = int(feature_kernels.PLACES)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What a picture was drawn from, in buffers that do not move."""

    picture: Tensor  # bytes of the planes as they were drawn, which are drawn again in place
    ends: tuple[Tensor, Tensor]  # bytes of both keyframes
    flows: (
        Tensor  # [3, 6, rows, columns] of the work grid: the pair before, the pair, the one after
    )
    steps: Tensor  # [2, 3] float32 as travel_kernel has them, in one row
    to_ends: Tensor  # [2, 2, rows, columns]: to the left and to the right end
    share: Tensor  # [rows, columns]
    field: Tensor  # of luma, as warp_kernel has it
    squares: Tensor  # [down, across] int64 of luma's tiles, as warp_kernel sums them
    static: Tensor  # [H, W] uint8 of luma
    tau: Tensor  # one int32, in 1/32768
    taps: Tensor  # as fetch has them


def list_tiles(scores: Tensor, limit: int, tiles: Tensor, index: Tensor, unmarked: Tensor) -> None:
    """Do what `fusion.mark` does, with the host not knowing how many there are.

    scores: [N] int64. unmarked: [N] bool, which are not marked whatever they score. tiles: [most]
    int32, for the numbers of the marked tiles, in their order, then -1 in all places that are left.
    index: [N] int32, for the place of each in that list, -1 for those that are not marked.
    """
    count, most = len(scores), len(tiles)
    above: Tensor | int = limit
    if count > most:
        above = torch.sort(scores).values[count - most - 1].clamp(min=limit)
    places = torch.cumsum((scores > above) & ~unmarked, 0, dtype=torch.int32)
    inputs = places, tiles, index, count, most
    device.launch(tile_kernels.list_kernel, max(count, most), *inputs)


class CudaFusion:
    """Draws the uncertain tiles of pictures again: what `motion.fusion.Fusion` does."""

    def __init__(self, layout: ByteLayout, grid: MotionGrid, most: float, *, protect: bool) -> None:
        """Get ready, on this thread's stream.

        most: share of the tiles to draw again, 0..1. protect: static samples stay as they are.
        """
        self._layout, self._grid, self._protect = layout, grid, protect
        self._side = fusion.block_side(grid)
        self._shape = fusion.tile_counts(grid)
        self._most = fusion.most_tiles(grid, most)
        self._agreed = fusion.AGREED * fusion.tile_side(grid) ** 2
        self._index = empty(self._shape[0] * self._shape[1], dtype=torch.int32)
        self._tiles = empty(self._most, dtype=torch.int32)
        self._bounces = Bounces(grid)
        self._allocate_blocks()
        layers = [*fusion.load_layers(), (HALVINGS,)]
        *self._layers, (self._halvings,) = [
            tuple(torch.from_numpy(part).to(device.NAME) for part in layer) for layer in layers
        ]

    def _allocate_blocks(self) -> None:
        most, cells = self._most, (self._most, CELLS)
        self._thin = self._thinned_field() if self._side > self._grid.cell else None
        self._motions = empty(most, 4 * PAIRS, CELLS, dtype=torch.int16)
        sizes = [self._tile_size(shape) * (1 + (shape.depth > 8)) for shape in self._layout.shapes]
        self._samples = empty(most * SAMPLES * max(sizes), dtype=torch.int16)
        self._features = empty(*cells, FEATURES, dtype=torch.int16)
        self._units = [empty(*cells, UNITS, dtype=torch.int32) for _ in range(2)]
        self._logits = empty(*cells, OUTPUTS, dtype=torch.int32)
        self._weights = empty(most, WEIGHTS, CELLS, dtype=torch.int16)
        self._gains = empty(most, CELLS, dtype=torch.int16)
        size = CELLS * self._side**2
        self._mixed, self._covered = (empty(most, size, dtype=torch.int32) for _ in range(2))
        self._totals = empty(sharpen_kernels.SUMS, dtype=torch.int64)
        self._offset = empty(1, dtype=torch.int32)

    def _thinned_field(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return buffers for the motion on blocks: to both ends, its share, and the field."""
        step = self._side // self._grid.cell
        rows, columns = -(-self._grid.rows // step), -(-self._grid.columns // step)
        field = empty(5, rows + 2, columns + 2, dtype=torch.int16)
        return empty(2, 2, rows, columns), empty(rows, columns), field

    def _tile_size(self, shape: PlaneShape) -> int:
        """Return how many samples of a plane a tile has."""
        return CELLS * (self._side >> shape.shift_x) * (self._side >> shape.shift_y)

    def improve(self, drawing: Drawing) -> None:
        """Launch what draws the uncertain tiles of the picture again."""
        field = self._block_field(drawing)
        bounces = self._bounces.found(drawing.flows, drawing.steps, drawing.to_ends)
        squares = drawing.squares.view(-1)
        list_tiles(squares, self._agreed, self._tiles, self._index, bounces)
        self._find_motions(field)
        bright = self._layout.bright
        self._sample(drawing, bright)
        self._find_features(drawing, field)
        self._weigh(field)
        self._limit(self._layout.shapes[bright])
        self._mix(drawing, bright)
        for index, shape in enumerate(self._layout.shapes):
            if index != bright and shape.role != "a":
                self._sample(drawing, index)
                self._mix(drawing, index)

    def _block_field(self, drawing: Drawing) -> Tensor:
        """Do what `fusion.block_field` does; blocks that are cells share the field of luma."""
        if self._thin is None:
            return drawing.field
        to_ends, share, field = self._thin
        step, scale = self._side // self._grid.cell, 32.0 * self._grid.cell
        to_ends.copy_(drawing.to_ends[..., ::step, ::step])
        share.copy_(drawing.share[::step, ::step])
        inputs = to_ends, share, field, *share.shape, scale, scale
        device.launch(grid_kernels.field_kernel, field[0].numel(), *inputs)
        return field

    def _find_motions(self, field: Tensor) -> None:
        """Do what `kernels.tile_motions` does."""
        across, most = self._shape[1], self._most
        inputs = field, self._tiles, self._motions, *field.shape[1:], across, most
        device.launch(tile_kernels.motion_kernel, CELLS * most, *inputs)

    def _samples_of(self, shape: PlaneShape) -> Tensor:
        """Return the buffer for samples of a plane, as its depth needs them."""
        return self._samples.view(torch.int32) if shape.depth > 8 else self._samples

    def _plane_constants(self, shape: PlaneShape) -> dict[str, Any]:
        """Return what kernels know of a plane when they are compiled."""
        x, y = shape.shift_x, shape.shift_y
        cells = {"cell_x": self._side >> x, "cell_y": self._side >> y}
        return {**cells, "shift_x": x, "shift_y": y, "deep": shape.depth > 8}

    def _sample(self, drawing: Drawing, index: int) -> None:
        """Do what `kernels.tile_samples` does for one plane."""
        shape, place = self._layout.shapes[index], self._layout.planes[index]
        planes = [place.of(whole) for whole in (drawing.picture, *drawing.ends)]
        inputs = *planes, self._motions, self._tiles, drawing.taps, self._samples_of(shape)
        sizes = shape.width, shape.height, self._shape[1], self._most
        count, constants = self._most * self._tile_size(shape), self._plane_constants(shape)
        kernel = sample_kernels.sample_kernel
        device.launch(kernel, count, *inputs, *sizes, beside=1 + PAIRS, **constants)

    def _find_features(self, drawing: Drawing, field: Tensor) -> None:
        """Do what `kernels.tile_features` does."""
        shape, tiles, out = self._layout.shapes[self._layout.bright], self._tiles, self._features
        samples, side = self._samples_of(shape), self._side
        log_side, deep = side.bit_length() - 1, shape.depth > 8
        sums = {"side": side, "shift": 2 * log_side + shape.depth - 8}
        count, across, most = CELLS * self._most, self._shape[1], self._most
        sizes = *field.shape[1:], across, most
        kernel, inputs = feature_kernels.pair_kernel, (samples, field, tiles, out, *sizes)
        device.launch(kernel, count, *inputs, beside=PAIRS, deep=deep, **sums)
        device.launch(feature_kernels.place_kernel, count, samples, tiles, out, most, **sums)
        device.launch(feature_kernels.texture_kernel, count, samples, tiles, out, most, **sums)
        inputs = self._motions, field, tiles, drawing.static, drawing.tau, out, *sizes
        picture = self._layout.luma.columns, self._layout.luma.rows
        constants = {"side": side, "log_side": log_side, "protect": self._protect}
        device.launch(feature_kernels.bend_kernel, count, *inputs, *picture, **constants)
        inputs = out, tiles, self._index, *self._shape, most
        device.launch(feature_kernels.box_kernel, count * PLACES, *inputs)

    def _weigh(self, field: Tensor) -> None:
        """Do what `kernels.tile_weights` does."""
        count, tiles, most = CELLS * self._most, self._tiles, self._most
        values = [self._features, *self._units, self._units[0], self._logits]
        for number, (given, out) in enumerate(pairwise(values)):
            inputs, outputs = given.shape[2], out.shape[2]
            args = given, *self._layers[number], tiles, out, most
            constants = {"inputs": inputs, "outputs": outputs, "shift": SHIFTS[number]}
            kernel, rectify = network_kernels.layer_kernel, out is not self._logits
            device.launch(kernel, count * outputs, *args, rectify=rectify, **constants)
        inputs = self._logits, self._halvings, field, tiles, self._weights, self._gains
        sizes = *field.shape[1:], self._shape[1], most
        device.launch(network_kernels.weight_kernel, count, *inputs, *sizes)

    def _limit(self, luma: PlaneShape) -> None:
        """Do what `kernels.limit_change` does."""
        inputs = self._weights, self._samples_of(luma), self._tiles, self._most
        sizes = {"side": self._side, "shift": luma.depth - 8}
        device.launch(limit_kernels.limit_kernel, CELLS * self._most, *inputs, **sizes)

    def _mix(self, drawing: Drawing, index: int) -> None:
        """Do what `kernels.tile_mix` does for one plane; the bright one is sharpened."""
        shape, place = self._layout.shapes[index], self._layout.planes[index]
        bright = index == self._layout.bright
        picture = place.of(drawing.picture)
        if bright:
            self._sum_planes(drawing, index)
        inputs = picture, self._mixed, self._covered, self._totals
        sizes = shape.width, shape.height, *self._shape, self._most, self._layout.luma.columns
        written = {"largest": (1 << shape.depth) - 1, "protect": self._protect}
        device.launch(
            sample_kernels.mix_kernel,
            self._most * self._tile_size(shape),
            *inputs,
            self._samples_of(shape),
            self._weights,
            self._tiles,
            self._index,
            drawing.static,
            *sizes,
            **self._plane_constants(shape),
            **written,
            sharpen=bright,
        )
        if bright:
            self._sharpen(drawing, picture, shape, written)

    def _sum_planes(self, drawing: Drawing, index: int) -> None:
        """Sum the samples of both keyframes and of the picture."""
        self._totals.zero_()
        place = self._layout.planes[index]
        for number, whole in enumerate((*drawing.ends, drawing.picture), 2):
            plane = place.of(whole)
            inputs = plane, self._totals[number:], plane.numel()
            device.launch(sharpen_kernels.sum_kernel, plane.numel(), *inputs)

    def _sharpen(
        self, drawing: Drawing, picture: Tensor, shape: PlaneShape, written: dict[str, Any]
    ) -> None:
        """Write the bright plane: shifted to the mean that suits the keyframes, and sharpened."""
        mixed, most, side = self._mixed, self._most, self._side
        told = self._totals, drawing.tau, self._offset
        device.launch(sharpen_kernels.offset_kernel, 1, *told, depth=shape.depth)
        inputs = picture, mixed, self._covered, self._gains, self._offset, self._tiles
        sizes = shape.width, shape.height, self._shape[1], most, self._layout.luma.columns
        shifts = {"shift_x": shape.shift_x, "shift_y": shape.shift_y}
        kernel = sharpen_kernels.sharpen_kernel
        device.launch(
            kernel, mixed.numel(), *inputs, drawing.static, *sizes, side=side, **shifts, **written
        )
