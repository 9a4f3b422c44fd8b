"""Decoding a picture in overlapping tiles, for devices that cannot hold it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

CELL = 32  # pixels of a latent's side
OVERLAP = 2  # latents that neighbouring tiles share
LEAST = 2 * OVERLAP * CELL  # pixels of a tile's side, so that no three tiles in a row overlap

Decode = Callable[[torch.Tensor], torch.Tensor]  # latents [B, 128, f, h, w] -> [B, 3, F, H, W]


def decode_tiled(decode: Decode, latents: torch.Tensor, side: int) -> torch.Tensor:
    """Return what `decode` makes of tiles of at most `side` pixels, cross-faded where they meet.

    side: at least LEAST, rounded down to whole latents.
    """
    if side < LEAST:
        raise ValueError(f"tiles of {side} pixels; the smallest are of {LEAST}")
    height, width = latents.shape[-2:]
    total: torch.Tensor | None = None
    for top, bottom in spans(height, side // CELL):
        for left, right in spans(width, side // CELL):
            picture = decode(latents[..., top:bottom, left:right])
            if total is None:
                size = (*picture.shape[:-2], height * CELL, width * CELL)
                total = picture.new_zeros(size)
            rows = ramp(top, bottom, height, picture)
            columns = ramp(left, right, width, picture)
            place = slice(top * CELL, bottom * CELL), slice(left * CELL, right * CELL)
            total[(..., *place)] += picture * rows[:, None] * columns
    assert total is not None
    return total


def spans(length: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of pieces of at most `most` that overlap by OVERLAP, evenly long."""
    if length <= most:
        yield 0, length
        return
    count = -(-(length - OVERLAP) // (most - OVERLAP))
    for number in range(count):
        begin = number * (length - OVERLAP) // count
        yield begin, (number + 1) * (length - OVERLAP) // count + OVERLAP


def ramp(begin: int, end: int, length: int, like: torch.Tensor) -> torch.Tensor:
    """Return the weight of each pixel of a piece: it fades where a neighbour overlaps."""
    pixels = (end - begin) * CELL
    fade = (torch.arange(OVERLAP * CELL, device=like.device, dtype=like.dtype) + 0.5) / (
        OVERLAP * CELL
    )
    weight = like.new_ones(pixels)
    if begin > 0:
        weight[: len(fade)] = fade
    if end < length:
        weight[pixels - len(fade) :] *= fade.flip(0)
    return weight
