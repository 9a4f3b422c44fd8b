"""The fusion's features in NumPy: the same numbers as those in C, slower."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.fusion_sizes import BLOCKS, FEATURES, PAIRS
from ltxfilter.motion.kernels.numpy_grids import share_of
from ltxfilter.motion.kernels.numpy_tiles import block_share

MOST_SPREAD = 32  # limit of the feature that tells how the motion spreads
MOST_OFFSET = 96  # limit of the features that tell signed differences


def tile_features(  # noqa: PLR0917
    samples: Array,
    motions: Array,
    field: Array,
    tiles: Array,
    static: Array | None,
    depth: int,
    tau: int,
    shape: tuple[int, int],
) -> Array:
    """See c_fusion.tile_features."""
    block = samples.shape[-1] // BLOCKS
    drawn, left, right = (samples[:, k].astype(np.int32) for k in range(3))
    share = block_share(field, tiles)
    every = np.repeat(np.repeat(share, block, axis=1), block, axis=2)
    ends = [
        (samples[:, 3 + 2 * k].astype(np.int32), samples[:, 4 + 2 * k].astype(np.int32))
        for k in range(PAIRS)
    ]
    costs = [_cost(a - b, depth) for a, b in ends]
    costs += [
        _cost(b + share_of((a - b).astype(np.int64), every) - drawn, depth) for a, b in ends[1:]
    ]
    features = [*costs, *_boxes(costs, tiles, shape)]
    features += [_cost(a - b, depth) for a, b in ((left, right), (left, drawn), (right, drawn))]
    shift = 2 * (block.bit_length() - 1) + depth - 8
    features.append(logarithm(_gradients(drawn).astype(np.int64) >> shift))
    features += [_offset(a - b, depth) for a, b in (*ends, (left, drawn), (right, drawn))]
    features += _of_motion(motions, field, tiles, tau)
    features.append((share - (32768 - tau)) >> 9)
    features.append(np.full_like(share, (2 * tau - 32768) >> 10))
    features.append(_static_share(static, tiles, block))
    shaped = np.stack(features, axis=-1).astype(np.int16)
    return shaped.reshape(len(tiles), BLOCKS * BLOCKS, FEATURES)


def _blocks(values: Array) -> Array:
    """Return the sum over each block of [N, H, W], [N, 4, 4]."""
    count, high, wide = values.shape
    parts = values.reshape(count, BLOCKS, high // BLOCKS, BLOCKS, wide // BLOCKS)
    return np.asarray(parts.sum(axis=(2, 4)))


def _mean(values: Array, depth: int) -> Array:
    """Return the mean over each block, in 1/16 codes of 8 bits."""
    block = values.shape[-1] // BLOCKS
    return _blocks(values.astype(np.int64)) >> (2 * (block.bit_length() - 1) + depth - 8)


def _cost(difference: Array, depth: int) -> Array:
    """Return the logarithm of the mean size of a difference."""
    return logarithm(_mean(np.abs(difference), depth))


def logarithm(value: Array) -> Array:
    """Return log2(1 + value / 16) in 1/32, linear between powers of two."""
    value = value.astype(np.int64) + 16
    exponent = np.frexp(value)[1] - 1
    return np.asarray(((exponent - 4) << 5) + ((value << 5) >> exponent) - 32).astype(np.int32)


def _offset(difference: Array, depth: int) -> Array:
    """Return the mean of a difference, 32 for 16 codes."""
    return np.clip(_mean(difference, depth) >> 3, -MOST_OFFSET, MOST_OFFSET)


def _gradients(pictures: Array) -> Array:
    """Return the sums of gradients inside each block of [..., H, W], [..., 4, 4] int32."""
    block = pictures.shape[-1] // BLOCKS
    parts = pictures.reshape(*pictures.shape[:-2], BLOCKS, block, BLOCKS, block).astype(np.int32)
    total = np.abs(np.diff(parts, axis=-3)).sum(axis=(-3, -1))
    total += np.abs(np.diff(parts, axis=-1)).sum(axis=(-3, -1))
    return np.asarray(total, dtype=np.int32)


def _boxes(costs: list[Array], tiles: Array, shape: tuple[int, int]) -> list[Array]:
    """Return the means of costs over 3x3 and 7x7 blocks, of those in marked tiles."""
    boxes = []
    rows, columns = BLOCKS * shape[0], BLOCKS * shape[1]
    inner = np.arange(BLOCKS)
    y = BLOCKS * tiles[:, 0, None, None] + inner[:, None]
    x = BLOCKS * tiles[:, 1, None, None] + inner
    counts = []
    for reach in (1, 3):
        plane = np.zeros((rows, columns), np.int64)
        plane[y, x] = 1
        counts.append(_sum_around(plane, reach)[y, x])
    for reach, count in zip((1, 3), counts, strict=True):
        for cost in costs:
            plane = np.zeros((rows, columns), np.int64)
            plane[y, x] = cost
            boxes.append((_sum_around(plane, reach)[y, x] // count).astype(np.int32))
    return boxes


def _sum_around(plane: Array, reach: int) -> Array:
    table = np.pad(plane, ((reach + 1, reach), (reach + 1, reach))).cumsum(0).cumsum(1)
    side = 2 * reach + 1
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]


def _of_motion(motions: Array, field: Array, tiles: Array, tau: int) -> list[Array]:
    """Return speeds, how far the own motion bends, and how it changes from block to block."""
    wide = motions.reshape(-1, PAIRS, 4, BLOCKS, BLOCKS).astype(np.int64)
    way = wide[:, :, 2:] - wide[:, :, :2]
    speeds = [_length(way[:, k, 0], way[:, k, 1]) for k in range(PAIRS)]
    bend = (wide[:, 0, :2] * (32768 - tau) + wide[:, 0, 2:] * tau) >> 15
    rows, columns = field.shape[1:]
    inner = np.arange(BLOCKS)
    y = np.minimum(BLOCKS * tiles[:, 0, None, None] + inner[:, None], rows - 3) + 1
    x = np.minimum(BLOCKS * tiles[:, 1, None, None] + inner, columns - 3) + 1
    flow = field[2:4].astype(np.int32) - field[:2]
    along = np.clip(flow[:, y, x + 1] - flow[:, y, x - 1], -8191, 8191)
    down = np.clip(flow[:, y + 1, x] - flow[:, y - 1, x], -8191, 8191)
    edge = _root_logarithm((along**2 + down**2).sum(axis=0))
    spread = np.clip((along[0] + down[1]) >> 3, -MOST_SPREAD, MOST_SPREAD)
    others = [speed - speeds[0] for speed in speeds[1:]]
    return [speeds[0], *others, _length(bend[:, 0], bend[:, 1]), edge, spread]


def _length(x: Array, y: Array) -> Array:
    return _root_logarithm(x * x + y * y)


def _root_logarithm(square: Array) -> Array:
    """Return log2(1 + square / 1024) / 2 in 1/32, linear between powers of two."""
    value = square.astype(np.int64) + 1024
    exponent = np.frexp(value)[1] - 1
    whole = ((exponent - 10) << 5) + (value >> (exponent - 5)) - 32
    return np.asarray(whole >> 1).astype(np.int32)


def _static_share(static: Array | None, tiles: Array, block: int) -> Array:
    """Return the share of static samples in each block, in 1/32."""
    if static is None:
        return np.zeros((len(tiles), BLOCKS, BLOCKS), np.int32)
    side = BLOCKS * block
    y = np.minimum(side * tiles[:, 0, None, None] + np.arange(side)[:, None], static.shape[0] - 1)
    x = np.minimum(side * tiles[:, 1, None, None] + np.arange(side), static.shape[1] - 1)
    count = _blocks((static[y, x] != 0).astype(np.int32))
    return (count << 5) >> (2 * (block.bit_length() - 1))
