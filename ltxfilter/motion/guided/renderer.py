"""Draw planes at full size from two keyframes by a warp plan, on any torch device.

Pictures are drawn in stripes of rows, which follow from their size alone: the memory that drawing
takes beside the keyframes has a bound, and a picture is the same each time.
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
STATIC = 255  # in static masks
NEAR = (
    17  # samples along each side of the square around a static sample whose others may belong to it
)
LEAST_BETTER = 8.0  # 8-bit codes that keyframes must agree better in place than warped
MOST_CHANGE = 10.0  # 8-bit codes that a sample that belongs to a static one may change by


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """The planes of two keyframes on the device that draws, and where they are static."""

    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...]
    static: Tensor | None  # [H, W] uint8: STATIC, less near it, else 0; None: nowhere
    sure: bool = True  # False: samples are static only where the guide agrees


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn picture, and by how much its two keyframes differ."""

    planes: Planes
    apart: float  # RMS difference in 8-bit codes of the bright plane, where both are mixed


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
        static_mask: Luma | None,
        *,
        sure: bool = True,
    ) -> Ends:
        """Return two keyframes ready to be drawn from.

        static_mask: [H, W] uint8, 255 where samples are static, else 0; None: nowhere. sure:
        whether they are so whatever the guide shows.
        """
        if static_mask is None:
            return Ends(left, right, None)
        near = cv2.dilate(static_mask, np.ones((NEAR, NEAR), np.uint8)) // 2
        return Ends(left, right, self._on_device(np.maximum(near, static_mask)), sure)

    def _on_device(self, plane: Array) -> Tensor:
        whole = np.require(plane, requirements=("C", "W"))  # torch takes no others
        if whole.dtype == np.uint16:  # torch computes little with uint16
            whole = whole.view(np.int16)
        return torch.from_numpy(whole).to(self._device)

    def draw(self, ends: Ends, plan: WarpPlan, tau: float) -> Picture:
        """Return the picture at `tau` (0..1), planes in the stream's own samples."""
        with torch.inference_mode():
            fields = Fields.of(plan, self._size, self._device)
            planes, apart = [], 0.0
            for number, shape in enumerate(self._layout):
                plane, difference = self._plane(number, ends, fields, tau)
                planes.append(plane)
                if shape.role == self._bright:
                    apart = difference
        return Picture(tuple(planes), apart)

    def _plane(self, number: int, ends: Ends, fields: Fields, tau: float) -> tuple[Plane, float]:
        """Return a plane, and the RMS difference of the warped keyframes in 8-bit codes."""
        shape = self._layout[number]
        out = torch.empty((shape.height, shape.width), dtype=ends.left[number].dtype)
        squares = 0.0
        for rows in stripes(shape):
            at = fields.at(rows, shape)
            left, right = (
                warp(end, shape.depth, places, reach)
                for end, places, reach in (
                    (ends.left[number], at.to_left, fields.reach(rows, shape, left=True)),
                    (ends.right[number], at.to_right, fields.reach(rows, shape, left=False)),
                )
            )
            drawn = at.fuse(left, right)
            if ends.static is not None:
                here = self._in_place(ends, number, rows)
                weight = fade_weight(here, (left, right), None if ends.sure else at.static)
                fade = here.left + (here.right - here.left) * tau
                drawn = drawn + (fade - drawn) * weight
            out[rows.start : rows.stop] = to_samples(drawn, shape.depth).cpu()
            if shape.role == self._bright:
                squares += float(at.disagreement(left, right).sum(dtype=torch.float64))
        unit = 1 << (shape.depth - 8)
        return out.numpy().view(shape.dtype), sqrt(squares / out.numel()) / unit

    def _in_place(self, ends: Ends, number: int, rows: range) -> InPlace:
        """Return both keyframes' samples at some rows of a plane, and the static mask there."""
        shape = self._layout[number]
        lines, step = slice(rows.start, rows.stop), 1 << shape.shift_y
        left, right = (
            to_floats(end[number][lines], shape.depth) for end in (ends.left, ends.right)
        )
        assert ends.static is not None
        mask = ends.static[rows.start * step : rows.stop * step : step, :: 1 << shape.shift_x]
        return InPlace(left, right, mask, 1 << (shape.depth - 8))


@dataclass(frozen=True, slots=True, eq=False)
class InPlace:
    """Both keyframes without any motion, at the samples of a stripe; [rows, columns] each."""

    left: Tensor
    right: Tensor
    static: Tensor  # uint8: STATIC, less near it, else 0
    unit: int  # codes of the plane per 8-bit code


def fade_weight(here: InPlace, warped: tuple[Tensor, Tensor], agreed: Tensor | None) -> Tensor:
    """Return 0..1: how far samples are cross-faded in place.

    Static samples are. So are samples near them that hardly change, such as the edges of letters,
    if the keyframes agree much better in place than warped. agreed: 0..1, how far the guide agrees
    that samples are static; None if it is not asked.
    """
    static = (here.static == STATIC).to(torch.float32)
    if agreed is not None:
        return static * agreed
    change = (here.left - here.right).abs() / here.unit
    apart = (warped[0] - warped[1]).abs() / here.unit
    better = ((apart - 2 * change) / LEAST_BETTER - 1).clamp_(0, 1)
    return torch.maximum(static, better * ((change <= MOST_CHANGE) & (here.static > 0)))


def warp(plane: Tensor, depth: int, at: Tensor, reach: range) -> Tensor:
    """Return a plane read at positions [rows, columns, 2], x then y, by cubic convolution.

    Keys' cubic (IEEE Trans. ASSP 29, 1981) with a = -0.75; the border is repeated. reach: the rows
    that are read, which alone are converted to floats.
    """
    read = to_floats(plane[reach.start : reach.stop], depth)
    rows, columns = read.shape
    sides = torch.tensor([columns, rows], device=at.device)
    low = torch.tensor([0.0, float(reach.start)], device=at.device)
    grid = (at - low + 0.5) * (2 / sides) - 1
    samples = nn.grid_sample(
        read[None, None],
        grid[None],
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return samples[0, 0]


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
