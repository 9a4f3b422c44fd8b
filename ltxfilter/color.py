"""Planes <-> RGB on a torch device: matrix, range, bit depth, chroma siting; lossless both ways.

Chroma goes up to luma's size and back down by the two halves of a biorthogonal filter pair, so
that a picture which nobody changed comes back sample for sample: linear interpolation up, and
down Le Gall's 5/3 where chroma is co-sited with luma or Cohen-Daubechies-Feauveau's 3/1 where it
lies in the middle. RGB is the coded signal (not linear light), 0 black and 1 white, never clamped:
a clamp to 0..1 is what makes other conversions lossy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.colorimetry import (
    END,
    MIDDLE,
    SITES,
    START,
    luma_weights,
    rgb_from_yuv,
    scale_of,
    yuv_from_rgb,
)
from ltxfilter.device_plane import DevicePlane, load_codes
from ltxfilter.frame import Plane, Planes, PlaneShape, VideoInfo


class Converter:
    """Converts the frames of one stream; pictures are padded to a multiple, and cropped after."""

    def __init__(self, video: VideoInfo, device: Any = "cpu", multiple: int = 1) -> None:
        """Get ready. multiple: of pixels that the RGB picture's sides must be; a power of two."""
        coarsest = max(max(shape.shift_x, shape.shift_y) for shape in video.layout)
        step = max(multiple, 1 << coarsest)
        self.width = -(-video.width // step) * step  # pixels, padding included
        self.height = -(-video.height // step) * step
        self._device = device
        self._layout = {shape.role: (number, shape) for number, shape in enumerate(video.layout)}
        self._count = len(video.layout)
        self._color = video.color
        self._weights = luma_weights(video.color, video.height)
        self._sites = SITES.get(video.color.chroma_location, SITES[0])
        self._folds = {
            size: _mirrored(*size, device)
            for shape in video.layout
            for size in (
                (shape.width, self.width >> shape.shift_x),
                (shape.height, self.height >> shape.shift_y),
            )
        }

    def to_rgb(self, planes: Planes) -> Tensor:
        """Return float32 RGB [3, height, width] of a frame, padded by reflection, without alpha."""
        values = {
            role: self._up(self._load(planes[number], shape), shape)
            for role, (number, shape) in self._layout.items()
            if role != "a"
        }
        if "r" in values:
            return torch.stack([values["r"], values["g"], values["b"]])
        luma = values["y"]
        if "u" not in values:
            return luma.expand(3, -1, -1)
        return torch.stack(rgb_from_yuv(luma, values["u"], values["v"], self._weights))

    def to_planes(
        self, rgb: Tensor, alpha: Plane | None = None, *, resident: bool = False
    ) -> Planes:
        """Return a frame of RGB [3, height, width] in the stream's format, rounded to nearest.

        alpha: what stands in the alpha plane, for formats that have one. resident: leave all
        other planes on the device, as `DevicePlane`s.
        """
        if "r" in self._layout:
            values = dict(zip("rgb", rgb, strict=True))
        else:
            values = dict(
                zip("yuv", yuv_from_rgb(rgb[0], rgb[1], rgb[2], self._weights), strict=True)
            )
        planes: list[Any] = [np.empty(0)] * self._count
        for role, (number, shape) in self._layout.items():
            if role == "a":
                assert alpha is not None
                planes[number] = alpha
            else:
                codes = self._codes(self._down(values[role], shape), shape)
                planes[number] = DevicePlane(codes) if resident else _stored(codes)
        return tuple(planes)

    def _load(self, plane: Plane, shape: PlaneShape) -> Tensor:
        """Return a plane as padded values: luma, red, green, blue 0..1, chroma -0.5..0.5."""
        codes = load_codes(plane, self._device)
        codes = codes[self._folds[shape.height, self.height >> shape.shift_y]]
        codes = codes[:, self._folds[shape.width, self.width >> shape.shift_x]]
        scale = scale_of(shape, self._color)
        return (codes.to(torch.float32) - scale.zero) / scale.span

    def _codes(self, values: Tensor, shape: PlaneShape) -> Tensor:
        """Return values as codes, uint8 or int32, their padding cut off."""
        scale = scale_of(shape, self._color)
        values = values[: shape.height, : shape.width] * scale.span + scale.zero
        codes = values.round().clamp_(0, (1 << shape.depth) - 1)
        return codes.to(torch.uint8 if shape.depth <= 8 else torch.int32)

    def _up(self, values: Tensor, shape: PlaneShape) -> Tensor:
        for _ in range(shape.shift_x):
            values = raise_twofold(values, self._sites[0])
        for _ in range(shape.shift_y):
            values = raise_twofold(values.mT, self._sites[1]).mT
        return values

    def _down(self, values: Tensor, shape: PlaneShape) -> Tensor:
        for _ in range(shape.shift_y):
            values = lower_twofold(values.mT, self._sites[1]).mT
        for _ in range(shape.shift_x):
            values = lower_twofold(values, self._sites[0])
        return values


def _stored(codes: Tensor) -> Plane:
    """Return codes as a plane in host memory."""
    if codes.dtype == torch.uint8:
        return np.asarray(codes.cpu().numpy())
    wrapped = codes.to(torch.int16)  # halves what crosses the bus
    return np.asarray(wrapped.contiguous().cpu().numpy().view(np.uint16))


def _mirrored(size: int, padded: int, device: Any) -> Tensor:
    """Return for each of `padded` positions the one of `size` that it repeats, by reflection."""
    period = max(2 * (size - 1), 1)
    folded = torch.arange(padded, device=device) % period
    return torch.minimum(folded, (period - folded) % period) if size > 1 else folded * 0


def raise_twofold(x: Tensor, site: str) -> Tensor:
    """Return `x` [..., N] at twice the samples [..., 2N], by linear interpolation.

    site: where a sample lies among its two: "start", "middle" or "end".
    """
    before = torch.cat([x[..., :1], x[..., :-1]], -1)
    after = torch.cat([x[..., 1:], x[..., -1:]], -1)
    if site == START:
        pair = (x, (x + after) / 2)
    elif site == END:
        pair = ((before + x) / 2, x)
    else:
        pair = ((before + 3 * x) / 4, (3 * x + after) / 4)
    return torch.stack(pair, -1).flatten(-2)


def lower_twofold(x: Tensor, site: str) -> Tensor:
    """Return `x` [..., 2N] at half the samples [..., N]; undoes `raise_twofold` exactly.

    The filters are the analysis halves of CDF 3/1 (middle) and Le Gall 5/3 (co-sited).
    """
    if site == END:
        return lower_twofold(x.flip(-1), START).flip(-1)
    even, odd = x[..., 0::2], x[..., 1::2]
    if site == MIDDLE:
        before = torch.cat([even[..., :1], odd[..., :-1]], -1)
        after = torch.cat([even[..., 1:], odd[..., -1:]], -1)
        return (3 * (even + odd) - before - after) / 4
    second = even[..., 1:2] if even.shape[-1] > 1 else even[..., :1]
    before = torch.cat([second, even[..., :-1]], -1)
    after = torch.cat([even[..., 1:], even[..., -1:]], -1)
    beside = torch.cat([odd[..., :1], odd[..., :-1]], -1) + odd
    return (6 * even + 2 * beside - before - after) / 8
