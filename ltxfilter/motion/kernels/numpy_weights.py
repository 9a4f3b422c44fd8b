"""The fusion's network and its mix in NumPy: the same numbers as those in C, slower."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.fusion_sizes import (
    BLOCKS,
    FEATURES,
    HALVINGS,
    MOST_ACTIVE,
    MOST_GAIN,
    PAIRS,
    STRENGTH,
    WEIGHTS,
    Layers,
)
from ltxfilter.motion.kernels.numpy_features import gradients
from ltxfilter.motion.kernels.numpy_grids import share_of
from ltxfilter.motion.kernels.numpy_tiles import block_share, spread


def tile_weights(features: Array, field: Array, tiles: Array, layers: Layers) -> Array:
    """See c_fusion.tile_weights."""
    active = features.reshape(-1, FEATURES).astype(np.int32)
    for number, (weights, bias) in enumerate(layers):
        total = active @ weights.astype(np.int32) + bias
        if number + 1 < len(layers):
            active = np.clip(total >> (8 if number == 0 else 10), 0, MOST_ACTIVE)
    parts = softmax(total >> 9)
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
    return np.ascontiguousarray(shaped.transpose(0, 3, 1, 2).astype(np.int16))


def softmax(logits: Array) -> Array:
    """Return the weights, in 1/32768, that logits in 1/256 of factors two stand for."""
    below = np.minimum(logits.max(axis=1, keepdims=True) - logits, 4095)
    parts = HALVINGS[below & 255] >> (below >> 8)
    unit = (1 << 30) // parts.sum(axis=1, keepdims=True).astype(np.int64)
    return np.asarray((parts * unit) >> 15)


def tile_mix(  # noqa: PLR0917
    picture: Array,
    samples: Array,
    weights: Array,
    detail: Array | None,
    tiles: Array,
    index: Array,
    static: Array | None,
    depth: int,
) -> None:
    """See c_fusion.tile_mix."""
    high, wide = samples.shape[2:]
    fine = spread(_with_neighbours(weights, tiles, index), (wide // BLOCKS, high // BLOCKS))
    base = samples[:, 0].astype(np.int64)
    total = base.copy()
    for k in range(WEIGHTS):
        total += share_of(samples[:, 1 + k] - base, fine[:, k])
    if detail is not None:
        total = sharpened(total, gains(total, weights, detail))
    codes = np.clip((total + 7 + ((total >> 4) & 1)) >> 4, 0, (1 << depth) - 1)
    y, x = np.broadcast_arrays(
        high * tiles[:, 0, None, None] + np.arange(high)[:, None],
        wide * tiles[:, 1, None, None] + np.arange(wide),
    )
    inside = (y < picture.shape[0]) & (x < picture.shape[1])
    if static is not None:
        inside &= static[np.minimum(y, len(static) - 1), np.minimum(x, static.shape[1] - 1)] == 0
    picture[y[inside], x[inside]] = codes[inside]


def gains(mixed: Array, weights: Array, detail: Array) -> Array:
    """Return by how much the blocks of mixed tiles are sharpened, [N, 4, 4] in 1/64."""
    wide = weights.astype(np.int64)
    shown = detail.reshape(len(mixed), 1 + WEIGHTS, BLOCKS, BLOCKS).astype(np.int64)
    expected = (wide * shown[:, 1:]).sum(axis=1) + (32768 - wide.sum(axis=1)) * shown[:, 0]
    found = gradients(mixed).astype(np.int64)
    lost = np.maximum((expected >> 15) - found, 0)
    return np.minimum(STRENGTH * lost // (found + 1), MOST_GAIN)


def sharpened(mixed: Array, by: Array) -> Array:
    """Return tiles that differ more from their 3x3 mean; by: [N, 4, 4] in 1/64."""
    block = mixed.shape[-1] // BLOCKS
    padded = np.pad(mixed, ((0, 0), (1, 1), (0, 0)), mode="edge")
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    padded = np.pad(down, ((0, 0), (0, 0), (1, 1)), mode="edge")
    around = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    every = np.repeat(np.repeat(by, block, axis=1), block, axis=2)
    return mixed + (((mixed - (around >> 4)) * every + 32) >> 6)


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
