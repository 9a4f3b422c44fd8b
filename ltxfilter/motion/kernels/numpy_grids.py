"""The kernels on grids and planes in NumPy and OpenCV: the same samples as those in C, slower."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.cubic import CUBIC
from ltxfilter.motion.kernels.numpy_search import fixed

MOST_DIFFERENCE = 40 * 16  # a cell's matching cost is cut off here, in 1/16 codes
OUTSIDE_COST = 5 * 16  # what pointing out of the picture costs, in 1/16 codes
BLUR = np.array([1, 4, 6, 4, 1], np.float32)
LASTING = 2  # pairs that a sample must be static in before it is remembered
UNIT = np.float32(1024)  # splats add up in integers, in 1/1024 of cells and of weights


def propagate(
    pictures: tuple[Array, Array],
    flow: Array,
    shifts: Array,
    bias: int,
    former: Array | None = None,
) -> Array:
    """See c_kernels.propagate."""
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
    """See c_kernels.splat."""
    rows, columns = weight.shape
    x = (np.arange(1, columns + 1, dtype=np.float32) + flow[..., 0]).ravel()
    y = (np.arange(1, rows + 1, dtype=np.float32)[:, None] + flow[..., 1]).ravel()
    x = np.minimum(np.maximum(x, np.float32(0)), np.float32(columns) + np.float32(0.999))
    y = np.minimum(np.maximum(y, np.float32(0)), np.float32(rows) + np.float32(0.999))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left.astype(np.float32), y - top.astype(np.float32)
    below = y * weight.ravel()
    above = weight.ravel() - below
    northeast, southeast = above * x, below * x
    shares = np.stack([above - northeast, northeast, below - southeast, southeast], axis=1)
    width = columns + 2
    corners = np.array([0, 1, width, width + 1])
    targets = ((top.astype(np.int64) * width + left)[:, None] + corners).ravel()
    limited = np.minimum(np.maximum(flow, np.float32(-4000)), np.float32(4000)).reshape(-1, 2)
    values = (limited[:, :1] * -UNIT, limited[:, 1:] * -UNIT, UNIT)
    planes = np.zeros((3, (rows + 2) * width), np.int32)
    for plane, value in zip(planes, values, strict=True):
        np.add.at(plane, targets, np.rint(shares * value).ravel().astype(np.int32))
    inner = planes.reshape(3, rows + 2, width)[:, 1:-1, 1:-1]
    return inner.astype(np.float32) / UNIT


def warp(  # noqa: PLR0917
    ends: Sequence[tuple[Array, Array]],
    field: Array,
    cells: tuple[int, int],
    depth: int,
    static: Array | None,
    tau: int,
    tile: int,
) -> tuple[list[Array], list[Array]]:
    """See c_kernels.warp."""
    height, width = ends[0][0].shape
    at_samples = _at_samples(field, width, height, *cells)
    planes = [_warp_plane(*pair, at_samples, depth, static, tau) for pair in ends]
    return [drawn for drawn, _ in planes], [
        tile_sums(np.square(apart), tile) for _, apart in planes
    ]


def _warp_plane(  # noqa: PLR0917
    left: Array, right: Array, field: Array, depth: int, static: Array | None, tau: int
) -> tuple[Array, Array]:
    """Draw one plane; field: [5, H, W], read at its samples. Also returns how far ends differ."""
    wide: Any = np.int32 if left.dtype == np.uint8 else np.int64
    height, width = left.shape
    at = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)[:, None]
    from_left, from_right = fetch(left, at, *field[:2]), fetch(right, at, *field[2:4])
    difference = (from_left - from_right).astype(wide)
    mixed = from_right + share_of(difference, field[4])
    apart = difference >> (2 + depth - 8)
    if static is not None:
        apart = np.where(static != 0, 0, apart)
        left, right = 16 * left.astype(wide), 16 * right.astype(wide)
        mixed = np.where(static != 0, left + share_of(right - left, tau), mixed)
    codes = (mixed + 7 + ((mixed >> 4) & 1)) >> 4  # halves to even
    drawn = np.clip(codes, 0, (1 << depth) - 1).astype(np.uint8 if depth == 8 else np.uint16)
    return drawn, apart


def tile_sums(values: Array, tile: int) -> Array:
    """Return the sum of each tile's values, [rows, columns] int64."""
    rows, columns = (np.arange(0, side, tile) for side in values.shape)
    wide = np.add.reduceat(values, rows, axis=0, dtype=np.int64)
    return np.asarray(np.add.reduceat(wide, columns, axis=1))


def share_of(value: Any, share: Any) -> Any:
    """Return `value * share / 32768`, rounded half up."""
    return (value * share + 0x4000) >> 15


def _at_samples(field: Array, width: int, height: int, cell_x: int, cell_y: int) -> Array:
    """Read the padded cells of `field` bilinearly at every sample."""
    wide = field.astype(np.int32)
    before, past = between(height, cell_y)
    wide = wide[:, before] + share_of(wide[:, before + 1] - wide[:, before], past[:, None])
    before, past = between(width, cell_x)
    return wide[:, :, before] + share_of(wide[:, :, before + 1] - wide[:, :, before], past)


def between(samples: int, cell: int) -> tuple[Array, Array]:
    """Return the padded cell whose centre lies before each sample, and how far past it lies."""
    position = np.arange(samples, dtype=np.int32)
    if cell == 1:
        return position + 1, np.zeros_like(position)
    before = (position + cell // 2) // cell
    past = 2 * (position + cell // 2 - before * cell) + 1  # in 1/(2 cell)
    return before, past * (0x8000 // (2 * cell))


def fetch(plane: Array, at: tuple[Array, Array], dx: Array, dy: Array) -> Array:
    """Filter `plane` at samples (x, y) displaced by (dx, dy) in 1/32; return 1/16 codes."""
    height, width = plane.shape
    dx, dy = (dx + 1) >> 1, (dy + 1) >> 1
    x, y = at[0] + (dx >> 4), at[1] + (dy >> 4)
    across, down = CUBIC[dx & 15].astype(np.int32), CUBIC[dy & 15].astype(np.int32)
    columns = [np.clip(x + k - 1, 0, width - 1) for k in range(4)]
    total = np.zeros(x.shape, np.int32)
    for row in range(4):
        start = np.clip(y + row - 1, 0, height - 1) * width
        line = np.zeros(x.shape, np.int32)
        for k in range(4):
            line += plane.take(start + columns[k]) * across[..., k]
        tap = down[..., row]
        total += share_of(line, tap << 7) if plane.dtype == np.uint8 else line * tap
    return total if plane.dtype == np.uint8 else (total + 128) >> 8


def static_mask(pictures: tuple[Array, ...], seen: Array | None = None) -> tuple[Array, int]:
    """See c_kernels.static_mask."""
    most = cv2.absdiff(pictures[0], pictures[1])
    for left, right in pairwise(pictures[1:]):
        cv2.max(most, cv2.absdiff(left, right), dst=most)
    square = np.ones((5, 5), np.uint8)
    contrast = cv2.morphologyEx(pictures[0], cv2.MORPH_GRADIENT, square)
    limit = np.maximum(3 * contrast.astype(np.int32), 250)  # in 1/25 codes
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
    """See c_kernels.agree."""
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
    """See c_kernels.fill."""
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
        mean = box[:, :2].astype(np.float32)
        mean /= np.where(enough, box[:, 2], 1).astype(np.float32)[:, None]
        mean[~enough] = 0
        out[down[done], across[done]] = mean[done]
        down, across = down[~done], across[~done]
        reach = 3 * reach + 1
    return out


def share_of_left(left: Array, right: Array, near: float, far: float) -> Array:
    """See c_kernels.share_of_left."""
    a = np.float32(near) * _visibility(left)
    b = np.float32(far) * _visibility(right)
    return a / (a + b)


def _visibility(sums: Array) -> Array:
    weight = np.pad(np.minimum(sums[2], np.float32(1)), 1, mode="edge")
    three = weight[:-2] + weight[1:-1] + weight[2:]
    nine = three[:, :-2] + three[:, 1:-1] + three[:, 2:]
    return np.sqrt(np.sqrt(nine / np.float32(9) + np.float32(0.01)))


def make_field(to_left: Array, to_right: Array, share: Array, scales: tuple[float, float]) -> Array:
    """See c_kernels.make_field."""
    scale = np.array(scales, np.float32)
    axes = [(flow * scale)[..., axis] for flow in (to_left, to_right) for axis in (0, 1)]
    whole = np.stack([*axes, share * np.float32(16352)])
    whole = np.rint(np.clip(whole, -16352, 16352)).astype(np.int16)
    whole[4] = 2 * whole[4] + 31
    return np.pad(whole, ((0, 0), (1, 1), (1, 1)), mode="edge")


def travel(ahead: Array, behind: Array, sure: Array, steps: tuple[float, float, float]) -> Array:
    """See c_kernels.travel."""
    passed, span, bend = (np.float32(step) for step in steps)
    return ahead * passed + (ahead * span + behind) * (bend * sure)[..., None]
