"""The kernels in NumPy and OpenCV: slower than `_kernels.c`, and equal to it sample for sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ltxfilter.motion.grid import Array

MOST_DIFFERENCE = 40 * 16  # a cell's matching cost is cut off here, in 1/16 codes
OUTSIDE_COST = 5 * 16  # what pointing out of the picture costs, in 1/16 codes
BLUR = np.array([1, 4, 6, 4, 1], np.float32)


def propagate(flow: Array, seen: Array, other: Array, shifts: Array, bias: int) -> Array:
    """See kernels.propagate."""
    quads = _quads(other)
    best = _matching_cost(flow, seen, quads) - bias
    out = flow.copy()
    rows, columns = seen.shape
    for dx, dy in shifts:
        x = np.clip(np.arange(columns) + dx, 0, columns - 1)
        y = np.clip(np.arange(rows) + dy, 0, rows - 1)
        candidate = flow[y][:, x]
        cost = _matching_cost(candidate, seen, quads)
        better = cost < best
        out[better] = candidate[better]
        best = np.where(better, cost, best)
    return out


def _quads(image: Array) -> Array:
    """Pack every sample with its right, lower and lower right neighbour."""
    padded = cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_REPLICATE).astype(np.uint32)
    top = padded[:-1, :-1] | padded[:-1, 1:] << 8
    return top | padded[1:, :-1] << 16 | padded[1:, 1:] << 24


def _matching_cost(flow: Array, seen: Array, quads: Array) -> Array:
    """Return the blurred difference between `seen` and what `flow` points at, 1/4096 codes."""
    rows, columns = seen.shape
    x = np.arange(columns, dtype=np.int32) * 32 + np.rint(flow[..., 0] * 32).astype(np.int32)
    y = np.arange(rows, dtype=np.int32)[:, None] * 32 + np.rint(flow[..., 1] * 32).astype(np.int32)
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
    values = (-flow[..., 0].reshape(-1, 1), -flow[..., 1].reshape(-1, 1), np.float32(1))
    planes = [
        np.bincount(targets, (shares * value).ravel(), width * (rows + 2)).reshape(rows + 2, width)
        for value in values
    ]
    return np.stack([plane[1:-1, 1:-1].astype(np.float32) for plane in planes], axis=2)


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
    out[:] = np.clip((mixed + 8) >> 4, 0, (1 << depth) - 1)


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


def still_mask(planes: tuple[Array, ...]) -> tuple[Array, int]:
    """See kernels.still_mask."""
    most = cv2.absdiff(planes[0], planes[1])
    for left, right in pairwise(planes[1:]):
        cv2.max(most, cv2.absdiff(left, right), dst=most)
    total = cv2.boxFilter(
        most, cv2.CV_16U, (5, 5), normalize=False, borderType=cv2.BORDER_REPLICATE
    )
    square = np.ones((5, 5), np.uint8)
    contrast = cv2.morphologyEx(
        planes[0], cv2.MORPH_GRADIENT, square, borderType=cv2.BORDER_REPLICATE
    )
    limit = np.maximum(contrast.astype(np.uint16) * 3, 50)
    mask = (total < limit).astype(np.uint8) * np.uint8(255)
    return mask, int(cv2.countNonZero(mask))
