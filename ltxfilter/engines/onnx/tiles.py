"""A picture in overlapping parts of one size, and whole again, its seams blended away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ltxfilter.engines.onnx.rgb import Rgb, Values


@dataclass(frozen=True, slots=True)
class Tiling:
    """Where the tiles of a picture lie."""

    height: int  # pixels of the picture
    width: int
    rows: int  # pixels of a tile, each; it may reach beyond a picture that is smaller
    columns: int
    overlap: int  # pixels that neighbours share at least

    def corners(self) -> list[tuple[int, int]]:
        """Return the top left corner of each tile, row by row."""
        return list(
            product(
                starts(self.height, self.rows, self.overlap),
                starts(self.width, self.columns, self.overlap),
            )
        )

    def cut(self, picture: Rgb, corner: tuple[int, int]) -> Rgb:
        """Return the tile [3, rows, columns] at a corner; beyond the picture it is black."""
        y, x = corner
        part = picture[:, y : y + self.rows, x : x + self.columns]
        bottom, right = self.rows - part.shape[1], self.columns - part.shape[2]
        return np.pad(part, ((0, 0), (0, bottom), (0, right))) if bottom or right else part

    def join(self, tiles: list[Rgb]) -> Rgb:
        """Return the picture [3, height, width] of its tiles, in the order of `corners`."""
        corners = self.corners()
        if len(corners) == 1:
            return tiles[0][:, : self.height, : self.width]
        total = np.zeros((3, self.height, self.width), np.float32)
        weight = np.zeros((self.height, self.width), np.float32)
        share = self._share()
        for (y, x), tile in zip(corners, tiles, strict=True):
            here = np.s_[y : y + self.rows, x : x + self.columns]
            inside = weight[here].shape
            part = share[: inside[0], : inside[1]]
            total[(slice(None), *here)] += part * tile[:, : inside[0], : inside[1]]
            weight[here] += part
        total /= weight
        return total

    def _share(self) -> Values:
        """Return a tile's weight per pixel: it falls to almost nothing at each edge."""
        down, across = (
            np.minimum(np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5), max(self.overlap, 1))
            for n in (self.rows, self.columns)
        )
        share: Values = (down[:, None] * across).astype(np.float32)
        return share


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along one axis, evenly spread, as few as there can be."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]
