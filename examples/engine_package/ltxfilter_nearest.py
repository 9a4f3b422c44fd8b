"""An engine of another package: shows the nearer of the two frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Window, WindowShape


class Nearest(Engine):
    """Shows the keyframe that is nearer in time."""

    name: ClassVar[str] = "nearest"
    summary: ClassVar[str] = "show the nearer of the two frames"
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "switch",
            0.5,
            "Position between the two frames from which on the later one is shown.",
            low=0,
            high=1,
        ),
    )
    can_be_wrong: ClassVar[bool] = False  # its pictures are source frames

    def __init__(self, switch: float = 0.5) -> None:
        self.switch = switch

    def open(
        self,
        video: VideoInfo,  # noqa: ARG002  (it treats every video alike)
        rate: Fraction | None,  # noqa: ARG002
        threads: int = 1,  # noqa: ARG002
    ) -> WindowShape:
        """Ask for pairs of frames. It holds no memory of its own."""
        return WindowShape(keyframes=2)

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield the planes of one of the two keyframes around each slot."""
        for slot in window.to_draw():
            later = slot.tau >= self.switch
            yield Drawn(window.keyframes[slot.left + later].planes)
