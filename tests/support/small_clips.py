"""Small clips for comparisons: a pattern that moves, as y4m files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes

TAGS = {"yuv420p": "420mpeg2", "yuv420p10le": "420p10", "gray": "mono", "yuv444p": "444"}


def info_of(
    width: int = 64, height: int = 48, pix_fmt: str = "yuv420p", rate: int | None = 25
) -> VideoInfo:
    """Describe a small clip."""
    fraction = None if rate is None else Fraction(rate)
    interval = None if fraction is None else 1 / fraction
    layout = plane_shapes(pix_fmt, width, height)
    return VideoInfo(width, height, pix_fmt, layout, fraction, interval)


def moving(count: int, info: VideoInfo, step: float = 2.0) -> list[Planes]:
    """Return pictures of a wave that moves `step` pixels a frame to the right."""
    found = []
    for number in range(count):
        planes = []
        for shape in info.layout:
            x = np.arange(shape.width) * (1 << shape.shift_x) - number * step
            y = np.arange(shape.height)[:, None] * (1 << shape.shift_y)
            wave = 0.5 + 0.2 * np.sin(x / 5) + 0.2 * np.sin(y / 7 + x / 11)
            codes = 16 + wave * 200 if shape.role == "y" else 100 + 40 * wave
            planes.append(np.rint(codes * (1 << (shape.depth - 8))).astype(shape.dtype))
        found.append(tuple(planes))
    return found


def write(path: Path, frames: Sequence[Planes], info: VideoInfo) -> Path:
    """Write a y4m file."""
    assert info.rate is not None
    with path.open("wb") as file:
        head = f"YUV4MPEG2 W{info.width} H{info.height} F{info.rate}:1 Ip A1:1"
        file.write(f"{head} C{TAGS[info.pix_fmt]}\n".encode())
        for planes in frames:
            file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))
    return path


def moving_clip(
    path: Path, count: int = 13, *, width: int = 64, height: int = 48, pix_fmt: str = "yuv420p",
    rate: int = 25, step: float = 2.0,
) -> Path:  # fmt: skip
    """Write a clip of a wave that moves."""
    info = info_of(width, height, pix_fmt, rate)
    return write(path, moving(count, info, step), info)
