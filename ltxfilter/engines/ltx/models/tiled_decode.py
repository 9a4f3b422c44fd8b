"""Decoding in overlapping tiles, for devices that cannot hold a whole picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from ltxfilter.engines.ltx.latent_shape import (
    LEAST_TILE,
    SPATIAL_COMPRESSION,
    TILE_OVERLAP,
    WIDER_OVERLAP,
)

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
    rows, columns = tile_bounds(height, side // cell), tile_bounds(width, side // cell)
    row_weights, column_weights = tile_weights(rows), tile_weights(columns)
    total: torch.Tensor | None = None
    for (top, bottom), vertical in zip(rows, row_weights, strict=True):
        for (left, right), horizontal in zip(columns, column_weights, strict=True):
            picture = decode(latents[..., top:bottom, left:right])
            if total is None:
                size = (*picture.shape[:-2], height * cell, width * cell)
                total = picture.new_zeros(size)
            place = slice(top * cell, bottom * cell), slice(left * cell, right * cell)
            total[(..., *place)] += picture * vertical.to(picture)[:, None] * horizontal.to(picture)
    assert total is not None
    return total


def tile_bounds(length: int, most: int) -> list[tuple[int, int]]:
    """Return begin and end of tiles along one axis, in latents.

    They cover `length` latents, are equally long, at most `most`, and no more than are needed
    with an overlap of TILE_OVERLAP. Where they need not be that long they overlap by as much as
    WIDER_OVERLAP, since what a tile lacks shows least far from its border.
    """
    if length <= most:
        return [(0, length)]
    count = -(-(length - TILE_OVERLAP) // (most - TILE_OVERLAP))
    size = min(most, (length + (count - 1) * WIDER_OVERLAP) // count)
    begins = [number * (length - size) // (count - 1) for number in range(count)]
    return [(begin, begin + size) for begin in begins]


def tile_weights(bounds: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """Return the weight of each pixel of each tile along one axis; those of one pixel add up to 1.

    bounds: begin and end of each tile, in latents. Weights rise and fall in a straight line where
    a tile overlaps its neighbour.
    """
    weights = [torch.ones((end - begin) * SPATIAL_COMPRESSION) for begin, end in bounds]
    for number, ((_, end), (begin, _)) in enumerate(pairwise(bounds)):
        overlap = (end - begin) * SPATIAL_COMPRESSION
        ramp = torch.arange(1, overlap + 1) / (overlap + 1)
        weights[number][-overlap:] *= ramp.flip(0)
        weights[number + 1][:overlap] *= ramp
    places = [slice(*(end * SPATIAL_COMPRESSION for end in tile)) for tile in bounds]
    total = torch.zeros(bounds[-1][1] * SPATIAL_COMPRESSION)
    for place, weight in zip(places, weights, strict=True):
        total[place] += weight
    return [weight / total[place] for place, weight in zip(places, weights, strict=True)]
