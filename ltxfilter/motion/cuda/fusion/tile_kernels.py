"""Which tiles are uncertain, and along which motions their blocks may be drawn.

Tiles are numbered row by row. Up to `most` of them are marked; `tiles`, [most] int32, has their
numbers in that order, then -1 in all places that are left.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import SIZES, sample
from ltxfilter.motion.kernels import fusion_sizes

BLOCKS = tl.constexpr(fusion_sizes.BLOCKS)
CELLS = tl.constexpr(fusion_sizes.BLOCKS**2)  # blocks of a tile
SCORED = tl.constexpr(fusion_sizes.BLOCKS**2 // 2)  # blocks of a tile that its score looks at
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


@triton.jit
def _point(picture, x, y, rows, columns):
    """Return the samples at positions in 1/32, bilinearly, in 1/16 codes."""
    x = tl.minimum(tl.maximum(x, 0), 32 * (columns - 1))
    y = tl.minimum(tl.maximum(y, 0), 32 * (rows - 1))
    left, top, past_x, past_y = x >> 5, y >> 5, x & 31, y & 31
    above = sample(picture, left, top, rows, columns) * (32 - past_x)
    above += sample(picture, left + 1, top, rows, columns) * past_x
    below = sample(picture, left, top + 1, rows, columns) * (32 - past_x)
    below += sample(picture, left + 1, top + 1, rows, columns) * past_x
    return (above * (32 - past_y) + below * past_y + 32) >> 6


@triton.jit
def _seen(picture, field, at, plane, x, y, height, width, shift: tl.constexpr):
    """Return the samples that blocks show where two planes of a field say."""
    x += (tl.load(field + at).to(tl.int32) + ((1 << shift) >> 1)) >> shift
    y += (tl.load(field + plane + at).to(tl.int32) + ((1 << shift) >> 1)) >> shift
    return _point(picture, x, y, height, width)


@triton.jit(do_not_specialize=SIZES)
def score_kernel(
    left, right, field, scores, counts, height, width, rows, columns, across, count, agreed,
    shift: tl.constexpr, apart: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write the scores of tiles, `kernels.tile_scores`, and count those above `agreed` by value.

    left, right: flow images, [height, width] uint8; a sample covers 2**shift samples of luma, and
    blocks are `apart` samples apart. field: [5, rows, columns] int16. count: tiles, `across` in a
    row. counts: an int32 per possible score, set to 0. Lanes have every second block of each row.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    tile, row = at // SCORED, at % SCORED // (BLOCKS // 2)
    cell = BLOCKS * row + 2 * (at % (BLOCKS // 2)) + row % 2
    row, column = place_of(tile, cell, across)
    x, y = apart * (32 * column + 16) - 16, apart * (32 * row + 16) - 16
    place, plane = block_at(row, column, rows, columns), rows * columns
    a = _seen(left, field, place, plane, x, y, height, width, shift)
    b = _seen(right, field + 2 * plane, place, plane, x, y, height, width, shift)
    score = tl.sum(tl.reshape(tl.abs(a - b), (block // SCORED, SCORED)), axis=1)
    tile = tl.program_id(0) * (block // SCORED) + tl.arange(0, block // SCORED)
    tl.store(scores + tile, score, mask=tile < count)
    tl.atomic_add(counts + score, 1, mask=(tile < count) & (score > agreed))


@triton.jit(do_not_specialize=SIZES)
def mark_kernel(
    scores, counts, sums, marks, count, agreed, most, known: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    """Write 1 for the tiles with the highest scores above `agreed`, up to `most`, else 0.

    sums: of `counts`, from the first up to each of `known` possible scores. Where equal
    scores would make it more than `most`, none of them is marked.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    score = tl.load(scores + at, mask=at < count, other=0)
    above = tl.load(sums + known - 1) - tl.load(sums + score)
    marked = (score > agreed) & (above + tl.load(counts + score) <= most)
    tl.store(marks + at, marked.to(tl.int32), mask=at < count)


@triton.jit(do_not_specialize=SIZES)
def list_kernel(marks, sums, tiles, index, count, most, block: tl.constexpr):
    """Write the list of marked tiles, and the place of each tile in it.

    sums: of `marks`, from the first up to each. index: [count] int32, -1 for unmarked tiles.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < count
    marked = tl.load(marks + at, mask=inside, other=0) != 0
    place = tl.load(sums + at, mask=inside, other=0) - 1
    tl.store(index + at, tl.where(marked, place, -1), mask=inside)
    tl.store(tiles + place, at, mask=inside & marked)
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
