"""Frames as 8-bit RGB, for people to look at on a screen."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltxfilter.colorimetry import luma_weights, rgb_from_yuv, scale_of
from ltxfilter.frame import Planes, VideoInfo

Picture8 = NDArray[Any]  # [H, W, 3] uint8: red, green, blue


def rgb(planes: Planes, info: VideoInfo, widest: int) -> Picture8:
    """Return a frame as RGB [H, W, 3] uint8, made smaller to at most `widest` pixels across.

    The samples stand as they are coded: HDR is not mapped to the range of an ordinary screen.
    Pixels that are not square are made so.
    """
    width, height = _shown_size(info, widest)
    values: dict[str, Any] = {}
    for plane, shape in zip(planes, info.layout, strict=True):
        if shape.role == "a":
            continue
        scale = scale_of(shape, info.color)
        grown = plane
        if (shape.width, shape.height) != (width, height):
            smaller = width <= shape.width and height <= shape.height
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            grown = cv2.resize(plane, (width, height), interpolation=how)
        values[shape.role] = (grown.astype(np.float32) - scale.zero) / scale.span
    if "r" in values:
        channels = [values["r"], values["g"], values["b"]]
    elif "u" in values:
        weights = luma_weights(info.color, info.height)
        channels = rgb_from_yuv(values["y"], values["u"], values["v"], weights)
    else:
        channels = [values["y"]] * 3
    return np.rint(np.clip(np.stack(channels, -1), 0, 1) * 255).astype(np.uint8)


def _shown_size(info: VideoInfo, widest: int) -> tuple[int, int]:
    """Return the columns and rows of a picture of square pixels."""
    width = max(round(info.width * info.sample_aspect), 1)
    share = min(1.0, widest / width)
    return max(round(width * share), 1), max(round(info.height * share), 1)
