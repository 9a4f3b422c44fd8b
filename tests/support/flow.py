"""A panning scene as frames and windows, and what the flow engine draws of it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ltxfilter.engines.flow import Flow
from ltxfilter.frame import Frame, PlaneShape, VideoInfo
from ltxfilter.windows.window import Interval, Join, Slot, Window
from support.scenes import scene

WIDTH, HEIGHT = 256, 144
HALF = (Fraction(1, 2),)


def info(
    depth: int = 8, shift_x: int = 1, shift_y: int = 1, roles: str = "yuv", **size: int
) -> VideoInfo:
    width, height = size.get("width", WIDTH), size.get("height", HEIGHT)
    layout = []
    for role in roles:
        x, y = (shift_x, shift_y) if role in "uv" else (0, 0)
        layout.append(PlaneShape(role, -(-width >> x), -(-height >> y), x, y, depth))
    return VideoInfo(width, height, "test", tuple(layout), Fraction(25))


def pan(video: VideoInfo, place: float, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Return the planes of a scene seen `place` pixels further to the right."""
    import cv2

    picture = scene(seed).astype(np.float32)
    top = (1 << video.depth) - 1
    planes = []
    for shape in video.layout:
        move = np.array([[1, 0, -20 - place], [0, 1, -20]], np.float32)
        whole = cv2.warpAffine(picture, move, (video.width, video.height), flags=cv2.INTER_CUBIC)
        part = cv2.resize(whole, (shape.width, shape.height), interpolation=cv2.INTER_AREA)
        planes.append(np.clip(np.rint(part * (top / 255)), 0, top).astype(shape.dtype))
    return tuple(planes)


def windows(
    frames: list[Frame],
    joins: dict[int, Join] | None = None,
    resets: tuple[int, ...] = (),
    taus: tuple[Fraction, ...] = HALF,
) -> list[Window]:
    """Return one window per pair, as RollingWindow makes them for the flow engine."""
    intervals = [
        Interval((joins or {}).get(k, Join.INTERPOLATE), k == 0 or k in resets)
        for k in range(len(frames) - 1)
    ]
    made = []
    for k in range(len(intervals)):
        low, high = max(k - 1, 0), min(k + 2, len(intervals))
        first = k - low
        step = frames[k + 1].time - frames[k].time
        slots = tuple(Slot(0, frames[k].time + tau * step, first, tau) for tau in taus)
        made.append(
            Window(
                k,
                tuple(frames[low : high + 1]),
                first,
                first + 1,
                tuple(intervals[low:high]),
                slots,
            )
        )
    return made


def sequence(video: VideoInfo, places: list[float]) -> list[Frame]:
    return [Frame(Fraction(k, 25), pan(video, place)) for k, place in enumerate(places)]


def draw(video: VideoInfo, made: list[Window], **options: object) -> list[list]:
    engine = Flow(**options)
    engine.open(video, Fraction(50))
    motions = [engine.prepare(window) for window in made]
    drawn = [list(engine.draw(w, motion)) for w, motion in zip(made, motions, strict=True)]
    engine.close()
    return drawn


def smooth(rng: np.random.Generator, rows: int, columns: int, reach: float) -> np.ndarray:
    """Return flow [rows, columns, 2]: a random affine field with some outliers."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    a, b, c = rng.uniform(-reach, reach, (3, 2, 1, 1))
    flow = (a + b * x + c * y).transpose(1, 2, 0)
    wild = rng.random((rows, columns)) < 0.05
    flow[wild] += rng.uniform(-5 * reach, 5 * reach, (wild.sum(), 2))
    return np.ascontiguousarray(flow, np.float32)
