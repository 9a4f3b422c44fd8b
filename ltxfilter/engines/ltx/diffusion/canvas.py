"""Pictures on their way into the models and out: colour, size, tone, and what came out broken."""

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

CELLS = 8  # across the shorter side of a picture; tone is compared in these


class Canvas:
    """Turns a stream's frames into what the models see, and what they draw into frames."""

    def __init__(self, video: VideoInfo, device: torch.device, multiple: int) -> None:
        """Get ready. multiple: of pixels that the models' pictures must be."""
        self._converter = Converter(video, device, multiple)
        self.height, self.width = self._converter.height, self._converter.width  # pixels
        self._alpha = next((n for n, s in enumerate(video.layout) if s.role == "a"), None)
        self._warned = False

    def read(self, frame: Frame) -> Tensor:
        """Return a frame as [3, height, width] in -1..1, padded by reflection."""
        return self._converter.to_rgb(frame.planes) * 2 - 1

    def paint(self, picture: Tensor, ends: tuple[Frame, Frame], tau: float) -> Drawn:
        """Return a picture [3, height, width] in -1..1 as the frame at `tau` between keyframes.

        It stays on the device if the keyframes lie there. One that holds no numbers comes back
        without planes, for others to draw.
        """
        if not bool(torch.isfinite(picture).all()):
            if not self._warned:
                log.warning("the model drew no numbers (NaN) after %.3f s", float(ends[0].time))
                self._warned = True
            return Drawn(())
        alpha: Plane | None = None
        if self._alpha is not None:
            left, right = (np.asarray(end.planes[self._alpha]) for end in ends)
            alpha = cross_fade(left, right, tau)
        resident = isinstance(ends[0].planes[0], DevicePlane)
        return Drawn(self._converter.to_planes((picture + 1) / 2, alpha, resident=resident))


class Tone:
    """What the models do to the tone of keyframes, so that it can be undone in between.

    They give back every picture a little too soft and a little off in colour. Shown between
    untouched frames that would flicker. The difference is known where a keyframe was given: it is
    taken there, smoothed, and applied to what lies between.
    """

    def __init__(self, drawn: Tensor) -> None:
        """Take the pictures that a model drew, [3, F, height, width]."""
        self._drawn = drawn
        self._known: dict[float, Tensor | None] = {}

    def match(self, picture: Tensor, tau: float, ends: Iterable[tuple[float, Tensor]]) -> Tensor:
        """Return a picture in the tone of its two keyframes.

        ends: of the earlier and the later keyframe its place among the drawn pictures (fractions
        allowed) and itself, [3, height, width].
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
        """Return what a keyframe's cells are more than the drawn ones; None too far outside."""
        if place not in self._known:
            last = self._drawn.shape[1] - 1
            found = None
            if -1 < place < last + 1:
                low = min(max(floor(place), 0), max(last - 1, 0))
                below, above = cells(self._drawn[:, low]), cells(self._drawn[:, min(low + 1, last)])
                found = cells(keyframe) - (below + (above - below) * (place - low))
            self._known[place] = found
        return self._known[place]


def cells(picture: Tensor) -> Tensor:
    """Return the mean colours [3, r, c] of the cells of a picture [3, height, width]."""
    height, width = picture.shape[-2:]
    side = max(min(height, width) / CELLS, 1)
    return nn.adaptive_avg_pool2d(
        picture, (max(round(height / side), 1), max(round(width / side), 1))
    )
