"""Small pictures: a stream's frames as sources of guides see them, and guides as planes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ltxfilter.color import SD_HEIGHT, UNKNOWN, Converter
from ltxfilter.frame import Plane, Planes, VideoInfo
from ltxfilter.motion.grid import Floats

BRIGHT = ("y", "g")  # the plane that motion is found in, by preference
BT709 = 1

Parts = Mapping[str, Floats]  # by plane: [height, width] float32 in 8-bit codes


class SmallCanvas:
    """Reduces the frames of one stream to a size that a model affords, every plane alike."""

    def __init__(self, video: VideoInfo, width: int, height: int, device: Any) -> None:
        """Get ready for pictures of `width` x `height` pixels, which may be stretched."""
        self.width, self.height = width, height
        self._unit = float(1 << (video.depth - 8))
        self._roles = {s.role: n for n, s in enumerate(video.layout) if s.role != "a"}
        layout = tuple(
            replace(video.layout[number], width=width, height=height, shift_x=0, shift_y=0)
            for number in self._roles.values()
        )
        color = video.color
        if color.matrix == UNKNOWN and video.height > SD_HEIGHT:  # a small picture looks like SD
            color = replace(color, matrix=BT709)
        small = replace(video, width=width, height=height, layout=layout, color=color)
        self._converter = Converter(small, device)

    @property
    def bright(self) -> str:
        """The plane that motion is found in."""
        return next((role for role in BRIGHT if role in self._roles), next(iter(self._roles)))

    def reduce(self, planes: Planes) -> Planes:
        """Return a frame's planes, alpha left out, all at the small size."""
        size = self.width, self.height
        return tuple(self._resized(planes[number], size) for number in self._roles.values())

    def rgb(self, small: Planes) -> Tensor:
        """Return reduced planes as RGB [3, height, width] in -1..1 on the device."""
        return self._converter.to_rgb(small) * 2 - 1

    def planes(self, guide: Tensor) -> Planes:
        """Return a guide [3, height, width] in -1..1 as reduced planes."""
        return self._converter.to_planes((guide.to(torch.float32) + 1) / 2)

    def parts(self, small: Planes) -> Parts:
        """Return reduced planes by their names, as floats in 8-bit codes."""
        named = self.by_role(small)
        return {
            role: plane.astype(np.float32) / np.float32(self._unit) for role, plane in named.items()
        }

    def by_role(self, small: Planes) -> Mapping[str, Plane]:
        """Return reduced planes by their names."""
        return dict(zip(self._roles, small, strict=True))

    @staticmethod
    def _resized(plane: Any, size: tuple[int, int]) -> Any:
        smaller = plane.shape[0] >= size[1] and plane.shape[1] >= size[0]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(np.ascontiguousarray(plane), size, interpolation=method)
