"""The engine `ltx-reference`: the official pipeline for each window, to compare others with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx import INSTALL, shared
from ltxfilter.engines.ltx.diffusion.grids import GridPlanner, LatentGrid
from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, frame_count
from ltxfilter.engines.ltx.shared import LtxEngine
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from torch import Tensor

    from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamKeyframe

PACKAGES = ("ltx_pipelines", "transformers", "PIL")  # beyond those of the other engines


class LtxReference(LtxEngine):
    """Calls upstream's KeyframeInterpolationPipeline, which loads its models for every window."""

    name: ClassVar[str] = "ltx-reference"
    summary: ClassVar[str] = "LTX-2: the official pipeline, slow, to compare the others with"
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "spatial_upsampler", "context")
    takes_files: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (*files, *shared.TEXT_FILES, "loras", "distilled_lora"), ""
    )
    takes_device_planes = True
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "steps", 30, "The first stage takes this many denoising steps.", low=1, high=100
        ),
        *shared.GUIDANCE_OPTIONS,
        shared.LATENTS,
        shared.STRENGTH,
        shared.SEED,
        EngineOption(
            "match",
            False,
            "The tone of interpolated frames is matched to their keyframes.",
            expert=True,
        ),
    )

    @property
    def further_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it uses where they are named."""
        return ("loras", "distilled_lora")

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        missing = [name for name in PACKAGES if find_spec(name) is None]
        more = f"needs {', '.join(missing)}; {INSTALL}" if missing else None
        return super().unavailable() or more

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Check the files; ask for windows that fill a grid of latents."""
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas
        from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamPipeline
        from ltxfilter.engines.ltx.models.resident import Models

        self._check_files()
        files = self._encoded()
        models = self._models = Models(files)
        models.context()
        self._guidance = shared.choose_guidance(models, self._options)
        weights = sum(map(models.nbytes, ("transformer", "encoder", "decoder", "spatial")))
        self._pipeline = UpstreamPipeline(files, models.device, models.cancellation.check)
        self._canvas = canvas = Canvas(video, models.device, 2 * SPATIAL_COMPRESSION)
        self._planner = GridPlanner.choose(rate, video.interval, self._options["latents"])
        frames = frame_count(self._planner.latents + 1)
        on_host = weights if models.device.type == "cpu" else 0
        decoding = shared.decoding_bytes(canvas, frames, models.device)
        return replace(
            self._planner.shape(),
            work_bytes=models.host_bytes + on_host + decoding,
            model_bytes=models.host_bytes + on_host,
            draw_bytes=frames * video.frame_bytes,
        )

    def prepare(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return the grids of latents that interpolate the window."""
        return self._planner.plan(window)

    def draw(self, window: Window, motion: tuple[LatentGrid, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot. motion: the grids that `prepare` returned."""
        for grid in motion:
            with self._device_lock:
                drawn = self._draw_grid(window, grid)
            yield from drawn

    def _draw_grid(self, window: Window, grid: LatentGrid) -> list[Drawn]:
        from ltxfilter.engines.ltx.diffusion.tokens import seed_of
        from ltxfilter.engines.ltx.diffusion.two_stage import read_keyframes, slot_pictures

        options, models = self._options, self._models
        assert models is not None
        models.cancellation.check()
        keyframes = read_keyframes(self._canvas, window, [grid])
        context = models.context(grid.prompt_time)
        negative = models.negative_context()
        pictures = self._pipeline.draw(
            self._upstream_keyframes(grid, keyframes),
            grid.frames,
            float(grid.model_rate),
            steps=options["steps"],
            seed=seed_of(options["seed"], grid.time),
            guidance=self._guidance,
            contexts=(context, context if negative is None else negative),
            audio_width=models.transformer_file.config["transformer"]["audio_cross_attention_dim"],
        ).to(models.device)
        match = options["match"]
        return slot_pictures(self._canvas, window, grid, keyframes, pictures, match=match)

    def _upstream_keyframes(
        self, grid: LatentGrid, keyframes: dict[int, Tensor]
    ) -> list[UpstreamKeyframe]:
        """Return the keyframes at the nearest whole frames, the only places upstream knows.

        Where one rate is no multiple of the other, they are up to half an output frame off. That
        error is upstream's and a part of the comparison.
        """
        from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamKeyframe

        frames = {round(key.at - grid.offset): key.keyframe for key in reversed(grid.keyframes)}
        return [
            UpstreamKeyframe(keyframes[key], frame, self._options["strength"])
            for frame, key in sorted(frames.items())
            if 0 <= frame < grid.frames
        ]
