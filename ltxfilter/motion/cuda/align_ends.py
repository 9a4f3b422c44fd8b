"""Align both keyframes at the moment that is drawn, on the device: `kernels.align_ends`."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import FITS, SIZES, descend, difference, fine, match

MOST = tl.constexpr(0.8)  # samples that a patch may be moved by
GAIN = tl.constexpr(0.7)  # of the offset; less than 1, because the next patch disagrees


@triton.jit
def _middle(flow, row, column, rows, columns):
    """Return one axis of the flow in samples, in the middle of patches of 4x4 cells."""
    top = tl.minimum(4 * row + 1, rows - 1) * columns
    bottom = tl.minimum(4 * row + 2, rows - 1) * columns
    left, right = tl.minimum(4 * column + 1, columns - 1), tl.minimum(4 * column + 2, columns - 1)
    above = tl.load(flow + top + left) + tl.load(flow + top + right)
    return 0.5 * (above + (tl.load(flow + bottom + left) + tl.load(flow + bottom + right)))


@triton.jit(do_not_specialize=SIZES)
def offset_kernel(
    left, right, flows, offsets, rows, columns, across, count, steps, block: tl.constexpr
):
    """Write by how many cells patches of 4x4 cells are offset between the two keyframes.

    left, right: [2 rows, 2 columns] uint8; flows: to them, [2, 2, rows, columns]; offsets: [2,
    count].
    """
    own = tl.program_id(0) * block + tl.arange(0, block)
    patch = tl.minimum(own, count - 1)
    row, column, cells = patch // across, patch % across, rows * columns
    x, y, high, wide = 8 * column, 8 * row, 2 * rows, 2 * columns
    from_x = _middle(flows, row, column, rows, columns)
    from_y = _middle(flows + cells, row, column, rows, columns)
    guess_x = _middle(flows + 2 * cells, row, column, rows, columns)
    guess_y = _middle(flows + 3 * cells, row, column, rows, columns)
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
    flow_x, flow_y, least = descend(
        right, seen, slope_x, slope_y, in_x, in_y, x, y, high, wide,
        guess_x, guess_y, error, total, by_x, by_y, error >= -1, steps, FITS,
    )  # fmt: skip
    off_x = (flow_x - guess_x) + (from_x - at_x.to(tl.float32) * 0.0625)
    off_y = (flow_y - guess_y) + (from_y - at_y.to(tl.float32) * 0.0625)
    length = tl.sqrt_rn(off_x * off_x + off_y * off_y)
    most = tl.div_rn(tl.zeros_like(length) + MOST, tl.maximum(length, MOST))
    better = least < error
    tl.store(offsets + patch, tl.where(better, 0.5 * (off_x * most), 0.0), mask=own < count)
    tl.store(offsets + count + patch, tl.where(better, 0.5 * (off_y * most), 0.0), mask=own < count)


@triton.jit
def _between(offsets, row, next_row, column, next_column, past_x, past_y):
    """Read a number per patch bilinearly."""
    a, b = tl.load(offsets + row + column), tl.load(offsets + row + next_column)
    c, d = tl.load(offsets + next_row + column), tl.load(offsets + next_row + next_column)
    above, below = a + (b - a) * past_x, c + (d - c) * past_x
    return above + (below - above) * past_y


@triton.jit(do_not_specialize=SIZES)
def move_kernel(offsets, share, steps, flows, rows, columns, across, count, block: tl.constexpr):
    """Move both ends of every cell towards each other, as far as both keyframes see it.

    offsets: of `offset_kernel`; share: [rows, columns] of the left; steps: tau comes first; flows:
    to the left and the right keyframe, [2, 2, rows, columns], changed in place.
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
        axis = offsets + k * count
        by = _between(axis, row, next_row, column, next_column, past_x, past_y) * seen
        to_left, to_right = flows + k * cells + at, flows + (2 + k) * cells + at
        tl.store(to_left, tl.load(to_left, mask=inside, other=0.0) - by * tau, mask=inside)
        tl.store(to_right, tl.load(to_right, mask=inside, other=0.0) + by * near, mask=inside)
