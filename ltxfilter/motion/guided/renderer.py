"""Draw planes at full size from two keyframes along a recipe, on any torch device.

Pictures are drawn in stripes of rows, which follow from their size alone: what drawing takes beside
the keyframes themselves has a bound, and a picture is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nn

from ltxfilter.frame import Plane, Planes, PlaneShape
from ltxfilter.motion.grid import Array, Luma
from ltxfilter.motion.guided.raised_fields import Fields
from ltxfilter.motion.guided.warp_plan import WarpPlan

STRIPE = 1 << 21  # samples drawn at a time
SAMPLE_BYTES = 96  # of working memory for each of them: float32 fields, positions, two keyframes
STILL = 255  # in masks of what stands still
NEAR = 17  # samples; what lies in such a square around it may belong to it
LEAST_APART = 8.0  # 8-bit codes that keyframes must agree better in place than warped
MOST_CHANGE = 10.0  # 8-bit codes that what belongs to it may change by


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """The planes of two keyframes on the device that draws, and where they stand still."""

    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...]
    still: Tensor | None  # [H, W] uint8: STILL where nothing moves, less near it
    sure: bool = True  # of `still`; else only where guides let it


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn picture, and how far its two keyframes are apart."""

    planes: Planes
    apart: float  # RMS in 8-bit codes of the bright plane, where both are mixed


class Renderer:
    """Draws the pictures of one stream; pure, any number of threads at once."""

    def __init__(self, layout: tuple[PlaneShape, ...], bright: str, device: torch.device) -> None:
        """Get ready. bright: the plane whose keyframes are compared."""
        self._layout = layout
        self._bright = bright
        self._size = layout[0].width, layout[0].height
        self._device = device

    @property
    def draw_bytes(self) -> int:
        """Bytes that drawing one picture takes beside the keyframes."""
        return SAMPLE_BYTES * min(STRIPE, self._size[0] * self._size[1])

    def upload(self, planes: Planes) -> tuple[Tensor, ...]:
        """Return a frame's planes on the device; samples of 16 bits are wrapped to signed."""
        return tuple(self._on_device(plane) for plane in planes)

    def ends(
        self,
        left: tuple[Tensor, ...],
        right: tuple[Tensor, ...],
        still: Luma | None,
        *,
        sure: bool = True,
    ) -> Ends:
        """Return two keyframes ready to be drawn from.

        still: [H, W], 255 where nothing moves, else 0; sure: whatever guides say.
        """
        if still is None:
            return Ends(left, right, None)
        near = cv2.dilate(still, np.ones((NEAR, NEAR), np.uint8)) // 2
        return Ends(left, right, self._on_device(np.maximum(near, still)), sure)

    def _on_device(self, plane: Array) -> Tensor:
        whole = np.require(plane, requirements=("C", "W"))  # torch takes no others
        if whole.dtype == np.uint16:  # torch computes little with uint16
            whole = whole.view(np.int16)
        return torch.from_numpy(whole).to(self._device)

    def draw(self, ends: Ends, how: WarpPlan, tau: float) -> Picture:
        """Return the picture at `tau`, planes in the stream's own samples."""
        with torch.inference_mode():
            fields = Fields.of(how, self._size, self._device)
            planes, apart = [], 0.0
            for number, shape in enumerate(self._layout):
                plane, found = self._plane(number, ends, fields, tau)
                planes.append(plane)
                apart = found if shape.role == self._bright else apart
        return Picture(tuple(planes), apart)

    def _plane(self, number: int, ends: Ends, fields: Fields, tau: float) -> tuple[Plane, float]:
        """Return a plane, and by how many codes the keyframes warped to it differ."""
        shape = self._layout[number]
        out = torch.empty((shape.height, shape.width), dtype=ends.left[number].dtype)
        squares = 0.0
        for rows in stripes(shape):
            at = fields.at(rows, shape)
            left, right = (
                warp(end, shape.depth, way, reach)
                for end, way, reach in (
                    (ends.left[number], at.to_left, fields.reach(rows, shape, left=True)),
                    (ends.right[number], at.to_right, fields.reach(rows, shape, left=False)),
                )
            )
            drawn = at.fuse(left, right)
            if ends.still is not None:
                here = self._in_place(ends, number, rows)
                weight = standing(here, (left, right), at.still if not ends.sure else None)
                fade = here.left + (here.right - here.left) * tau
                drawn = drawn + (fade - drawn) * weight
            out[rows.start : rows.stop] = to_samples(drawn, shape.depth).cpu()
            if shape.role == self._bright:
                squares += float(at.disagreement(left, right).sum(dtype=torch.float64))
        unit = 1 << (shape.depth - 8)
        return out.numpy().view(shape.dtype), sqrt(squares / out.numel()) / unit

    def _in_place(self, ends: Ends, number: int, rows: range) -> InPlace:
        """Return both keyframes' samples at some rows of a plane, and what stands still there."""
        shape = self._layout[number]
        part, step = slice(rows.start, rows.stop), 1 << shape.shift_y
        left, right = (to_floats(end[number][part], shape.depth) for end in (ends.left, ends.right))
        assert ends.still is not None
        mask = ends.still[rows.start * step : rows.stop * step : step, :: 1 << shape.shift_x]
        return InPlace(left, right, mask, 1 << (shape.depth - 8))


@dataclass(frozen=True, slots=True, eq=False)
class InPlace:
    """Both keyframes where they are, at the samples of a stripe."""

    left: Tensor
    right: Tensor
    still: Tensor  # uint8: STILL, or less near it, or 0
    unit: int  # a code of 8 bits


def standing(here: InPlace, warped: tuple[Tensor, Tensor], leave: Tensor | None) -> Tensor:
    """Return 0..1: how far samples are faded in place.

    What stands still is; and what lies near it, hardly changed, if the keyframes agree much better
    in place than warped: the edges of letters. leave: 0..1 of the guide, if that decides.
    """
    still = (here.still == STILL).to(torch.float32)
    if leave is not None:
        return still * leave
    change = (here.left - here.right).abs() / here.unit
    apart = (warped[0] - warped[1]).abs() / here.unit
    better = ((apart - 2 * change) / LEAST_APART - 1).clamp_(0, 1)
    return torch.maximum(still, better * ((change <= MOST_CHANGE) & (here.still > 0)))


def warp(plane: Tensor, depth: int, at: Tensor, reach: range) -> Tensor:
    """Return a plane read at positions [rows, columns, 2], x then y, by cubic convolution.

    Keys' cubic (IEEE Trans. ASSP 29, 1981) with a = -0.75, its border repeated. reach: the rows
    that are read; only they are made floats.
    """
    part = to_floats(plane[reach.start : reach.stop], depth)
    rows, columns = part.shape
    sides = torch.tensor([columns, rows], device=at.device)
    low = torch.tensor([0.0, float(reach.start)], device=at.device)
    grid = (at - low + 0.5) * (2 / sides) - 1
    found = nn.grid_sample(
        part[None, None],
        grid[None],
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return found[0, 0]


def to_floats(samples: Tensor, depth: int) -> Tensor:
    """Return samples as float32 codes."""
    if depth > 8:
        samples = samples.to(torch.int32) & 0xFFFF
    return samples.to(torch.float32)


def to_samples(codes: Tensor, depth: int) -> Tensor:
    """Return codes as samples, rounded to nearest; 16 bits wrapped to signed."""
    whole = codes.round().clamp_(0, (1 << depth) - 1)
    return whole.to(torch.uint8) if depth <= 8 else whole.to(torch.int32).to(torch.int16)


def stripes(shape: PlaneShape) -> Iterator[range]:
    """Yield a plane's rows in stripes of at most STRIPE samples."""
    step = max(STRIPE // shape.width, 1)
    for start in range(0, shape.height, step):
        yield range(start, min(start + step, shape.height))
