"""A learned fusion: where flow is uncertain, mix what several motions and both keyframes show.

After the fusion network of RDVFI (its phi_s), in small. A picture is divided into tiles of 4x4
blocks. In the tiles in which the keyframes differ most along flow's motion, every block is drawn
again, as a mix of the picture as it is, of both keyframes in place, and of both keyframes along
five motions that occur near the block. A network weighs them by what can be seen of each without
the truth. docs/decisions/0034 has the reasons, the card beside the weights their origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from ltxfilter.frame import Planes, PlaneShape
from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Array, Luma, MotionGrid, bright_plane, mask_for, thinned
from ltxfilter.motion.kernels import fusion_sizes
from ltxfilter.motion.kernels.fusion_sizes import Layers
from ltxfilter.motion.trajectory import FlowContext, Moment, bounces, warp_field

LEAST_BLOCK = 4  # samples of luma along a block's side
AGREED = (2 * 4) ** 2  # in 1/4 codes: tiles whose mean square is no more are left as they are
LARGEST = 1 << 28, (1 << 16) - 1  # elements of an array and tiles that kernels take
WEIGHTS = "fusion_weights.npz"


@dataclass(frozen=True, slots=True, eq=False)
class MarkedTiles:
    """The uncertain tiles of a picture, and along which motions they may be drawn."""

    tiles: Array  # [N, 2] int32, row and column of each
    field: Array  # of all blocks: see c_fusion
    motions: Array  # [N, 20, 4, 4] int16
    shape: tuple[int, int]  # rows and columns of tiles in the picture
    block: int  # samples of luma along a block's side

    @property
    def index(self) -> Array:
        """The number of each tile of the picture, -1 where it is not marked."""
        numbers = np.full(self.shape, -1, np.int32)
        numbers[self.tiles[:, 0], self.tiles[:, 1]] = np.arange(len(self.tiles))
        return numbers


class Fusion:
    """Draws the uncertain tiles of one stream's pictures again; pure, any number of threads."""

    def __init__(self, layout: tuple[PlaneShape, ...], grid: MotionGrid, most: float) -> None:
        """Get ready for pictures of that layout. most: share of the tiles to draw again, 0..1."""
        self._layout, self._grid = layout, grid
        self._bright = bright_plane(layout)
        self._groups = groups(layout)
        self._most = most_tiles(grid, most)
        self._layers = load_layers()

    @property
    def draw_bytes(self) -> int:
        """Bytes that one picture takes at most, beside what drawing takes anyway."""
        grid = self._grid
        block, cells = block_side(grid), fusion_sizes.BLOCKS**2
        planes = 3 if all(shape.shift_x == 0 for shape in self._layout) else 2
        wide = 4 if self._layout[self._bright].depth > 8 else 2
        per_cell = planes * wide * fusion_sizes.SAMPLES * block * block
        per_cell += 2 * (fusion_sizes.FEATURES + fusion_sizes.WEIGHTS + 4 * fusion_sizes.PAIRS)
        per_cell += 2 + (4 + 2) * block * block  # the gain, and what is mixed and covered
        rows, columns = tile_counts(grid)
        everywhere = 26 + 4 + 1  # field, twice, speeds, and which tile is which
        return cells * (self._most * per_cell + rows * columns * everywhere) + (1 << 16)

    def improve(  # noqa: PLR0917
        self,
        drawn: Planes,
        ends: tuple[Planes, Planes],
        at: Moment,
        squares: Array,
        static: Luma | None,
        tau: int,
        context: FlowContext | None = None,
    ) -> None:
        """Draw the uncertain tiles of `drawn` again, in place.

        at: what it was drawn from. squares: of its luma's tiles: see `kernels.warp`. static: [H, W]
        of luma or None; samples that do not move stay as they are, and so does transparency.
        tau: 0..32767 in 1/32768. context: see `mark`.
        """
        marked = mark(at, squares, self._grid, self._most, context)
        if not len(marked.tiles):
            return
        [luma] = self.samples(marked, [self._bright], drawn, ends)
        features = self.features(marked, luma, static, tau)
        weights, gains = kernels.tile_weights(features, marked.field, marked.tiles, self._layers)
        kernels.limit_change(weights, luma, self._layout[self._bright].depth)
        index, wanted = marked.index, self._wanted(drawn, ends, tau)
        for numbers in self._groups:
            bright = numbers == [self._bright]
            shown = [luma] if bright else self.samples(marked, numbers, drawn, ends)
            shape = self._layout[numbers[0]]
            mask = mask_for(static, shape)
            for number, samples in zip(numbers, shown, strict=True):
                kernels.tile_mix(
                    drawn[number],
                    samples,
                    weights,
                    gains if bright else None,
                    marked.tiles,
                    index,
                    mask,
                    shape.depth,
                    wanted,
                )

    def _wanted(self, drawn: Planes, ends: tuple[Planes, Planes], tau: int) -> int:
        """Return by how much the picture's sum lies off what the keyframes tell, in 1/16 codes."""
        import cv2

        left, right, here = (
            int(cv2.sumElems(planes[self._bright])[0]) for planes in (*ends, drawn)
        )
        return ((left * (32768 - tau) + right * tau) >> 11) - 16 * here

    def samples(
        self, marked: MarkedTiles, numbers: list[int], drawn: Planes, ends: tuple[Planes, Planes]
    ) -> list[Array]:
        """Return what the marked tiles of planes of one shape show: see c_fusion.tile_samples."""
        shape = self._layout[numbers[0]]
        shifts = shape.shift_x, shape.shift_y
        block = marked.block >> shape.shift_x, marked.block >> shape.shift_y
        planes = [(drawn[number], ends[0][number], ends[1][number]) for number in numbers]
        return kernels.tile_samples(planes, marked.motions, marked.tiles, block, shifts)

    def features(self, marked: MarkedTiles, luma: Array, static: Luma | None, tau: int) -> Array:
        """Return what the network sees: see c_fusion.tile_features. luma: what `samples` made."""
        return kernels.tile_features(
            luma,
            marked.motions,
            marked.field,
            marked.tiles,
            static,
            self._layout[self._bright].depth,
            tau,
            marked.shape,
        )


def groups(layout: tuple[PlaneShape, ...]) -> list[list[int]]:
    """Return the numbers of planes that are mixed: the bright one, then those of one shape."""
    bright = bright_plane(layout)
    alike: dict[PlaneShape, list[int]] = {}
    for number, shape in enumerate(layout):
        if shape.role != "a" and number != bright:
            alike.setdefault(replace(shape, role=""), []).append(number)
    return [[bright], *alike.values()]


def block_side(grid: MotionGrid) -> int:
    """Return how many samples of luma a block has along each side."""
    return max(LEAST_BLOCK, grid.cell)


def tile_side(grid: MotionGrid) -> int:
    """Return how many samples of luma a tile has along each side."""
    return fusion_sizes.BLOCKS * block_side(grid)


def mark(
    at: Moment, squares: Array, grid: MotionGrid, most: int, context: FlowContext | None = None
) -> MarkedTiles:
    """Return up to `most` tiles in which both keyframes differ most along the motion.

    context: of the pair; where something in the middle of a tile may bounce between the keyframes
    (see `trajectory.bounces`), the tile is not marked: nothing tells where it is at any moment.
    """
    tiles = uncertain(squares, AGREED * tile_side(grid) ** 2, most)
    if context is not None:
        found = bounces(context, at, middles(tiles, grid), tile_side(grid) // grid.cell)
        tiles = np.ascontiguousarray(tiles[~found])
    field = block_field(at, grid)
    count = 4 * fusion_sizes.PAIRS, fusion_sizes.BLOCKS, fusion_sizes.BLOCKS
    motions = kernels.tile_motions(field, tiles) if len(tiles) else np.empty((0, *count), np.int16)
    return MarkedTiles(tiles, field, motions, tile_counts(grid), block_side(grid))


def block_field(at: Moment, grid: MotionGrid) -> Array:
    """Return the motion on blocks: see c_fusion."""
    step = block_side(grid) // grid.cell
    if step == 1:
        return warp_field(at, grid, 0, 0)
    left, right = (thinned(flow, step) for flow in (at.to_left, at.to_right))
    share = np.ascontiguousarray(at.share[::step, ::step])
    return kernels.make_field(left, right, share, (32 * grid.cell, 32 * grid.cell))


def tile_counts(grid: MotionGrid) -> tuple[int, int]:
    """Return how many rows and columns of tiles cover the picture."""
    side = tile_side(grid)
    return -(-grid.height // side), -(-grid.width // side)


def middles(tiles: Array, grid: MotionGrid) -> tuple[Array, Array]:
    """Return rows and columns of the cells in the middle of tiles, [N] each. tiles: [N, 2]."""
    side = tile_side(grid) // grid.cell
    rows, columns = tiles.T * side + side // 2
    return np.minimum(rows, grid.rows - 1), np.minimum(columns, grid.columns - 1)


def most_tiles(grid: MotionGrid, share: float) -> int:
    """Return how many tiles of a picture may be marked. share: of all of them, 0..1."""
    rows, columns = tile_counts(grid)
    side = tile_side(grid)
    elements, tiles = LARGEST
    allowed = min(elements // (fusion_sizes.SAMPLES * side * side), tiles)
    return min(max(int(share * rows * columns), 1), allowed)


def uncertain(scores: Array, limit: int, most: int) -> Array:
    """Return the tiles with the highest scores above a limit, [N, 2] int32, N up to `most`."""
    if scores.size > most:
        rank = scores.size - most - 1
        limit = max(limit, int(np.partition(scores.ravel(), rank)[rank]))
    return np.ascontiguousarray(np.argwhere(scores > limit).astype(np.int32))


@cache
def load_layers() -> Layers:
    """Return the network that the package brings."""
    with (files("ltxfilter.motion") / WEIGHTS).open("rb") as file, np.load(file) as stored:
        return checked_layers(stored)


def checked_layers(stored: Any) -> Layers:
    """Return the layers in a mapping, `weights_1` and `bias_1` to `weights_4` and `bias_4`.

    Raises ValueError where a shape or a type is wrong, or a sum could overflow.
    """
    sizes = fusion_sizes.FEATURES, *[fusion_sizes.UNITS] * 3, fusion_sizes.OUTPUTS
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights, bias = (stored[f"{name}_{number + 1}"] for name in ("weights", "bias"))
        if weights.shape != (inputs, outputs) or bias.shape != (outputs,):
            raise ValueError(f"layer {number + 1} of the fusion has another shape")
        if weights.dtype != np.int16 or bias.dtype != np.int32:
            raise ValueError(f"layer {number + 1} of the fusion has another type")
        most = fusion_sizes.MOST_ACTIVE if number else fusion_sizes.MOST_FEATURE
        total = np.abs(weights.astype(np.int64)).sum(axis=0) * most + np.abs(bias.astype(np.int64))
        if total.max() >= 1 << 31:
            raise ValueError(f"layer {number + 1} of the fusion can overflow")
        layers.append((np.ascontiguousarray(weights), np.ascontiguousarray(bias)))
    return tuple(layers)
