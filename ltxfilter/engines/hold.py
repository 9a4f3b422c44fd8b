"""The engine `hold`: repeat the earlier keyframe; the baseline that every other one must beat."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.frame import VideoInfo
from ltxfilter.windows.window import Window, WindowShape


class Hold(Engine):
    """Repeats the earlier keyframe."""

    name: ClassVar[str] = "hold"
    summary: ClassVar[str] = "repeat the earlier frame"
    can_be_wrong: ClassVar[bool] = False
    live_shapes = {"hold": WindowShape()}  # noqa: RUF012  (a mapping that nobody writes to)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Ask for pairs."""
        return WindowShape()

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield the earlier keyframe's planes for each slot."""
        for slot in window.to_draw():
            yield Drawn(window.keyframes[slot.left].planes)
