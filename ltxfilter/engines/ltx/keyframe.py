"""The engine `ltx-keyframe`: LTX-2 draws what lies between keyframes, given as latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.ltx import missing_packages
from ltxfilter.engines.ltx.diffusion.grids import LatentGrid, Planner
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.diffusion.samplers import Guidance
    from ltxfilter.engines.ltx.models.resident import Models

CELL = 32  # pixels of a latent's side
WORKING = 12 * 4  # bytes per pixel and frame that decoding takes, where it takes host memory
SAMPLERS = ("euler", "ancestral", "gradient", "res-2s")  # as sample.SAMPLERS, which needs torch
MODES = ("auto", "rowwise", "cast", "off")  # as fp8.MODES
GRAPHS = ("auto", "on", "off")  # as graphs.MODES
RUNNING = (  # how the transformer runs
    EngineOption("fp8", "auto", "transformer in 8 bits", MODES),
    EngineOption("graphs", "auto", "replay the transformer's steps as CUDA graphs", GRAPHS),
    EngineOption(
        "text_memory",
        -1.0,
        "GB for what the prompt contributes, computed once; -1 what a GPU can spare, 0 nothing",
        low=-1,
    ),
)
ADVICE = (
    "draw with tile=512, fewer latents, a smaller batch or stages=1, keep the transformer smaller "
    "with fp8=rowwise or out of it with offload=1, or less of the prompt with text_memory=0"
)
GUIDING_BLOCKS = (29, 28)  # whose attention is left out: of LTX-2, of LTX-2.3
GUIDING = (
    EngineOption("cfg", 3.0, "away from the negative prompt; 1 off", low=0, high=20),
    EngineOption("stg", 1.0, "away from less attention; 0 off", low=0, high=20),
    EngineOption("stg_block", -1, "block without attention; -1 as trained", low=-1),
    EngineOption("rescale", 0.7, "how far contrast is brought back", low=0, high=1),
    EngineOption("skip_step", 0, "unguided steps after each guided one", low=0),
)


class LtxKeyframe(Engine):
    """Draws a grid of frames at half size, raises it to full size and refines it there."""

    name: ClassVar[str] = "ltx-keyframe"
    summary: ClassVar[str] = "LTX-2: draw what lies between frames with the whole model"
    uses_models: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "spatial_upsampler", "context")
    takes_device_planes: ClassVar[bool] = True
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("stages", 2, "2: half size, then full size; 1: full size", low=1, high=2),
        EngineOption(
            "mode", "distilled", "few trained steps, or many guided ones", ("distilled", "guided")
        ),
        EngineOption("steps", 0, "of the first stage; 0 goes by the mode", low=0, high=100),
        EngineOption("refine", 3, "steps of the second stage", low=1, high=3),
        EngineOption("sampler", "euler", "how the first stage follows the model", SAMPLERS),
        *GUIDING,
        EngineOption("latents", 0, "of 8 frames drawn at a time; 0 by the rates", low=0, high=32),
        EngineOption("batch", 1, "of them drawn at once; as many times the memory", low=1, high=64),
        EngineOption("lead", 1, "latents shared with the window before", low=1, high=4),
        EngineOption("strength", 1.0, "how fixed keyframes are in the latents", low=0, high=1),
        EngineOption("append", False, "a keyframe at a grid's start is given beside it, not in it"),
        EngineOption("reference", False, "give the source as video too; needs an IC-LoRA (--lora)"),
        EngineOption("seed", 0, "of the noise"),
        EngineOption("match", True, "match drawn frames' tone to their keyframes'"),
        *RUNNING,
        EngineOption("offload", False, "keep the transformer in host memory; slow"),
        EngineOption("compile", False, "compile the transformer: minutes at first, then faster"),
        EngineOption("tile", 0, "pixels of what is decoded at a time; 0 whole pictures", low=0),
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        self._options = {option.name: option.default for option in self.options} | options
        if 0 < self._options["tile"] < 4 * CELL:
            raise OptionError(f"option tile={self._options['tile']}: 0, or at least {4 * CELL}")
        if self._options["offload"] and self._options["compile"]:
            raise OptionError("options offload=1 and compile=1 exclude each other")
        self._files = models or ModelOptions()
        self._lock = Lock()
        self._models: Models | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        return missing_packages()

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Load the models; ask for windows that a grid of latents fills."""
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas
        from ltxfilter.engines.ltx.diffusion.keyframe_cache import Encoded
        from ltxfilter.engines.ltx.diffusion.samplers import UNGUIDED
        from ltxfilter.engines.ltx.diffusion.two_stage import Stages
        from ltxfilter.engines.ltx.models.resident import Models

        self.close()
        options = self._options
        two = options["stages"] == 2
        models = Models(
            self._files,
            fp8=options["fp8"],
            tile=options["tile"],
            offload=options["offload"],
            compiled=options["compile"],
            graphs=options["graphs"],
            text_memory=options["text_memory"],
        )
        models.context()  # before what takes long to load
        guided = options["mode"] == "guided"
        guidance = choose_guidance(models, options) if guided else UNGUIDED
        models.load(
            "transformer", "encoder", "decoder", *(("spatial", models.refiner) if two else ())
        )
        self._models = models
        reference = reference_scale(self._files) if options["reference"] else 0
        canvas = Canvas(video, models.device, CELL * options["stages"] * max(reference, 1))
        self._planner = Planner.choose(
            rate, video.interval, options["latents"], options["lead"], options["batch"]
        )
        encoded = Encoded(models.encode)
        self._stages = Stages(models, canvas, options, guidance, encoded, reference)
        frames = (8 * self._planner.latents + 1) * options["batch"]
        on_host = models.device.type == "cpu"
        working = WORKING * canvas.width * canvas.height * frames if on_host else 0
        shape = replace(
            self._planner.shape(),
            work_bytes=working + models.host_bytes,
            draw_bytes=frames * video.frame_bytes,
        )
        if not on_host:
            self.rehearse(video, rate, shape)
        return shape

    def rehearse(self, video: VideoInfo, rate: Fraction | None, shape: WindowShape) -> None:
        """Draw one window in a step or two. Raises EngineUnavailableError if memory is short."""
        from ltxfilter.engines.ltx.memory_check import rehearse

        stages = self._stages
        self._stages = replace(stages, options={**stages.options, "steps": 1, "refine": 1})
        rehearse(self, video, rate, shape, ADVICE)
        self._stages = stages

    def prepare(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return the grids of latents that the window takes."""
        return self._planner.plan(window)

    def draw(self, window: Window, motion: tuple[LatentGrid, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot."""
        from ltxfilter.engines.ltx.memory_check import enough_memory

        with self._lock, enough_memory(self.name, ADVICE):  # one batch on the device at a time
            models = self._stages.models
            drawn = models.leaner(lambda: list(self._stages.draw(window, motion)))
        for pictures in drawn:
            yield from pictures

    def close(self) -> None:
        """Let go of the models."""
        if self._models is not None:
            self._models.close()
            self._models = None


def choose_guidance(models: Models, options: Mapping[str, Any]) -> Guidance:
    """Return the guidance that options ask for.

    Raises EngineUnavailableError if the prompt to guide away from is missing, OptionError.
    """
    from ltxfilter.engines.ltx.diffusion.samplers import Guidance

    if options["cfg"] != 1 and models.negative_context() is None:
        raise EngineUnavailableError(
            f"--context {models.options.context}: it has no negative prompt to guide away from; "
            "make it with ltxfilter context --negative, or draw with cfg=1"
        )
    block = options["stg_block"]
    if block >= models.blocks:
        raise OptionError(f"option stg_block={block}: the model has {models.blocks} blocks")
    if block < 0:
        later = models.checkpoint.config["transformer"].get("cross_attention_adaln", False)
        block = min(GUIDING_BLOCKS[bool(later)], models.blocks - 1)
    return Guidance(
        cfg=options["cfg"],
        stg=options["stg"],
        blocks=(block,),
        rescale=options["rescale"],
        skip=options["skip_step"],
    )


def reference_scale(models: ModelOptions) -> int:
    """Return how much smaller than the picture the IC-LoRA wants the video that it is given.

    Raises OptionError where no LoRA is named, EngineUnavailableError for one that cannot be read.
    """
    from ltxfilter.engines.ltx.weights.files import Kind, open_file

    if not models.loras:
        raise OptionError("option reference=1: name an IC-LoRA by --lora FILE")
    files = [open_file(path, Kind.LORA, "--lora") for path, _ in models.loras]
    return max(int(file.metadata.get("reference_downscale_factor", 1)) for file in files)
