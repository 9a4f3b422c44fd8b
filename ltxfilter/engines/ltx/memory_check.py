"""One window of grey frames, drawn before work starts: whether the device's memory is enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import torch

from ltxfilter.engines.base import Engine
from ltxfilter.errors import EngineError, EngineUnavailableError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, Window, WindowShape

INTERVAL = Fraction(1, 24)  # seconds between frames of a stream that does not say


def rehearse(
    engine: Engine, video: VideoInfo, rate: Fraction | None, shape: WindowShape, advice: str
) -> None:
    """Draw one window as large as any. Raises EngineUnavailableError with `advice` if it fails."""
    window = grey_window(video, rate, shape)
    try:
        with enough_memory(engine.name, advice):
            list(engine.draw(window, engine.prepare(window)))
    except EngineError as error:
        raise EngineUnavailableError(str(error)) from None


def grey_window(video: VideoInfo, rate: Fraction | None, shape: WindowShape) -> Window:
    """Return the first window of an endless shot."""
    planes = tuple(
        np.full((part.height, part.width), 1 << (part.depth - 1), part.dtype)
        for part in video.layout
    )
    interval = video.interval or INTERVAL
    rolling = RollingWindow(shape, rate, OneShot(), interval)
    for number in range(shape.keyframes + shape.after + 1):
        for window in rolling.push(Frame(number * interval, planes)):
            return window
    return next(rolling.finish())


class OneShot:
    """Finds no cut anywhere."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:  # noqa: ARG002
        """Return DRAW."""
        return Join.INTERPOLATE


@contextmanager
def enough_memory(engine: str, advice: str) -> Iterator[None]:
    """Say which option helps where the device runs out of memory. Raises EngineError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise EngineError(
            f"engine {engine}: the device's memory is too small for these pictures; {advice}"
        ) from None
