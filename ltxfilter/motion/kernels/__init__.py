"""The steps that the profile asked to compile: C where it was built, else NumPy, equal samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import numpy as np

from ltxfilter.motion.grid import Array


def _compiled() -> ModuleType | None:
    """Return the compiled kernels; LTXFILTER_KERNELS=plain does without."""
    if os.environ.get("LTXFILTER_KERNELS") == "plain":
        return None
    try:
        return import_module("ltxfilter.motion.kernels._kernels")
    except ImportError:
        return None


compiled = _compiled()
SHARPNESS = -0.75  # Keys' parameter of the cubic, as in OpenCV


def propagate(
    pictures: tuple[Array, Array],
    flow: Array,
    shifts: Array,
    bias: int,
    former: Array | None = None,
) -> Array:
    """Let every cell take over a neighbour's flow where that matches clearly better.

    pictures: two [H, W] uint8. flow: [H, W, 2] float32 cells, from the first to the second.
    shifts: [N, 2] int32 cells up to 16, where the neighbours are, x then y. bias: how much
    better one must match, in 1/4096 codes. former: flow known before, tried last. Returns
    [H, W, 2] int16 in 1/128 cells. After the spatial propagation of PatchMatch (Barnes et al.,
    SIGGRAPH 2009).
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.propagate(pictures, flow, shifts, bias, former)
    out, flow = np.empty(flow.shape, np.int16), np.ascontiguousarray(flow)
    former = flow if former is None else np.ascontiguousarray(former)
    compiled.propagate(flow, former, *pictures, shifts, bias, out)
    return out


def search(
    pictures: tuple[Array, Array], guesses: Array, step: int, rounds: int, steps: int
) -> Array:
    """Find where the patches of one level went, and blend their flows: [H, W, 2] float32.

    pictures: two [H, W] uint8. guesses: [N, rows, columns, 2] float32, flow in samples per patch
    of 8x8 samples every `step`. rounds: how often neighbours' flow is tried, from twice as far
    each time. steps: most Gauss-Newton steps at a time; a guess that fits to 1.4 codes is the last
    one tried. After DIS (Kroeger et al., ECCV 2016), in parallel rounds in place of raster scans.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_search

        return numpy_search.search(pictures, guesses, step, rounds, steps)
    out = np.empty((*pictures[0].shape, 2), np.float32)
    compiled.search(*pictures, np.ascontiguousarray(guesses), step, rounds, steps, out)
    return out


def polish(pictures: tuple[Array, Array], flow: Array, steps: int) -> Array:
    """Look again with a patch every 4 samples, from the `flow` at its centre: [H, W, 2] float32.

    pictures, steps: see `search`. Patches that fit to 1.4 codes stay where they are.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_search

        return numpy_search.polish(pictures, flow, steps)
    out = np.empty_like(flow)
    compiled.polish(*pictures, np.ascontiguousarray(flow), steps, out)
    return out


def splat(flow: Array, weight: Array) -> Array:
    """Carry every cell's way back along `flow`: summation splatting with bilinear weights.

    flow: [H, W, 2] float32 cells. weight: [H, W] float32 >= 0. Returns [3, H, W] float32: the
    sums of weighted -flow, x then y, and of weights. After softmax splatting (Niklaus & Liu, CVPR
    2020).
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.splat(flow, weight)
    out = np.empty((3, *weight.shape), np.float32)
    compiled.splat(np.ascontiguousarray(flow), np.ascontiguousarray(weight), out)
    return out


def agree(there: Array, back: Array) -> Array:
    """Return how surely `there` is right: 1 where `back` returns to the start, down to 1/20.

    there, back: [H, W, 2] float32 cells. Returns [H, W] float32. The forward-backward check of
    Sundaram et al., ECCV 2010, made soft.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.agree(there, back)
    out = np.empty(there.shape[:2], np.float32)
    compiled.agree(there, back, out)
    return out


def fill(sums: Array) -> Array:
    """Divide the sums of a splat by their weight; give holes the mean of the nearest box.

    sums: [3, H, W] float32, weighted x and y, then weight; a cell with less than 0.05 is a hole.
    Boxes grow from 5x5 by three each time until their mean weight is 0.02: normalised convolution
    (Knutsson & Westin, CVPR 1993) in place of a pyramid. Returns [H, W, 2].
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.fill(sums)
    out = np.empty((*sums.shape[1:], 2), np.float32)
    compiled.fill(sums, out)
    return out


def share_of_left(left: Array, right: Array, near: float, far: float) -> Array:
    """Return how much of each cell comes from the left keyframe, 0..1, [H, W] float32.

    left, right: the sums of both keyframes' splats, [3, H, W]: a keyframe that covers a cell
    badly cannot see what is there. near, far: their shares where both see it.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.share_of_left(left, right, near, far)
    out = np.empty(left.shape[1:], np.float32)
    compiled.share_of_left(left, right, near, far, out)
    return out


def settle(
    pictures: tuple[Array, Array], ways: tuple[Array, Array], share: Array, tau: float, steps: int
) -> tuple[Array, Array]:
    """Bring both keyframes together at the moment drawn; return the ways to left and right.

    pictures: left and right, [2 H, 2 W] uint8. ways: from the picture at `tau` to them, [H, W, 2]
    float32 cells. share: of the left, [H, W]. steps: most Gauss-Newton steps per patch of 4x4
    cells. What is found moves both ends by at most 0.4 cells, less where one of them hardly sees
    the cell.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_search

        return numpy_search.settle(pictures, ways, share, tau, steps)
    out = np.empty_like(ways[0]), np.empty_like(ways[1])
    compiled.settle(*pictures, *ways, share, tau, steps, *out)
    return out


def make_field(to_left: Array, to_right: Array, share: Array, scales: tuple[float, float]) -> Array:
    """Return what `warp` reads, [5, H + 2, W + 2] int16.

    to_left, to_right: [H, W, 2] float32 cells; share: [H, W] of the left; scales: 1/32 samples
    per cell along x and y. Ways longer than 511 samples are cut off.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.make_field(to_left, to_right, share, scales)
    out = np.empty((5, share.shape[0] + 2, share.shape[1] + 2), np.int16)
    compiled.make_field(to_left, to_right, share, *scales, out)
    return out


def travel(ahead: Array, behind: Array, sure: Array, steps: tuple[float, float, float]) -> Array:
    """Return ahead * passed + (ahead * span + behind) * bend * sure, [H, W, 2] float32.

    ahead, behind: [H, W, 2]; sure: [H, W]; steps: passed, span, bend.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.travel(ahead, behind, sure, steps)
    out = np.empty(ahead.shape, np.float32)
    compiled.travel(ahead, behind, sure, *steps, out)
    return out


def warp(  # noqa: PLR0917
    ends: Sequence[tuple[Array, Array]],
    field: Array,
    cells: tuple[int, int],
    depth: int,
    still: Array | None,
    tau: int,
) -> list[Array]:
    """Draw planes of one shape: fetch both keyframes' samples along `field` and mix them.

    ends: for one to four planes, that of each keyframe, [H, W], samples of `depth` bits. field:
    [5, rows + 2, columns + 2] int16, one cell of border on each side: x and y of the way to the
    left end, then to the right one, in 1/32 samples, and the share of the left in 1/32768; read
    bilinearly. cells: samples per cell along x and y. still: where not 0, the ends are cross-faded
    in place. tau: the share of the right one there, in 1/32768.
    """
    drawn = [np.empty(a.shape, a.dtype) for a, _ in ends]
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        for pair, out in zip(ends, drawn, strict=True):
            numpy_grids.warp(pair, field, CUBIC, cells, depth, still, tau, out)
    else:
        planes = tuple((a, b, out) for (a, b), out in zip(ends, drawn, strict=True))
        compiled.warp(planes, field, CUBIC, *cells, depth, still, tau)
    return drawn


def still_mask(planes: tuple[Array, ...], seen: Array | None = None) -> tuple[Array, int]:
    """Find what stands still over consecutive lumas, such as burned-in text.

    planes: two to four [H, W] uint8. seen: [H, W] uint8, in how many pairs in a row a sample stood
    still, at most 2; brought up to date. Returns a mask, 255 where detail does not change, as
    little as in eight of the 5x5 around, or where it was seen twice and still changes by no more
    than 6 codes; and how many samples that is. Detail of 60 codes (over 5x5) may change by 10 codes
    or 12 %, detail of 24 by 2 codes.
    """
    if compiled is None:
        from ltxfilter.motion.kernels import numpy_grids

        return numpy_grids.still_mask(planes, seen)
    out = np.empty(planes[0].shape, np.uint8)
    return out, compiled.still(planes, seen, out)


def cubic_taps() -> Array:
    """Return [16, 4] int8 weights in 1/64 of Keys' cubic convolution at every 1/16 sample.

    Keys, IEEE Trans. ASSP 29 (1981), eq. 15. Every row sums to 64.
    """
    taps = np.empty((16, 4), np.int8)
    for phase in range(16):
        far = (1 + phase / 16, phase / 16, 1 - phase / 16, 2 - phase / 16)
        row = [round(64 * _keys(distance)) for distance in far]
        row[1 if phase < 8 else 2] += 64 - sum(row)
        taps[phase] = row
    return taps


def _keys(distance: float) -> float:
    a = SHARPNESS
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a


CUBIC = cubic_taps()
