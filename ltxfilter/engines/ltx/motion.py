"""The engine `ltx-motion`: LTX-2 defines the motion at a small size, original pixels follow it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.ltx import missing_packages
from ltxfilter.engines.ltx.diffusion.grids import SPLIT
from ltxfilter.engines.ltx.guides.clips import ClipSpan, stretches
from ltxfilter.engines.ltx.keyframe import RUNNING
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.guides.contract import GuideSource

SOURCES = ("latent", "dit", "latent+dit")
CONTEXT = 1  # keyframes on each side that tell what stands still
ADVICE = "draw with batch=1, fewer intervals or a smaller size, or with vae=tiny"


class LtxMotion(Engine):
    """Draws small guides between keyframes, finds the motion in them, and warps the keyframes."""

    name: ClassVar[str] = "ltx-motion"
    summary: ClassVar[str] = "LTX-2: define the motion at a small size, warp the original pixels"
    uses_models: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "temporal_upsampler")  # unless source=dit
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("source", "latent", "what draws guides; dit needs --context", SOURCES),
        EngineOption("steps", 4, "of dit: 1, 2, 3, 4 or 8", low=1, high=8),
        EngineOption("size", "", "of guides, as 448x256; empty goes by the picture's shape"),
        EngineOption(
            "parts", 0, "of an interval: 2, 4, 8, 16; 0 goes by the rates", low=0, high=16
        ),
        EngineOption(
            "intervals", 0, "drawn as one clip; 0 as many as the source wants", low=0, high=64
        ),
        EngineOption("batch", 1, "clips drawn at a time", low=1, high=64),
        EngineOption(
            "vae", "full", "tiny needs --tiny-vae, and less of everything", ("full", "tiny")
        ),
        EngineOption("still", True, "protect what stands still, such as burned-in text"),
        EngineOption("seed", 0, "of the noise that dit begins with"),
        *RUNNING,
        EngineOption("offload", False, "keep the transformer in host memory; slow"),
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        self._options = {option.name: option.default for option in self.options} | options
        self._files = models or ModelOptions()
        self._lock = Lock()
        self._source: GuideSource | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        return missing_packages()

    def open_source(self, video: VideoInfo, pace: Fraction) -> GuideSource:
        """Open what draws guides at `pace` output frames per keyframe.

        Raises OptionError, EngineError.
        """
        from ltxfilter.engines.ltx.guides.ltx_source import open_source

        return open_source(self._files, self._options, (video.width, video.height), pace)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Load the models; ask for windows that fill a batch of clips."""
        import cv2

        from ltxfilter.engines.ltx.guides.warp_along import GuideWarper
        from ltxfilter.engines.ltx.memory_check import rehearse

        self.close()
        cv2.setNumThreads(1)  # as `flow` does: windows are drawn in parallel instead
        pace = Fraction(SPLIT) if rate is None else rate * (video.interval or Fraction(1, 24))
        source = self._source = self.open_source(video, pace)
        self._drawing = GuideWarper(video, source, still=self._options["still"])
        shape = WindowShape(
            keyframes=source.intervals * source.batch + 1,
            before=max(source.before, CONTEXT),
            after=max(source.after, CONTEXT),
            slots=0,
            work_bytes=source.host_bytes,
            draw_bytes=self._drawing.draw_bytes,
        )
        if source.device.type != "cpu":
            rehearse(self, video, rate, shape, ADVICE)
        return shape

    def prepare(self, window: Window) -> tuple[ClipSpan, ...]:
        """Return the clips that the window's slots take."""
        source = self._source
        assert source is not None
        return stretches(window, source.intervals, source.before, source.after)

    def draw(self, window: Window, motion: tuple[ClipSpan, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot; empty ones where the source drew no numbers."""
        from ltxfilter.engines.ltx.memory_check import enough_memory

        if not motion:
            return
        with enough_memory(self.name, ADVICE):
            view = self._drawing.view(window)
            with self._lock:  # one batch on the device at a time
                guides = self._drawing.guides(view, motion)
            for stretch, guide in zip(motion, guides, strict=True):
                yield from self._drawing.draw(view, stretch, guide)

    def close(self) -> None:
        """Let go of the models."""
        if self._source is not None:
            self._source.close()
            self._source = None
