"""The inverse search of one level on the device: `kernels.search`, patch by patch in parallel."""

from __future__ import annotations

import triton
import triton.language as tl

ROUND = tl.constexpr(12582912.0)  # 1.5 * 2**23: adding it rounds a float32, halves to even
LARGEST = tl.constexpr(1048576.0)  # 2**20, where numbers are cut off before they are rounded
FITS = tl.constexpr(1 << 21)  # a patch's error that is good enough: see native/patches.h
SIZES = (  # numbers that differ from level to level: no kernel is compiled anew for them
    *("rows", "columns", "width", "height", "wide", "across", "count", "step", "steps", "hop"),
    *("coarse_rows", "coarse_columns", "prior_rows", "prior_columns", "prior_scale"),
    *("scale_x", "scale_y", "static_width", "factor", "bias", "tries"),
)


@triton.jit
def rounded(value):
    """Return float32 `value` rounded half to even, cut off at 2**20, as int32."""
    return to_even(tl.minimum(tl.maximum(value, -LARGEST), LARGEST))


@triton.jit
def to_even(value):
    """Return a float32 up to 2**22 rounded half to even, as int32."""
    return ((value + ROUND) - ROUND).to(tl.int32)


@triton.jit
def sample(plane, x, y, rows, columns):
    """Return the 8-bit samples at (x, y) as int32; beyond the border they repeat."""
    x = tl.minimum(tl.maximum(x, 0), columns - 1)
    y = tl.minimum(tl.maximum(y, 0), rows - 1)
    return tl.load(plane + y * columns + x).to(tl.int32)


@triton.jit
def fine(flow, at, size):
    """Return a displacement along one axis in 1/16 samples, kept near the picture."""
    return tl.minimum(tl.maximum(rounded(flow * 16.0), 16 * (-at - 8)), 16 * (size - at))


@triton.jit
def difference(other, seen, x, y, to_x, to_y, rows, columns):
    """Return by how much `seen` differs from `other` displaced by (to_x, to_y), in 1/16 codes."""
    past_x, past_y = to_x & 15, to_y & 15
    x, y = x + (to_x >> 4), y + (to_y >> 4)
    top = sample(other, x, y, rows, columns) * (16 - past_x)
    top += sample(other, x + 1, y, rows, columns) * past_x
    bottom = sample(other, x, y + 1, rows, columns) * (16 - past_x)
    bottom += sample(other, x + 1, y + 1, rows, columns) * past_x
    return ((top * (16 - past_y) + bottom * past_y) >> 4) - seen


@triton.jit
def match(other, seen, slope_x, slope_y, x, y, left, top, flow_x, flow_y, rows, columns):
    """Compare patches at a displacement: their error, and sums of the difference and its slopes."""
    to_x, to_y = fine(flow_x, left, columns), fine(flow_y, top, rows)
    off = difference(other, seen, x, y, to_x[:, None], to_y[:, None], rows, columns)
    total, square = tl.sum(off, 1), tl.sum(off * off, 1)
    error = 64 * square.to(tl.int64) - total.to(tl.int64) * total.to(tl.int64)
    return error, total, tl.sum(off * slope_x, 1), tl.sum(off * slope_y, 1)


@triton.jit
def _step(numerator, determinant):
    """Return a step along one axis in samples; numerator: int64, determinant: float32."""
    move = 0.125 * tl.div_rn(numerator.to(tl.float32), determinant)
    return tl.minimum(tl.maximum(move, -2.0), 2.0)


@triton.jit
def _product(a, b):
    """Return 64 times the covariance of two slopes over each patch, int64."""
    return 64 * tl.sum(a * b, 1).to(tl.int64) - tl.sum(a, 1).to(tl.int64) * tl.sum(b, 1).to(
        tl.int64
    )


@triton.jit
def descend(
    other, seen, slope_x, slope_y, x, y, left, top, rows, columns,
    flow_x, flow_y, error, total, by_x, by_y, active, steps, enough,
):  # fmt: skip
    """Take Gauss-Newton steps where `active`, as long as they improve more than `enough`."""
    sum_x, sum_y = tl.sum(slope_x, 1).to(tl.int64), tl.sum(slope_y, 1).to(tl.int64)
    xx, yy = _product(slope_x, slope_x) + 4096, _product(slope_y, slope_y) + 4096
    xy = _product(slope_x, slope_y)
    determinant = (xx * yy - xy * xy).to(tl.float32)
    for _ in range(steps):
        bx, by = 64 * by_x.to(tl.int64) - sum_x * total, 64 * by_y.to(tl.int64) - sum_y * total
        at_x = fine(flow_x, left, columns).to(tl.float32) * 0.0625
        at_y = fine(flow_y, top, rows).to(tl.float32) * 0.0625
        to_x = at_x - _step(yy * bx - xy * by, determinant)
        to_y = at_y - _step(xx * by - xy * bx, determinant)
        error_1, total_1, by_x1, by_y1 = match(
            other, seen, slope_x, slope_y, x, y, left, top, to_x, to_y, rows, columns
        )
        accepted = active & (error > enough) & (error_1 <= error)
        flow_x, flow_y = tl.where(accepted, to_x, flow_x), tl.where(accepted, to_y, flow_y)
        active = accepted & (error_1 < error)
        error, total = tl.where(active, error_1, error), tl.where(active, total_1, total)
        by_x, by_y = tl.where(active, by_x1, by_x), tl.where(active, by_y1, by_y)
    return flow_x, flow_y, error


@triton.jit
def _patches(seen, rows, columns, across, count, step, block: tl.constexpr):
    """Return this program's patches: numbers, places, and their samples and slopes [block, 64]."""
    own = tl.program_id(0) * block + tl.arange(0, block)
    patch = tl.minimum(own, count - 1)
    left, top = (patch % across) * step, (patch // across) * step
    inner = tl.arange(0, 64)
    x, y = left[:, None] + (inner % 8)[None, :], top[:, None] + (inner // 8)[None, :]
    here = 16 * sample(seen, x, y, rows, columns)
    slope_x = sample(seen, x + 1, y, rows, columns) - sample(seen, x - 1, y, rows, columns)
    slope_y = sample(seen, x, y + 1, rows, columns) - sample(seen, x, y - 1, rows, columns)
    # Beyond the border samples repeat and the slope along that axis vanishes.
    return patch, own < count, left, top, x, y, here, slope_x, slope_y


@triton.jit
def _guess(flow, row, column, rows, columns, height, width, scale):
    """Return a flow of [2, height, width] at places of a [rows, columns] level, times `scale`."""
    at = (row * height // rows) * width + column * width // columns
    return tl.load(flow + at) * scale, tl.load(flow + height * width + at) * scale


@triton.jit(do_not_specialize=SIZES)
def start_kernel(
    seen, other, coarse, prior, flow, error, rows, columns, across, count, step,
    coarse_rows, coarse_columns, prior_rows, prior_columns, prior_scale, steps,
    has_coarse: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Start every patch from the best of the coarser level's flow, the prior and standing still.

    coarse: [2, coarse_rows, coarse_columns]; prior: [2, prior_rows, prior_columns], whose sign is
    turned by a negative prior_scale. flow: [2, count] and error: [count] are written.
    """
    patch, own, left, top, x, y, here, slope_x, slope_y = _patches(
        seen, rows, columns, across, count, step, block
    )
    row, column = tl.minimum(top + 4, rows - 1), tl.minimum(left + 4, columns - 1)
    flow_x, flow_y = _guess(
        prior, row, column, rows, columns, prior_rows, prior_columns, prior_scale
    )
    if has_coarse:
        first_x, first_y = _guess(
            coarse, row, column, rows, columns, coarse_rows, coarse_columns, 2.0
        )
        best, total, by_x, by_y = match(
            other, here, slope_x, slope_y, x, y, left, top, first_x, first_y, rows, columns
        )
        error_1, total_1, by_x1, by_y1 = match(
            other, here, slope_x, slope_y, x, y, left, top, flow_x, flow_y, rows, columns
        )
        better = (best > FITS) & (error_1 < best)
        flow_x, flow_y = tl.where(better, flow_x, first_x), tl.where(better, flow_y, first_y)
        best, total = tl.where(better, error_1, best), tl.where(better, total_1, total)
        by_x, by_y = tl.where(better, by_x1, by_x), tl.where(better, by_y1, by_y)
    else:
        best, total, by_x, by_y = match(
            other, here, slope_x, slope_y, x, y, left, top, flow_x, flow_y, rows, columns
        )
    zero = tl.zeros_like(flow_x)
    error_1, total_1, by_x1, by_y1 = match(
        other, here, slope_x, slope_y, x, y, left, top, zero, zero, rows, columns
    )
    better = (best > FITS) & (error_1 < best)
    flow_x, flow_y = tl.where(better, zero, flow_x), tl.where(better, zero, flow_y)
    best, total = tl.where(better, error_1, best), tl.where(better, total_1, total)
    by_x, by_y = tl.where(better, by_x1, by_x), tl.where(better, by_y1, by_y)
    flow_x, flow_y, best = descend(
        other, here, slope_x, slope_y, x, y, left, top, rows, columns,
        flow_x, flow_y, best, total, by_x, by_y, best >= -1, steps, 0,
    )  # fmt: skip
    tl.store(flow + patch, flow_x, mask=own)
    tl.store(flow + count + patch, flow_y, mask=own)
    tl.store(error + patch, best, mask=own)


@triton.jit(do_not_specialize=SIZES)
def spread_kernel(
    seen, other, flow, error, flow_out, rows, columns, across, count, step, hop, steps,
    block: tl.constexpr,
):  # fmt: skip
    """Let every patch try the flow of its four neighbours `hop` patches away.

    flow: [2, count] of the round before; flow_out: [2, count] and error: [count] are written.
    """
    patch, own, left, top, x, y, here, slope_x, slope_y = _patches(
        seen, rows, columns, across, count, step, block
    )
    column, down = patch % across, count // across
    flow_x, flow_y = tl.load(flow + patch), tl.load(flow + count + patch)
    best = tl.load(error + patch)
    total = tl.zeros_like(patch)
    by_x, by_y = total, total
    changed = total > 0
    for k in tl.static_range(4):
        if k < 2:
            to = column + (2 * k - 1) * hop
            inside = (to >= 0) & (to < across)
            near = tl.where(inside, patch + (2 * k - 1) * hop, patch)
        else:
            to = patch // across + (2 * k - 5) * hop
            inside = (to >= 0) & (to < down)
            near = tl.where(inside, patch + (2 * k - 5) * hop * across, patch)
        guess_x, guess_y = tl.load(flow + near), tl.load(flow + count + near)
        error_1, total_1, by_x1, by_y1 = match(
            other, here, slope_x, slope_y, x, y, left, top, guess_x, guess_y, rows, columns
        )
        better = inside & (error_1 < best)
        flow_x, flow_y = tl.where(better, guess_x, flow_x), tl.where(better, guess_y, flow_y)
        best, total = tl.where(better, error_1, best), tl.where(better, total_1, total)
        by_x, by_y = tl.where(better, by_x1, by_x), tl.where(better, by_y1, by_y)
        changed = changed | better
    flow_x, flow_y, best = descend(
        other, here, slope_x, slope_y, x, y, left, top, rows, columns,
        flow_x, flow_y, best, total, by_x, by_y, changed, steps, 0,
    )  # fmt: skip
    tl.store(flow_out + patch, flow_x, mask=own)
    tl.store(flow_out + count + patch, flow_y, mask=own)
    tl.store(error + patch, best, mask=own)


@triton.jit(do_not_specialize=SIZES)
def polish_kernel(
    seen, other, guess, flow, error, rows, columns, across, count, step, steps, block: tl.constexpr
):
    """Take Gauss-Newton steps from the flow `guess`, [2, rows, columns], of the same level."""
    patch, own, left, top, x, y, here, slope_x, slope_y = _patches(
        seen, rows, columns, across, count, step, block
    )
    row, column = tl.minimum(top + 4, rows - 1), tl.minimum(left + 4, columns - 1)
    flow_x, flow_y = _guess(guess, row, column, rows, columns, rows, columns, 1.0)
    best, total, by_x, by_y = match(
        other, here, slope_x, slope_y, x, y, left, top, flow_x, flow_y, rows, columns
    )
    flow_x, flow_y, best = descend(
        other, here, slope_x, slope_y, x, y, left, top, rows, columns,
        flow_x, flow_y, best, total, by_x, by_y, best >= -1, steps, FITS,
    )  # fmt: skip
    tl.store(flow + patch, flow_x, mask=own)
    tl.store(flow + count + patch, flow_y, mask=own)
    tl.store(error + patch, best, mask=own)


@triton.jit
def _steps(flow):
    """Return one axis of a flow in 1/128 samples."""
    return tl.minimum(tl.maximum(rounded(flow * 8.0 * 16.0), -32752), 32752)


@triton.jit(do_not_specialize=SIZES)
def blend_kernel(
    seen, other, flow, out, rows, columns, across, count, step,
    each: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write every sample's flow: the mean of the patches over it, weighted by how well they fit.

    flow: [2, count]; out: [2, rows, columns]. each: patches over a sample along an axis.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    x, y = at % columns, at // columns
    inside = at < rows * columns
    if each == 1:  # patches do not overlap: every sample has the flow of its own
        patch = tl.minimum((y // step) * across + x // step, count - 1)
        flow_x, flow_y = tl.load(flow + patch), tl.load(flow + count + patch)
        tl.store(out + at, _steps(flow_x).to(tl.float32) * 0.0078125, mask=inside)
        tl.store(out + rows * columns + at, _steps(flow_y).to(tl.float32) * 0.0078125, mask=inside)
        return
    here = 16 * sample(seen, x, y, rows, columns)
    sum_x, sum_y, weights = tl.zeros_like(at), tl.zeros_like(at), tl.zeros_like(at)
    last, lowest = across - 1, count // across - 1
    for k in tl.static_range(each * each):
        column, row = x // step - k % each, y // step - k // each
        left, top = column * step, row * step
        covers = (column >= 0) & (row >= 0) & (column <= last) & (row <= lowest)
        covers = covers & (x - left < 8) & (y - top < 8)
        patch = tl.where(covers, row * across + column, 0)
        flow_x, flow_y = tl.load(flow + patch), tl.load(flow + count + patch)
        to_x, to_y = fine(flow_x, left, columns), fine(flow_y, top, rows)
        off = tl.abs(difference(other, here, x, y, to_x, to_y, rows, columns)) >> 4
        weight = tl.where(covers, 4096 // tl.maximum(off, 1), 0)
        sum_x += weight * _steps(flow_x)
        sum_y += weight * _steps(flow_y)
        weights += weight
    most = tl.maximum(weights, 1).to(tl.float32) * 128.0
    tl.store(out + at, tl.div_rn(sum_x.to(tl.float32), most), mask=inside)
    tl.store(out + rows * columns + at, tl.div_rn(sum_y.to(tl.float32), most), mask=inside)
