"""An engine of your own: shows the nearer of the two frames. custom_engine.py in.mp4 out.mp4."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

import ltxfilter
from ltxfilter.engines import ENGINES
from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Window, WindowShape


class Nearest(Engine):
    """Shows the keyframe that is nearer in time."""

    name: ClassVar[str] = "nearest"
    summary: ClassVar[str] = "show the nearer of the two frames"
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("switch", 0.5, "tau from which the later frame is shown", low=0, high=1),
    )

    def __init__(self, switch: float = 0.5) -> None:
        self.switch = switch

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Ask for pairs of frames."""
        return WindowShape(keyframes=2)

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:
        """Yield one picture per slot to draw."""
        for slot in window.to_draw():
            later = slot.tau >= self.switch
            yield Drawn(window.keyframes[slot.left + later].planes)


ENGINES["nearest"] = f"{__name__}:Nearest"

if __name__ == "__main__":
    done = ltxfilter.convert(sys.argv[1], sys.argv[2], fps=50, engine="nearest:switch=0.25")
    print(
        f"{done.passed} passed through, {done.interpolated} interpolated, {done.repeated} repeated"
    )
