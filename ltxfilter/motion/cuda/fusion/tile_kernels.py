"""The list of uncertain tiles, and along which motions their blocks may be drawn.

Tiles are numbered row by row. Up to `most` of them are marked; `tiles`, [most] int32, has their
numbers in that order, then -1 in all places that are left.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

BLOCKS = tl.constexpr(fusion_sizes.BLOCKS)
CELLS = tl.constexpr(fusion_sizes.BLOCKS**2)  # blocks of a tile
PAIRS = tl.constexpr(fusion_sizes.PAIRS)


@triton.jit
def block_at(row, column, rows, columns):
    """Return the places of blocks in a plane of a field; beyond the picture the last one repeats.

    rows, columns: of the field, its border included.
    """
    row = tl.minimum(tl.maximum(row, 0), rows - 3)
    column = tl.minimum(tl.maximum(column, 0), columns - 3)
    return (row + 1) * columns + column + 1


@triton.jit
def place_of(tile, cell, across):
    """Return rows and columns of blocks in the picture. across: tiles in a row."""
    return BLOCKS * (tile // across) + cell // BLOCKS, BLOCKS * (tile % across) + cell % BLOCKS


@triton.jit(do_not_specialize=SIZES)
def list_kernel(sums, tiles, index, count, most, block: tl.constexpr):
    """Write the list of marked tiles, and the place of each tile in it.

    sums: how many are marked from the first up to each. index: [count] int32, -1 for unmarked ones.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    upto = tl.load(sums + at, mask=inside, other=0)
    before = tl.load(sums + at - 1, mask=inside & (at > 0), other=0)
    marked = inside & (upto > before)
    tl.store(index + at, tl.where(marked, before, -1), mask=inside)
    tl.store(tiles + before, at, mask=marked)
    tl.store(
        tiles + at, tl.zeros_like(at) - 1, mask=(at >= tl.load(sums + count - 1)) & (at < most)
    )


@triton.jit
def _speed(field, at, plane):
    """Return the squared speeds of blocks: they fit, since flow is cut off."""
    x = tl.load(field + 2 * plane + at).to(tl.int32) - tl.load(field + at).to(tl.int32)
    y = tl.load(field + 3 * plane + at).to(tl.int32) - tl.load(field + plane + at).to(tl.int32)
    return x * x + y * y


@triton.jit
def _extremes(
    field, row, column, rows, columns, slow, fast, slowest, fastest,
    reach: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """Look at blocks up to `reach` away, every `step`-th; return places and squares of speeds."""
    each = 2 * reach // step + 1
    for k in range(each * each):
        near_row, near_column = row + k // each * step - reach, column + k % each * step - reach
        near = block_at(near_row, near_column, rows, columns)
        speed = _speed(field, near, rows * columns)
        slow, slowest = tl.where(speed < slowest, near, slow), tl.minimum(slowest, speed)
        fast, fastest = tl.where(speed > fastest, near, fast), tl.maximum(fastest, speed)
    return slow, fast, slowest, fastest


@triton.jit
def _write_motion(field, at, plane, out, used):
    """Write the four numbers of one motion."""
    for k in tl.static_range(4):
        tl.store(out + k * CELLS, tl.load(field + k * plane + at), mask=used)


@triton.jit(do_not_specialize=SIZES)
def motion_kernel(field, tiles, out, rows, columns, across, most, block: tl.constexpr):
    """Write the five motions of the blocks of marked tiles: `kernels.tile_motions`.

    field: [5, rows, columns] int16. out: [most, 20, 4, 4] int16.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used = tile >= 0
    row, column = place_of(tile, cell, across)
    row = tl.minimum(tl.maximum(row, 0), rows - 3)
    column = tl.minimum(tl.maximum(column, 0), columns - 3)
    own, plane = block_at(row, column, rows, columns), rows * columns
    speed = _speed(field, own, plane)
    near_slow, near_fast, slowest, fastest = _extremes(
        field, row, column, rows, columns, own, own, speed, speed, 2, 1
    )
    slow, fast, slowest, fastest = _extremes(
        field, row, column, rows, columns, near_slow, near_fast, slowest, fastest, 5, 2
    )
    out += slot * (4 * PAIRS * CELLS) + cell
    _write_motion(field, own, plane, out, used)
    _write_motion(field, near_slow, plane, out + 4 * CELLS, used)
    _write_motion(field, near_fast, plane, out + 8 * CELLS, used)
    _write_motion(field, slow, plane, out + 12 * CELLS, used)
    _write_motion(field, fast, plane, out + 16 * CELLS, used)
