"""Flow from small pictures between two keyframes to both keyframes, composed of the steps between.

The idea of RDVFI (ICLR 2026): motion that is too large to find between the keyframes alone is found
from one small picture to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ltxfilter.motion import kernels
from ltxfilter.motion.estimate import PairFlow
from ltxfilter.motion.grid import Array, Floats, Flow, Luma
from ltxfilter.motion.pyramid import Effort, find_flow, pyramid
from ltxfilter.motion.trajectory import FlowContext, Moment, moment, positions

STEP = (Effort(4, 2, 5),)  # of the search from one picture to the next
SMOOTHING = 5  # rounds of variational refinement


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The pictures of one interval, both keyframes included, and the flow between them."""

    pictures: Sequence[Luma]  # [H, W] uint8, in order; at least two
    back: Sequence[Flow]  # back[k]: flow from picture k to k - 1; zero for the first
    ahead: Sequence[Flow]  # ahead[k]: flow from picture k to k + 1; zero for the last
    to_left: Sequence[Flow]  # steps composed: flow from each picture to the first
    to_right: Sequence[Flow]  # steps composed: flow from each picture to the last
    whole: PairFlow  # motion from the first to the last, found between them alone


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A moment of an interval: a picture of its chain, or between two of them."""

    number: int  # of the picture, or of the earlier one of two
    moment: Moment | None  # between the two, in samples; None on a picture

    def seen_in(self, pictures: Sequence[Floats]) -> Floats:
        """Return what is seen there, [H, W].

        pictures: of another plane, one for each picture of the chain.
        """
        at, seen = self.moment, pictures[self.number]
        if at is None:
            return seen
        left = fetch(seen, at.to_left)
        return left + (fetch(pictures[self.number + 1], at.to_right) - left) * (1 - at.share)


@dataclass(frozen=True, slots=True, eq=False)
class FlowPair:
    """Where a picture within an interval is seen in both keyframes."""

    to_left: Flow  # [H, W, 2] in the picture's own samples
    to_right: Flow  # [H, W, 2] in the picture's own samples


def link(pictures: Sequence[Luma]) -> Chain:
    """Return an interval's pictures, each [H, W] uint8, with the flow between them composed."""
    levels = [pyramid(picture) for picture in pictures]
    back, to_left = _one_way(levels)
    ahead, to_right = (flows[::-1] for flows in _one_way(levels[::-1]))
    first, last = pictures[0], pictures[-1]
    forward, backward = refine(first, last, to_right[0]), refine(last, first, to_left[-1])
    return Chain(pictures, back, ahead, to_left, to_right, _both(forward, backward))


def _one_way(levels: Sequence[list[Luma]]) -> tuple[list[Flow], list[Flow]]:
    """Return flows to the picture before, and to the first one; the first picture's are zero."""
    zero = np.zeros((*levels[0][0].shape, 2), np.float32)
    steps, composed = [zero], [zero]
    for before, now in pairwise(levels):
        steps.append(find_flow((now, before), steps[-1], STEP))
        composed.append(compose(steps[-1], composed[-1]))
    return steps, composed


def compose(first: Flow, then: Flow) -> Flow:
    """Return the flow that follows `first`, and `then` from where that leads, [H, W, 2]."""
    return first + fetch(then, first)


def fetch(picture: Array, flow: Flow) -> Array:
    """Return `picture` [H, W, ...] seen along `flow` [H, W, 2]; its border repeats."""
    at = positions(*flow.shape[:2]) + flow
    return cv2.remap(picture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def place(chain: Chain, at: float) -> Place:
    """Return the moment `at` pictures after the first, 0 <= at <= the last one's number.

    Between two pictures cells follow the motion from one to the other, bent by its neighbours'.
    """
    number = min(int(at), len(chain.pictures) - 2)
    tau = at - number
    if tau in (0, 1):
        return Place(number + int(tau), None)
    return Place(number, moment(_context(chain, number), tau))


def flow_to_keyframes(chain: Chain, at: Place, seen: Luma) -> FlowPair:
    """Return where the picture `seen` at a moment of the chain is found in both keyframes.

    The composed steps are refined against the keyframes themselves, once. The iterative fusion of
    small motions in RDVFI (ICLR 2026) refines after every step.
    """
    left, right, between = chain.to_left[at.number], chain.to_right[at.number], at.moment
    if between is not None:
        left = compose(between.to_left, left)
        right = compose(between.to_right, chain.to_right[at.number + 1])
    first, last = chain.pictures[0], chain.pictures[-1]
    return FlowPair(refine(seen, first, left), refine(seen, last, right))


def straight(chain: Chain, tau: float) -> FlowPair:
    """Return where the picture at `tau` is found in both keyframes if everything moves evenly."""
    at = moment(FlowContext(chain.whole), tau)
    return FlowPair(at.to_left, at.to_right)


def refine(seen: Luma, other: Luma, flow: Flow) -> Flow:
    """Return `flow` from `seen` to `other` after a search around it, smoothed.

    DIS (Kroeger et al., ECCV 2016) from half size on, with its variational refinement.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    search.setCoarsestScale(1)
    search.setVariationalRefinementIterations(SMOOTHING)
    return search.calc(seen, other, flow.copy())


def _context(chain: Chain, number: int) -> FlowContext:
    """Return the motion from a picture to the next, and that of its neighbours."""
    last = len(chain.pictures) - 1
    return FlowContext(
        _pair(chain, number),
        _pair(chain, number - 1) if number > 0 else None,
        _pair(chain, number + 1) if number + 1 < last else None,
    )


def _pair(chain: Chain, number: int) -> PairFlow:
    return _both(chain.ahead[number], chain.back[number + 1])


def _both(forward: Flow, backward: Flow) -> PairFlow:
    sure = kernels.agree(forward, backward), kernels.agree(backward, forward)
    return PairFlow(forward, backward, *sure)
