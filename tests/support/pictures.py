"""Streams of smooth moving pictures, and what an engine draws between them."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np

from ltxfilter import engines
from ltxfilter.frame import Frame, PlaneShape, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join

FORMATS = ["yuv420p", "yuv422p10le", "yuv444p12le", "gray", "gray16le", "yuva420p", "gbrp"]


def video(fmt="yuv420p", width=128, height=96):
    return VideoInfo(width, height, fmt, plane_shapes(fmt, width, height), F(25), F(1, 25))


def plane(shape: PlaneShape, moved: float, seed: int):
    """Smooth noise that has moved `moved` picture pixels to the right."""
    noise = np.random.default_rng(seed).random(64)
    x = (np.arange(shape.width) * (1 << shape.shift_x) - moved) / 12
    y = np.arange(shape.height) * (1 << shape.shift_y) / 12
    wave = np.sin(x[None, :] + noise[0] * 6) * np.cos(y[:, None] + noise[1] * 6)
    wave += 0.6 * np.sin(1.7 * x[None, :] + 2.3 * y[:, None] + noise[2] * 6)
    top = (1 << shape.depth) - 1
    return np.rint((0.5 + wave / 4) * top).astype(shape.dtype)


def moving(info, count, speed=3.0):
    return [
        Frame(
            F(n, 25),
            tuple(plane(shape, n * speed, seed) for seed, shape in enumerate(info.layout)),
        )
        for n in range(count)
    ]


class Same:
    def join(self, left, right, reset):
        return Join.INTERPOLATE


def windows(frames, shape, rate=F(60)):
    rolling = RollingWindow(shape, rate, Same(), F(1, 25))
    found = [window for frame in frames for window in rolling.push(frame)]
    return [*found, *rolling.finish()]


def drawings(name, info, frames, rate=F(60)):
    """Draw a stream; return for each window its slots and what was drawn in them."""
    engine = engines.build(name)
    shape = engine.open(info, rate)
    result = []
    for window in windows(frames, shape, rate):
        motion = engine.prepare(window)
        result.append((window, list(engine.draw(window, motion))))
    engine.close()
    engine.close()
    return result
