"""The kernels in NumPy and OpenCV: slower than `_kernels.c`, and equal to it sample for sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.numpy_search import fixed

MOST_DIFFERENCE = 40 * 16  # a cell's matching cost is cut off here, in 1/16 codes
OUTSIDE_COST = 5 * 16  # what pointing out of the picture costs, in 1/16 codes
BLUR = np.array([1, 4, 6, 4, 1], np.float32)
LASTING = 2  # pairs that a sample must stand still in to be remembered
UNIT = np.float32(1024)  # splats add up in integers, in 1/1024 of cells and of weights


def propagate(
    pictures: tuple[Array, Array],
    flow: Array,
    shifts: Array,
    bias: int,
    former: Array | None = None,
) -> Array:
    """See kernels.propagate."""
    seen, other = pictures
    quads = _quads(other)
    best = _matching_cost(flow, seen, quads) - bias
    out = flow.copy()
    rows, columns = seen.shape
    candidates = []
    for dx, dy in shifts:
        x = np.clip(np.arange(columns) + dx, 0, columns - 1)
        y = np.clip(np.arange(rows) + dy, 0, rows - 1)
        candidates.append(flow[y][:, x])
    if former is not None:
        candidates.append(former)
    for candidate in candidates:
        cost = _matching_cost(candidate, seen, quads)
        better = cost < best
        out[better] = candidate[better]
        best = np.where(better, cost, best)
    return np.clip(fixed(out, 128), -32767, 32767).astype(np.int16)


def _quads(image: Array) -> Array:
    """Pack every sample with its right, lower and lower right neighbour."""
    padded = cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_REPLICATE).astype(np.uint32)
    top = padded[:-1, :-1] | padded[:-1, 1:] << 8
    return top | padded[1:, :-1] << 16 | padded[1:, 1:] << 24


def _matching_cost(flow: Array, seen: Array, quads: Array) -> Array:
    """Return the blurred difference between `seen` and what `flow` points at, 1/4096 codes."""
    rows, columns = seen.shape
    x = np.arange(columns, dtype=np.int32) * 32 + fixed(flow[..., 0], 32)
    y = np.arange(rows, dtype=np.int32)[:, None] * 32 + fixed(flow[..., 1], 32)
    far_x, far_y = 32 * (columns - 1), 32 * (rows - 1)
    outside = (x < -16) | (x > far_x + 16) | (y < -16) | (y > far_y + 16)
    x, y = np.clip(x, 0, far_x), np.clip(y, 0, far_y)
    quad = quads[y >> 5, x >> 5].astype(np.int64)
    x, y = x & 31, y & 31
    top = (quad & 255) * (32 - x) + (quad >> 8 & 255) * x
    bottom = (quad >> 16 & 255) * (32 - x) + (quad >> 24) * x
    value = (top * (32 - y) + bottom * y + 32) >> 6
    cost = np.minimum(np.abs(16 * seen.astype(np.int32) - value), MOST_DIFFERENCE)
    cost = (cost + OUTSIDE_COST * outside).astype(np.float32)
    blurred = cv2.sepFilter2D(cost, -1, BLUR, BLUR, borderType=cv2.BORDER_REPLICATE)
    return blurred.astype(np.int32)


def splat(flow: Array, weight: Array) -> Array:
    """See kernels.splat."""
    rows, columns = weight.shape
    x = (np.arange(1, columns + 1, dtype=np.float32) + flow[..., 0]).ravel()
    y = (np.arange(1, rows + 1, dtype=np.float32)[:, None] + flow[..., 1]).ravel()
    x = np.minimum(np.maximum(x, np.float32(0)), np.float32(columns + 0.999))
    y = np.minimum(np.maximum(y, np.float32(0)), np.float32(rows + 0.999))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left.astype(np.float32), y - top.astype(np.float32)
    below = y * weight.ravel()
    above = weight.ravel() - below
    northeast, southeast = above * x, below * x
    shares = np.stack([above - northeast, northeast, below - southeast, southeast], axis=1)
    width = columns + 2
    corners = np.array([0, 1, width, width + 1])
    targets = ((top.astype(np.int64) * width + left)[:, None] + corners).ravel()
    way = np.minimum(np.maximum(flow, np.float32(-4000)), np.float32(4000)).reshape(-1, 2)
    values = (way[:, :1] * -UNIT, way[:, 1:] * -UNIT, UNIT)
    planes = np.zeros((3, (rows + 2) * width), np.int32)
    for plane, value in zip(planes, values, strict=True):
        np.add.at(plane, targets, np.rint(shares * value).ravel().astype(np.int32))
    inner = planes.reshape(3, rows + 2, width)[:, 1:-1, 1:-1]
    return inner.astype(np.float32) / UNIT


def warp(  # noqa: PLR0917
    ends: tuple[Array, Array],
    field: Array,
    taps: Array,
    cells: tuple[int, int],
    depth: int,
    still: Array | None,
    tau: int,
    out: Array,
) -> None:
    """See kernels.warp. taps: [16, 4] filter in 1/64 per 1/16 sample; out: where to draw."""
    a, b = ends
    height, width = a.shape
    grown = _grow(field, width, height, *cells)
    deep = a.dtype != np.uint8
    wide: Any = np.int64 if deep else np.int32
    from_a = _fetch(a, grown[0], grown[1], taps)
    from_b = _fetch(b, grown[2], grown[3], taps)
    mixed = from_b + _share((from_a - from_b).astype(wide), grown[4])
    if still is not None:
        a16, b16 = 16 * a.astype(wide), 16 * b.astype(wide)
        mixed = np.where(still != 0, a16 + _share(b16 - a16, tau), mixed)
    out[:] = np.clip((mixed + 7 + ((mixed >> 4) & 1)) >> 4, 0, (1 << depth) - 1)  # halves to even


def _share(value: Any, part: Any) -> Any:
    """Return `value * part / 32768`, rounded half up."""
    return (value * part + 0x4000) >> 15


def _grow(field: Array, width: int, height: int, cell_x: int, cell_y: int) -> Array:
    """Read the padded cells of `field` bilinearly at every sample."""
    wide = field.astype(np.int32)
    left, part = _between(height, cell_y)
    wide = wide[:, left] + _share(wide[:, left + 1] - wide[:, left], part[:, None])
    left, part = _between(width, cell_x)
    return wide[:, :, left] + _share(wide[:, :, left + 1] - wide[:, :, left], part)


def _between(samples: int, cell: int) -> tuple[Array, Array]:
    """Return for each sample the padded cell whose centre lies before it, and how far past."""
    position = np.arange(samples, dtype=np.int32)
    if cell == 1:
        return position + 1, np.zeros_like(position)
    left = (position + cell // 2) // cell
    past = 2 * (position + cell // 2 - left * cell) + 1  # in 1/(2 cell)
    return left, past * (0x8000 // (2 * cell))


def _fetch(plane: Array, dx: Array, dy: Array, taps: Array) -> Array:
    """Filter `plane` at every sample displaced by (dx, dy) in 1/32; return 1/16 codes."""
    height, width = plane.shape
    dx, dy = (dx + 1) >> 1, (dy + 1) >> 1
    x = np.arange(width, dtype=np.int32) + (dx >> 4)
    y = np.arange(height, dtype=np.int32)[:, None] + (dy >> 4)
    across, down = taps[dx & 15].astype(np.int32), taps[dy & 15].astype(np.int32)
    columns = [np.clip(x + k - 1, 0, width - 1) for k in range(4)]
    total = np.zeros((height, width), np.int32)
    for row in range(4):
        start = np.clip(y + row - 1, 0, height - 1) * width
        line = np.zeros((height, width), np.int32)
        for k in range(4):
            line += plane.take(start + columns[k]) * across[..., k]
        total += (
            _share(line, down[..., row] << 7) if plane.dtype == np.uint8 else line * down[..., row]
        )
    return total if plane.dtype == np.uint8 else (total + 128) >> 8


def still_mask(planes: tuple[Array, ...], seen: Array | None = None) -> tuple[Array, int]:
    """See kernels.still_mask."""
    most = cv2.absdiff(planes[0], planes[1])
    for left, right in pairwise(planes[1:]):
        cv2.max(most, cv2.absdiff(left, right), dst=most)
    square = np.ones((5, 5), np.uint8)
    contrast = cv2.morphologyEx(planes[0], cv2.MORPH_GRADIENT, square)
    limit = np.maximum(3 * contrast.astype(np.int32), 250)
    strong = (contrast >= 60) & (25 * most.astype(np.int32) <= limit)
    candidate = (strong | ((contrast >= 24) & (most <= 2))).astype(np.uint8)
    near = cv2.boxFilter(candidate, -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    mask = candidate * (near >= 8).astype(np.uint8) * np.uint8(255)
    if seen is not None:
        known = (seen >= LASTING) & (most <= 6)
        more = np.minimum(seen + 1, LASTING)
        seen[:] = np.where(mask != 0, more, np.where(known, seen, 0))
        mask[known] = 255
    return mask, int(cv2.countNonZero(mask))


def agree(there: Array, back: Array) -> Array:
    """See kernels.agree."""
    rows, columns = there.shape[:2]
    one = np.float32(1)
    x = np.arange(columns, dtype=np.float32) + there[..., 0]
    y = np.arange(rows, dtype=np.float32)[:, None] + there[..., 1]
    x = np.minimum(np.maximum(x, np.float32(0)), np.float32(columns - 1))
    y = np.minimum(np.maximum(y, np.float32(0)), np.float32(rows - 1))
    half = np.float32(0.5)
    off = there + back[(y + half).astype(np.int32), (x + half).astype(np.int32)]
    error = off[..., 0] * off[..., 0] + off[..., 1] * off[..., 1]
    length = there[..., 0] * there[..., 0] + there[..., 1] * there[..., 1]
    allowed = one + np.float32(0.0025) * length
    return one / (one + np.minimum(error / allowed, np.float32(19)))


def fill(sums: Array) -> Array:
    """See kernels.fill."""
    sums = sums.transpose(1, 2, 0)
    rows, columns = sums.shape[:2]
    hole = sums[..., 2] < np.float32(0.05)
    out = sums[..., :2] / np.where(hole, np.float32(1), sums[..., 2])[..., None]
    table = np.zeros((rows + 1, columns + 1, 3))
    table[1:, 1:] = np.cumsum(np.cumsum(sums.astype(np.float64), axis=1), axis=0)
    down, across = np.nonzero(hole)
    reach = 2
    while down.size:
        top, bottom = np.maximum(down - reach, 0), np.minimum(down + reach + 1, rows)
        left, right = np.maximum(across - reach, 0), np.minimum(across + reach + 1, columns)
        box = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        cells = (bottom - top) * (right - left)
        whole = cells == rows * columns
        enough = (box[:, 2] > 0.02 * cells) | (whole & (box[:, 2] > 1e-6))
        done = enough | whole
        mean = box[:, :2] / np.where(enough, box[:, 2], 1)[:, None]
        mean[~enough] = 0
        out[down[done], across[done]] = mean[done].astype(np.float32)
        down, across = down[~done], across[~done]
        reach = 3 * reach + 1
    return out


def share_of_left(left: Array, right: Array, near: float, far: float) -> Array:
    """See kernels.share_of_left."""
    a = np.float32(near) * _visibility(left)
    b = np.float32(far) * _visibility(right)
    return a / (a + b)


def _visibility(sums: Array) -> Array:
    weight = np.pad(np.minimum(sums[2], np.float32(1)), 1, mode="edge")
    three = weight[:-2] + weight[1:-1] + weight[2:]
    nine = three[:, :-2] + three[:, 1:-1] + three[:, 2:]
    return np.sqrt(np.sqrt(nine / np.float32(9) + np.float32(0.01)))


def make_field(to_left: Array, to_right: Array, share: Array, scales: tuple[float, float]) -> Array:
    """See kernels.make_field."""
    scale = np.array(scales, np.float32)
    parts = [(way * scale)[..., axis] for way in (to_left, to_right) for axis in (0, 1)]
    whole = np.stack([*parts, share * np.float32(16352)])
    whole = np.rint(np.clip(whole, -16352, 16352)).astype(np.int16)
    whole[4] = 2 * whole[4] + 31
    return np.pad(whole, ((0, 0), (1, 1), (1, 1)), mode="edge")


def travel(ahead: Array, behind: Array, sure: Array, steps: tuple[float, float, float]) -> Array:
    """See kernels.travel."""
    passed, span, bend = (np.float32(step) for step in steps)
    return ahead * passed + (ahead * span + behind) * (bend * sure)[..., None]
