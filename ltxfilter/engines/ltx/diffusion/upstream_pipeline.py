"""Upstream's own KeyframeInterpolationPipeline, called as it is, to compare with; slow by design.

It loads and frees its models at each call. Beside models/upstream.py this is the only file that
imports upstream's packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from torch import Tensor

from ltxfilter.engines.ltx.diffusion.samplers import Guidance
from ltxfilter.engines.ltx.models import upstream
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

        check: called before each step; what it raises ends the call.
        """
        upstream.stub_torchaudio()
        from ltx_pipelines import keyframe_interpolation

        self._module = keyframe_interpolation
        self._device = device
        self._check = check
        self._pipeline = keyframe_interpolation.KeyframeInterpolationPipeline(
            checkpoint_path=models.checkpoint,
            distilled_lora=_loras([models.distilled_lora] if models.distilled_lora else []),
            spatial_upsampler_path=models.spatial_upsampler,
            gemma_root=None,
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
        """Return pictures [3, F, height, width] in -1..1, rounded to 8 bits by upstream.

        frames: F, 8k + 1. rate: frames per second. steps: of the first stage. contexts: of the
        prompt and of the negative prompt, [1, L, D]. audio_width: channels of the transformer's
        text context for audio, which is left empty.
        """
        height, width = keyframes[0].picture.shape[-2:]
        texts = [_text(context, audio_width) for context in contexts]
        guider = _guider(guidance)
        with TemporaryDirectory(prefix="ltxfilter-") as folder, self._patched(texts):
            images = [_image(Path(folder), number, key) for number, key in enumerate(keyframes)]
            chunks, _ = self._pipeline(
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
        return pictures.permute(3, 0, 1, 2).float() / 127.5 - 1

    @contextmanager
    def _patched(self, texts: Sequence[Any]) -> Iterator[None]:
        """Leave Gemma, audio and progress bars out of a call, and CUDA where there is none."""
        from ltx_pipelines.utils import samplers

        functions = {
            "encode_prompts": lambda *_, **__: texts,
            "vae_decode_audio": lambda *_: None,
        }
        ledger = type(self._pipeline.stage_1_model_ledger)
        no_audio = {"audio_decoder": lambda _: None, "vocoder": lambda _: None}
        no_cuda = {} if self._device.type == "cuda" else {"synchronize": lambda *_: None}
        with (
            torch.inference_mode(),
            _replaced(self._module, functions),
            _replaced(ledger, no_audio),
            _replaced(samplers, {"tqdm": self._checked}),
            _replaced(torch.cuda, no_cuda),
        ):
            yield

    def _checked(self, steps: Iterable[T]) -> Iterator[T]:
        for step in steps:
            self._check()
            yield step


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
