"""Where things are between two pictures: trajectories, and what is seen of each keyframe."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.estimate import PairFlow
from ltxfilter.motion.grid import Array, Field, Floats, Flow, MotionGrid, as_complex, thinned
from ltxfilter.motion.pyramid import LumaPyramid

HALF = 16.0  # of a cell, in 1/32
TILE = 16  # samples along the side of what is summed at once


@dataclass(frozen=True, slots=True, eq=False)
class FlowContext:
    """The flow of a pair, and of the pairs beside it in the same shot."""

    pair: PairFlow
    before: PairFlow | None = None
    after: PairFlow | None = None
    span_before: float = 1.0  # how long the pair before lasts, in lengths of this one
    span_after: float = 1.0  # the same of the pair after


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The picture at one tau: where each of its cells is in both keyframes, in cells."""

    to_left: Flow
    to_right: Flow
    share: Floats  # [rows, columns] 0..1, how much of it comes from the left keyframe
    fields: dict[tuple[float, float], Field] = field(default_factory=dict)  # see `warp_field`


def moment(context: FlowContext, tau: float) -> Moment:
    """Return what the picture at `tau` (0..1) is drawn from.

    Each keyframe's cells follow a parabola through three pictures where the neighbour is known
    (Xu et al., NeurIPS 2019, eq. 2), else a line, and are splatted to where they are at tau.
    """
    pair, before, after = context.pair, context.before, context.after
    behind = (before.backward, before.sure_1, context.span_before) if before else None
    beyond = (after.forward, after.sure_0, context.span_after) if after else None
    left, right = travelled(pair.forward, behind, tau), travelled(pair.backward, beyond, 1 - tau)
    seen_left = kernels.splat(left, pair.sure_0)
    seen_right = kernels.splat(right, pair.sure_1)
    share = kernels.share_of_left(seen_left, seen_right, 1 - tau, tau)
    return Moment(kernels.fill(seen_left), kernels.fill(seen_right), share)


def aligned(
    at: Moment, pictures: tuple[LumaPyramid, LumaPyramid], tau: float, steps: int
) -> Moment:
    """Return `at` with both keyframes moved towards each other until they show the same.

    steps: Gauss-Newton steps at most.
    """
    fine = pictures[0].levels[0], pictures[1].levels[0]
    flows = kernels.align_ends(fine, (at.to_left, at.to_right), at.share, tau, steps)
    return Moment(*flows, at.share)


def travelled(ahead: Flow, behind: tuple[Flow, Floats, float] | None, passed: float) -> Flow:
    """Return how far a keyframe's cells have come when `passed` (0..1) of the pair has.

    ahead: flow over the pair. behind: flow to the keyframe on the other side, how sure it is, and
    how many pair lengths away that is; None: everything moves in a line. With position
    b p + a p^2: a + b = ahead and a span^2 - b span = behind; an unsure flow bends the line less.
    """
    if behind is None:
        return ahead * np.float32(passed)
    flow, sure, span = behind
    bend = (passed * passed - passed) / (span * (span + 1))
    return kernels.travel(ahead, flow, sure, (passed, span, bend))


def unsteadiness(context: FlowContext, pictures: tuple[LumaPyramid, LumaPyramid]) -> float | None:
    """Return by how much keyframes change where they move by half of what their motion changes by.

    Where speeds change from pair to pair, things need not be where a parabola puts them between
    two keyframes, which the keyframes themselves cannot tell. In squared codes, the mean of those
    keyframes whose neighbour is known; None if there is none.
    """
    pair, before, after = context.pair, context.before, context.after
    left, right = pictures
    changes = []
    if before is not None:
        flows = pair.forward, before.backward, context.span_before
        changes.append(_moved_by_half(left, *flows))
    if after is not None:
        flows = pair.backward, after.forward, context.span_after
        changes.append(_moved_by_half(right, *flows))
    return sum(changes) / len(changes) if changes else None


def _moved_by_half(seen: LumaPyramid, ahead: Flow, behind: Flow, span: float) -> float:
    """Return the mean square, in codes, of what changes where samples move by half of a change.

    ahead, behind: flow to the keyframes on both sides; span: how far away the latter is.
    """
    level = step = half_level(len(seen.levels))
    picture, past = seen.levels[level], thinned(behind, step) / np.float32(span)
    change = thinned(ahead, step) + past
    still, share = np.zeros_like(change), np.zeros(picture.shape, np.float32)
    scale = HALF / step
    moves = kernels.make_field(still, change, share, (scale, scale))
    _, [squares] = kernels.warp([(picture, picture)], moves, (1, 1), 8, None, 0, TILE)
    return int(squares.sum()) / (picture.size * 16)


def half_level(levels: int) -> int:
    """Return the level of a pyramid to look at, which is also how many cells its samples cover."""
    return min(levels - 1, 2)


def bounces(context: FlowContext, at: Moment, cells: tuple[Array, Array], least: float) -> Array:
    """Return whether what is seen at some cells may turn back between both keyframes, [N] bool.

    At a bounce the pair's own motion is short, the neighbours' lead elsewhere on both sides, and no
    parabola tells when it happens: at both keyframes, the motion must change by `least` cells more
    than it is long. cells: rows and columns, [N] each. Nothing bounces that lacks a neighbour.
    """
    pair, before, after = context.pair, context.before, context.after
    if before is None or after is None:
        return np.zeros(len(cells[0]), bool)
    left = _turns(at.to_left, cells, (pair.forward, before.backward, context.span_before), least)
    right = _turns(at.to_right, cells, (pair.backward, after.forward, context.span_after), least)
    return left & right


def _turns(
    to_end: Flow, cells: tuple[Array, Array], flows: tuple[Flow, Flow, float], least: float
) -> Array:
    """Return whether the motion changes at a keyframe by `least` cells more than it is long.

    flows: from the keyframe to both sides, and how far away the neighbour on the second one is.
    """
    ahead, behind, span = flows
    (rows, columns), (row, column) = ahead.shape[:2], cells
    moved = _picked(to_end, row * columns + column)
    row = np.rint(row.astype(np.float32) + moved.imag).clip(0, rows - 1).astype(np.intp)
    column = np.rint(column.astype(np.float32) + moved.real).clip(0, columns - 1).astype(np.intp)
    there = row * columns + column
    own = _picked(ahead, there)
    past = _picked(behind, there)
    step = np.float32(span)
    change = _longer(own.real + past.real / step, own.imag + past.imag / step)
    return change > _longer(own.real, own.imag) + np.float32(least)


def _picked(flow: Flow, places: Array) -> Array:
    """Return the flow of some cells, [N] complex64. places: as if all rows were one."""
    return as_complex(flow).ravel().take(places)


def _longer(x: Floats, y: Floats) -> Floats:
    """Return the size of the larger of both numbers."""
    return np.maximum(np.abs(x), np.abs(y))


def disagreement(at: Moment, left: LumaPyramid, right: LumaPyramid) -> Floats:
    """Return [rows, columns]: by how many codes the two keyframes differ along the motion."""
    grid = positions(*at.share.shape)
    a, b = (
        cv2.remap(picture, grid + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for picture, flow in ((left.coarse, at.to_left), (right.coarse, at.to_right))
    )
    return cv2.absdiff(a, b).astype(np.float32)


def warp_field(at: Moment, grid: MotionGrid, shift_x: int, shift_y: int) -> Field:
    """Return what `kernels.warp` reads to draw a plane of that subsampling; it is made once."""
    scales = 32 * grid.cell / (1 << shift_x), 32 * grid.cell / (1 << shift_y)
    if scales not in at.fields:
        at.fields[scales] = kernels.make_field(at.to_left, at.to_right, at.share, scales)
    return at.fields[scales]


@cache
def positions(rows: int, columns: int) -> Flow:
    """Return [rows, columns, 2] float32, where each cell is, x then y; it cannot be written."""
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    grid = np.dstack([x, y])
    grid.flags.writeable = False
    return grid
