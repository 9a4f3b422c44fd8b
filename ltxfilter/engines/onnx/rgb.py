"""Planes <-> RGB in NumPy, in float: the twin of `ltxfilter.color` for machines without torch.

A picture that nobody changed comes back sample for sample; `ltxfilter/color.py` says by which
filters chroma goes up to luma's size and back. Nothing is clamped before planes are made of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from ltxfilter.frame import Plane, Planes, PlaneShape, VideoInfo

Rgb = NDArray[Any]  # [3, H, W] float32, the coded signal: 0 black, 1 white
Values = NDArray[Any]  # [H, W] float32

FINE = 256  # parts of a code that samples are rounded to before they become whole


class RgbConverter:
    """Converts the frames of one stream; its RGB pictures have whole samples of chroma."""

    def __init__(self, video: VideoInfo) -> None:
        """Get ready for frames of `video`."""
        step = 1 << max(max(shape.shift_x, shape.shift_y) for shape in video.layout)
        self.width = -(-video.width // step) * step  # pixels, those beyond the picture included
        self.height = -(-video.height // step) * step
        self._layout = {shape.role: (number, shape) for number, shape in enumerate(video.layout)}
        self._count = len(video.layout)
        self._color = video.color
        self._weights = luma_weights(video.color, video.height)
        self._sites = SITES.get(video.color.chroma_location, SITES[0])

    @property
    def alpha(self) -> int | None:
        """The number of the plane of transparency, if there is one."""
        return self._layout["a"][0] if "a" in self._layout else None

    def to_rgb(self, planes: Planes) -> Rgb:
        """Return RGB [3, height, width] of a frame, without transparency."""
        values = {
            role: self._up(self._load(planes[number], shape), shape)
            for role, (number, shape) in self._layout.items()
            if role != "a"
        }
        if "r" in values:
            return np.stack([values["r"], values["g"], values["b"]])
        luma = values["y"]
        if "u" not in values:
            return np.stack([luma, luma, luma])
        return np.stack(rgb_from_yuv(luma, values["u"], values["v"], self._weights))

    def to_planes(self, rgb: Rgb, alpha: Plane | None = None) -> Planes:
        """Return a frame of RGB [3, height, width] in the stream's format, rounded to nearest.

        alpha: what stands in the plane of transparency, for formats that have one.
        """
        names = "rgb" if "r" in self._layout else "yuv"
        r, g, b = rgb
        parts = [r, g, b] if names == "rgb" else yuv_from_rgb(r, g, b, self._weights)
        values = dict(zip(names, parts, strict=True))
        planes: list[Plane] = [np.empty(0)] * self._count
        for role, (number, shape) in self._layout.items():
            if role == "a":
                assert alpha is not None
                planes[number] = alpha
            else:
                planes[number] = self._codes(self._down(values[role], shape), shape)
        return tuple(planes)

    def _load(self, plane: Plane, shape: PlaneShape) -> Values:
        """Return a plane as values, mirrored to whole samples of the coarsest plane."""
        scale = scale_of(shape, self._color)
        values = (np.asarray(plane).astype(np.float32) - scale.zero) / np.float32(scale.span)
        rows = (self.height >> shape.shift_y) - shape.height
        columns = (self.width >> shape.shift_x) - shape.width
        return np.pad(values, ((0, rows), (0, columns)), "reflect") if rows or columns else values

    def _codes(self, values: Values, shape: PlaneShape) -> Plane:
        scale = scale_of(shape, self._color)
        codes = values[: shape.height, : shape.width] * np.float32(scale.span)
        codes += np.float32(scale.zero)
        codes *= np.float32(FINE)  # halves that are off by an ulp would all round one way
        np.rint(codes, out=codes)
        codes /= np.float32(FINE)
        np.rint(codes, out=codes)
        return codes.clip(0, (1 << shape.depth) - 1).astype(shape.dtype)

    def _up(self, values: Values, shape: PlaneShape) -> Values:
        for _ in range(shape.shift_x):
            values = doubled(values, self._sites[0])
        for _ in range(shape.shift_y):
            values = doubled(values.T, self._sites[1]).T
        return values

    def _down(self, values: Values, shape: PlaneShape) -> Values:
        for _ in range(shape.shift_y):
            values = halved(values.T, self._sites[1]).T
        for _ in range(shape.shift_x):
            values = halved(values, self._sites[0])
        return values


def doubled(x: Values, site: str) -> Values:
    """Return `x` [H, N] at twice the samples [H, 2N], by linear interpolation.

    site: where a sample lies among its two: "start", "middle" or "end".
    """
    before = np.concatenate([x[:, :1], x[:, :-1]], 1)
    after = np.concatenate([x[:, 1:], x[:, -1:]], 1)
    if site == START:
        pair = (x, (x + after) / 2)
    elif site == END:
        pair = ((before + x) / 2, x)
    else:
        pair = ((before + 3 * x) / 4, (3 * x + after) / 4)
    woven: Values = np.stack(pair, -1).reshape(len(x), -1)
    return woven


def halved(x: Values, site: str) -> Values:
    """Return `x` [H, 2N] at half the samples [H, N]; undoes `doubled` exactly."""
    if site == END:
        return halved(x[:, ::-1], START)[:, ::-1]
    even, odd = x[:, 0::2], x[:, 1::2]
    if site == MIDDLE:
        before = np.concatenate([even[:, :1], odd[:, :-1]], 1)
        after = np.concatenate([even[:, 1:], odd[:, -1:]], 1)
        return np.asarray((3 * (even + odd) - before - after) / 4)
    second = even[:, 1:2] if even.shape[1] > 1 else even[:, :1]
    before = np.concatenate([second, even[:, :-1]], 1)
    after = np.concatenate([even[:, 1:], even[:, -1:]], 1)
    beside = np.concatenate([odd[:, :1], odd[:, :-1]], 1) + odd
    return np.asarray((6 * even + 2 * beside - before - after) / 8)
