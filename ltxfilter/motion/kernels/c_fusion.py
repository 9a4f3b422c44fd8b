"""The kernels of the fusion in C: what each computes, and the arrays that it writes into.

A tile is 4x4 blocks of a picture. N is the number of marked tiles; `tiles`, [N, 2] int32, says the
row and the column of each. A field is what `kernels.make_field` returns, its cells being blocks and
its unit 1/32 samples of luma.

What is mixed in a tile is listed in this order: the picture as it was drawn, the left keyframe in
place, the right one, then the left and the right end along each of five motions of a block: its
own, the slowest and the fastest within 2 blocks, and the slowest and the fastest within 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels import _kernels  # type: ignore[attr-defined]
from ltxfilter.motion.kernels.cubic import CUBIC
from ltxfilter.motion.kernels.fusion_sizes import (
    FEATURES,
    HALVINGS,
    PAIRS,
    SAMPLES,
    WEIGHTS,
    Layers,
)


def tile_motions(field: Array, tiles: Array) -> Array:
    """Return the five motions of every block of the tiles, [N, 20, 4, 4] int16 in 1/32 samples.

    Each is x and y to the left end, then to the right one.
    """
    out = np.empty((len(tiles), 4 * PAIRS, 4, 4), np.int16)
    _kernels.tile_motions(field, tiles, out)
    return out


def tile_samples(
    planes: Sequence[tuple[Array, Array, Array]],
    motions: Array,
    tiles: Array,
    block: tuple[int, int],
    shifts: tuple[int, int],
) -> list[Array]:
    """Return what the tiles of up to three planes show, [N, 13, 4 block, 4 block] in 1/16 codes.

    planes: drawn, left and right of each, [H, W] uint8 or uint16, all of one shape; rows may be
    padded; beyond their border they repeat. block: its samples along x and y, powers of two up to
    16. shifts: a sample covers 2**shift samples of luma along x and y. Motions are read bilinearly
    between the blocks of a tile, samples by the cubic filter of `kernels.warp`. Returns int16, or
    int32 for uint16.
    """
    deep = planes[0][0].dtype != np.uint8
    sizes = len(tiles), SAMPLES, 4 * block[1], 4 * block[0]
    found = [np.empty(sizes, np.int32 if deep else np.int16) for _ in planes]
    written = tuple((*plane, out) for plane, out in zip(planes, found, strict=True))
    _kernels.tile_samples(written, motions, tiles, CUBIC, *block, *shifts, int(deep))
    return found


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
    """Return what the network sees of every block, [N, 16, 49] int16, in 1/32.

    samples: of luma. static: [H, W] uint8 or None; what is not 0 does not move. depth: 8..16 bits.
    tau: 0..32767 in 1/32768. shape: rows and columns of tiles in the picture. The features are
    logarithms of differences between the samples, their means over 3x3 and 7x7 blocks of marked
    tiles, texture, signed differences, speeds, how the motion bends and changes, the share of the
    left end, the moment, and how much of a block is static.
    """
    out = np.empty((len(tiles), 16, FEATURES), np.int16)
    _kernels.tile_features(samples, motions, field, tiles, *shape, static, depth, tau, out)
    return out


def tile_weights(
    features: Array, field: Array, tiles: Array, layers: Layers
) -> tuple[Array, Array]:
    """Return by how much each block is drawn from what its tile shows, and is sharpened.

    Weights, [N, 12, 4, 4] int16 in 1/32768, leave out the picture as it was drawn, which has the
    rest. Gains, [N, 16] int16, are in 1/64 of the difference to the 3x3 mean, 0..128. layers: four,
    of 48, 48, 48 and 18 outputs; none of their sums may reach 2**31. Units are rectified; the last
    layer's choices go through a softmax: the picture, both keyframes, both ends along the own
    motion, then for each other motion the mix of both ends as the field shares them, and each end.
    Its last output is the gain.
    """
    weights = np.empty((len(tiles), WEIGHTS, 4, 4), np.int16)
    gains = np.empty((len(tiles), 16), np.int16)
    flat = [array for layer in layers for array in layer]
    _kernels.tile_weights(features, field, tiles, *flat, HALVINGS, weights, gains)
    return weights, gains


def limit_change(weights: Array, samples: Array, depth: int) -> None:
    """Make the weights of blocks smaller, in place, that would change by more than 32 codes.

    That is the mean over the samples of luma, in codes of 8 bits. weights: of `tile_weights`.
    samples: of luma, as `tile_samples` returns them. depth: 8..16 bits.
    """
    _kernels.limit_change(weights, samples, depth)


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
    """Write the mix over the marked tiles of `picture`, [H, W] uint8 or uint16.

    Weights are read bilinearly between blocks; they are 0 in tiles that are not marked. index:
    [rows, columns] int32, the number of each tile of the picture, less than 0 if it is not marked.
    static: [H, W] uint8 or None, rows may be padded: what is not 0 stays as it was drawn.

    gains: of `tile_weights`, or None: then nothing is sharpened, and `wanted` is not looked at.
    wanted: by how much the sum of the picture's samples would have to grow, in 1/16 codes, for its
    mean to lie on the line between those of the keyframes. What is mixed in is shifted by up to 8
    codes of 8 bits so that the sum grows neither by more than that nor the other way.
    """
    _kernels.tile_mix(picture, samples, weights, gains, tiles, index, static, depth, wanted)
