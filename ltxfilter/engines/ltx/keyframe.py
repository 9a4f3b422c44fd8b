"""The engine `ltx-keyframe`: LTX-2 denoises the frames between keyframes that condition it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx import shared
from ltxfilter.engines.ltx.diffusion.grids import GridPlanner, LatentGrid
from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, frame_count
from ltxfilter.engines.ltx.shared import LtxEngine
from ltxfilter.errors import OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.diffusion.canvas import Canvas
    from ltxfilter.engines.ltx.models.resident import Models

MOST_DISTILLED_STEPS = 8  # that distilled models were trained on


class LtxKeyframe(LtxEngine):
    """Denoises a grid of frames at half size, upsamples it to full size and refines it there."""

    name: ClassVar[str] = "ltx-keyframe"
    summary: ClassVar[str] = "LTX-2: the whole diffusion model makes the frames between keyframes"
    files: ClassVar[tuple[str, ...]] = ("transformer", "vae", "spatial_upsampler", "context")
    takes_files: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("checkpoint", "transformer", "vae", *shared.TEXT_FILES, "loras"), ""),
        **dict.fromkeys(("spatial_upsampler", "distilled_lora"), "stages=2"),
    }
    only_with: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {
        **{option.name: ("mode", ("guided",)) for option in shared.GUIDANCE_OPTIONS},
        "refine": ("stages", (2,)),
    }
    enlarges: ClassVar[bool] = True
    takes_device_planes = True
    memory_advice: ClassVar[str] = (
        "try tile=512, fewer latents, a smaller batch or stages=1, make the transformer smaller "
        "with fp8=rowwise or keep it in host memory with offload=1, or cache less of the prompt "
        "with text_memory=0"
    )
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "stages",
            2,
            "2 stages denoise at half size, upsample and refine at full size; 1 stage denoises at "
            "full size. With --scale the source's size is upsampled.",
            low=1,
            high=2,
        ),
        EngineOption(
            "mode",
            "distilled",
            "distilled takes few steps without guidance, guided takes many steps with guidance.",
            ("distilled", "guided"),
        ),
        EngineOption(
            "steps",
            0,
            "The first stage takes this many denoising steps; 0 is 8 with mode=distilled and 30 "
            "with mode=guided.",
            low=0,
            high=100,
        ),
        EngineOption(
            "refine",
            3,
            "The second stage takes this many denoising steps.",
            low=1,
            high=3,
            expert=True,
        ),
        EngineOption(
            "sampler",
            "euler",
            "The first stage uses this sampler.",
            ("euler", "ancestral", "gradient", "res-2s"),
            expert=True,
        ),
        *shared.GUIDANCE_OPTIONS,
        shared.LATENTS,
        shared.BATCH,
        EngineOption(
            "lead",
            1,
            "A grid begins with this many latent frames that the previous grid made already.",
            low=1,
            high=4,
            expert=True,
        ),
        shared.STRENGTH,
        EngineOption(
            "append",
            False,
            "A keyframe at a grid's first frame is appended as tokens instead of replacing the "
            "first latent frame.",
            expert=True,
        ),
        EngineOption(
            "reference",
            False,
            "The source conditions the model as a video; this needs an IC-LoRA (--lora).",
            expert=True,
        ),
        shared.SEED,
        EngineOption(
            "match",
            True,
            "The tone of interpolated frames is matched to their keyframes.",
            expert=True,
        ),
        *shared.TRANSFORMER_OPTIONS,
        shared.OFFLOAD,
        EngineOption(
            "compile",
            False,
            "torch compiles the transformer, which takes minutes at first and makes it faster.",
            expert=True,
        ),
        shared.TILE,
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        """Take options by name and the files' paths. Raises OptionError."""
        super().__init__(models, **options)
        if self._options["offload"] and self._options["compile"]:
            raise OptionError("options offload=1 and compile=1 exclude each other")
        distilled = self._options["mode"] == "distilled"
        if distilled and self._options["steps"] > MOST_DISTILLED_STEPS:
            raise OptionError(
                f"option steps={self._options['steps']}: mode=distilled takes at most "
                f"{MOST_DISTILLED_STEPS}; mode=guided takes more"
            )

    @property
    def needed_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it needs with its options."""
        second = ("spatial_upsampler",) if self._options["stages"] == 2 or self.scale > 1 else ()
        reference = ("loras",) if self._options["reference"] else ()
        return ("transformer", "vae", *second, "context", *reference)

    @property
    def takes_few_steps(self) -> bool:
        """True if it needs a transformer that takes few steps, with its own options."""
        return self._options["mode"] == "distilled"

    @property
    def further_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it uses where they are named."""
        distilled = self._options["mode"] == "distilled"
        refined = self._options["stages"] == 2 or distilled
        return ("loras", "distilled_lora") if refined else ("loras",)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Load the models; ask for windows that fill whole grids of latents."""
        from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
        from ltxfilter.engines.ltx.diffusion.samplers import UNGUIDED
        from ltxfilter.engines.ltx.diffusion.two_stage import TwoStageDiffusion
        from ltxfilter.engines.ltx.weights.fits import check_loras
        from ltxfilter.engines.ltx.weights.lora import reference_downscale

        self.close()
        options = self._options
        self._check_files()
        models = self._models = self._new_models()
        models.context()  # an error in its file is found before the large files are loaded
        guided = options["mode"] == "guided"
        guidance = shared.choose_guidance(models, options) if guided else UNGUIDED
        second = self._second_stage(models)
        models.load("transformer", "encoder", "decoder", *second)
        reference = reference_downscale(models.options) if options["reference"] else 0
        check_loras(models.loras, reference=bool(reference))
        scale = models.spatial_scale if second else Fraction(1)
        canvas = self._canvas(video, models, scale, max(reference, 1))
        target = canvas.enlarged(self.scale)
        self._trial = partial(models.seconds_per_frame, target.width * target.height)
        cache = KeyframeCache(models.encode)
        self._diffusion = TwoStageDiffusion(
            models, canvas, target, options, guidance, cache, scale, reference
        )
        self._planner = GridPlanner.choose(
            rate, video.interval, options["latents"], options["lead"], options["batch"]
        )
        frames = frame_count(self._planner.latents + 1) * options["batch"]
        shape = replace(
            self._planner.shape(),
            work_bytes=shared.decoding_bytes(target, frames, models.device) + models.host_bytes,
            model_bytes=models.host_bytes,
            device_bytes=models.device_bytes,
            draw_bytes=frames * target.video.frame_bytes,
        )
        if models.device.type != "cpu":
            self._check_device_memory(video, rate, shape)
        return shape

    def _second_stage(self, models: Models) -> tuple[str, ...]:
        """Return the models that work on the first stage's latents."""
        refiner = (models.refiner,) if self._options["stages"] == 2 else ()
        return ("spatial", *refiner) if refiner or self.scale > 1 else ()

    def _canvas(self, video: VideoInfo, models: Models, scale: Fraction, reference: int) -> Canvas:
        """Return the canvas of keyframes, whose sides every stage can divide.

        scale: of the spatial upsampler. reference: how many times smaller a reference clip is.
        """
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas

        step = scale.numerator if self.scale == 1 else scale.denominator
        return Canvas(video, models.device, SPATIAL_COMPRESSION * step * reference)

    def _new_models(self) -> Models:
        from ltxfilter.engines.ltx.models.resident import Models
        from ltxfilter.engines.ltx.weights.fits import check_guided, few_step_options
        from ltxfilter.engines.ltx.weights.parts import ModelParts

        options, files = self._options, self._encoded()
        if options["mode"] == "distilled":
            files = few_step_options(files)
        else:
            check_guided(ModelParts(files))
        return Models(
            files,
            fp8=options["fp8"],
            tile=options["tile"],
            offload=options["offload"],
            compiled=options["compile"],
            graphs=options["graphs"],
            text_memory=options["text_memory"],
        )

    def _check_device_memory(
        self, video: VideoInfo, rate: Fraction | None, shape: WindowShape
    ) -> None:
        """Interpolate a grey window in one step per stage: further steps take no more memory."""
        diffusion = self._diffusion
        one_step = {**diffusion.options, "steps": 1, "refine": 1}
        self._diffusion = replace(diffusion, options=one_step)
        super()._check_device_memory(video, rate, shape)
        self._diffusion = diffusion

    def prepare(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return the grids of latents that interpolate the window."""
        return self._planner.plan(window)

    def draw(self, window: Window, motion: tuple[LatentGrid, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot. motion: the grids that `prepare` returned."""
        from ltxfilter.engines.ltx.memory_check import explain_out_of_memory

        with self._device_lock, explain_out_of_memory(self.name, self.advice):
            drawn = self._diffusion.models.retry_without_text(
                lambda: list(self._diffusion.draw(window, motion))
            )
        for pictures in drawn:
            yield from pictures
