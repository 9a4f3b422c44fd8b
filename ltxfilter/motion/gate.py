"""Which of two pictures of one moment to believe, cell by cell: one drawn along flow, one guided.

This module knows no engine: where the guided picture comes from is its caller's affair. The truth
is not there to compare with. What can be checked is whether the guided picture is made of what the
keyframes show, whether it agrees with flow where flow is sure, and whether it is no further from
flow elsewhere than flow is likely to be wrong. docs/decisions/0012 has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import cv2
import numpy as np

from ltxfilter.frame import Plane, Planes, PlaneShape
from ltxfilter.motion.grid import Floats, Flow, Luma, MotionGrid
from ltxfilter.motion.plane_drawer import Calibration
from ltxfilter.motion.pyramid import Effort, LumaPyramid, find_flow, resized
from ltxfilter.motion.trajectory import Moment, disagreement, positions

Smooth = Callable[[Floats], Floats]

EFFORTS = (Effort(8, 2, 5), Effort(4, 2, 5))
ERROR = 0.58  # squared error of flow's picture per squared disagreement of its keyframes, measured
NEAR = 5  # cells along each side of the square that squares are averaged over
WIDE = 31  # cells along each side of the neighbourhood that bears witness
SURE = 4.0  # squared codes of disagreement up to which flow is a good witness
RIDGE = 0.5  # squared codes of change below which a keyframe has nothing to say
DOUBTFUL, HOPELESS = 0.2, 0.4  # how far a whole picture may be off in tau

# Squared error to expect of the guided picture, per squared codes of ...
UNEXPLAINED = 0.5  # what neither keyframe explains
ELSEWHERE = 0.5  # change between the keyframes, where neighbours are as far off as that
LEAKED = 2.0  # a keyframe that shows through by as much as it does in the neighbourhood
LEAKED_ALL = 4.0  # a keyframe that shows through by as much as it does in the whole picture
BELIEVED = 0.25  # share of what is unexplained or leaks nearby that counts in any picture
FAR = 2.0  # times flow's likely squared error; what is further off counts in doubtful pictures
ALWAYS = 1.0  # squared codes that no picture is better than
BETTER = 0.25  # of flow's likely squared error: a picture up to there is taken wholly
WORSE = 1.0  # of flow's likely squared error: a picture from there on is left wholly
BENEFIT = 0.5  # added to WORSE where nothing is astray
SOFT = 1.5  # cells, sigma of the blur that hides where one picture ends

# Squared disagreement that says as much, where a guided picture is taken, per squared codes of ...
EXPECTED = 2.0 / ERROR  # what is expected of it
DISTANCE = 0.1  # its distance from flow's
AT_LEAST = 12.0  # squared codes that are added in any case
FINE = Calibration(50.2, 8.45)  # for disagreement over whole cells of the flow image


@dataclass(frozen=True, eq=False)
class FlowEstimate:
    """What flow draws a picture from: the motion and the two keyframes."""

    at: Moment
    left: LumaPyramid
    right: LumaPyramid

    @cached_property
    def difference(self) -> Floats:
        """By how many codes the keyframes differ along the motion, [rows, columns]."""
        return disagreement(self.at, self.left, self.right)

    @cached_property
    def fine(self) -> Floats:
        """The mean squared difference per cell, taken in the flow image, [rows, columns]."""
        rows, columns = self.left.levels[0].shape
        left, right = (
            fetch(end.levels[0], 2 * cv2.resize(flow, (columns, rows)))
            for end, flow in ((self.left, self.at.to_left), (self.right, self.at.to_right))
        )
        squares = np.square(np.subtract(left, right, dtype=np.float32))
        return cv2.resize(squares, self.difference.shape[::-1], interpolation=cv2.INTER_AREA)

    @property
    def psnr_db(self) -> float:
        """The PSNR to expect of the picture."""
        return expected_psnr(self.fine, self.left.luma)


@dataclass(frozen=True, slots=True, eq=False)
class GateResult:
    """How much of the guided picture to take, and how good the result should be."""

    share: Floats  # [rows, columns] of the work grid, 0..1
    psnr_db: float

    @property
    def taken(self) -> float:
        """The share of the cells that come mainly from the guided picture, 0..1."""
        return float((self.share > 0.5).mean())


def expected_psnr(squares: Floats, luma: float) -> float:
    """Return the PSNR in dB to expect from squared disagreement in the flow image and mean luma."""
    return FINE.psnr(sqrt(float(squares.mean())), luma)


def weigh(estimate: FlowEstimate, flowed: LumaPyramid, guided: LumaPyramid) -> GateResult:
    """Decide between two pictures of the moment that `estimate` is about, flow's and the other."""
    likely = ERROR * _near(np.square(estimate.difference))  # squared error of flow's, in codes
    expected, astray = _expected(estimate, flowed, guided, likely)
    doubt = min(astray / DOUBTFUL, 1.0)
    limit = WORSE + BENEFIT * (1 - doubt)
    share = np.clip((limit - expected / (likely + ALWAYS)) / (limit - BETTER), 0, 1)
    share *= share * (3 - 2 * share)
    share *= min(max((HOPELESS - astray) / (HOPELESS - DOUBTFUL), 0.0), 1.0)
    share = cv2.GaussianBlur(share, (0, 0), SOFT)
    distance = np.square(np.subtract(guided.coarse, flowed.coarse, dtype=np.float32))
    other = EXPECTED * expected + DISTANCE * distance + AT_LEAST
    rest = np.square(1 - share) * estimate.fine + np.square(share) * other
    return GateResult(share, expected_psnr(rest, estimate.left.luma))


def _expected(
    estimate: FlowEstimate, flowed: LumaPyramid, guided: LumaPyramid, likely: Floats
) -> tuple[Floats, float]:
    """Return the guided picture's squared error to expect, per cell, and how far it is astray."""
    here = flowed.coarse.astype(np.float32)
    pictures = guided, estimate.left, estimate.right
    off, left, right = (cv2.blur(shown.coarse - here, (3, 3)) for shown in pictures)
    apart = _near(np.square(guided.coarse - here))
    change = np.square(left - right) / 4
    trust = 1 / np.square(_near(np.square(estimate.difference)) + SURE)
    elsewhere = _wide(trust * np.square(off)) / _wide(trust * (change + SURE))
    nearby = leak(off, left, right, trust, _wide)
    whole = leak(off, left, right, trust, _whole)
    astray = float(np.hypot(*whole).item())
    doubt = min(astray / DOUBTFUL, 1.0)
    error = UNEXPLAINED * max(doubt, BELIEVED) * _near(_unexplained(estimate, guided))
    error += ELSEWHERE * doubt * elsewhere * _near(change)
    leaked = _near(np.square(nearby[0] * left + nearby[1] * right))
    error += LEAKED * max(doubt, BELIEVED) * leaked
    error += LEAKED_ALL * _near(np.square(whole[0] * left + whole[1] * right))
    error += doubt * doubt * np.maximum(apart - FAR * likely, 0)
    return error + _softness(flowed, guided), astray


def _softness(flowed: LumaPyramid, guided: LumaPyramid) -> Floats:
    """Return the squared detail of flow's picture that the guided one lacks, per cell.

    It is too fine for the work grid, and taken on the flow image.
    """
    size = flowed.coarse.shape[::-1]
    has, lacks = (
        np.sqrt(_near(cv2.resize(_detail(shown.levels[0]), size, interpolation=cv2.INTER_AREA)))
        for shown in (flowed, guided)
    )
    return np.square(np.maximum(has - lacks, 0))


def _detail(luma: Luma) -> Floats:
    values = luma.astype(np.float32)
    return np.square(values - cv2.blur(values, (3, 3)))


def leak(
    apart: Floats, left: Floats, right: Floats, trust: Floats, mean: Smooth
) -> tuple[Floats, Floats]:
    """Return how much of the left and of the right keyframe shows through in a picture, 0..1.

    apart, left, right: that picture and the keyframes less flow's picture, [rows, columns] codes.
    Least squares, weighted by `trust` over the area that `mean` averages, tell how far the picture
    is on the way to either keyframe: a repeated keyframe wholly, a cross-fade half way to both, one
    that shows a wrong moment by the error in tau. Noise and softness point nowhere.
    """
    total = mean(trust)
    aa, bb, ab, da, db = (
        mean(trust * one * two) / total
        for one, two in (
            (left, left), (right, right), (left, right), (apart, left), (apart, right),
        )
    )  # fmt: skip
    aa, bb = aa + RIDGE, bb + RIDGE
    determinant = np.maximum(aa * bb - ab * ab, RIDGE * RIDGE)
    return (da * bb - db * ab) / determinant, (db * aa - da * ab) / determinant


def _unexplained(estimate: FlowEstimate, guided: LumaPyramid) -> Floats:
    """Return the squared difference to whichever keyframe, along its own motion, is nearer."""
    ends = ((estimate.left, estimate.at.to_left), (estimate.right, estimate.at.to_right))
    seen = (fetch(end.coarse, flow_to(guided, end, guess)) for end, guess in ends)
    left, right = (np.square(np.subtract(guided.coarse, end, dtype=np.float32)) for end in seen)
    return np.minimum(left, right)


def flow_to(picture: LumaPyramid, end: LumaPyramid, guess: Flow) -> Flow:
    """Return flow from a picture to a keyframe, in cells; guess: where flow thinks it is."""
    return resized(
        find_flow((picture.levels[1:], end.levels[1:]), guess, EFFORTS), picture.coarse.shape
    )


def fetch(luma: Luma, flow: Flow) -> Luma:
    """Return what lies at the end of `flow` for each sample; beyond the border it repeats."""
    at = positions(*luma.shape) + flow
    return cv2.remap(luma, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _near(squares: Floats) -> Floats:
    return np.maximum(cv2.blur(squares, (NEAR, NEAR)), 0)  # its running sums may end below 0


def _wide(values: Floats) -> Floats:
    return cv2.blur(values, (WIDE, WIDE))


def _whole(values: Floats) -> Floats:
    return values.mean(keepdims=True)


def mix(
    flowed: Planes, guided: Planes, share: Floats, layout: tuple[PlaneShape, ...], grid: MotionGrid
) -> Planes:
    """Return `flowed` with as much of `guided` as `share` says; transparency is flow's.

    share: [rows, columns] of the work grid, 0..1.
    """
    fine: dict[tuple[int, int], Floats] = {}
    mixed = []
    for shape, base, other in zip(layout, flowed, guided, strict=True):
        shifts = shape.shift_x, shape.shift_y
        if shifts not in fine:
            fine[shifts] = _at_samples(share, shape, grid)
        mixed.append(base if shape.role == "a" else _mixed(base, other, fine[shifts]))
    return tuple(mixed)


def _at_samples(share: Floats, shape: PlaneShape, grid: MotionGrid) -> Floats:
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
