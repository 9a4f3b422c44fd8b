"""Downscaling a stream's frames for a source of guides, and turning guides into planes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ltxfilter.color import Converter
from ltxfilter.colorimetry import SD_HEIGHT, UNKNOWN
from ltxfilter.frame import Plane, Planes, VideoInfo
from ltxfilter.motion.grid import BRIGHT, Floats

BT709 = 1  # code of the matrix in ISO/IEC 23091-2

FloatPlanes = Mapping[str, Floats]  # role -> [height, width] float32 in 8-bit codes


class GuideCanvas:
    """Converts between the frames of one stream and pictures of a source's size.

    All planes but alpha are brought to that one size, chroma too.
    """

    def __init__(self, video: VideoInfo, width: int, height: int, device: Any) -> None:
        """Prepare for pictures of `width` x `height` pixels on `device`.

        The shape may differ from the video's; the pictures are stretched then.
        """
        self.width, self.height = width, height
        self._unit = float(1 << (video.depth - 8))  # codes of the stream per 8-bit code
        self._roles = {s.role: n for n, s in enumerate(video.layout) if s.role != "a"}
        layout = tuple(
            replace(video.layout[number], width=width, height=height, shift_x=0, shift_y=0)
            for number in self._roles.values()
        )
        color = video.color
        if color.matrix == UNKNOWN and video.height > SD_HEIGHT:
            # The matrix is guessed by the height, which must be the video's, not the guides'.
            color = replace(color, matrix=BT709)
        small = replace(video, width=width, height=height, layout=layout, color=color)
        self._converter = Converter(small, device)

    @property
    def bright(self) -> str:
        """The role of the plane in which motion is estimated: "y", "g" or the first one."""
        return next((role for role in BRIGHT if role in self._roles), next(iter(self._roles)))

    def downscale(self, planes: Planes) -> Planes:
        """Return a frame's planes without alpha, [height, width] each, in the stream's dtype."""
        size = self.width, self.height
        return tuple(self._resized(planes[number], size) for number in self._roles.values())

    def rgb(self, small: Planes) -> Tensor:
        """Return downscaled planes as RGB [3, height, width] float32 in -1..1 on the device."""
        return self._converter.to_rgb(small) * 2 - 1

    def planes(self, guide: Tensor) -> Planes:
        """Return a guide [3, height, width] in -1..1 as downscaled planes."""
        return self._converter.to_planes((guide.to(torch.float32) + 1) / 2)

    def as_floats(self, small: Planes) -> FloatPlanes:
        """Return downscaled planes by role as float32 in 8-bit codes."""
        named = self.by_role(small)
        return {
            role: plane.astype(np.float32) / np.float32(self._unit) for role, plane in named.items()
        }

    def by_role(self, small: Planes) -> Mapping[str, Plane]:
        """Return downscaled planes by role."""
        return dict(zip(self._roles, small, strict=True))

    @staticmethod
    def _resized(plane: Any, size: tuple[int, int]) -> Any:
        smaller = plane.shape[0] >= size[1] and plane.shape[1] >= size[0]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(np.ascontiguousarray(plane), size, interpolation=method)
