"""Which of two pictures of one moment to believe, cell by cell: one drawn along flow, one guided.

Knows no engine. The truth is not there to compare with. What can be checked is whether the guided
picture is made of what the keyframes show, whether it agrees with flow where flow is sure, and
whether it is no further from flow elsewhere than flow is likely to be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ltxfilter.frame import Plane, Planes, PlaneShape
from ltxfilter.motion.drawing import estimate_psnr
from ltxfilter.motion.grid import Floats, Flow, Grid, Luma, Shrunk
from ltxfilter.motion.pyramid import Effort, find_flow, resized
from ltxfilter.motion.trajectory import Moment, disagreement, positions

EFFORTS = (Effort(8, 2, 5), Effort(4, 2, 5))
ERROR = 0.58  # squared error of flow's picture per squared disagreement of its keyframes, measured
NEAR, WIDE = 5, 31  # cells: what is smoothed over; the neighbourhood that is cross-checked
SURE = 4.0  # squared codes of disagreement up to which flow is a good witness
UNEXPLAINED = 0.5  # squared error per squared difference that neither keyframe explains
MISPLACED = 1.5  # squared error per squared change, if neighbours are wholly misplaced
FAR = 2.0  # times flow's likely squared error; what is further off is not the better picture
ALWAYS = 1.0  # squared codes that no picture is better than
BETTER, WORSE = 0.25, 1.0  # of flow's likely squared error: taken wholly, left wholly
SOFT = 1.5  # cells, deviation of the blur that hides where one picture ends


@dataclass(frozen=True, eq=False)
class Outlook:
    """What flow draws a picture from: the motion and the two keyframes, on the work grid."""

    at: Moment
    left: Shrunk
    right: Shrunk

    @cached_property
    def difference(self) -> Floats:
        """By how many codes the keyframes differ along the motion, [rows, columns]."""
        return disagreement(self.at, self.left, self.right)

    @property
    def psnr_db(self) -> float:
        """The PSNR to expect of the picture."""
        return estimate_psnr(self.difference)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How much of the guided picture to take, and how good the result should be."""

    share: Floats  # [rows, columns] of the work grid, 0..1
    psnr_db: float

    @property
    def part(self) -> float:
        """The part of the cells that come mainly from the guided picture, 0..1."""
        return float((self.share > 0.5).mean())


def weigh(outlook: Outlook, flowed: Shrunk, guided: Shrunk) -> Verdict:
    """Decide between two pictures of the moment that `outlook` is about."""
    likely = ERROR * _near(np.square(outlook.difference))  # squared error of flow's, in codes
    expected = _expected(outlook, flowed, guided, likely)
    share = np.clip((WORSE - expected / (likely + ALWAYS)) / (WORSE - BETTER), 0, 1)
    share = cv2.GaussianBlur(share * share * (3 - 2 * share), (0, 0), SOFT)
    rest = np.square(1 - share) * likely + np.square(share) * expected
    return Verdict(share, estimate_psnr(np.sqrt(rest / ERROR)))


def _expected(outlook: Outlook, flowed: Shrunk, guided: Shrunk, likely: Floats) -> Floats:
    """Return the squared error to expect of the guided picture."""
    apart = guided.coarse.astype(np.float32) - flowed.coarse
    change = np.square(np.subtract(outlook.left.coarse, outlook.right.coarse, dtype=np.float32)) / 4
    misplaced = _cross_check(outlook, apart, change)
    return (
        UNEXPLAINED * _near(_unexplained(outlook, guided))
        + MISPLACED * misplaced * _near(change)
        + np.maximum(_near(np.square(apart)) - FAR * likely, 0)
    )


def _cross_check(outlook: Outlook, apart: Floats, change: Floats) -> Floats:
    """Return how far the guided picture is off where flow is sure, in units of what moved there.

    0 agrees with flow; 1 is as far off as a repeated keyframe.
    """
    trust = 1 / np.square(_near(np.square(outlook.difference)) + SURE)
    off = _wide(trust * np.square(cv2.blur(apart, (3, 3))))
    return off / (_wide(trust * change) + SURE * _wide(trust))


def _unexplained(outlook: Outlook, guided: Shrunk) -> Floats:
    """Return the squared difference to whichever keyframe, along its own motion, is nearer."""
    ways = ((outlook.left, outlook.at.to_left), (outlook.right, outlook.at.to_right))
    seen = (fetch(end.coarse, find_way(guided, end, guess)) for end, guess in ways)
    left, right = (np.square(np.subtract(guided.coarse, end, dtype=np.float32)) for end in seen)
    return np.minimum(left, right)


def find_way(picture: Shrunk, end: Shrunk, guess: Flow) -> Flow:
    """Return flow from a picture to a keyframe, in cells; guess: where flow thinks it is."""
    return resized(
        find_flow((picture.levels[1:], end.levels[1:]), guess, EFFORTS), picture.coarse.shape
    )


def fetch(luma: Luma, way: Flow) -> Luma:
    """Return what lies at the end of `way` for each cell; beyond the border it repeats."""
    at = positions(*luma.shape) + way
    return cv2.remap(luma, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _near(values: Floats) -> Floats:
    return cv2.blur(values, (NEAR, NEAR))


def _wide(values: Floats) -> Floats:
    return cv2.blur(values, (WIDE, WIDE))


def mix(
    flowed: Planes, guided: Planes, share: Floats, layout: tuple[PlaneShape, ...], grid: Grid
) -> Planes:
    """Return `flowed` with as much of `guided` as `share` says; transparency is flow's."""
    fine: dict[tuple[int, int], Floats] = {}
    mixed = []
    for shape, base, other in zip(layout, flowed, guided, strict=True):
        shifts = shape.shift_x, shape.shift_y
        if shifts not in fine:
            fine[shifts] = _spread(share, shape, grid)
        mixed.append(base if shape.role == "a" else _mixed(base, other, fine[shifts]))
    return tuple(mixed)


def _spread(share: Floats, shape: PlaneShape, grid: Grid) -> Floats:
    """Return the share for each sample of a plane."""
    columns, rows = (
        grid.columns * grid.cell >> shape.shift_x,
        grid.rows * grid.cell >> shape.shift_y,
    )
    full = cv2.resize(share, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.clip(full[: shape.height, : shape.width], 0, 1)


def _mixed(base: Plane, other: Plane, share: Floats) -> Plane:
    """Return base + share * (other - base), rounded to nearest."""
    total = np.subtract(other, base, dtype=np.float32)
    total *= share
    total += base
    return np.rint(total, out=total).astype(base.dtype)
