"""Decoding in overlapping tiles, for devices that cannot hold a whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from ltxfilter.engines.ltx.latent_shape import LEAST_TILE, SPATIAL_COMPRESSION, TILE_OVERLAP

Decode = Callable[[torch.Tensor], torch.Tensor]  # latents [B, 128, f, h, w] -> [B, 3, F, H, W]


def decode_tiled(decode: Decode, latents: torch.Tensor, side: int) -> torch.Tensor:
    """Return pictures [B, 3, F, H, W], decoded in tiles that are cross-faded where they overlap.

    latents: [B, 128, f, h, w]. side: of a tile at most, in pixels; at least LEAST_TILE, rounded
    down to whole latents. Raises ValueError for a smaller one.
    """
    if side < LEAST_TILE:
        raise ValueError(f"tiles of {side} pixels; the smallest are of {LEAST_TILE}")
    cell = SPATIAL_COMPRESSION
    height, width = latents.shape[-2:]
    total: torch.Tensor | None = None
    for top, bottom in tile_bounds(height, side // cell):
        for left, right in tile_bounds(width, side // cell):
            picture = decode(latents[..., top:bottom, left:right])
            if total is None:
                size = (*picture.shape[:-2], height * cell, width * cell)
                total = picture.new_zeros(size)
            rows = tile_weights(top, bottom, height, picture)
            columns = tile_weights(left, right, width, picture)
            place = slice(top * cell, bottom * cell), slice(left * cell, right * cell)
            total[(..., *place)] += picture * rows[:, None] * columns
    assert total is not None
    return total


def tile_bounds(length: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of tiles along one axis, in latents.

    They cover `length` latents, are about equally long, at most `most`, and overlap by
    TILE_OVERLAP.
    """
    if length <= most:
        yield 0, length
        return
    count = -(-(length - TILE_OVERLAP) // (most - TILE_OVERLAP))
    for number in range(count):
        begin = number * (length - TILE_OVERLAP) // count
        yield begin, (number + 1) * (length - TILE_OVERLAP) // count + TILE_OVERLAP


def tile_weights(begin: int, end: int, length: int, like: torch.Tensor) -> torch.Tensor:
    """Return the weight of each pixel of a tile along one axis: a ramp where a neighbour overlaps.

    begin, end: of the tile, out of `length` latents. like: gives the device and the dtype.
    """
    pixels = (end - begin) * SPATIAL_COMPRESSION
    overlap = TILE_OVERLAP * SPATIAL_COMPRESSION
    ramp = (torch.arange(overlap, device=like.device, dtype=like.dtype) + 0.5) / overlap
    weight = like.new_ones(pixels)
    if begin > 0:
        weight[:overlap] = ramp
    if end < length:
        weight[pixels - overlap :] *= ramp.flip(0)
    return weight
