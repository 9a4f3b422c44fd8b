"""Where things are between two pictures: trajectories, and what is seen of each keyframe."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.estimate import PairFlow, positions
from ltxfilter.motion.fill import fill
from ltxfilter.motion.grid import Field, Floats, Flow, Grid, Shrunk

REACH = 511 * 32  # longest way that a field can hold, in 1/32 samples


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Motion over a pair and its neighbours, as far as they can be looked across."""

    pair: PairFlow
    before: PairFlow | None = None
    after: PairFlow | None = None
    span_before: float = 1.0  # how long the pair before lasts, in lengths of this one
    span_after: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The picture at one tau: where each of its cells is in both keyframes, in cells."""

    to_left: Flow
    to_right: Flow
    share: Floats  # [rows, columns] 0..1, how much of it comes from the left keyframe


def moment(passage: Passage, tau: float) -> Moment:
    """Return what the picture at `tau` (0..1) is drawn from.

    Each keyframe's cells follow a parabola through three pictures where the neighbour is known
    (Xu et al., NeurIPS 2019, eq. 2), else a line, and are splatted to where they are at tau.
    """
    pair = passage.pair
    behind = passage.before.backward if passage.before else None
    beyond = passage.after.forward if passage.after else None
    left = travelled(pair.forward, behind, passage.span_before, tau)
    right = travelled(pair.backward, beyond, passage.span_after, 1 - tau)
    seen_left = kernels.splat(left, pair.sure_0)
    seen_right = kernels.splat(right, pair.sure_1)
    near = np.float32(1 - tau) * _visibility(seen_left)
    far = np.float32(tau) * _visibility(seen_right)
    return Moment(fill(seen_left), fill(seen_right), near / (near + far))


def travelled(ahead: Flow, behind: Flow | None, span: float, passed: float) -> Flow:
    """Return how far a keyframe's cells have come when `passed` (0..1) of the pair has.

    ahead: flow over the pair; behind: flow to the keyframe on the other side, `span` pair lengths
    away. With position b p + a p^2: a + b = ahead and a span^2 - b span = behind.
    """
    way = ahead * np.float32(passed)
    if behind is not None:
        bend = np.float32((passed * passed - passed) / (span * (span + 1)))
        way += behind * bend
        way += ahead * (bend * np.float32(span))
    return way


def _visibility(seen: Floats) -> Floats:
    """Return how well a keyframe covers each cell: low where it cannot see what is there."""
    weight = np.minimum(seen[..., 2], np.float32(1))
    return np.sqrt(cv2.blur(weight, (3, 3), borderType=cv2.BORDER_REPLICATE) + np.float32(0.01))


def disagreement(at: Moment, left: Shrunk, right: Shrunk) -> Floats:
    """Return [rows, columns]: by how many codes the two keyframes differ along the motion."""
    grid = positions(*at.share.shape)
    a, b = (
        cv2.remap(picture, grid + way, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for picture, way in ((left.coarse, at.to_left), (right.coarse, at.to_right))
    )
    return cv2.absdiff(a, b).astype(np.float32)


def field(at: Moment, grid: Grid, shift_x: int, shift_y: int) -> Field:
    """Return what `kernels.warp` reads: [5, rows + 2, columns + 2] for a plane's subsampling."""
    parts = []
    for way in (at.to_left, at.to_right):
        for axis, shift in enumerate((shift_x, shift_y)):
            parts.append(cv2.extractChannel(way, axis) * np.float32(32 * grid.cell / (1 << shift)))
    parts.append(at.share * np.float32(32767))
    whole = np.stack([np.pad(part, 1, mode="edge") for part in parts])
    return np.clip(np.rint(whole), -REACH, 32767).astype(np.int16)
