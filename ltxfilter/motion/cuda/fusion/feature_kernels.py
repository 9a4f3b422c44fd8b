"""What the network sees of every block of the marked tiles: `kernels.tile_features`.

Every lane has a block of a marked tile, or one feature of it. Places of features are those of the
twins in C and NumPy.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.sample_kernels import SAMPLES, marked_block
from ltxfilter.motion.cuda.fusion.tile_kernels import BLOCKS, CELLS, PAIRS, block_at, place_of
from ltxfilter.motion.cuda.picture_kernels import share_of
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes, numpy_features

FEATURES = tl.constexpr(fusion_sizes.FEATURES)
COSTS = tl.constexpr(2 * fusion_sizes.PAIRS - 1)  # of motions, and of the other motions' pictures
PLACES = tl.constexpr(16)  # lanes that the costs of a block have, a power of two
NEAR, FAR = tl.constexpr(1), tl.constexpr(3)  # blocks that boxes reach
BOXES = tl.constexpr(2 * fusion_sizes.PAIRS - 1)
IN_PLACE = tl.constexpr(3 * (2 * fusion_sizes.PAIRS - 1))
TEXTURE = tl.constexpr(IN_PLACE + 3)
OFFSETS = tl.constexpr(IN_PLACE + 4)
SPEEDS = tl.constexpr(OFFSETS + fusion_sizes.PAIRS + 2)
BEND = tl.constexpr(SPEEDS + fusion_sizes.PAIRS)
MOST_OFFSET = tl.constexpr(numpy_features.MOST_OFFSET)
MOST_SPREAD = tl.constexpr(numpy_features.MOST_SPREAD)


@triton.jit
def _exponent(value):
    """Return the whole part of log2 of numbers from 1 up to 2**31."""
    exponent = tl.zeros_like(value)
    for k in tl.static_range(5):
        large = (value >> (16 >> k)) > 0
        exponent += tl.where(large, 16 >> k, 0)
        value = tl.where(large, value >> (16 >> k), value)
    return exponent


@triton.jit
def _logarithm(value):
    """Return log2(1 + value / 16) in 1/32, linear between powers of two."""
    value += 16
    exponent = _exponent(value)
    return ((exponent - 4) << 5) + ((value << 5) >> exponent) - 32


@triton.jit
def _root_logarithm(square):
    """Return log2(1 + square / 1024) / 2 in 1/32, linear between powers of two."""
    square += 1024
    exponent = _exponent(square)
    return (((exponent - 10) << 5) + (square >> (exponent - 5)) - 32) >> 1


@triton.jit
def _offset(total, shift: tl.constexpr):
    """Return the mean of a difference, 32 for 16 codes, of its sum."""
    return tl.minimum(tl.maximum((total >> shift) >> 3, -MOST_OFFSET), MOST_OFFSET)


@triton.jit
def _write(out, feature, value, used):
    tl.store(out + feature, value.to(tl.int16), mask=used)


@triton.jit
def _sample(samples, at, used):
    return tl.load(samples + at, mask=used, other=0).to(tl.int32)


@triton.jit
def _first_sample(cell, side: tl.constexpr):
    """Return where the first samples of blocks lie in a picture of their tile."""
    return (cell // BLOCKS * BLOCKS * side + cell % BLOCKS) * side


@triton.jit
def _gradients(picture, used, side: tl.constexpr):
    """Return the sums of gradients inside blocks, whose first samples `picture` points to."""
    total = tl.zeros(used.shape, tl.int32)
    for k in range(side * side):
        step = k // side * (BLOCKS * side) + k % side
        here = _sample(picture, step, used)
        if k % side < side - 1:
            total += tl.abs(_sample(picture, step + 1, used) - here)
        if k // side < side - 1:
            total += tl.abs(_sample(picture, step + BLOCKS * side, used) - here)
    return total


@triton.jit(do_not_specialize=SIZES)
def pair_kernel(
    samples, field, tiles, out, rows, columns, across, most,
    side: tl.constexpr, shift: tl.constexpr, deep: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write by how much both ends of a motion differ, and their mix from the picture.

    The program's second number says which motion. samples: of `sample_kernel`, of luma. side: of a
    block. shift: from sums over a block to 1/16 codes of 8 bits. out: [most, 16, 49] int16.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell, pair = at // CELLS, at % CELLS, tl.program_id(1)
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, size = tile >= 0, CELLS * side * side
    row, column = place_of(tile, cell, across)
    place = 4 * rows * columns + block_at(row, column, rows, columns)
    share = tl.load(field + place).to(tl.int32)
    drawn = samples + slot * (SAMPLES * size) + _first_sample(cell, side)
    left = drawn + (3 + 2 * pair) * size
    apart, ahead, off = tl.zeros_like(at), tl.zeros_like(at), tl.zeros_like(at)
    for k in range(side * side):
        step = k // side * (BLOCKS * side) + k % side
        a, b = _sample(left, step, used), _sample(left + size, step, used)
        apart += tl.abs(a - b)
        ahead += a - b
        off += tl.abs(b + share_of(a - b, share, deep) - _sample(drawn, step, used))
    out += at * FEATURES
    _write(out, pair, _logarithm(apart >> shift), used)
    _write(out, OFFSETS + pair, _offset(ahead, shift), used)
    if pair > 0:
        _write(out, PAIRS + pair - 1, _logarithm(off >> shift), used)


@triton.jit(do_not_specialize=SIZES)
def place_kernel(
    samples, tiles, out, most, side: tl.constexpr, shift: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """Write by how much the pictures differ in place; as `pair_kernel`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, size = tile >= 0, CELLS * side * side
    drawn = samples + slot * (SAMPLES * size) + _first_sample(cell, side)
    ends, from_left, from_right = tl.zeros_like(at), tl.zeros_like(at), tl.zeros_like(at)
    left_off, right_off = tl.zeros_like(at), tl.zeros_like(at)
    for k in range(side * side):
        step = k // side * (BLOCKS * side) + k % side
        base = _sample(drawn, step, used)
        a, b = _sample(drawn + size, step, used), _sample(drawn + 2 * size, step, used)
        ends += tl.abs(a - b)
        from_left, left_off = from_left + tl.abs(a - base), left_off + a - base
        from_right, right_off = from_right + tl.abs(b - base), right_off + b - base
    out += at * FEATURES
    _write(out, IN_PLACE, _logarithm(ends >> shift), used)
    _write(out, IN_PLACE + 1, _logarithm(from_left >> shift), used)
    _write(out, IN_PLACE + 2, _logarithm(from_right >> shift), used)
    _write(out, OFFSETS + PAIRS, _offset(left_off, shift), used)
    _write(out, OFFSETS + PAIRS + 1, _offset(right_off, shift), used)


@triton.jit(do_not_specialize=SIZES)
def texture_kernel(
    samples, tiles, out, most, side: tl.constexpr, shift: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """Write the texture of what was drawn; as `pair_kernel`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, size = tile >= 0, CELLS * side * side
    total = _gradients(samples + slot * (SAMPLES * size) + _first_sample(cell, side), used, side)
    _write(out + at * FEATURES, TEXTURE, _logarithm(total >> shift), used)


@triton.jit
def _change(field, at, step, plane):
    """Return how one axis of the motion changes from one neighbour of blocks to the other."""
    ahead = tl.load(field + 2 * plane + at + step).to(tl.int32)
    ahead -= tl.load(field + at + step).to(tl.int32)
    behind = tl.load(field + 2 * plane + at - step).to(tl.int32)
    behind -= tl.load(field + at - step).to(tl.int32)
    return tl.minimum(tl.maximum(ahead - behind, -8191), 8191)


@triton.jit
def _motion(motions, k, used):
    """Return a number of the motion of blocks."""
    return tl.load(motions + k * CELLS, mask=used, other=0).to(tl.int32)


@triton.jit(do_not_specialize=SIZES)
def bend_kernel(
    motions, field, tiles, static, tau, out, rows, columns, across, most, width, height,
    side: tl.constexpr, log_side: tl.constexpr, protect: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write what motion, its share, the moment and the static mask tell of blocks.

    motions: of `motion_kernel`. field: [5, rows, columns] int16. static: [height, width] uint8 of
    luma. tau: one int32, in 1/32768. out: [most, 16, 49] int16.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, tau, plane = tile >= 0, tl.load(tau), rows * columns
    motions += slot * (4 * PAIRS * CELLS) + cell
    out += at * FEATURES
    own = tl.zeros_like(at)
    for pair in tl.static_range(PAIRS):
        x = _motion(motions, 4 * pair + 2, used) - _motion(motions, 4 * pair, used)
        y = _motion(motions, 4 * pair + 3, used) - _motion(motions, 4 * pair + 1, used)
        speed = _root_logarithm(x * x + y * y)
        _write(out, SPEEDS + pair, speed - own, used)
        if pair == 0:
            own = speed
    x = (_motion(motions, 0, used) * (32768 - tau) + _motion(motions, 2, used) * tau) >> 15
    y = (_motion(motions, 1, used) * (32768 - tau) + _motion(motions, 3, used) * tau) >> 15
    _write(out, BEND, _root_logarithm(x * x + y * y), used)
    row, column = place_of(tile, cell, across)
    place = block_at(row, column, rows, columns)
    x_along, y_along = _change(field, place, 1, plane), _change(field + plane, place, 1, plane)
    x_down = _change(field, place, columns, plane)
    y_down = _change(field + plane, place, columns, plane)
    square = x_along * x_along + y_along * y_along + x_down * x_down + y_down * y_down
    _write(out, BEND + 1, _root_logarithm(square), used)
    spread = tl.minimum(tl.maximum((x_along + y_down) >> 3, -MOST_SPREAD), MOST_SPREAD)
    _write(out, BEND + 2, spread, used)
    share = tl.load(field + 4 * plane + place).to(tl.int32)
    _write(out, BEND + 3, (share - (32768 - tau)) >> 9, used)
    _write(out, BEND + 4, tl.zeros_like(at) + ((2 * tau - 32768) >> 10), used)
    still = tl.zeros_like(at)
    if protect:
        for k in range(side * side):
            x = tl.minimum(side * column + k % side, width - 1)
            y = tl.minimum(side * row + k // side, height - 1)
            still += (tl.load(static + y * width + x, mask=used, other=0) != 0).to(tl.int32)
    _write(out, BEND + 5, (still << 5) >> (2 * log_side), used)


@triton.jit(do_not_specialize=SIZES)
def box_kernel(features, tiles, index, down, across, most, block: tl.constexpr):
    """Write the means of costs over 3x3 and 7x7 blocks, of those in marked tiles.

    Every lane has one of 16 places of a block, of which the first 9 are costs.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    k, number = at % PLACES, at // PLACES
    slot, cell = number // CELLS, number % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used = (tile >= 0) & (k < COSTS)
    row, column = place_of(tile, cell, across)
    near, near_count = tl.zeros_like(at), tl.zeros_like(at)
    far, far_count = tl.zeros_like(at), tl.zeros_like(at)
    for dy in range(-FAR, FAR + 1):
        for dx in range(-FAR, FAR + 1):
            other = marked_block(index, row + dy, column + dx, down, across)
            there = used & (other >= 0)
            cost = tl.load(features + other * FEATURES + k, mask=there, other=0).to(tl.int32)
            far, far_count = far + cost, far_count + there.to(tl.int32)
            if (dy >= -NEAR) & (dy <= NEAR) & (dx >= -NEAR) & (dx <= NEAR):
                near, near_count = near + cost, near_count + there.to(tl.int32)
    features += number * FEATURES + k
    _write(features, BOXES, near // tl.maximum(near_count, 1), used)
    _write(features, BOXES + COSTS, far // tl.maximum(far_count, 1), used)
