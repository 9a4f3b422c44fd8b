"""The fusion's network and its mix in NumPy: the same numbers as those in C, slower."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.fusion_sizes import (
    BLOCKS,
    CHOICES,
    FEATURES,
    HALVINGS,
    LARGEST,
    MOST_ACTIVE,
    MOST_CHANGE,
    MOST_GAIN,
    MOST_NARROW,
    MOST_OFFSET,
    PAIRS,
    WEIGHTS,
    Layers,
)
from ltxfilter.motion.kernels.numpy_grids import share_of
from ltxfilter.motion.kernels.numpy_tiles import block_share, spread


def tile_weights(
    features: Array, field: Array, tiles: Array, layers: Layers
) -> tuple[Array, Array]:
    """See c_fusion.tile_weights."""
    active = features.reshape(-1, FEATURES).astype(np.int32)
    for number, (weights, bias) in enumerate(layers):
        total = active @ weights.astype(np.int32) + bias
        if number + 1 < len(layers):
            active = np.clip(total >> (8 if number == 0 else 10), 0, MOST_ACTIVE)
    total >>= 9
    parts = softmax(total[:, :CHOICES])
    gains = np.clip(total[:, CHOICES] >> 2, 0, MOST_GAIN).astype(np.int16)
    share = block_share(field, tiles).reshape(-1)
    rest = parts[:, 1:]
    out = np.empty((len(rest), WEIGHTS), np.int32)
    out[:, :4] = rest[:, :4]
    for k in range(PAIRS - 1):
        mixed, left, right = (rest[:, 4 + 3 * k + j] for j in range(3))
        of_left = share_of(mixed.astype(np.int64), share)
        out[:, 4 + 2 * k] = left + of_left
        out[:, 5 + 2 * k] = right + mixed - of_left
    shaped = np.minimum(out, 32767).reshape(len(tiles), BLOCKS, BLOCKS, WEIGHTS)
    weights = np.ascontiguousarray(shaped.transpose(0, 3, 1, 2).astype(np.int16))
    return weights, gains.reshape(len(tiles), BLOCKS * BLOCKS)


def softmax(logits: Array) -> Array:
    """Return the weights, in 1/32768, that logits in 1/256 of factors two stand for."""
    below = np.minimum(logits.max(axis=1, keepdims=True) - logits, 4095)
    parts = HALVINGS[below & 255] >> (below >> 8)
    unit = (1 << 30) // parts.sum(axis=1, keepdims=True).astype(np.int64)
    return np.asarray((parts * unit) >> 15)


def limit_change(weights: Array, samples: Array, depth: int) -> None:
    """See c_fusion.limit_change."""
    block = samples.shape[-1] // BLOCKS
    parts = samples.reshape(len(samples), -1, BLOCKS, block, BLOCKS, block)
    wide = np.clip(parts.astype(np.int32), -LARGEST, LARGEST)
    change = np.zeros(wide[:, 0].shape, np.int32)
    for k in range(WEIGHTS):
        step = (wide[:, k + 1] - wide[:, 0]) >> (depth - 8)
        change += share_of(_narrowed(step), weights[:, k, :, None, :, None].astype(np.int32))
        change = _narrowed(change)
    total = np.abs(change).sum(axis=(2, 4), dtype=np.int64)
    most = MOST_CHANGE * block * block
    share = (most << 15) // np.maximum(total, most + 1)
    limited = share_of(weights.astype(np.int64), share[:, None])
    weights[:] = np.where(total[:, None] > most, limited, weights)


def _narrowed(values: Array) -> Array:
    return np.clip(values, -MOST_NARROW, MOST_NARROW)


def tile_mix(  # noqa: PLR0917
    picture: Array,
    samples: Array,
    weights: Array,
    gains: Array | None,
    tiles: Array,
    index: Array,
    static: Array | None,
    depth: int,
    wanted: int = 0,
) -> None:
    """See c_fusion.tile_mix."""
    high, wide = samples.shape[2:]
    fine = spread(_with_neighbours(weights, tiles, index), (wide // BLOCKS, high // BLOCKS))
    base = samples[:, 0].astype(np.int64)
    total = base.copy()
    for k in range(WEIGHTS):
        total += share_of(samples[:, 1 + k] - base, fine[:, k])
    y, x = np.broadcast_arrays(
        high * tiles[:, 0, None, None] + np.arange(high)[:, None],
        wide * tiles[:, 1, None, None] + np.arange(wide),
    )
    inside = (y < picture.shape[0]) & (x < picture.shape[1])
    if static is not None:
        inside &= static[np.minimum(y, len(static) - 1), np.minimum(x, static.shape[1] - 1)] == 0
    if gains is not None:
        covered = np.minimum(fine.sum(axis=1, dtype=np.int64), 32767)
        sums = int((total - base)[inside].sum()), int(covered[inside].sum())
        total += share_of(covered, offset_of(*sums, wanted, depth))
        total = sharpened(total, gains.reshape(-1, BLOCKS, BLOCKS))
    codes = np.clip((total + 7 + ((total >> 4) & 1)) >> 4, 0, (1 << depth) - 1)
    picture[y[inside], x[inside]] = codes[inside]


def offset_of(change: int, covered: int, wanted: int, depth: int) -> int:
    """Return by how much to shift what is mixed in, in 1/16 codes.

    change: of the picture's sum, in 1/16 codes, by mixing; covered: the sum of all weights, in
    1/32768. With the offset the sum changes by no more than `wanted`, nor the other way.
    """
    lacks = min(max(change, min(wanted, 0)), max(wanted, 0)) - change
    steps = min((abs(lacks) << 15) // max(covered, 1), MOST_OFFSET << (depth - 8))
    return -steps if lacks < 0 else steps


def sharpened(mixed: Array, by: Array) -> Array:
    """Return tiles that differ more from their 3x3 mean; by: [N, 4, 4] in 1/64."""
    block = mixed.shape[-1] // BLOCKS
    padded = np.pad(mixed, ((0, 0), (1, 1), (0, 0)), mode="edge")
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    padded = np.pad(down, ((0, 0), (0, 0), (1, 1)), mode="edge")
    around = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    every = np.repeat(np.repeat(by, block, axis=1), block, axis=2)
    return mixed + (((mixed - (around >> 4)) * every.astype(np.int64) + 32) >> 6)


def _with_neighbours(weights: Array, tiles: Array, index: Array) -> Array:
    """Return weights with one block more on each side; they are 0 where no tile is marked."""
    rows, columns = BLOCKS * index.shape[0], BLOCKS * index.shape[1]
    whole = np.zeros((WEIGHTS, rows + 2, columns + 2), np.int32)
    for number, (row, column) in enumerate(tiles):
        whole[:, 1 + 4 * row : 5 + 4 * row, 1 + 4 * column : 5 + 4 * column] = weights[number]
    inner = np.arange(BLOCKS + 2)
    y, x = (
        BLOCKS * tiles[:, 0, None, None] + inner[:, None],
        BLOCKS * tiles[:, 1, None, None] + inner,
    )
    return np.asarray(whole[:, y, x].transpose(1, 0, 2, 3))
