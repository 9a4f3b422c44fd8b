"""Signs of pictures that interpolation gets wrong without noticing: repeating patterns, still text.

A wrong match of a repeating pattern fits as well as the right one, so no estimate shows it. Text
and logos that stay while the picture moves are dragged along, or tremble. Both are looked for in
keyframes half a second apart, and told, so that somebody looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.frame import VideoInfo
from ltxfilter.windows.window import Join, Window

Luma = NDArray[np.float32]  # [H, W] codes of 8 bits

EVERY = 0.5  # seconds from look to look
PATTERN, TEXT = "repeating pattern", "still text or logo"
TILE = 64  # samples of a side that a pattern is looked for in
MOST_TILES = 8, 6  # across and down, spread over the picture
LEAST_SPREAD = 10.0  # codes, standard deviation of a tile with a pattern in it
LEAST_CHANGE = 2.0  # codes by which a tile changes from keyframe to keyframe, if it moves
FALLEN, RISEN = 0.3, 0.8  # autocorrelation between two repeats at most, and at the repeat at least
SHORTEST, LONGEST = 4, 40  # samples of a period
LEAST_TILES = 0.08  # of the picture's tiles
EDGE = 40.0  # codes between neighbouring samples, in text
ROWS = 2  # every so many rows are looked at for text
SAME = 3.0  # codes that still text changes at most
MOVES = 0.3  # of the picture changes by more than LEAST_CHANGE, or nothing is still text
BLOCK = 32  # samples of a side of the block that text is seen in
AMID = 0.4  # of such a block changes around text
LEAST_TEXT = 0.0005  # of the picture that are edges that stay
MOST_TEXT = 0.08  # above it the picture stands still in large parts
TIMES = 2  # looks in a row that see the same edges


@dataclass(frozen=True, slots=True)
class Sign:
    """Something to look at, at one moment."""

    time: float  # seconds
    kind: str  # PATTERN or TEXT
    share: float  # of the picture, 0..1


class SignFinder:
    """Looks for signs in one stream; any thread may ask, about in order."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._latest = float("-inf")  # seconds: time of the latest look
        self._edges: NDArray[Any] | None = None  # [H, W] bool: those that stayed at the last look
        self._before: Luma | None = None  # the picture of the last look
        self._count = 0  # looks in a row at which they stayed
        self._lock = Lock()

    def look(self, window: Window) -> tuple[Sign, ...]:
        """Return what the window's keyframes show, if a multiple of EVERY lies between them."""
        first = window.first
        if first == window.last or window.intervals[first].join is not Join.INTERPOLATE:
            return ()
        ends = window.keyframes[first : first + 2]
        time, until = (float(key.time) for key in ends)
        if time // EVERY == until // EVERY:
            return ()
        with self._lock:
            if time < self._latest:  # another thread was faster
                return ()
            self._latest = time
            left, right = (self._luma(key.planes[0]) for key in ends)
            text = self._still_text(left[::ROWS], right[::ROWS])
            found = [(PATTERN, pattern_share(left, right)), (TEXT, text)]
        return tuple(Sign(round(time, 6), kind, round(share, 4)) for kind, share in found if share)

    def _luma(self, plane: Any) -> Luma:
        """Return the first plane as codes of 8 bits."""
        depth = self._info.layout[0].depth
        codes: Luma = np.asarray(plane).astype(np.float32)
        return codes / np.float32(1 << (depth - 8))

    def _still_text(self, left: Luma, right: Luma) -> float:
        """Return the share of the picture that are strong edges which stay while the rest moves."""
        before, self._before = self._before, left
        if before is None or before.shape != left.shape:
            self._edges, self._count = None, 0
            return 0.0
        moving = float((np.abs(left - before) > LEAST_CHANGE).mean())
        if moving < MOVES or float((np.abs(left - right) > LEAST_CHANGE).mean()) < MOVES / 2:
            return 0.0
        changed = np.abs(left - before)
        stays = _strong_edges(left) & (changed <= SAME) & (np.abs(left - right) <= SAME)
        stays &= _amid_motion(changed > LEAST_CHANGE)
        both = stays if self._edges is None else stays & self._edges
        if both.mean() < LEAST_TEXT:
            self._edges, self._count = stays, int(stays.mean() >= LEAST_TEXT)
            return 0.0
        self._edges, self._count = both, self._count + 1
        share = float(both.mean())
        return share if self._count >= TIMES and share <= MOST_TEXT else 0.0


def _amid_motion(changed: NDArray[Any]) -> NDArray[Any]:
    """Return where the blocks around samples change in good part; a still background does not."""
    rows, columns = (-(-side // BLOCK) * BLOCK for side in changed.shape)
    padded = np.zeros((rows, columns), np.float32)
    padded[: changed.shape[0], : changed.shape[1]] = changed
    shares = padded.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).mean((1, 3))
    moving = np.repeat(np.repeat(shares > AMID, BLOCK, 0), BLOCK, 1)
    return moving[: changed.shape[0], : changed.shape[1]]


def _strong_edges(luma: Luma) -> NDArray[Any]:
    edges = np.zeros(luma.shape, bool)
    edges[:, 1:] |= np.abs(np.diff(luma, axis=1)) > EDGE
    edges[1:] |= np.abs(np.diff(luma, axis=0)) > EDGE
    return edges


def pattern_share(left: Luma, right: Luma) -> float:
    """Return the share of a picture's tiles that repeat within themselves and move; 0 if few.

    A tile repeats if its autocorrelation along rows or columns falls and rises again. Along an edge
    it never falls, so edges are no pattern.
    """
    height, width = left.shape
    side = min(TILE, height, width)
    found = total = 0
    for top in _spread(height, side, MOST_TILES[1]):
        for at in _spread(width, side, MOST_TILES[0]):
            total += 1
            tile = left[top : top + side, at : at + side]
            change = np.abs(tile - right[top : top + side, at : at + side]).mean()
            found += bool(change > LEAST_CHANGE and tile.std() > LEAST_SPREAD and repeats(tile))
    return found / total if found >= LEAST_TILES * total else 0.0


def _spread(length: int, side: int, most: int) -> list[int]:
    """Return where tiles begin that are spread evenly over a length."""
    count = max(min(most, length // side), 1)
    return [round(number * (length - side) / max(count - 1, 1)) for number in range(count)]


def repeats(tile: Luma) -> bool:
    """Return True if a tile [n, n] looks like itself a few samples further on, and not between."""
    size = tile.shape[0]
    flat = tile - tile.mean()
    spectrum = np.fft.rfft2(flat, (2 * size, 2 * size))
    correlation = np.fft.irfft2(np.abs(spectrum) ** 2, (2 * size, 2 * size))
    overlap = np.arange(size, 0, -1) / size
    for line in (correlation[0, :size], correlation[:size, 0]):
        normal = line / overlap / max(float(line[0]), 1e-9)
        reach = normal[: min(LONGEST, size - size // 4) + 1]
        fallen = np.flatnonzero(reach < FALLEN)
        if len(fallen) and reach[max(int(fallen[0]), SHORTEST) :].max(initial=0.0) > RISEN:
            return True
    return False
