"""Draw planes at full size from two keyframes along a recipe, on any torch device.

Pictures are drawn in stripes of rows, which follow from their size alone: what drawing takes beside
the keyframes themselves has a bound, and a picture is the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor, sqrt

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nn

from ltxfilter.frame import Plane, Planes, PlaneShape
from ltxfilter.motion.grid import Array, Luma
from ltxfilter.motion.guided import Recipe

STRIPE = 1 << 21  # samples drawn at a time
SAMPLE_BYTES = 96  # of working memory for each of them: float32 fields, positions, two keyframes
STILL = 255  # in masks of what stands still
NEAR = 17  # samples; what lies in such a square around it may belong to it
LEAST_APART = 8.0  # 8-bit codes that keyframes must agree better in place than warped
MOST_CHANGE = 10.0  # 8-bit codes that what belongs to it may change by
MARGIN = 3  # rows around a stripe's way that the cubic reads


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

    def draw(self, ends: Ends, how: Recipe, tau: float) -> Picture:
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


@dataclass(frozen=True, slots=True, eq=False)
class Raised:
    """A recipe's fields at the samples of a stripe, [rows, columns] each."""

    to_left: Tensor  # [rows, columns, 2] where the left keyframe is read, in samples, x then y
    to_right: Tensor
    share: Tensor
    trust: Tensor
    still: Tensor
    change: Tensor | None  # in the plane's codes; None for a plane that guides lack: alpha
    shown: Tensor | None

    def fuse(self, left: Tensor, right: Tensor) -> Tensor:
        """Return both keyframes, warped, as one picture: mixed, corrected, patched by the guide."""
        drawn = right + (left - right) * self.share
        if self.change is None or self.shown is None:
            return drawn
        return self.shown + (drawn + self.change - self.shown) * self.trust

    def disagreement(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the squared difference of both where both are mixed in equal parts, else less."""
        return (left - right).square() * (4 * self.share * (1 - self.share))


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """A recipe on the device, to be raised to the samples of any plane."""

    how: Recipe
    size: tuple[int, int]  # pixels of the picture, width and height
    common: Tensor  # [7, H, W]: both ways, x then y; share; trust; still
    planes: Mapping[str, Tensor]  # [2, H, W]: change, shown

    @classmethod
    def of(cls, how: Recipe, size: tuple[int, int], device: torch.device) -> Fields:
        """Bring a recipe to the device."""
        both = (how.ways.to_left, how.ways.to_right)
        parts = [way[..., axis] for way in both for axis in (0, 1)]
        common = np.stack([*parts, how.share, how.trust, how.still])
        planes = {
            name: torch.from_numpy(np.stack([how.change[name], how.shown[name]])).to(device)
            for name in how.shown
        }
        return cls(how, size, torch.from_numpy(common).to(device), planes)

    def at(self, rows: range, shape: PlaneShape) -> Raised:
        """Return the fields at some rows of a plane."""
        across, down = self._scales(shape)
        scale = torch.tensor([across, down], device=self.common.device)
        fields = self._raised(self.common, rows, shape)
        y, x = (
            torch.arange(*ends, device=fields.device, dtype=torch.float32)
            for ends in ((rows.start, rows.stop), (0, shape.width))
        )
        here = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        ways = [here + fields[axis : axis + 2].movedim(0, -1) * scale for axis in (0, 2)]
        change = shown = None
        if shape.role in self.planes:
            unit = 2.0 ** (shape.depth - 8)
            change, shown = self._raised(self.planes[shape.role], rows, shape) * unit
        return Raised(ways[0], ways[1], fields[4], fields[5], fields[6], change, shown)

    def reach(self, rows: range, shape: PlaneShape, *, left: bool) -> range:
        """Return the rows of a keyframe's plane that are read to draw `rows`."""
        way = (self.how.ways.to_left if left else self.how.ways.to_right)[..., 1]
        down = self._scales(shape)[1]
        step = (1 << shape.shift_y) * way.shape[0] / self.size[1]
        near = way[max(floor(rows.start * step) - 1, 0) : ceil(rows.stop * step) + 1]
        low = floor(rows.start + down * float(near.min())) - MARGIN
        high = ceil(rows.stop + down * float(near.max())) + MARGIN
        low = min(max(low, 0), shape.height - 1)
        return range(low, min(max(high, low + 1), shape.height))

    def _scales(self, shape: PlaneShape) -> tuple[float, float]:
        """Return samples of a plane per sample of the fields, across and down."""
        rows, columns = self.common.shape[1:]
        return (
            self.size[0] / columns / (1 << shape.shift_x),
            self.size[1] / rows / (1 << shape.shift_y),
        )

    def _raised(self, fields: Tensor, rows: range, shape: PlaneShape) -> Tensor:
        """Return fields [C, H, W] at some rows of a plane, linearly between samples."""
        across, down = self._scales(shape)
        return lerp(lerp(fields, 1, rows, down), 2, range(shape.width), across)


def lerp(fields: Tensor, axis: int, samples: range, scale: float) -> Tensor:
    """Return `fields` along an axis at samples of which `scale` cover one of theirs."""
    size = fields.shape[axis]
    at = torch.arange(samples.start, samples.stop, device=fields.device, dtype=torch.float64)
    at = ((at + 0.5) / scale - 0.5).clamp_(0, size - 1)
    low = at.floor().long()
    high = (low + 1).clamp_(max=size - 1)
    part = (at - low).to(fields.dtype).unflatten(0, (-1, *(1,) * (fields.ndim - 1 - axis)))
    first = fields.index_select(axis, low)
    return torch.lerp(first, fields.index_select(axis, high), part.expand_as(first))


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
