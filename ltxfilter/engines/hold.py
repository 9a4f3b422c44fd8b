"""The engine `hold`: repeat the earlier keyframe; the baseline that every other one must beat."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Window, WindowShape


class Hold:
    """Repeats the earlier keyframe."""

    name: ClassVar[str] = "hold"
    summary: ClassVar[str] = "repeat the earlier frame"
    options: ClassVar[tuple[EngineOption, ...]] = ()

    @classmethod
    def unavailable(cls) -> str | None:
        """Return None: it runs everywhere."""
        return None

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Ask for pairs."""
        return WindowShape()

    def prepare(self, window: Window) -> Any:
        """Return nothing: there is nothing to know."""

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield the earlier keyframe's planes for each slot."""
        for slot in window.to_draw():
            yield Drawn(window.keyframes[slot.left].planes)

    def close(self) -> None:
        """Do nothing."""
