"""The steps on the work grid, on the device: splats, holes, confidence, shares, fields."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import SIZES, rounded, to_even

UNIT = tl.constexpr(1024.0)  # splats add up in integers, in 1/1024 of cells and of weights


@triton.jit
def _scatter(sums, flow_x, flow_y, weight, x, y, rows, columns, inside):
    """Add a cell's flow, turned round, to the four cells around where it goes."""
    cells = rows * columns
    to_x = (x + 1).to(tl.float32) + flow_x
    to_y = (y + 1).to(tl.float32) + flow_y
    to_x = tl.minimum(tl.maximum(to_x, 0.0), columns.to(tl.float32) + 0.999)
    to_y = tl.minimum(tl.maximum(to_y, 0.0), rows.to(tl.float32) + 0.999)
    flow_x = tl.minimum(tl.maximum(flow_x, -4000.0), 4000.0) * -UNIT
    flow_y = tl.minimum(tl.maximum(flow_y, -4000.0), 4000.0) * -UNIT
    left, top = to_x.to(tl.int32), to_y.to(tl.int32)
    past_x, past_y = to_x - left.to(tl.float32), to_y - top.to(tl.float32)
    below = past_y * weight
    above = weight - below
    northeast, southeast = above * past_x, below * past_x
    for k in tl.static_range(4):
        column, row = left + (k % 2 - 1), top + (k // 2 - 1)
        if k == 0:
            share = above - northeast
        elif k == 1:
            share = northeast
        elif k == 2:
            share = below - southeast
        else:
            share = southeast
        lands = inside & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        target = sums + row * columns + column
        tl.atomic_add(target, to_even(flow_x * share), mask=lands, sem="relaxed")
        tl.atomic_add(target + cells, to_even(flow_y * share), mask=lands, sem="relaxed")
        tl.atomic_add(target + 2 * cells, to_even(share * UNIT), mask=lands, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def project_kernel(flow, sums, rows, columns, block: tl.constexpr):
    """Splat `flow`, [2, rows, columns], turned round, to where every cell goes.

    sums: [3, rows, columns] int32, 0 before, in 1/1024: weighted x and y of -flow, and weight.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    cells = rows * columns
    inside = at < cells
    flow_x = tl.load(flow + at, mask=inside, other=0.0)
    flow_y = tl.load(flow + cells + at, mask=inside, other=0.0)
    one = tl.zeros_like(flow_x) + 1.0
    _scatter(sums, flow_x, flow_y, one, at % columns, at // columns, rows, columns, inside)


@triton.jit(do_not_specialize=SIZES)
def travel_kernel(motion, steps, sums, rows, columns, block: tl.constexpr):
    """Splat both keyframes' cells to where they are at a moment, bent by their neighbours' motion.

    The program's second number is the side: 0 the left keyframe, 1 the right one. motion: of the
    pair before, the pair and the pair after, [3, 6, rows, columns]. steps: [2, 3] float32,
    per side passed, span and bend as `kernels.travel` has them. sums: [2, 3, rows, columns] as in
    `project_kernel`.
    """
    at, side = tl.program_id(0) * block + tl.arange(0, block), tl.program_id(1)
    cells = rows * columns
    inside = at < cells
    ahead = motion + (6 + 3 * side) * cells + at
    behind = motion + (3 + 9 * side) * cells + at
    passed, span = tl.load(steps + 3 * side), tl.load(steps + 3 * side + 1)
    sure = tl.load(behind + 2 * cells, mask=inside, other=0.0)
    turned = tl.load(steps + 3 * side + 2) * sure
    flow_x = tl.load(ahead, mask=inside, other=0.0)
    flow_y = tl.load(ahead + cells, mask=inside, other=0.0)
    past_x = tl.load(behind, mask=inside, other=0.0)
    past_y = tl.load(behind + cells, mask=inside, other=0.0)
    flow_x = flow_x * passed + (flow_x * span + past_x) * turned
    flow_y = flow_y * passed + (flow_y * span + past_y) * turned
    weight = tl.load(ahead + 2 * cells, mask=inside, other=0.0)
    x, y = at % columns, at // columns
    _scatter(sums + side * 3 * cells, flow_x, flow_y, weight, x, y, rows, columns, inside)


@triton.jit
def _number(fixed):
    """Return a sum of a splat as float32."""
    return fixed.to(tl.float32) * (1.0 / UNIT)


@triton.jit
def _above_left(table, row, column, columns, mask):
    """Return the sum over the cells above `row` and left of `column`."""
    mask = mask & (row > 0) & (column > 0)
    return tl.load(table + (row - 1) * columns + column - 1, mask=mask, other=0)


@triton.jit
def _box(table, top, bottom, left, right, columns, mask):
    """Return the sum over rows top..bottom and columns left..right, in 1/1024, int64."""
    total = _above_left(table, bottom, right, columns, mask)
    total -= _above_left(table, top, right, columns, mask)
    total -= _above_left(table, bottom, left, columns, mask)
    total += _above_left(table, top, left, columns, mask)
    return total


@triton.jit(do_not_specialize=SIZES)
def fill_kernel(sums, table, out, rows, columns, tries, block: tl.constexpr):
    """Divide splats by their weight; give holes the mean of the nearest box: `kernels.fill`.

    The program's second number says which splat. sums: [N, 3, rows, columns] int32; table: sums
    over all cells above and to the left, itself included, int64; out: [N, 2, rows, columns].
    tries: how many boxes it takes until one holds the whole grid.
    """
    at, cells = tl.program_id(0) * block + tl.arange(0, block), rows * columns
    inside = at < cells
    splat = tl.program_id(1) * 3 * cells
    x, y = at % columns, at // columns
    weight = _number(tl.load(sums + splat + 2 * cells + at, mask=inside, other=0))
    hole = weight < 0.05
    safe = tl.where(hole, 1.0, weight)
    flow_x = tl.div_rn(_number(tl.load(sums + splat + at, mask=inside, other=0)), safe)
    flow_y = tl.div_rn(_number(tl.load(sums + splat + cells + at, mask=inside, other=0)), safe)
    flow_x, flow_y = tl.where(hole, 0.0, flow_x), tl.where(hole, 0.0, flow_y)
    hole = hole & inside
    reach = 2
    for _ in range(tries):
        if tl.max(hole.to(tl.int32), 0) > 0:  # most programs have no hole, and boxes take time
            top, bottom = tl.maximum(y - reach, 0), tl.minimum(y + reach + 1, rows)
            left, right = tl.maximum(x - reach, 0), tl.minimum(x + reach + 1, columns)
            size = (bottom - top) * (right - left)
            held = _box(table + splat + 2 * cells, top, bottom, left, right, columns, hole)
            enough = (50 * held > 1024 * size.to(tl.int64)) | ((size == cells) & (held > 0))
            filled = hole & enough
            held = tl.where(filled, held, 1).to(tl.float32)
            sum_x = _box(table + splat, top, bottom, left, right, columns, filled)
            sum_y = _box(table + splat + cells, top, bottom, left, right, columns, filled)
            flow_x = tl.where(filled, tl.div_rn(sum_x.to(tl.float32), held), flow_x)
            flow_y = tl.where(filled, tl.div_rn(sum_y.to(tl.float32), held), flow_y)
            hole = hole & (enough == 0)
        reach = 3 * reach + 1
    target = out + tl.program_id(1) * 2 * cells + at
    tl.store(target, flow_x, mask=inside)
    tl.store(target + cells, flow_y, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def agree_kernel(motion, rows, columns, block: tl.constexpr):
    """Write how surely the flow is right: `kernels.agree`, for both directions.

    The program's second number is the direction. motion: [6, rows, columns]: flow forward and how
    sure it is, flow backward and how sure that is.
    """
    at, side = tl.program_id(0) * block + tl.arange(0, block), tl.program_id(1)
    cells = rows * columns
    inside = at < cells
    there, back = motion + 3 * side * cells, motion + (3 - 3 * side) * cells
    flow_x = tl.load(there + at, mask=inside, other=0.0)
    flow_y = tl.load(there + cells + at, mask=inside, other=0.0)
    x = (at % columns).to(tl.float32) + flow_x
    y = (at // columns).to(tl.float32) + flow_y
    x = tl.minimum(tl.maximum(x, 0.0), (columns - 1).to(tl.float32))
    y = tl.minimum(tl.maximum(y, 0.0), (rows - 1).to(tl.float32))
    then = (y + 0.5).to(tl.int32) * columns + (x + 0.5).to(tl.int32)
    off_x = flow_x + tl.load(back + then, mask=inside, other=0.0)
    off_y = flow_y + tl.load(back + cells + then, mask=inside, other=0.0)
    error = off_x * off_x + off_y * off_y
    allowed = 1.0 + 0.0025 * (flow_x * flow_x + flow_y * flow_y)
    one = tl.zeros_like(error) + 1.0
    sure = tl.div_rn(one, 1.0 + tl.minimum(tl.div_rn(error, allowed), 19.0))
    tl.store(there + 2 * cells + at, sure, mask=inside)


@triton.jit
def _visible(weights, x, y, rows, columns):
    """Return how well a keyframe covers each cell, from the weights of its splat."""
    total = tl.zeros_like(x).to(tl.float32)
    for column in tl.static_range(3):
        near_x = tl.minimum(tl.maximum(x + (column - 1), 0), columns - 1)
        three = tl.zeros_like(total)
        for row in tl.static_range(3):
            near_y = tl.minimum(tl.maximum(y + (row - 1), 0), rows - 1)
            three += tl.minimum(_number(tl.load(weights + near_y * columns + near_x)), 1.0)
        total += three
    return tl.sqrt_rn(tl.sqrt_rn(tl.div_rn(total, tl.zeros_like(total) + 9.0) + 0.01))


@triton.jit(do_not_specialize=SIZES)
def share_kernel(sums, steps, out, rows, columns, block: tl.constexpr):
    """Write how much of each cell comes from the left keyframe: `kernels.share_of_left`.

    sums, steps: as in `travel_kernel`; what has passed for one side is the other one's share.
    """
    at, cells = tl.program_id(0) * block + tl.arange(0, block), rows * columns
    x, y = at % columns, tl.minimum(at // columns, rows - 1)
    left = tl.load(steps + 3) * _visible(sums + 2 * cells, x, y, rows, columns)
    right = tl.load(steps) * _visible(sums + 5 * cells, x, y, rows, columns)
    tl.store(out + at, tl.div_rn(left, left + right), mask=at < cells)


@triton.jit(do_not_specialize=SIZES)
def field_kernel(flows, share, out, rows, columns, scale_x, scale_y, block: tl.constexpr):
    """Write what the warp reads: `kernels.make_field`.

    flows: [2, 2, rows, columns] to the left and to the right keyframe; out: [5, rows + 2,
    columns + 2] int16.
    """
    at, cells = tl.program_id(0) * block + tl.arange(0, block), rows * columns
    plane, wide = (rows + 2) * (columns + 2), columns + 2
    x = tl.minimum(tl.maximum(at % wide - 1, 0), columns - 1)
    y = tl.minimum(tl.maximum(at // wide - 1, 0), rows - 1)
    cell, inside = y * columns + x, at < plane
    for k in tl.static_range(4):
        flow = tl.load(flows + k * cells + cell) * (scale_x if k % 2 == 0 else scale_y)
        flow = rounded(tl.minimum(tl.maximum(flow, -16352.0), 16352.0))
        tl.store(out + k * plane + at, flow.to(tl.int16), mask=inside)
    left = rounded(tl.load(share + cell) * 16352.0)
    tl.store(out + 4 * plane + at, (2 * left + 31).to(tl.int16), mask=inside)
