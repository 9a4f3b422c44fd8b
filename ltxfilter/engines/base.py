"""The contract of an engine: windows in, planes for the slots between their keyframes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol

from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of its engines an engine that owns engines let draw a picture, and why."""

    engine: str  # name of the engine whose picture was taken, wholly or in most blocks
    difficulty: float  # of the window, 0 (nothing moves) to 1
    tried: str | None = None  # the engine that the gate compared it with, if it did
    share: float = 0.0  # of the blocks that come from `tried`, 0 to 1
    failed: bool = False  # `tried` drew nothing that could be compared


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn picture: planes in the stream's own format, and how good the engine thinks it is."""

    planes: Planes  # empty if the engine could not draw it: a fallback will
    psnr_db: float | None = None  # estimated PSNR of luma; None if the engine has no idea
    choice: Choice | None = None  # set by an engine that owns engines


class Engine(Protocol):
    """Draws the frames between keyframes; knows no files, pipes, threads or timestamps.

    `prepare` is called serially and in order and may carry state from window to window, dropped
    wherever a gap says `reset`. `draw` is pure: it may run concurrently with itself and with
    `prepare`, in any order, and gives the same samples each time. An engine is built from the
    values of its `options`, cheaply; heavy imports and allocations belong in `open`. One whose
    class says `resident = True` is also given planes that lie on a device (`color.DevicePlane`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for `ltxfilter engines`
    options: ClassVar[tuple[EngineOption, ...]]

    def __init__(self, **options: Any) -> None: ...

    @classmethod
    def unavailable(cls) -> str | None:
        """Return why it cannot run here and what to install, or None if it can."""
        ...

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Get ready for frames of `video`, output at `rate`; return the windows it wants.

        threads: how many `draw` calls may run at once. Raises EngineError.
        """
        ...

    def prepare(self, window: Window) -> Any:
        """Return what `draw` needs to know of the window beyond its frames."""
        ...

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:
        """Yield one Drawn per slot of `window.to_draw()`, in order. Raises EngineError."""
        ...

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        ...


class ModelEngine(Engine, Protocol):
    """An engine that draws with models from files; `build` tells it where they are."""

    files: ClassVar[tuple[str, ...]]  # fields of ModelOptions that it cannot do without

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None: ...
