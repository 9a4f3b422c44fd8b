"""Frames as the models see them, and models' pictures as frames: colour, size, tone, NaN."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from math import floor

import cv2
import numpy as np
import torch
import torch.nn.functional as nn
from torch import Tensor

from ltxfilter.color import Converter
from ltxfilter.colorimetry import read_as
from ltxfilter.device_plane import DevicePlane
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.blend import cross_fade
from ltxfilter.frame import Frame, Plane, PlaneShape, VideoInfo
from ltxfilter.scaling import scaled_video

log = logging.getLogger("ltxfilter.engines")

TONE_CELLS = 8  # along the shorter side of a picture; tone is compared cell by cell


class Canvas:
    """Converts between the frames of one stream and the models' pictures."""

    def __init__(self, video: VideoInfo, device: torch.device, multiple: int) -> None:
        """Prepare for a stream.

        multiple: the models' pictures have sides that are multiples of it, in pixels.
        """
        self.video = video
        self._device, self._multiple = device, multiple
        self._converter = Converter(video, device, multiple)
        self.height, self.width = self._converter.height, self._converter.width  # padded, in pixels
        self._alpha = next((n for n, s in enumerate(video.layout) if s.role == "a"), None)
        self._warned = False

    def enlarged(self, factor: Fraction) -> Canvas:
        """Return a canvas for pictures that are `factor` times as large, in the same colours.

        The sides of this one have to be multiples of the factor's denominator.
        """
        if factor == 1:
            return self
        video = self.video
        color = replace(video.color, matrix=read_as(video.color, video.height))
        larger = scaled_video(replace(video, color=color), factor)
        return Canvas(larger, self._device, int(self._multiple * factor))

    def read(self, frame: Frame) -> Tensor:
        """Return a frame as [3, height, width] float32 in -1..1, padded by reflection."""
        return self._converter.to_rgb(frame.planes) * 2 - 1

    def to_drawn(self, picture: Tensor, ends: tuple[Frame, Frame], tau: float) -> Drawn:
        """Return a model's picture as a frame between two keyframes.

        picture: [3, height, width] in -1..1. ends: the earlier and the later keyframe. tau: its
        position between them, 0..1; alpha is cross-faded. The planes stay on the device if those of
        the keyframes are there. A picture with NaN or infinite values comes back without planes.
        """
        if not bool(torch.isfinite(picture).all()):
            if not self._warned:
                time = float(ends[0].time)
                log.warning("the model's output is NaN or infinite after %.3f s", time)
                self._warned = True
            return Drawn(())
        alpha: Plane | None = None
        if self._alpha is not None:
            left, right = (np.asarray(end.planes[self._alpha]) for end in ends)
            alpha = self._fitted(cross_fade(left, right, tau), self.video.layout[self._alpha])
        on_device = isinstance(ends[0].planes[0], DevicePlane)
        return Drawn(self._converter.to_planes((picture + 1) / 2, alpha, resident=on_device))

    @staticmethod
    def _fitted(plane: Plane, shape: PlaneShape) -> Plane:
        """Return a keyframe's plane at the canvas's size."""
        size = shape.width, shape.height
        if plane.shape == size[::-1]:
            return plane
        resized = cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC)
        return np.minimum(resized, (1 << shape.depth) - 1).astype(plane.dtype)


class ToneMatcher:
    """Brings a model's pictures to the tone of the keyframes around them.

    The models return every picture a little blurred and a little off in colour, which flickers
    between untouched source frames. The difference is known at the keyframes: there it is measured
    as means of cells, and what lies between is corrected by the interpolated difference.
    """

    def __init__(self, pictures: Tensor) -> None:
        """Take all pictures that the model made at once, [3, F, height, width]."""
        self._pictures = pictures
        self._offsets: dict[float, Tensor | None] = {}  # by place among the pictures

    def match(self, picture: Tensor, tau: float, ends: Iterable[tuple[float, Tensor]]) -> Tensor:
        """Return a picture [3, height, width] in the tone of the two keyframes around it.

        tau: its position between them, 0..1. ends: for the earlier and the later keyframe its place
        among the pictures (0 is the first one, fractions are allowed) and its own picture.
        """
        left, right = (self._offset(place, keyframe) for place, keyframe in ends)
        if left is None or right is None:
            known = left if right is None else right
            if known is None:
                return picture
            offset = known
        else:
            offset = left + (right - left) * tau
        size = picture.shape[-2:]
        smooth = nn.interpolate(offset[None], size, mode="bilinear", align_corners=False)
        return picture + smooth[0]

    def _offset(self, place: float, keyframe: Tensor) -> Tensor | None:
        """Return a keyframe's cell means minus the model's at its place, [3, r, c].

        None if the place is a frame or more outside the model's pictures.
        """
        if place not in self._offsets:
            last = self._pictures.shape[1] - 1
            offset = None
            if -1 < place < last + 1:
                low = min(max(floor(place), 0), max(last - 1, 0))
                below = cell_means(self._pictures[:, low])
                above = cell_means(self._pictures[:, min(low + 1, last)])
                offset = cell_means(keyframe) - (below + (above - below) * (place - low))
            self._offsets[place] = offset
        return self._offsets[place]


def cell_means(picture: Tensor) -> Tensor:
    """Return the mean colours [3, r, c] of about square cells of a picture [3, height, width]."""
    height, width = picture.shape[-2:]
    side = max(min(height, width) / TONE_CELLS, 1)
    return nn.adaptive_avg_pool2d(
        picture, (max(round(height / side), 1), max(round(width / side), 1))
    )
