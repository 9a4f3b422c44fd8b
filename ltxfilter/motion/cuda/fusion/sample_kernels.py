"""What marked tiles show along each of their motions, and the mix that is written over them.

Every lane has a sample of a tile. A tile is 4x4 blocks of cell_x x cell_y samples of a plane.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.tile_kernels import BLOCKS, CELLS, PAIRS
from ltxfilter.motion.cuda.picture_kernels import code, fetch, past, share_of
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

SAMPLES = tl.constexpr(fusion_sizes.SAMPLES)
WEIGHTS = tl.constexpr(fusion_sizes.WEIGHTS)


@triton.jit
def _between(northwest, northeast, southwest, southeast, past_x, past_y):
    """Read numbers of four blocks bilinearly."""
    left = northwest + share_of(southwest - northwest, past_y, False)
    right = northeast + share_of(southeast - northeast, past_y, False)
    return left + share_of(right - left, past_x, False)


@triton.jit
def _block_motion(motions, row, column, used, shift: tl.constexpr):
    """Return one number of the motion of blocks, in 1/32 samples of the plane; borders repeat."""
    row = tl.minimum(tl.maximum(row, 0), BLOCKS - 1)
    column = tl.minimum(tl.maximum(column, 0), BLOCKS - 1)
    motion = tl.load(motions + row * BLOCKS + column, mask=used, other=0).to(tl.int32)
    return (motion + ((1 << shift) >> 1)) >> shift


@triton.jit
def _motion_at(motions, row, column, past_x, past_y, used, shift: tl.constexpr):
    """Read one number of the motion between (row, column) and the blocks right and below."""
    return _between(
        _block_motion(motions, row, column, used, shift),
        _block_motion(motions, row, column + 1, used, shift),
        _block_motion(motions, row + 1, column, used, shift),
        _block_motion(motions, row + 1, column + 1, used, shift),
        past_x,
        past_y,
    )


@triton.jit(do_not_specialize=SIZES)
def sample_kernel(
    drawn, left, right, motions, tiles, taps, out, width, height, across, most,
    cell_x: tl.constexpr, cell_y: tl.constexpr, shift_x: tl.constexpr, shift_y: tl.constexpr,
    deep: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write what marked tiles show of one plane: `kernels.tile_samples`.

    The program's second number says what: 0 the pictures in place, else both ends of a motion.
    drawn, left, right: [height, width]. out: [most, 13, 4 cell_y, 4 cell_x] int16 or int32.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    wide, size = BLOCKS * cell_x, CELLS * cell_x * cell_y
    slot, place = at // size, at % size
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, in_x, in_y = tile >= 0, place % wide, place // wide
    x, y = tile % across * wide + in_x, tile // across * (BLOCKS * cell_y) + in_y
    out += slot * (SAMPLES * size) + place
    pair = tl.program_id(1) - 1
    if pair < 0:
        value = code(drawn, x, y, width, height) << 4
        tl.store(out, value.to(out.dtype.element_ty), mask=used)
        value = code(left, x, y, width, height) << 4
        tl.store(out + size, value.to(out.dtype.element_ty), mask=used)
        value = code(right, x, y, width, height) << 4
        tl.store(out + 2 * size, value.to(out.dtype.element_ty), mask=used)
    else:
        column, past_x = past(in_x, cell_x)
        row, past_y = past(in_y, cell_y)
        row, column = row - 1, column - 1
        motion = motions + (slot * PAIRS + pair) * (4 * CELLS)
        dx = _motion_at(motion, row, column, past_x, past_y, used, shift_x)
        dy = _motion_at(motion + CELLS, row, column, past_x, past_y, used, shift_y)
        value = fetch(left, x, y, dx, dy, taps, width, height, deep)
        tl.store(out + (3 + 2 * pair) * size, value.to(out.dtype.element_ty), mask=used)
        dx = _motion_at(motion + 2 * CELLS, row, column, past_x, past_y, used, shift_x)
        dy = _motion_at(motion + 3 * CELLS, row, column, past_x, past_y, used, shift_y)
        value = fetch(right, x, y, dx, dy, taps, width, height, deep)
        tl.store(out + (4 + 2 * pair) * size, value.to(out.dtype.element_ty), mask=used)


@triton.jit
def marked_block(index, row, column, down, across):
    """Return where blocks of the picture lie among those of marked tiles, less than 0 if nowhere.

    index: [down, across] int32, the place of each tile in the list of marked ones, or -1.
    """
    inside = (row >= 0) & (column >= 0) & (row < BLOCKS * down) & (column < BLOCKS * across)
    tile = (row // BLOCKS) * across + column // BLOCKS
    slot = tl.load(index + tile, mask=inside, other=-1)
    return tl.where(slot < 0, -1, slot * CELLS + (row % BLOCKS) * BLOCKS + column % BLOCKS)


@triton.jit
def _weight_of(weights, block_number, k):
    """Return a weight of blocks, 0 in tiles that are not marked."""
    at = block_number // CELLS * (WEIGHTS * CELLS) + k * CELLS + block_number % CELLS
    return tl.load(weights + at, mask=block_number >= 0, other=0).to(tl.int32)


@triton.jit
def _writable(
    x, y, used, static, width, height, static_width, shift_x: tl.constexpr, shift_y: tl.constexpr,
    protect: tl.constexpr,
):  # fmt: skip
    """Return where samples are neither static nor beyond the border; see `write_codes`."""
    used = used & (x < width) & (y < height)
    if protect:
        still = tl.load(static + (y << shift_y) * static_width + (x << shift_x), mask=used, other=1)
        used = used & (still == 0)
    return used


@triton.jit
def write_codes(
    picture, x, y, mixed, used, static, width, height, static_width, shift_x: tl.constexpr,
    shift_y: tl.constexpr, largest: tl.constexpr, protect: tl.constexpr,
):  # fmt: skip
    """Write samples in 1/16 codes, but for those that are static or beyond the border.

    static: as `warp_kernel` has it. largest: the largest code.
    """
    mixed = (mixed + 7 + ((mixed >> 4) & 1)) >> 4  # halves to even
    mixed = tl.minimum(tl.maximum(mixed, 0), largest)
    used = _writable(x, y, used, static, width, height, static_width, shift_x, shift_y, protect)
    tl.store(picture + y * width + x, mixed.to(picture.dtype.element_ty), mask=used)


@triton.jit(do_not_specialize=SIZES)
def mix_kernel(
    picture, unrounded, covered, sums, samples, weights, tiles, index, static, width, height, down,
    across, most, static_width, cell_x: tl.constexpr, cell_y: tl.constexpr, shift_x: tl.constexpr,
    shift_y: tl.constexpr, largest: tl.constexpr, deep: tl.constexpr, protect: tl.constexpr,
    sharpen: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write the mix over the marked tiles of one plane: `kernels.tile_mix`.

    picture: [height, width]. samples: of `sample_kernel`. weights: [most, 12, 4, 4] int16. static,
    largest: as `write_codes`. sharpen: write nothing there, but 1/16 codes to `unrounded`, [most,
    4 cell_y, 4 cell_x] int32, and the sums of weights to `covered`, which is like it; add to
    `sums`, int64, by how much samples that may be written change, and their weights.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    wide, size = BLOCKS * cell_x, CELLS * cell_x * cell_y
    slot, place = at // size, at % size
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, in_x, in_y = tile >= 0, place % wide, place // wide
    column, past_x = past(in_x, cell_x)
    row, past_y = past(in_y, cell_y)
    row += BLOCKS * (tile // across) - 1
    column += BLOCKS * (tile % across) - 1
    northwest = marked_block(index, row, column, down, across)
    northeast = marked_block(index, row, column + 1, down, across)
    southwest = marked_block(index, row + 1, column, down, across)
    southeast = marked_block(index, row + 1, column + 1, down, across)
    samples += slot * (SAMPLES * size) + place
    base = tl.load(samples, mask=used, other=0).to(tl.int32)
    mixed, cover = base, tl.zeros_like(at)
    for k in range(WEIGHTS):
        weight = _between(
            _weight_of(weights, northwest, k), _weight_of(weights, northeast, k),
            _weight_of(weights, southwest, k), _weight_of(weights, southeast, k), past_x, past_y,
        )  # fmt: skip
        value = tl.load(samples + (k + 1) * size, mask=used, other=0).to(tl.int32)
        mixed += share_of(value - base, weight, deep)
        cover += weight
    x, y = tile % across * wide + in_x, tile // across * (BLOCKS * cell_y) + in_y
    if sharpen:
        cover = tl.minimum(cover, 32767)
        tl.store(unrounded + at, mixed, mask=used)
        tl.store(covered + at, cover, mask=used)
        used = _writable(x, y, used, static, width, height, static_width, shift_x, shift_y, protect)
        tl.atomic_add(sums, tl.sum(tl.where(used, mixed - base, 0).to(tl.int64), axis=0))
        tl.atomic_add(sums + 1, tl.sum(tl.where(used, cover, 0).to(tl.int64), axis=0))
    else:
        write_codes(
            picture, x, y, mixed, used, static, width, height, static_width,
            shift_x, shift_y, largest, protect,
        )  # fmt: skip
