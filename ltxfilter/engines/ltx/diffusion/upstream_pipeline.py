"""Upstream's own KeyframeInterpolationPipeline, called as it is: the yardstick, slow by design.

Loads and frees its models at each call. Beside upstream.py the only file that imports upstream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ltxfilter.engines.ltx.diffusion.samplers import Guidance
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.options import ModelOptions

UNCOMPRESSED = 0  # upstream squeezes stills through x264 unless told


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamFiles:
    """A still that a call is given."""

    picture: Tensor  # [3, height, width] in -1..1
    frame: int  # which of the frames drawn it is
    strength: float


class UpstreamPipeline:
    """Draws with the official pipeline; contexts come from a file, so that Gemma stays out."""

    def __init__(self, models: ModelOptions, device: torch.device) -> None:
        """Remember where the models are; each call loads them."""
        upstream.stand_in_for_torchaudio()
        from ltx_pipelines import keyframe_interpolation

        self._module = keyframe_interpolation
        self._device = device
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
        stills: Sequence[UpstreamFiles],
        frames: int,
        rate: float,
        *,
        steps: int,
        seed: int,
        guidance: Guidance,
        contexts: tuple[Tensor, Tensor],
        sound_width: int,
    ) -> Tensor:
        """Return pictures [3, F, height, width] in -1..1, in 8 bits as upstream gives them.

        frames: 8k + 1. contexts: the prompt's and the negative one's, [1, L, D]. sound_width: of
        the transformer's text context for sound, which stays empty.
        """
        height, width = stills[0].picture.shape[-2:]
        texts = [_text(context, sound_width) for context in contexts]
        settings = _guider(guidance)
        with TemporaryDirectory(prefix="ltxfilter-") as folder, self._called(texts):
            chunks, _ = self._pipeline(
                prompt="",
                negative_prompt="",
                seed=seed,
                height=height,
                width=width,
                num_frames=frames,
                frame_rate=rate,
                num_inference_steps=steps,
                video_guider_params=settings,
                audio_guider_params=settings,
                images=[_image(Path(folder), number, still) for number, still in enumerate(stills)],
            )
            drawn = torch.cat([chunk.cpu() for chunk in chunks])
        return drawn.permute(3, 0, 1, 2).float() / 127.5 - 1

    @contextmanager
    def _called(self, texts: Sequence[Any]) -> Iterator[None]:
        """Leave out of a call Gemma, sound, progress bars, and CUDA where there is none."""
        from ltx_pipelines.utils import samplers

        silent = {
            "encode_prompts": lambda *_, **__: texts,
            "vae_decode_audio": lambda *_: None,
        }
        ledger = type(self._pipeline.stage_1_model_ledger)
        soundless = {"audio_decoder": lambda _: None, "vocoder": lambda _: None}
        waiting = {} if self._device.type == "cuda" else {"synchronize": lambda *_: None}
        with (
            torch.inference_mode(),
            _replaced(self._module, silent),
            _replaced(ledger, soundless),
            _replaced(samplers, {"tqdm": lambda steps: steps}),
            _replaced(torch.cuda, waiting),
        ):
            yield


@contextmanager
def _replaced(owner: Any, values: dict[str, Any]) -> Iterator[None]:
    """Give attributes of a module or class other values for a while."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _text(context: Tensor, sound_width: int) -> Any:
    from ltx_core.text_encoders.gemma.embeddings_processor import EmbeddingsProcessorOutput

    context = context.to(torch.bfloat16)
    silence = context.new_zeros(1, context.shape[1], sound_width)
    mask = torch.ones(1, context.shape[1], dtype=torch.int64, device=context.device)
    return EmbeddingsProcessorOutput(context, silence, mask)


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


def _image(folder: Path, number: int, still: UpstreamFiles) -> Any:
    """Write a still where upstream reads it."""
    from ltx_pipelines.utils.args import ImageConditioningInput
    from PIL import Image

    codes = ((still.picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    path = folder / f"{number}.png"
    Image.fromarray(codes.permute(1, 2, 0).cpu().numpy()).save(path)
    return ImageConditioningInput(str(path), still.frame, still.strength, UNCOMPRESSED)


def _loras(files: Sequence[tuple[str, float]]) -> list[Any]:
    from ltx_core.loader import LTXV_LORA_COMFY_RENAMING_MAP, LoraPathStrengthAndSDOps

    return [
        LoraPathStrengthAndSDOps(path, strength, LTXV_LORA_COMFY_RENAMING_MAP)
        for path, strength in files
    ]
