"""Bring both keyframes together at the moment drawn, on the device: `kernels.align_ends`."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import FITS, SIZES, descend, difference, fine, match

MOST = tl.constexpr(0.8)  # samples that a patch may be moved by
GAIN = tl.constexpr(0.7)  # of what was found; the patch next to it disagrees


@triton.jit
def _middle(way, row, column, rows, columns):
    """Return one part of the way in samples, in the middle of patches of 4x4 cells."""
    top = tl.minimum(4 * row + 1, rows - 1) * columns
    bottom = tl.minimum(4 * row + 2, rows - 1) * columns
    left, right = tl.minimum(4 * column + 1, columns - 1), tl.minimum(4 * column + 2, columns - 1)
    above = tl.load(way + top + left) + tl.load(way + top + right)
    return 0.5 * (above + (tl.load(way + bottom + left) + tl.load(way + bottom + right)))


@triton.jit(do_not_specialize=SIZES)
def apart_kernel(
    left, right, ways, apart, rows, columns, across, count, steps, block: tl.constexpr
):
    """Write by how many cells patches of 4x4 cells lie apart in the two keyframes.

    left, right: [2 rows, 2 columns] uint8; ways: [2, 2, rows, columns] to them; apart: [2, count].
    """
    own = tl.program_id(0) * block + tl.arange(0, block)
    patch = tl.minimum(own, count - 1)
    row, column, cells = patch // across, patch % across, rows * columns
    x, y, high, wide = 8 * column, 8 * row, 2 * rows, 2 * columns
    from_x = _middle(ways, row, column, rows, columns)
    from_y = _middle(ways + cells, row, column, rows, columns)
    guess_x = _middle(ways + 2 * cells, row, column, rows, columns)
    guess_y = _middle(ways + 3 * cells, row, column, rows, columns)
    at_x, at_y = fine(from_x, x, wide), fine(from_y, y, high)
    inner = tl.arange(0, 64)
    in_x, in_y = x[:, None] + (inner % 8)[None, :], y[:, None] + (inner // 8)[None, :]
    to_x, to_y = at_x[:, None], at_y[:, None]
    seen = difference(left, 0, in_x, in_y, to_x, to_y, high, wide)
    slope_x = difference(left, 0, in_x + 1, in_y, to_x, to_y, high, wide)
    slope_x = (slope_x - difference(left, 0, in_x - 1, in_y, to_x, to_y, high, wide)) >> 4
    slope_y = difference(left, 0, in_x, in_y + 1, to_x, to_y, high, wide)
    slope_y = (slope_y - difference(left, 0, in_x, in_y - 1, to_x, to_y, high, wide)) >> 4
    error, total, by_x, by_y = match(
        right, seen, slope_x, slope_y, in_x, in_y, x, y, guess_x, guess_y, high, wide
    )
    way_x, way_y, least = descend(
        right, seen, slope_x, slope_y, in_x, in_y, x, y, high, wide,
        guess_x, guess_y, error, total, by_x, by_y, error >= -1, steps, FITS,
    )  # fmt: skip
    off_x = (way_x - guess_x) + (from_x - at_x.to(tl.float32) * 0.0625)
    off_y = (way_y - guess_y) + (from_y - at_y.to(tl.float32) * 0.0625)
    length = tl.sqrt_rn(off_x * off_x + off_y * off_y)
    most = tl.div_rn(tl.zeros_like(length) + MOST, tl.maximum(length, MOST))
    better = least < error
    tl.store(apart + patch, tl.where(better, 0.5 * (off_x * most), 0.0), mask=own < count)
    tl.store(apart + count + patch, tl.where(better, 0.5 * (off_y * most), 0.0), mask=own < count)


@triton.jit
def _between(apart, row, next_row, column, next_column, past_x, past_y):
    """Read a number per patch bilinearly."""
    a, b = tl.load(apart + row + column), tl.load(apart + row + next_column)
    c, d = tl.load(apart + next_row + column), tl.load(apart + next_row + next_column)
    above, below = a + (b - a) * past_x, c + (d - c) * past_x
    return above + (below - above) * past_y


@triton.jit(do_not_specialize=SIZES)
def move_kernel(apart, share, steps, ways, rows, columns, across, count, block: tl.constexpr):
    """Move both ends of every cell's way towards each other, as far as both keyframes see it.

    apart: of `apart_kernel`; share: [rows, columns] of the left; steps: what has passed first.
    """
    at, cells = tl.program_id(0) * block + tl.arange(0, block), rows * columns
    inside = at < cells
    x, y = 2 * (at % columns) - 3, 2 * tl.minimum(at // columns, rows - 1) - 3
    past_x, past_y = (x & 7).to(tl.float32) * 0.125, (y & 7).to(tl.float32) * 0.125
    column = tl.minimum(tl.maximum(x >> 3, 0), across - 1)
    next_column = tl.minimum((x >> 3) + 1, across - 1)
    lowest = count // across - 1
    row = tl.minimum(tl.maximum(y >> 3, 0), lowest) * across
    next_row = tl.minimum((y >> 3) + 1, lowest) * across
    tau, left = tl.load(steps), tl.load(share + at, mask=inside, other=0.5)
    near = 1.0 - tau
    seen = tl.minimum(tl.div_rn(left, near + tl.zeros_like(left)), 1.0)
    seen = tl.minimum(seen, tl.div_rn(1.0 - left, tau + tl.zeros_like(left))) * GAIN
    for k in tl.static_range(2):
        part = apart + k * count
        by = _between(part, row, next_row, column, next_column, past_x, past_y) * seen
        to_left, to_right = ways + k * cells + at, ways + (2 + k) * cells + at
        tl.store(to_left, tl.load(to_left, mask=inside, other=0.0) - by * tau, mask=inside)
        tl.store(to_right, tl.load(to_right, mask=inside, other=0.0) + by * near, mask=inside)
