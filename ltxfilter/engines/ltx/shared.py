"""What the four LTX engines share: their options, the opening of models, memory checks.

The engines are siblings, and none of them imports another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Engine
from ltxfilter.engines.ltx import missing_packages
from ltxfilter.engines.ltx.latent_shape import LEAST_TILE
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.scaling import written
from ltxfilter.windows.window import WindowShape

if TYPE_CHECKING:
    import torch

    from ltxfilter.engines.ltx.diffusion.canvas import Canvas
    from ltxfilter.engines.ltx.diffusion.samplers import Guidance
    from ltxfilter.engines.ltx.models.resident import Models

DECODING_BYTES = 12 * 4  # bytes of host memory per pixel and frame, measured with float32 on a CPU
# Fields of ModelOptions that an engine that reads a prompt can use.
TEXT_FILES = ("context", "prompt", "gemma", "text_projection")
STG_BLOCKS = (29, 28)  # blocks that Lightricks perturbs: of LTX-2, of LTX-2.3

SEED = EngineOption("seed", 0, "The noise is generated from this seed.")
TILE = EngineOption(
    "tile",
    0,
    "Frames are decoded in tiles of this many pixels a side; 0 decodes whole frames.",
    low=0,
)
OFFLOAD = EngineOption(
    "offload",
    False,
    "The transformer stays in host memory and each block is copied to the GPU when it runs, "
    "which is slow.",
)
BATCH = EngineOption(
    "batch",
    1,
    "This many groups of frames are interpolated at once; the memory for frames grows in "
    "proportion.",
    low=1,
    high=64,
    expert=True,
)
STRENGTH = EngineOption(
    "strength",
    1.0,
    "Keyframes condition the latents with this strength: 1 keeps them fixed, 0 ignores them.",
    low=0,
    high=1,
    expert=True,
)
LATENTS = EngineOption(
    "latents",
    0,
    "This many latent frames of 8 frames each are interpolated at once; 0 chooses by the rates.",
    low=0,
    high=32,
    expert=True,
)
TRANSFORMER_OPTIONS = (
    EngineOption(
        "fp8",
        "auto",
        "The transformer's weights are stored and multiplied in 8 bits (rowwise), only stored in 8 "
        "bits (cast), or kept in 16 bits (off); auto chooses by the GPU.",
        ("auto", "rowwise", "cast", "off"),
    ),
    EngineOption(
        "graphs",
        "auto",
        "Transformer steps are replayed as CUDA graphs: all of them with on, those of at most 8192 "
        "tokens with auto.",
        ("auto", "on", "off"),
        expert=True,
    ),
    EngineOption(
        "text_memory",
        -1.0,
        "The prompt's keys and values are cached in this many GB of device memory; -1 takes a "
        "quarter of a GPU's free memory, 0 caches nothing.",
        low=-1,
        expert=True,
    ),
)
GUIDANCE_OPTIONS = (
    EngineOption(
        "cfg",
        3.0,
        "Classifier-free guidance away from the negative prompt has this scale; 1 is off.",
        low=0,
        high=20,
        expert=True,
    ),
    EngineOption(
        "stg",
        1.0,
        "Spatio-temporal guidance, away from a prediction without self-attention in one block, has "
        "this scale; 0 is off.",
        low=0,
        high=20,
        expert=True,
    ),
    EngineOption(
        "stg_block",
        -1,
        "Spatio-temporal guidance leaves out the self-attention of this block; -1 is 29 for LTX-2 "
        "and 28 for LTX-2.3.",
        low=-1,
        expert=True,
    ),
    EngineOption(
        "rescale",
        0.7,
        "The standard deviation of a guided prediction is brought back to the unguided one's by "
        "this share.",
        low=0,
        high=1,
        expert=True,
    ),
    EngineOption(
        "skip_step",
        0,
        "This many steps after each guided step are not guided.",
        low=0,
        expert=True,
    ),
)


class LtxEngine(Engine):
    """An engine that reads LTX-2's model files and runs the models on one device."""

    uses_models: ClassVar[bool] = True

    only_with: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {}
    """Options that do nothing unless another one has one of some values."""

    enlarges: ClassVar[bool] = False
    """True if the spatial upsampler can make its pictures larger."""

    memory_advice: ClassVar[str] = ""
    """Which options lower the use of device memory; the end of a message about too little of it."""

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        """Take options by name and the files' paths; `open` loads them. Raises OptionError."""
        self._options = {option.name: option.default for option in self.options} | options
        for name in options:
            other, values = self.only_with.get(name, (name, ()))
            if values and self._options[other] not in values:
                raise OptionError(
                    f"option {name}={options[name]}: it does nothing with "
                    f"{other}={self._options[other]}; add {other}={values[0]} or leave it out"
                )
        tile = self._options.get("tile", 0)
        if 0 < tile < LEAST_TILE:
            raise OptionError(f"option tile={tile}: 0, or at least {LEAST_TILE}")
        self._files = models or ModelOptions()
        self._device_lock = Lock()  # held while one batch is on the device
        self._models: Models | None = None
        self._trial: Callable[[], float | None] | None = None  # seconds per picture, at least
        self._seconds: float | None = None  # what it found

    @property
    def seconds_per_picture(self) -> float | None:
        """What the autoencoder alone takes on a CPU; None on a GPU, and before it is open.

        A small trial says it, when this is asked for the first time.
        """
        if self._trial is not None:
            self._seconds, self._trial = self._trial(), None
        return self._seconds

    @property
    def seed(self) -> int | None:
        """What its noise is generated from; None if it makes none with its options."""
        other, values = self.only_with.get("seed", ("seed", ()))
        return None if values and self._options[other] not in values else self._options.get("seed")

    @property
    def missing_files(self) -> tuple[str, ...]:
        """Those of `needed_files` that nobody names and that are not in the folder of models."""
        from ltxfilter.engines.ltx.weights.parts import KINDS, ModelParts

        parts = ModelParts(self._files)
        return tuple(
            field
            for field in self.needed_files
            if not (parts.has(KINDS[field]) if field in KINDS else getattr(self._files, field))
        )

    @property
    def takes_few_steps(self) -> bool:
        """True if it needs a transformer that takes few steps, with its own options."""
        return False

    @property
    def also_missing(self) -> tuple[str, ...]:
        """What a dev checkpoint lacks to take few steps, and a new prompt to be encoded."""
        from ltxfilter.engines.ltx.weights.fits import lacks_distilled_lora

        few = self.takes_few_steps and lacks_distilled_lora(self._files)
        lacking = ("distilled_lora",) if few else ()
        if self._files.prompt is None or "context" not in self.needed_files:
            return lacking
        from ltxfilter.engines.ltx.prompts import lacking_for_prompt

        return lacking + lacking_for_prompt(self._files)

    @property
    def used_files(self) -> frozenset[str]:
        """The fields of `ModelOptions` that it uses with its options.

        A checkpoint counts as used if a part of it is needed that no other file is named for.
        """
        used = {"device", "models", *self.needed_files, *self.further_files}
        if "context" in used:
            used |= set(TEXT_FILES)
        of_checkpoint = {"transformer", "vae"} & used
        if any(getattr(self._files, field) is None for field in of_checkpoint):
            used.add("checkpoint")
        return frozenset(used)

    def enlarge(self, factor: Fraction) -> None:
        """Draw larger pictures through the spatial upsampler, if the engine makes pictures itself.

        Raises EngineUnavailableError for an upsampler that is made for another factor.
        """
        if self.enlarges:
            from ltxfilter.engines.ltx.weights.fits import fitting_upsampler

            self.scale = factor
            self._files = fitting_upsampler(self._files, factor)

    def _encoded(self) -> ModelOptions:
        """Return its models, their prompt encoded if there is one. Raises OptionError, EngineError.

        The text encoder is gone when this returns.
        """
        if "context" not in self.needed_files or self._files.prompt is None:
            return self._files
        from ltxfilter.engines.ltx.prompts import with_context

        return with_context(self._files)

    @property
    def further_files(self) -> tuple[str, ...]:
        """The fields of `ModelOptions` that it uses where they are named."""
        return ()

    def _check_files(self) -> None:
        """Name all that is wrong with the files that it needs, in one message.

        Raises EngineUnavailableError.
        """
        from ltxfilter.engines.ltx.weights.parts import KINDS, ModelParts

        parts = ModelParts(self._files)
        try:
            parts.check_found(KINDS[field] for field in self.needed_files if field in KINDS)
        except EngineUnavailableError as error:
            if self.scale == 1 or "spatial_upsampler" not in self.missing_files:
                raise
            which = f"--scale {written(self.scale)} takes the one x{float(self.scale):g}"
            raise EngineUnavailableError(f"{error}; {which}") from None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        return missing_packages()

    def cancel(self) -> None:
        """Let the models stop before their next layer."""
        if self._models is not None:
            self._models.cancellation.cancel()

    def close(self) -> None:
        """Release the models."""
        if self._models is not None:
            self._models.close()
            self._models = None

    @property
    def advice(self) -> str:
        """What lowers the use of device memory, as this engine is used; the end of a message."""
        larger = "" if self.scale == 1 else "; without --scale it takes a fraction"
        return self.memory_advice + larger

    def _check_device_memory(
        self, video: VideoInfo, rate: Fraction | None, shape: WindowShape
    ) -> None:
        """Interpolate one window of grey frames as large as any that comes.

        Raises EngineUnavailableError with `memory_advice` if the device's memory is too small.
        """
        from ltxfilter.engines.ltx.memory_check import check_window_fits

        models = self._models
        again = (lambda: models.captures_later) if models is not None else (lambda: False)
        check_window_fits(self, video, rate, shape, self.advice, again=again)


def decoding_bytes(canvas: Canvas, frames: int, device: torch.device) -> int:
    """Return the host memory that decoding `frames` frames at once takes: none beside a GPU."""
    return DECODING_BYTES * canvas.width * canvas.height * frames if device.type == "cpu" else 0


def choose_guidance(models: Models, options: Mapping[str, Any]) -> Guidance:
    """Return the guidance that the values of GUIDANCE_OPTIONS describe.

    Raises EngineUnavailableError if the context file has no negative prompt to guide away from,
    OptionError for a block that the transformer does not have.
    """
    from ltxfilter.engines.ltx.diffusion.samplers import Guidance

    if options["cfg"] != 1 and models.negative_context() is None:
        raise EngineUnavailableError(
            f"--context {models.options.context}: it has no negative prompt to guide away from; "
            "make it with ltxfilter context --negative, or use cfg=1"
        )
    block = options["stg_block"]
    if block >= models.blocks:
        raise OptionError(f"option stg_block={block}: the model has {models.blocks} blocks")
    if block < 0:
        is_2_3 = models.transformer_file.config["transformer"].get("cross_attention_adaln", False)
        block = min(STG_BLOCKS[bool(is_2_3)], models.blocks - 1)
    return Guidance(
        cfg=options["cfg"],
        stg=options["stg"],
        blocks=(block,),
        rescale=options["rescale"],
        skip=options["skip_step"],
    )
