"""The engine `ltx-reference`: the official pipeline, window by window; what others are held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.ltx import INSTALL, missing_packages
from ltxfilter.engines.ltx.diffusion.grids import LatentGrid, Planner
from ltxfilter.engines.ltx.keyframe import CELL, GUIDING, WORKING, choose_guidance
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from torch import Tensor

    from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamFiles

PACKAGES = ("ltx_pipelines", "transformers", "PIL")  # beyond those of the other engines


class LtxReference(Engine):
    """Calls upstream's KeyframeInterpolationPipeline, which loads its models for every window."""

    name: ClassVar[str] = "ltx-reference"
    summary: ClassVar[str] = "LTX-2: the official pipeline for each window, slowly, to compare with"
    uses_models: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "spatial_upsampler", "context")
    takes_device_planes: ClassVar[bool] = True
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("steps", 30, "of the first stage", low=1, high=100),
        *GUIDING,
        EngineOption("latents", 0, "of 8 frames drawn at a time; 0 by the rates", low=0, high=32),
        EngineOption("strength", 1.0, "how fixed keyframes are in the latents", low=0, high=1),
        EngineOption("seed", 0, "of the noise"),
        EngineOption("match", False, "match drawn frames' tone to their keyframes'"),
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        self._options = {option.name: option.default for option in self.options} | options
        self._files = models or ModelOptions()
        self._lock = Lock()

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        more = [name for name in PACKAGES if find_spec(name) is None]
        return missing_packages() or (f"needs {', '.join(more)}; {INSTALL}" if more else None)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Check the files; ask for windows that a grid of latents fills."""
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas
        from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamPipeline
        from ltxfilter.engines.ltx.models.resident import Models

        self._models = models = Models(self._files)
        models.context()
        self._guidance = choose_guidance(models, self._options)
        needed = sum(map(models.nbytes, ("transformer", "encoder", "decoder", "spatial")))
        self._official = UpstreamPipeline(self._files, models.device)
        self._canvas = Canvas(video, models.device, 2 * CELL)
        self._planner = Planner.choose(rate, video.interval, self._options["latents"])
        frames = 8 * self._planner.latents + 1
        on_host = models.device.type == "cpu"
        working = needed + WORKING * self._canvas.width * self._canvas.height * frames
        return replace(
            self._planner.shape(),
            work_bytes=models.host_bytes + (working if on_host else 0),
            draw_bytes=frames * video.frame_bytes,
        )

    def prepare(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return the grids of latents that the window takes."""
        return self._planner.plan(window)

    def draw(self, window: Window, motion: tuple[LatentGrid, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot."""
        for grid in motion:
            with self._lock:
                drawn = self._draw(window, grid)
            yield from drawn

    def close(self) -> None:
        """Do nothing: between calls no model is there."""

    def _draw(self, window: Window, grid: LatentGrid) -> list[Drawn]:
        from ltxfilter.engines.ltx.diffusion.tokens import seed_of
        from ltxfilter.engines.ltx.diffusion.two_stage import read_keyframes, shown

        options, models = self._options, self._models
        keyframes = read_keyframes(self._canvas, window, [grid])
        context = models.context(grid.scene)
        negative = models.negative_context()
        pictures = self._official.draw(
            self._stills(grid, keyframes),
            grid.frames,
            float(grid.model_rate),
            steps=options["steps"],
            seed=seed_of(options["seed"], grid.time),
            guidance=self._guidance,
            contexts=(context, context if negative is None else negative),
            sound_width=models.checkpoint.config["transformer"]["audio_cross_attention_dim"],
        ).to(models.device)
        return shown(self._canvas, window, grid, keyframes, pictures, match=options["match"])

    def _stills(self, grid: LatentGrid, keyframes: dict[int, Tensor]) -> list[UpstreamFiles]:
        """Return the keyframes on the nearest whole frames, the only places upstream knows.

        Where rates are no multiples that is up to half an output frame off, which is upstream's
        fault and a part of what it is compared for.
        """
        from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamFiles

        places = {round(still.at - grid.offset): still.keyframe for still in reversed(grid.stills)}
        return [
            UpstreamFiles(keyframes[key], place, self._options["strength"])
            for place, key in sorted(places.items())
            if 0 <= place < grid.frames
        ]
