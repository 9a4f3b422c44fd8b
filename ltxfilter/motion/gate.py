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
from ltxfilter.motion.mix_weights import fitted_share
from ltxfilter.motion.plane_drawer import Calibration
from ltxfilter.motion.pyramid import Effort, LumaPyramid, find_flow, resized
from ltxfilter.motion.trajectory import Moment, disagreement, positions

Smooth = Callable[[Floats], Floats]

EFFORTS = (Effort(8, 2, 5), Effort(4, 2, 5))
ERROR = 0.58  # squared error of flow's picture per squared disagreement of its keyframes, measured
NEAR = 5  # cells along each side of the square that squares are averaged over
REGION = 21  # cells along each side of the square that tells what a region is like
LEAST_ASTRAY = 0.02  # added before its logarithm is taken
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
FINE = Calibration(50.2, 8.45, 1.93)  # for disagreement over whole cells of the flow image


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
class PictureEvidence:
    """What can be said of flow's picture and of the guided one, in squared codes per cell."""

    difference: Floats  # of the keyframes, along flow's motion
    apart: Floats  # distance of the two pictures
    one_sided: Floats  # difference of flow's picture to the nearer keyframe, along flow's motion
    nearer: Floats  # the same of the guided picture
    unexplained: Floats  # the same, along a motion that was found for it
    between: (
        Floats  # difference of the guided picture to the mean of both keyframes along flow's motion
    )
    change: Floats  # difference of the keyframes where they are
    detail: Floats  # of flow's picture, too fine for the work grid
    detail_there: Floats  # of the guided picture
    softness: Floats  # detail that the guided picture lacks
    expected: Floats  # error of the guided picture, put together from its faults
    astray: float  # how far the guided picture is on its way to a keyframe, 0..1

    def logarithms(self) -> Floats:
        """Return what `mix_weights.NAMES` lists, [14, rows, columns]."""
        averaged = (
            (self.one_sided, NEAR),
            (self.expected, REGION),
            (self.unexplained, REGION),
            (self.apart, NEAR),
            (self.difference, NEAR),
            (self.nearer, NEAR),
            (self.softness, NEAR),
            (self.one_sided, REGION),
            (self.apart, REGION),
            (self.between, REGION),
            (self.change, REGION),
            (self.detail, NEAR),
            (self.detail_there, NEAR),
        )
        maps = [np.log(np.maximum(cv2.blur(x, (side, side)), 0) + 1) for x, side in averaged]
        maps.insert(6, np.full_like(maps[0], np.log(self.astray + LEAST_ASTRAY)))
        return np.stack(maps)


@dataclass(frozen=True, slots=True, eq=False)
class GateResult:
    """How much of the guided picture to take, and how good the result should be."""

    share: Floats  # [rows, columns] of the work grid, 0..1
    psnr_db: float

    @property
    def taken(self) -> float:
        """The share of the picture that comes from the guided one, 0..1."""
        return float(self.share.mean())


def expected_psnr(squares: Floats, luma: float) -> float:
    """Return the PSNR in dB to expect from squared disagreement in the flow image and mean luma."""
    return FINE.psnr(sqrt(float(squares.mean())), luma)


def weigh(
    estimate: FlowEstimate, flowed: LumaPyramid, guided: LumaPyramid, *, alike: bool = False
) -> GateResult:
    """Weight two pictures of the moment that `estimate` is about, flow's and the other.

    alike: the other picture is made of the keyframes' samples, moved, as flow's is. That it looks
    like them then proves nothing: both are weighted such that their mean is expected to be nearest
    to the truth. Otherwise the one that is expected to be nearer is taken, cell by cell.
    """
    evidence = gathered(estimate, flowed, guided)
    share = fitted_share(evidence.logarithms()) if alike else _nearer_share(evidence)
    share *= min(max((HOPELESS - evidence.astray) / (HOPELESS - DOUBTFUL), 0.0), 1.0)
    share = cv2.GaussianBlur(share, (0, 0), SOFT)
    other = EXPECTED * evidence.expected + DISTANCE * evidence.apart + AT_LEAST
    rest = np.square(1 - share) * estimate.fine + np.square(share) * other
    return GateResult(share, expected_psnr(rest, estimate.left.luma))


def _nearer_share(evidence: PictureEvidence) -> Floats:
    """Return the share of the guided picture by its expected error as part of flow's likely one."""
    limit = WORSE + BENEFIT * (1 - min(evidence.astray / DOUBTFUL, 1.0))
    likely = ERROR * _near(evidence.difference)  # squared error of flow's, in codes
    share = np.clip((limit - evidence.expected / (likely + ALWAYS)) / (limit - BETTER), 0, 1)
    share *= share * (3 - 2 * share)
    return np.asarray(share)


def gathered(estimate: FlowEstimate, flowed: LumaPyramid, guided: LumaPyramid) -> PictureEvidence:
    """Return what can be said of both pictures without the truth."""
    here = flowed.coarse.astype(np.float32)
    there = guided.coarse.astype(np.float32)
    seen = (
        fetch(end.coarse, flow).astype(np.float32)
        for end, flow in (
            (estimate.left, estimate.at.to_left),
            (estimate.right, estimate.at.to_right),
        )
    )
    left, right = seen
    own, other = (
        np.minimum(np.square(left - shown), np.square(right - shown)) for shown in (here, there)
    )
    details = [_fine_detail(shown) for shown in (flowed, guided)]
    unexplained, softness = _unexplained(estimate, guided), _softness(*details)
    still = np.subtract(estimate.left.coarse, estimate.right.coarse, dtype=np.float32)
    expected, astray = _expected(estimate, here, there, unexplained)
    return PictureEvidence(
        difference=np.square(estimate.difference),
        apart=np.square(there - here),
        one_sided=own,
        nearer=other,
        unexplained=unexplained,
        between=np.square(there - (left + right) / 2),
        change=np.square(still),
        detail=details[0],
        detail_there=details[1],
        softness=softness,
        expected=expected + softness,
        astray=astray,
    )


def _expected(
    estimate: FlowEstimate, here: Floats, there: Floats, unexplained: Floats
) -> tuple[Floats, float]:
    """Return the guided picture's squared error to expect, per cell, and how far it is astray.

    here, there: flow's picture and the guided one on the work grid. Softness is left out.
    """
    likely = ERROR * _near(np.square(estimate.difference))  # squared error of flow's, in codes
    pictures = there, estimate.left.coarse, estimate.right.coarse
    off, left, right = (cv2.blur(shown - here, (3, 3)) for shown in pictures)
    apart = _near(np.square(there - here))
    change = np.square(left - right) / 4
    trust = 1 / np.square(_near(np.square(estimate.difference)) + SURE)
    elsewhere = _wide(trust * np.square(off)) / _wide(trust * (change + SURE))
    nearby = leak(off, left, right, trust, _wide)
    whole = leak(off, left, right, trust, _whole)
    astray = float(np.hypot(*whole).item())
    doubt = min(astray / DOUBTFUL, 1.0)
    error = UNEXPLAINED * max(doubt, BELIEVED) * _near(unexplained)
    error += ELSEWHERE * doubt * elsewhere * _near(change)
    leaked = _near(np.square(nearby[0] * left + nearby[1] * right))
    error += LEAKED * max(doubt, BELIEVED) * leaked
    error += LEAKED_ALL * _near(np.square(whole[0] * left + whole[1] * right))
    error += doubt * doubt * np.maximum(apart - FAR * likely, 0)
    return error, astray


def _softness(has: Floats, lacks: Floats) -> Floats:
    """Return the squared detail of flow's picture that the guided one lacks, per cell.

    has, lacks: the fine detail of both.
    """
    return np.square(np.maximum(np.sqrt(_near(has)) - np.sqrt(_near(lacks)), 0))


def _fine_detail(shown: LumaPyramid) -> Floats:
    """Return the squared detail per cell that is too fine for the work grid."""
    size = shown.coarse.shape[::-1]
    return cv2.resize(_detail(shown.levels[0]), size, interpolation=cv2.INTER_AREA)


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
