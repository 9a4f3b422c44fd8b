"""The kernels in C: what each computes, and the arrays that it writes into.

The extension checks every array's type, shape and layout, and the range of every number: a wrong
type raises TypeError, everything else ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltxfilter.motion.grid import Array
from ltxfilter.motion.kernels import _kernels  # type: ignore[attr-defined]
from ltxfilter.motion.kernels.cubic import CUBIC


def propagate(
    pictures: tuple[Array, Array],
    flow: Array,
    shifts: Array,
    bias: int,
    former: Array | None = None,
) -> Array:
    """Let every cell take over a neighbour's flow where that matches clearly better.

    After the spatial propagation of PatchMatch (Barnes et al., SIGGRAPH 2009).

    pictures: two [H, W] uint8. flow: [H, W, 2] float32 in cells, from the first to the second.
    shifts: [N, 2] int32, x then y, where the neighbours are, up to 16 cells away; N up to 253.
    bias: how much better a neighbour's flow must match, 0..2**20 in 1/4096 codes. former: flow
    known before, which is tried last. Returns [H, W, 2] int16 in 1/128 cells.
    """
    out, flow = np.empty(flow.shape, np.int16), np.ascontiguousarray(flow)
    former = None if former is None else np.ascontiguousarray(former)
    _kernels.propagate(*pictures, flow, former, shifts, bias, out)
    return out


def search(
    pictures: tuple[Array, Array], guesses: Array, step: int, rounds: int, steps: int
) -> Array:
    """Find where the patches of one level went, and blend their flows.

    After DIS (Kroeger et al., ECCV 2016), in parallel rounds in place of raster scans.

    pictures: two [H, W] uint8. guesses: [N, rows, columns, 2] float32, flow in samples per patch
    of 8x8 samples every `step`, 4..8. rounds: how often neighbours' flow is tried, 0..16, from
    twice as far away in each round before the last. steps: Gauss-Newton steps at a time at most,
    0..64. A guess that fits to 1.4 codes is the last one tried. Returns [H, W, 2] float32 samples.
    """
    out = np.empty((*pictures[0].shape, 2), np.float32)
    _kernels.search(*pictures, np.ascontiguousarray(guesses), step, rounds, steps, out)
    return out


def polish(pictures: tuple[Array, Array], flow: Array, steps: int) -> Array:
    """Search again with a patch every 4 samples, which starts from the flow at its centre.

    pictures, steps: as in `search`. flow: [H, W, 2] float32 samples. Patches that fit to 1.4 codes
    stay where they are. Returns [H, W, 2] float32 samples.
    """
    out = np.empty_like(flow)
    _kernels.polish(*pictures, np.ascontiguousarray(flow), steps, out)
    return out


def splat(flow: Array, weight: Array) -> Array:
    """Splat the flow back from where every cell goes: summation splatting, bilinear weights.

    After softmax splatting (Niklaus & Liu, CVPR 2020).

    flow: [H, W, 2] float32 cells. weight: [H, W] float32, 0..1. Returns [3, H, W] float32: the
    sums of weighted -flow, x then y, and of weights.
    """
    out = np.empty((3, *weight.shape), np.float32)
    _kernels.splat(np.ascontiguousarray(flow), np.ascontiguousarray(weight), out)
    return out


def agree(there: Array, back: Array) -> Array:
    """Return how surely `there` is right: 1 where `back` returns to the start, down to 1/20.

    The forward-backward check of Sundaram et al., ECCV 2010, made soft.

    there, back: [H, W, 2] float32 cells. Returns [H, W] float32.
    """
    out = np.empty(there.shape[:2], np.float32)
    _kernels.agree(there, back, out)
    return out


def fill(sums: Array) -> Array:
    """Divide the sums of a splat by their weight; give holes the mean of the nearest box.

    Normalised convolution (Knutsson & Westin, CVPR 1993) in place of a pyramid.

    sums: [3, H, W] float32, weighted x and y, then weight; a cell with less than 0.05 is a hole.
    Boxes grow from 5x5 by a factor of three each time until their mean weight is 0.02. Returns
    [H, W, 2] float32.
    """
    out = np.empty((*sums.shape[1:], 2), np.float32)
    _kernels.fill(sums, out)
    return out


def share_of_left(left: Array, right: Array, near: float, far: float) -> Array:
    """Return how much of each cell comes from the left keyframe, 0..1, [H, W] float32.

    left, right: the sums of both keyframes' splats, [3, H, W] float32: a keyframe that covers a
    cell badly cannot see what is there. near, far: their shares where both see it, 0..1.
    """
    out = np.empty(left.shape[1:], np.float32)
    _kernels.share_of_left(left, right, near, far, out)
    return out


def align_ends(
    pictures: tuple[Array, Array], flows: tuple[Array, Array], share: Array, tau: float, steps: int
) -> tuple[Array, Array]:
    """Align both keyframes at the moment that is drawn; return the flow to left and right.

    pictures: left and right, [2 H, 2 W] uint8. flows: from the picture at `tau` (0..1) to them,
    [H, W, 2] float32 cells. share: of the left, [H, W] float32. steps: Gauss-Newton steps at most
    per patch of 4x4 cells, 0..64. Both ends move by at most 0.4 cells, less where one of them
    hardly sees the cell.
    """
    out = np.empty_like(flows[0]), np.empty_like(flows[1])
    _kernels.align_ends(*pictures, *flows, share, tau, steps, *out)
    return out


def make_field(to_left: Array, to_right: Array, share: Array, scales: tuple[float, float]) -> Array:
    """Return what `warp` reads, [5, H + 2, W + 2] int16.

    to_left, to_right: [H, W, 2] float32 cells. share: [H, W] float32 of the left. scales: 1/32
    samples per cell along x and y, 0..65536. Flow longer than 511 samples is cut off.
    """
    out = np.empty((5, share.shape[0] + 2, share.shape[1] + 2), np.int16)
    _kernels.make_field(to_left, to_right, share, *scales, out)
    return out


def travel(ahead: Array, behind: Array, sure: Array, steps: tuple[float, float, float]) -> Array:
    """Return ahead * passed + (ahead * span + behind) * bend * sure, [H, W, 2] float32.

    ahead, behind: [H, W, 2] float32 cells. sure: [H, W] float32, 0..1. steps: passed (0..1), span
    (0..10**9) and bend (-10**18..10**18).
    """
    out = np.empty(ahead.shape, np.float32)
    _kernels.travel(ahead, behind, sure, *steps, out)
    return out


def warp(  # noqa: PLR0917
    ends: Sequence[tuple[Array, Array]],
    field: Array,
    cells: tuple[int, int],
    depth: int,
    static: Array | None,
    tau: int,
    tile: int,
) -> tuple[list[Array], list[Array]]:
    """Draw planes of one shape: fetch both keyframes' samples along `field` and mix them.

    ends: for one to four planes, that of each keyframe, [H, W]: uint8 where `depth` is 8, uint16
    where it is 9..16; rows may be padded. field: [5, rows + 2, columns + 2] int16, one cell of
    border on each side: x and y of the flow to the left end, then to the right one, in 1/32
    samples, and the share of the left in 1/32768; read bilinearly. cells: samples per cell along x
    and y, powers of two up to 256. static: [H, W] uint8; where it is not 0, the ends are
    cross-faded in place. tau: the share of the right one there, 0..32767 in 1/32768. tile: samples
    along a tile's side, a power of two from 16 on.

    Returns the planes, and for each the sums of squares of its tiles, [rows, columns] int64: of by
    how much both ends differ along the field where samples are not static, in 1/4 codes of 8 bits.
    """
    down, across = (-(-side // tile) for side in ends[0][0].shape)
    drawn = [np.empty(left.shape, left.dtype) for left, _ in ends]
    squares = [np.zeros((down, across), np.int64) for _ in ends]
    planes = tuple((*pair, *outs) for pair, *outs in zip(ends, drawn, squares, strict=True))
    _kernels.warp(planes, field, CUBIC, *cells, depth, static, tau, tile)
    return drawn, squares


def static_mask(pictures: tuple[Array, ...], seen: Array | None = None) -> tuple[Array, int]:
    """Find what does not change over consecutive lumas, such as burned-in text.

    Detail of 60 codes (over 5x5) may change by 10 codes or 12 %, detail of 24 by 2 codes, where
    eight of the 5x5 around do the same. What did so in two pairs in a row is remembered as long as
    it changes by no more than 6 codes.

    pictures: two to four [H, W] uint8; rows may be padded. seen: [H, W] uint8, in how many pairs in
    a row a sample was static, 0..2; brought up to date. Returns a mask, [H, W] uint8, 255 where a
    sample is static, else 0, and how many are.
    """
    out = np.empty(pictures[0].shape, np.uint8)
    return out, _kernels.static_mask(pictures, seen, out)
