"""Candidates of the propagation and medians on the device: `kernels.propagate` and what follows."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import SIZES, rounded, sample
from ltxfilter.motion.kernels import numpy_grids

MOST_DIFFERENCE = tl.constexpr(numpy_grids.MOST_DIFFERENCE)
OUTSIDE_COST = tl.constexpr(numpy_grids.OUTSIDE_COST)


@triton.jit(do_not_specialize=SIZES)
def cost_kernel(
    flow,
    former,
    seen,
    other,
    shifts,
    cost,
    rows,
    columns,
    others: tl.constexpr,
    block: tl.constexpr,
):
    """Write how badly the flow of the k-th neighbour would match at each cell, 1/16 codes, int16.

    k is the program's second number; 0 is the cell itself, others + 1 its flow in `former`. flow,
    former: [2, rows, columns]; shifts: [others, 2] int32, x then y; cost: [k, rows, columns].
    """
    at, k = tl.program_id(0) * block + tl.arange(0, block), tl.program_id(1)
    cells = rows * columns
    inside = at < cells
    x, y = at % columns, tl.minimum(at // columns, rows - 1)
    moved = (k > 0) & (k <= others)
    away = tl.where(moved, 2 * (k - 1), 0)
    shift_x = tl.where(moved, tl.load(shifts + away), 0)
    shift_y = tl.where(moved, tl.load(shifts + away + 1), 0)
    near_x = tl.minimum(tl.maximum(x + shift_x, 0), columns - 1)
    near = tl.minimum(tl.maximum(y + shift_y, 0), rows - 1) * columns + near_x
    own = (at >= 0) & (k <= others)
    flow_x = tl.where(own, tl.load(flow + near), tl.load(former + near))
    flow_y = tl.where(own, tl.load(flow + cells + near), tl.load(former + cells + near))
    to_x, to_y = 32 * x + rounded(flow_x * 32.0), 32 * y + rounded(flow_y * 32.0)
    far_x, far_y = 32 * (columns - 1), 32 * (rows - 1)
    outside = (to_x < -16) | (to_x > far_x + 16) | (to_y < -16) | (to_y > far_y + 16)
    to_x = tl.minimum(tl.maximum(to_x, 0), far_x)
    to_y = tl.minimum(tl.maximum(to_y, 0), far_y)
    past_x, past_y = to_x & 31, to_y & 31
    to_x, to_y = to_x >> 5, to_y >> 5
    top = sample(other, to_x, to_y, rows, columns) * (32 - past_x)
    top += sample(other, to_x + 1, to_y, rows, columns) * past_x
    bottom = sample(other, to_x, to_y + 1, rows, columns) * (32 - past_x)
    bottom += sample(other, to_x + 1, to_y + 1, rows, columns) * past_x
    value = (top * (32 - past_y) + bottom * past_y + 32) >> 6
    off = tl.abs(16 * sample(seen, x, y, rows, columns) - value)
    badness = tl.minimum(off, MOST_DIFFERENCE) + tl.where(outside, OUTSIDE_COST, 0)
    tl.store(cost + k * cells + at, badness.to(tl.int16), mask=inside)


@triton.jit
def _binomial(k: tl.constexpr):
    """Return 1, 4, 6, 4, 1 for 0 to 4."""
    return 1 + k * (4 - k) + k * (4 - k) // 4


@triton.jit(do_not_specialize=SIZES)
def choose_kernel(
    flow,
    former,
    cost,
    shifts,
    out,
    rows,
    columns,
    bias,
    others: tl.constexpr,
    more: tl.constexpr,
    block: tl.constexpr,
):
    """Write each cell's own flow, or a neighbour's that matches better by `bias` / 4096 codes.

    Costs are compared blurred by 1 4 6 4 1 along both axes. more: 1 to try `former` last, 0 not to.
    out: [2, rows, columns].
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    cells = rows * columns
    x, y = at % columns, tl.minimum(at // columns, rows - 1)
    best, from_x, from_y = tl.zeros_like(at), x, y
    kept = at < 0
    for k in tl.static_range(others + 1 + more):
        total = tl.zeros_like(at)
        for row in tl.static_range(5):
            line = k * cells + tl.minimum(tl.maximum(y + (row - 2), 0), rows - 1) * columns
            across = tl.zeros_like(at)
            for column in tl.static_range(5):
                beside = tl.minimum(tl.maximum(x + (column - 2), 0), columns - 1)
                across += tl.load(cost + line + beside).to(tl.int32) * _binomial(column)
            total += across * _binomial(row)
        if k == 0:
            best = total - bias
        else:
            better = total < best
            best = tl.where(better, total, best)
            if k <= others:
                near_x = tl.minimum(tl.maximum(x + tl.load(shifts + 2 * k - 2), 0), columns - 1)
                near_y = tl.minimum(tl.maximum(y + tl.load(shifts + 2 * k - 1), 0), rows - 1)
                from_x, from_y = tl.where(better, near_x, from_x), tl.where(better, near_y, from_y)
            else:
                kept = better
    near, inside = from_y * columns + from_x, at < cells
    here = y * columns + x
    flow_x, flow_y = tl.load(flow + near), tl.load(flow + cells + near)
    if more:
        flow_x = tl.where(kept, tl.load(former + here), flow_x)
        flow_y = tl.where(kept, tl.load(former + cells + here), flow_y)
    tl.store(out + at, _rounded(flow_x), mask=inside)
    tl.store(out + cells + at, _rounded(flow_y), mask=inside)


@triton.jit
def _rounded(flow):
    """Return one axis of a flow in cells rounded to 1/128, within 16 bits."""
    steps = tl.minimum(tl.maximum(rounded(flow * 128.0), -32767), 32767)
    return steps.to(tl.float32) * 0.0078125


@triton.jit(do_not_specialize=SIZES)
def median_kernel(plane, out, rows, columns, block: tl.constexpr):
    """Write the median of the 5x5 around every cell; beyond the border cells repeat.

    plane, out: [N, rows, columns] float32; the program's second number is the plane. With rows
    and then columns sorted, a value in row i and column j has (i + 1)(j + 1) values not above it:
    only thirteen can be the median, six of the others are no larger and six no smaller.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    first = tl.program_id(1) * rows * columns
    x, y = at % columns, tl.minimum(at // columns, rows - 1)
    lines = ()
    for row in tl.static_range(5):
        line = plane + first + tl.minimum(tl.maximum(y + (row - 2), 0), rows - 1) * columns
        around = ()
        for column in tl.static_range(5):
            near = tl.minimum(tl.maximum(x + (column - 2), 0), columns - 1)
            around = around + (tl.load(line + near),)  # noqa: RUF005
        lines = lines + (_sorted(around),)  # noqa: RUF005
    candidates = ()
    for k in tl.static_range(5):
        rank = _sorted((lines[0][k], lines[1][k], lines[2][k], lines[3][k], lines[4][k]))
        for row in tl.static_range(5):
            if (row + 1) * (k + 1) <= 13 and (5 - row) * (5 - k) <= 13:
                candidates = candidates + (rank[row],)  # noqa: RUF005
    tl.store(out + first + at, _seventh(candidates), mask=at < rows * columns)


@triton.jit
def _ordered(a, b):
    return tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _sorted(five):
    """Return five values in ascending order."""
    a, b, c, d, e = five
    a, b = _ordered(a, b)
    d, e = _ordered(d, e)
    c, e = _ordered(c, e)
    c, d = _ordered(c, d)
    a, d = _ordered(a, d)
    a, c = _ordered(a, c)
    b, e = _ordered(b, e)
    b, d = _ordered(b, d)
    b, c = _ordered(b, c)
    return a, b, c, d, e


@triton.jit
def _seventh(values):
    """Return the median of thirteen values: the least that seven do not exceed."""
    median = tl.zeros_like(values[0]) + float("inf")
    for k in tl.static_range(13):
        upto = tl.zeros_like(values[0]).to(tl.int32)
        for other in tl.static_range(13):
            upto += (values[other] <= values[k]).to(tl.int32)
        median = tl.where(upto >= 7, tl.minimum(median, values[k]), median)
    return median
