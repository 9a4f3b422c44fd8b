"""A trial window of grey frames before work starts: does it fit into the device's memory?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import torch

from ltxfilter.engines.base import Engine
from ltxfilter.errors import EngineError, EngineUnavailableError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, Window, WindowShape

TRIALS = 3  # windows: text is cached in the first, a step is captured when it runs a second time


def check_window_fits(
    engine: Engine,
    video: VideoInfo,
    rate: Fraction | None,
    shape: WindowShape,
    advice: str,
    *,
    again: Callable[[], bool] = lambda: False,
) -> None:
    """Let an engine interpolate one window as large as any, and drop the pictures.

    rate: output frames per second, None where the source's own timeline is doubled. shape: the
    windows that the engine asks for. advice: what a user can do, the end of the error's message.
    again: asked after each window whether another one would take more memory, for CUDA graphs.
    Raises EngineUnavailableError if the device runs out of memory.
    """
    window = grey_window(video, rate, shape)
    try:
        with explain_out_of_memory(engine.name, advice):
            for _ in range(TRIALS):
                list(engine.draw(window, engine.prepare(window)))
                if not again():
                    break
    except EngineError as error:
        raise EngineUnavailableError(str(error)) from None


def grey_window(video: VideoInfo, rate: Fraction | None, shape: WindowShape) -> Window:
    """Return the first window of a shot without end whose frames are all grey."""
    planes = tuple(
        np.full((plane.height, plane.width), 1 << (plane.depth - 1), plane.dtype)
        for plane in video.layout
    )
    interval = video.usual_interval
    rolling = RollingWindow(shape, rate, SingleShot(), interval)
    for number in range(shape.keyframes + shape.after + 1):
        for window in rolling.push(Frame(number * interval, planes)):
            return window
    return next(rolling.finish())


class SingleShot:
    """A scene-cut detector that never finds a cut."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:  # noqa: ARG002
        """Return INTERPOLATE for any two frames."""
        return Join.INTERPOLATE


@contextmanager
def explain_out_of_memory(engine: str, advice: str) -> Iterator[None]:
    """Raise EngineError, with the engine's name and advice, where torch runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise EngineError(
            f"engine {engine}: the device's memory is too small for these frames; {advice}"
        ) from None
