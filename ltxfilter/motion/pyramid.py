"""Flow from one picture to another, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Array, Flow, Luma, pairs, unpaired

PATCH = 8  # samples, as kernels.search has it


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look on one level; see kernels.search."""

    step: int = 4
    rounds: int = 3
    steps: int = 5


@dataclass(frozen=True, slots=True)
class Search:
    """How hard to look for the motion of a pair of pictures."""

    efforts: Sequence[Effort]  # per level, finest first; the last one serves all that are left
    finest: int = 0  # level to look on last: 0 the flow image, 1 the work grid
    neighbours: int = 2  # passes in which cells then try their neighbours' flow, see `refined`
    near: bool = True  # whether adjacent cells are among them
    polish: int = 0  # Gauss-Newton steps of a second look at the finest level; 0: none


def find_flow(
    pictures: tuple[list[Luma], list[Luma]], prior: Flow | None, efforts: Sequence[Effort]
) -> Flow:
    """Return flow [H, W, 2] in samples of the finest level, from the first picture to the second.

    pictures: two pyramids, finest first. prior: a first guess at any size whose unit is its own
    sample. efforts: one per level, finest first; the last one serves all that are left.
    """
    flow: Flow | None = None
    for depth in reversed(range(len(pictures[0]))):
        pair = pictures[0][depth], pictures[1][depth]
        effort = efforts[min(depth, len(efforts) - 1)]
        places = patch_places(pair[0].shape, effort.step)
        known = [at(guess, pair[0].shape, places) for guess in (flow, prior) if guess is not None]
        still = np.zeros((len(places[0]), len(places[1]), 2), np.float32)
        guesses = np.stack([*known, still])
        flow = kernels.search(pair, guesses, effort.step, effort.rounds, effort.steps)
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


def at(flow: Flow, shape: tuple[int, ...], places: tuple[Array, Array]) -> Flow:
    """Return `flow`, of any size, at places of a picture of `shape`, in its samples."""
    if shape[0] < flow.shape[0]:
        flow = resized(flow, shape)
    y, x = (
        place * had // has for place, had, has in zip(places, flow.shape[:2], shape, strict=True)
    )
    scale = np.float32(2.0 ** round(np.log2(shape[0] / flow.shape[0])))
    found = unpaired(pairs(flow)[y[:, None], x])
    found *= scale
    return found


def patch_places(shape: tuple[int, ...], step: int) -> tuple[Array, Array]:
    """Return the rows and the columns of the centres of patches over a picture."""
    y, x = (
        np.minimum(np.arange(max(-(-(side - PATCH) // step), 0) + 1) * step + PATCH // 2, side - 1)
        for side in shape
    )
    return y, x
