"""The fusion's tiles in NumPy: the same numbers as those in C, slower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels.fusion_sizes import BLOCKS, PAIRS, SAMPLES
from ltxfilter.motion.kernels.numpy_grids import between, fetch, share_of

SPREADS = (range(-2, 3), range(-5, 6, 2))  # where other motions come from, in blocks


def tile_motions(field: Array, tiles: Array) -> Array:
    """See c_fusion.tile_motions."""
    rows, columns = field.shape[1] - 2, field.shape[2] - 2
    motion = field[:4, 1:-1, 1:-1].astype(np.int32)
    speed = (motion[2] - motion[0]) ** 2 + (motion[3] - motion[1]) ** 2
    inner = np.arange(BLOCKS)
    y = np.minimum(BLOCKS * tiles[:, 0, None, None] + inner[:, None], rows - 1)
    x = np.minimum(BLOCKS * tiles[:, 1, None, None] + inner, columns - 1)
    own = y * columns + x
    speed, slow, fast, chosen = speed.ravel(), own, own, [own]
    for reach in SPREADS:
        for dy in reach:
            for dx in reach:
                near = np.clip(y + dy, 0, rows - 1) * columns + np.clip(x + dx, 0, columns - 1)
                slow = np.where(speed[near] < speed[slow], near, slow)
                fast = np.where(speed[near] > speed[fast], near, fast)
        chosen += [slow, fast]
    motions = motion.reshape(4, -1)[:, np.stack(chosen, axis=1)]  # [4, N, PAIRS, 4, 4]
    shaped = motions.transpose(1, 2, 0, 3, 4).reshape(len(tiles), 4 * PAIRS, BLOCKS, BLOCKS)
    return np.ascontiguousarray(shaped.astype(np.int16))


def tile_samples(
    planes: Sequence[tuple[Array, Array, Array]],
    motions: Array,
    tiles: Array,
    block: tuple[int, int],
    shifts: tuple[int, int],
) -> list[Array]:
    """See c_fusion.tile_samples."""
    offsets = _at_samples(motions.reshape(-1, PAIRS, 4, BLOCKS, BLOCKS), block, shifts)
    return [_plane_samples(three, offsets, tiles, block) for three in planes]


def _plane_samples(
    planes: tuple[Array, Array, Array], offsets: Array, tiles: Array, block: tuple[int, int]
) -> Array:
    """Return what the tiles of one plane show. offsets: [N, PAIRS, 4, H, W] in 1/32 samples."""
    drawn, left, right = planes
    wide, high = BLOCKS * block[0], BLOCKS * block[1]
    x = (wide * tiles[:, 1, None, None] + np.arange(wide)).astype(np.int32)
    y = (high * tiles[:, 0, None, None] + np.arange(high)[:, None]).astype(np.int32)
    found = np.empty((len(tiles), SAMPLES, high, wide), np.int32)
    inside = np.minimum(y, drawn.shape[0] - 1), np.minimum(x, drawn.shape[1] - 1)
    for number, picture in enumerate(planes):
        found[:, number] = picture[inside].astype(np.int32) << 4
    for number in range(PAIRS):
        for end, picture in enumerate((left, right)):
            dx, dy = offsets[:, number, 2 * end], offsets[:, number, 2 * end + 1]
            found[:, 3 + 2 * number + end] = fetch(picture, (x, y), dx, dy)
    return found.astype(np.int16 if drawn.dtype == np.uint8 else np.int32)


def _at_samples(motions: Array, block: tuple[int, int], shifts: tuple[int, int]) -> Array:
    """Read motions at every sample of a plane; a tile's border repeats."""
    shift = np.array([shifts[0], shifts[1]] * 2)[:, None, None]
    wide = (motions.astype(np.int32) + ((1 << shift) >> 1)) >> shift
    return spread(np.pad(wide, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), block)


def spread(padded: Array, block: tuple[int, int]) -> Array:
    """Read [..., 6, 6] bilinearly at the samples of the inner 4x4 blocks, [..., H, W].

    block: its samples along x and y.
    """
    before, past = between(BLOCKS * block[1], block[1])
    after = np.minimum(before + 1, BLOCKS + 1)
    top, bottom = padded[..., before, :], padded[..., after, :]
    rows = top + share_of(bottom - top, past[:, None])
    before, past = between(BLOCKS * block[0], block[0])
    after = np.minimum(before + 1, BLOCKS + 1)
    left, right = rows[..., before], rows[..., after]
    return np.asarray(left + share_of(right - left, past))


def block_share(field: Array, tiles: Array) -> Array:
    """Return the share of the left end, [N, 4, 4] in 1/32768."""
    inner = np.arange(BLOCKS)
    y = np.minimum(BLOCKS * tiles[:, 0, None, None] + inner[:, None], field.shape[1] - 3) + 1
    x = np.minimum(BLOCKS * tiles[:, 1, None, None] + inner, field.shape[2] - 3) + 1
    return field[4][y, x].astype(np.int32)
