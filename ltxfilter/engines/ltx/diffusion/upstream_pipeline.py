"""Upstream's own KeyframeInterpolationPipeline, called as it is, to compare with; slow by design.

It loads and frees its models at each call. Beside models/upstream.py this is the only file that
imports upstream's packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from ltxfilter.engines.ltx.diffusion.samplers import Guidance
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

T = TypeVar("T")

NO_COMPRESSION = 0  # CRF of upstream's keyframes, which it else compresses with x264


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamKeyframe:
    """A keyframe that conditions a call."""

    picture: Tensor  # [3, height, width] in -1..1
    frame: int  # number of the output frame at which it conditions
    strength: float  # of conditioning, 0..1


class UpstreamPipeline:
    """Interpolates with the official pipeline; contexts come from a file, without Gemma."""

    def __init__(
        self, models: ModelOptions, device: torch.device, check: Callable[[], None]
    ) -> None:
        """Keep the files' paths; each call loads the models.

        check: called before each step; what it raises ends the call. Raises EngineUnavailableError
        if ltx_pipelines does not go with what is installed.
        """
        self._module: Any = _interpolation()
        self._device = device
        self._check = check
        self._texts: Sequence[Any] = ()  # of the running call
        with _replaced(self._module, self._left_out()):
            self._pipeline = self._module.KeyframeInterpolationPipeline(
                **_checkpoint(str(models.checkpoint)),
                distilled_lora=_loras([models.distilled_lora] if models.distilled_lora else []),
                spatial_upsampler_path=models.spatial_upsampler,
                loras=_loras(models.loras),
                device=device,
            )

    def draw(
        self,
        keyframes: Sequence[UpstreamKeyframe],
        frames: int,
        rate: float,
        *,
        steps: int,
        seed: int,
        guidance: Guidance,
        contexts: tuple[Tensor, Tensor],
        audio_width: int,
    ) -> Tensor:
        """Return pictures [3, F, height, width] in -1..1; ltx_pipelines 1.0 rounds to 8 bits.

        frames: F, 8k + 1. rate: frames per second. steps: of the first stage. contexts: of the
        prompt and of the negative prompt, [1, L, D]. audio_width: channels of the transformer's
        text context for audio, which is left empty.
        """
        height, width = keyframes[0].picture.shape[-2:]
        texts = [_text(context, audio_width) for context in contexts]
        guider = _guider(guidance)
        with TemporaryDirectory(prefix="ltxfilter-") as folder, self._patched(texts):
            images = [_image(Path(folder), number, key) for number, key in enumerate(keyframes)]
            chunks, *_ = self._pipeline(
                prompt="",
                negative_prompt="",
                seed=seed,
                height=height,
                width=width,
                num_frames=frames,
                frame_rate=rate,
                num_inference_steps=steps,
                video_guider_params=guider,
                audio_guider_params=guider,
                images=images,
            )
            pictures = torch.cat([chunk.cpu() for chunk in chunks])
        half = 127.5 if pictures.dtype is torch.uint8 else 0.5
        return pictures.permute(3, 0, 1, 2).float() / half - 1

    @contextmanager
    def _patched(self, texts: Sequence[Any]) -> Iterator[None]:
        """Leave Gemma, audio and progress bars out of a call, and CUDA where there is none."""
        from ltx_pipelines.utils import samplers

        no_cuda = {} if self._device.type == "cuda" else {"synchronize": lambda *_: None}
        self._texts = texts
        with (
            torch.inference_mode(),
            self._without_audio(),
            _replaced(samplers, {"tqdm": self._checked}),
            _replaced(torch.cuda, no_cuda),
        ):
            yield

    def _left_out(self) -> dict[str, Any]:
        """Return what stands in for Gemma and audio's decoder while ltx_pipelines 1.2 is set up."""
        if not hasattr(self._module, "PromptEncoder"):
            return {}
        return {
            "PromptEncoder": lambda *_, **__: lambda *_, **__: self._texts,
            "AudioDecoder": lambda *_, **__: lambda _: None,
        }

    def _without_audio(self) -> AbstractContextManager[object]:
        """Leave Gemma and audio out of a call of ltx_pipelines 1.0, which 1.2 was made without."""
        if self._left_out():
            return nullcontext()
        functions = {
            "encode_prompts": lambda *_, **__: self._texts,
            "vae_decode_audio": lambda *_: None,
        }
        ledger = type(self._pipeline.stage_1_model_ledger)
        stack = ExitStack()
        stack.enter_context(_replaced(self._module, functions))
        stack.enter_context(
            _replaced(ledger, {"audio_decoder": lambda _: None, "vocoder": lambda _: None})
        )
        return stack

    def _checked(self, steps: Iterable[T]) -> Iterator[T]:
        for step in steps:
            self._check()
            yield step


def _interpolation() -> ModuleType:
    upstream.stub_torchaudio()
    try:
        return import_module("ltx_pipelines.keyframe_interpolation")
    except ImportError as error:
        raise EngineUnavailableError(
            f"ltx-reference: ltx_pipelines cannot be imported: {error}; install ltx-pipelines of "
            "the same version as ltx-core, with what it depends on"
        ) from None


def _checkpoint(path: str) -> dict[str, Any]:
    """Return how a pipeline is told its checkpoint, without a text encoder."""
    if find_spec("ltx_pipelines.utils.model_paths") is None:  # ltx_pipelines 1.0
        return {"checkpoint_path": path, "gemma_root": None}
    from ltx_pipelines.utils.model_paths import ModelPaths

    return {"model_paths": ModelPaths.from_monolith(path)}


@contextmanager
def _replaced(owner: Any, values: dict[str, Any]) -> Iterator[None]:
    """Replace attributes of a module or class within a `with` block."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _text(context: Tensor, audio_width: int) -> Any:
    from ltx_core.text_encoders.gemma.embeddings_processor import EmbeddingsProcessorOutput

    context = context.to(torch.bfloat16)
    audio = context.new_zeros(1, context.shape[1], audio_width)
    mask = torch.ones(1, context.shape[1], dtype=torch.int64, device=context.device)
    return EmbeddingsProcessorOutput(context, audio, mask)


def _guider(guidance: Guidance) -> Any:
    from ltx_core.components.guiders import MultiModalGuiderParams

    return MultiModalGuiderParams(
        cfg_scale=guidance.cfg,
        stg_scale=guidance.stg,
        stg_blocks=list(guidance.blocks),
        rescale_scale=guidance.rescale,
        modality_scale=1.0,
        skip_step=guidance.skip,
    )


def _image(folder: Path, number: int, keyframe: UpstreamKeyframe) -> Any:
    """Write a keyframe to a PNG file for upstream to read."""
    from ltx_pipelines.utils.args import ImageConditioningInput
    from PIL import Image

    codes = ((keyframe.picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    path = folder / f"{number}.png"
    Image.fromarray(codes.permute(1, 2, 0).cpu().numpy()).save(path)
    return ImageConditioningInput(str(path), keyframe.frame, keyframe.strength, NO_COMPRESSION)


def _loras(files: Sequence[tuple[str, float]]) -> list[Any]:
    from ltx_core.loader import LTXV_LORA_COMFY_RENAMING_MAP, LoraPathStrengthAndSDOps

    return [
        LoraPathStrengthAndSDOps(path, strength, LTXV_LORA_COMFY_RENAMING_MAP)
        for path, strength in files
    ]
