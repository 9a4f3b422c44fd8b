"""The steps on whole pictures, on the device: averages, static samples, the warp."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.search import SIZES, sample, to_even

RUN = tl.constexpr(16)  # samples whose squares are summed at once


@triton.jit
def code(plane, x, y, width, height):
    """Return the samples of any depth at (x, y) as int32; beyond the border they repeat."""
    x = tl.minimum(tl.maximum(x, 0), width - 1)
    y = tl.minimum(tl.maximum(y, 0), height - 1)
    return tl.load(plane + y * width + x).to(tl.int32)


@triton.jit(do_not_specialize=SIZES)
def mean_kernel(
    plane, out, width, height, columns, rows, factor,
    scale: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Average boxes of scale x scale samples, times `factor`, to 8 bits; the border repeats.

    plane: [height, width] of any depth; out: [rows, columns] uint8. Rounds as OpenCV's INTER_AREA
    does: halves up for boxes of 2x2, to even for larger ones.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    x, y = (at % columns) * scale, (at // columns) * scale
    total = tl.zeros_like(at)
    for k in tl.static_range(scale * scale):
        total += code(plane, x + k % scale, y + k // scale, width, height)
    if scale == 2:
        total = (total + 2) >> 2
    elif scale > 2:
        total = to_even(total.to(tl.float32) * (1.0 / (scale * scale)))
    total = tl.minimum(to_even(total.to(tl.float32) * factor), 255)
    tl.store(out + at, total.to(tl.uint8), mask=at < rows * columns)


@triton.jit(do_not_specialize=SIZES)
def area_kernel(
    plane, out, width, height, columns, rows, start_x, share_x, start_y, share_y, factor,
    most: tl.constexpr, whole: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Average the boxes of any size that cells cover, times `factor`.

    The program's second number says which plane of [N, height, width]; out: [N, rows, columns].
    start_x, share_x: per column, the first sample and the shares of `most` of them, [columns]
    int32 and [columns, most] float32; start_y, share_y likewise per row. whole: round to integers.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    column, row = at % columns, tl.minimum(at // columns, rows - 1)
    x, y = tl.load(start_x + column), tl.load(start_y + row)
    source = plane + tl.program_id(1) * width * height
    total = tl.zeros_like(at).to(tl.float32)
    for j in range(most):
        line = tl.zeros_like(total)
        start = tl.minimum(y + j, height - 1) * width
        for i in range(most):
            share = tl.load(share_x + column * most + i)
            line += tl.load(source + start + tl.minimum(x + i, width - 1)).to(tl.float32) * share
        total += line * tl.load(share_y + row * most + j)
    target, inside = out + tl.program_id(1) * rows * columns + at, at < rows * columns
    if whole:
        tl.store(target, to_even(total).to(tl.uint8), mask=inside)
    else:
        tl.store(target, total * factor, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def detail_kernel(before, left, right, after, out, width, height, block: tl.constexpr):
    """Write 1 where the first picture has detail that hardly changes over the four, else 0.

    2 more where no change is above 6 codes.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    x, y, inside = at % width, at // width, at < width * height
    a = tl.load(before + at, mask=inside, other=0).to(tl.int32)
    b = tl.load(left + at, mask=inside, other=0).to(tl.int32)
    c = tl.load(right + at, mask=inside, other=0).to(tl.int32)
    d = tl.load(after + at, mask=inside, other=0).to(tl.int32)
    change = tl.maximum(tl.maximum(tl.abs(a - b), tl.abs(b - c)), tl.abs(c - d))
    high, low = a, a
    for k in tl.static_range(25):
        near = sample(before, x + (k % 5 - 2), y + (k // 5 - 2), height, width)
        high, low = tl.maximum(high, near), tl.minimum(low, near)
    contrast = high - low
    strong = (contrast >= 60) & (25 * change <= tl.maximum(3 * contrast, 250))
    candidate = strong | ((contrast >= 24) & (change <= 2))
    tl.store(out + at, (candidate + 2 * (change <= 6)).to(tl.uint8), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def company_kernel(detail, seen, out, width, height, block: tl.constexpr):
    """Write 255 where detail has company, eight of the 5x5 around it, or was seen twice, else 0.

    detail: of `detail_kernel`; seen: as in `kernels.static_mask`, brought up to date.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    x, y, inside = at % width, at // width, at < width * height
    near = tl.zeros_like(at)
    for k in tl.static_range(25):
        to_x, to_y = x + (k % 5 - 2), y + (k // 5 - 2)
        there = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
        near += tl.load(detail + to_y * width + to_x, mask=there, other=0).to(tl.int32) & 1
    own = tl.load(detail + at, mask=inside, other=0).to(tl.int32)
    times = tl.load(seen + at, mask=inside, other=0).to(tl.int32)
    confirmed = ((own & 1) != 0) & (near >= 8)
    known = (times >= 2) & ((own & 2) != 0)
    after = tl.where(confirmed, tl.minimum(times + 1, 2), tl.where(known, times, 0))
    tl.store(seen + at, after.to(tl.uint8), mask=inside)
    tl.store(out + at, tl.where(confirmed | known, 255, 0).to(tl.uint8), mask=inside)


@triton.jit
def share_of(value, share, deep: tl.constexpr):
    """Return `value * share / 32768`, rounded half up."""
    if deep:
        return ((value.to(tl.int64) * share + 0x4000) >> 15).to(tl.int32)
    return (value * share + 0x4000) >> 15


@triton.jit
def past(at, cell: tl.constexpr):
    """Return the padded cell whose centre lies before each sample, and how far past, 1/32768."""
    if cell == 1:
        return at + 1, tl.zeros_like(at)
    before = (at + cell // 2) // cell
    return before, (2 * (at + cell // 2 - before * cell) + 1) * (0x8000 // (2 * cell))


@triton.jit
def _field_at(field, at, wide, past_x, past_y):
    """Read the padded cells of one plane of a field bilinearly."""
    northwest, northeast = tl.load(field + at).to(tl.int32), tl.load(field + at + 1).to(tl.int32)
    southwest = tl.load(field + at + wide).to(tl.int32)
    southeast = tl.load(field + at + wide + 1).to(tl.int32)
    left = northwest + share_of(southwest - northwest, past_y, False)
    right = northeast + share_of(southeast - northeast, past_y, False)
    return left + share_of(right - left, past_x, False)


@triton.jit
def fetch(plane, x, y, dx, dy, taps, width, height, deep: tl.constexpr):
    """Filter a plane at samples displaced by (dx, dy) in 1/32; return 1/16 codes.

    taps: [16] int32, four signed bytes in 1/64 per 1/16 sample.
    """
    dx, dy = (dx + 1) >> 1, (dy + 1) >> 1
    x, y = x + (dx >> 4), y + (dy >> 4)
    across, down = tl.load(taps + (dx & 15)), tl.load(taps + (dy & 15))
    total = tl.zeros_like(x)
    for row in tl.static_range(4):
        line = tl.zeros_like(x)
        for k in tl.static_range(4):
            tap = (across << (24 - 8 * k)) >> 24
            line += code(plane, x + (k - 1), y + (row - 1), width, height) * tap
        tap = (down << (24 - 8 * row)) >> 24
        total += line * tap if deep else share_of(line, tap * 128, False)
    return (total + 128) >> 8 if deep else total


@triton.jit(do_not_specialize=SIZES)
def warp_kernel(
    left, right, field, taps, static, tau, out, squares, width, height, wide, rows, most,
    static_width, across, shift_x: tl.constexpr, shift_y: tl.constexpr,
    cell_x: tl.constexpr, cell_y: tl.constexpr, depth: tl.constexpr, protect: tl.constexpr,
    tile: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Draw a plane: fetch both keyframes' samples along a field and mix them, as `kernels.warp`.

    field: [5, rows, wide] int16. static: mask of the picture, `static_width` samples wide, of
    which this plane's samples see every 2**shift_x-th, 2**shift_y-th. tau: one int32, 1/32768.
    most: the largest code. squares: [N] int64, to which the sums of tiles are added, `across` in
    a row; tile: samples along their side, or 0: nothing is summed. Lanes have the samples of rows
    that are as wide as a multiple of `RUN`, so that a run of them lies in one tile.
    """
    deep: tl.constexpr = depth > 8
    at, runs = tl.program_id(0) * block + tl.arange(0, block), (width + RUN - 1) // RUN
    x, y = at % (RUN * runs), at // (RUN * runs)
    inside = (x < width) & (y < height)
    x, y = tl.minimum(x, width - 1), tl.minimum(y, height - 1)
    cell, past_x = past(x, cell_x)
    row, past_y = past(y, cell_y)
    cell, plane = cell + row * wide, rows * wide
    from_a = fetch(
        left, x, y, _field_at(field, cell, wide, past_x, past_y),
        _field_at(field + plane, cell, wide, past_x, past_y), taps, width, height, deep,
    )  # fmt: skip
    from_b = fetch(
        right, x, y, _field_at(field + 2 * plane, cell, wide, past_x, past_y),
        _field_at(field + 3 * plane, cell, wide, past_x, past_y), taps, width, height, deep,
    )  # fmt: skip
    of_left = _field_at(field + 4 * plane, cell, wide, past_x, past_y)
    mixed = from_b + share_of(from_a - from_b, of_left, deep)
    apart = tl.where(inside, (from_a - from_b) >> (2 + depth - 8), 0)
    if protect:
        keep = tl.load(static + (y << shift_y) * static_width + (x << shift_x)) != 0
        a, b = 16 * code(left, x, y, width, height), 16 * code(right, x, y, width, height)
        mixed = tl.where(keep, a + share_of(b - a, tl.load(tau), deep), mixed)
        apart = tl.where(keep, 0, apart)
    if tile > 0:
        run = tl.program_id(0) * (block // RUN) + tl.arange(0, block // RUN)
        sums = tl.sum(tl.reshape((apart * apart).to(tl.int64), (block // RUN, RUN)), axis=1)
        place = run // runs // tile * across + run % runs * RUN // tile
        tl.atomic_add(squares + place, sums, mask=run < runs * height, sem="relaxed")
    mixed = (mixed + 7 + ((mixed >> 4) & 1)) >> 4  # halves to even
    mixed = tl.minimum(tl.maximum(mixed, 0), most)
    tl.store(out + y * width + x, mixed.to(out.dtype.element_ty), mask=inside)
