"""Flow from one picture to another, coarse to fine."""

from __future__ import annotations

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Array, Flow, Luma

PATCH, STRIDE = 8, 4  # samples, as kernels.search has them


def find_flow(
    pictures: tuple[list[Luma], list[Luma]], prior: Flow | None, rounds: int, steps: int
) -> Flow:
    """Return flow [H, W, 2] in samples of the finest level, from the first picture to the second.

    pictures: two pyramids, finest first. prior: a first guess at any size whose unit is its own
    sample. rounds, steps: see kernels.search.
    """
    flow: Flow | None = None
    for seen, other in zip(*(reversed(levels) for levels in pictures), strict=True):
        still = np.zeros((*seen.shape, 2), np.float32)
        known = [resized(guess, seen.shape) for guess in (flow, prior) if guess is not None]
        guesses = np.stack([at_patches(guess) for guess in (*known, still)])
        flow = kernels.search(seen, other, guesses, rounds, steps)
    assert flow is not None
    return flow


def resized(flow: Flow, shape: tuple[int, ...]) -> Flow:
    """Return `flow` at another size, in samples of that size."""
    rows, columns = shape
    if flow.shape[:2] == (rows, columns):
        return flow
    smaller = rows < flow.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    found = cv2.resize(flow, (columns, rows), interpolation=method)
    found *= np.float32(2.0 ** round(np.log2(rows / flow.shape[0])))
    return found


def at_patches(flow: Flow) -> Array:
    """Return the flow at the centre of every patch: [rows, columns, 2]."""
    rows, columns = flow.shape[:2]
    y, x = (
        np.minimum(np.arange(patches_over(side)) * STRIDE + PATCH // 2, side - 1)
        for side in (rows, columns)
    )
    return flow[y[:, None], x]


def patches_over(samples: int) -> int:
    """Return how many patches cover so many samples in a row."""
    return max(-(-(samples - PATCH) // STRIDE), 0) + 1
