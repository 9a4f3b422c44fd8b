"""Frames as the models see them, and models' pictures as frames: colour, size, tone, NaN."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from math import floor

import numpy as np
import torch
import torch.nn.functional as nn
from torch import Tensor

from ltxfilter.color import Converter, DevicePlane
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.blend import cross_fade
from ltxfilter.frame import Frame, Plane, VideoInfo

log = logging.getLogger("ltxfilter.engines")

TONE_CELLS = 8  # along the shorter side of a picture; tone is compared cell by cell


class Canvas:
    """Converts between the frames of one stream and the models' pictures."""

    def __init__(self, video: VideoInfo, device: torch.device, multiple: int) -> None:
        """Prepare for a stream.

        multiple: the models' pictures have sides that are multiples of it, in pixels.
        """
        self._converter = Converter(video, device, multiple)
        self.height, self.width = self._converter.height, self._converter.width  # padded, in pixels
        self._alpha = next((n for n, s in enumerate(video.layout) if s.role == "a"), None)
        self._warned = False

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
            alpha = cross_fade(left, right, tau)
        on_device = isinstance(ends[0].planes[0], DevicePlane)
        return Drawn(self._converter.to_planes((picture + 1) / 2, alpha, resident=on_device))


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
