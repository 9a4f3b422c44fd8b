"""The only file that imports ltx_core: its model classes by our names.

Asks for features, not for version numbers: works with the classes of 1.0.0 and of 1.2.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from ltx_core.guidance.perturbations import (
    BatchedPerturbationConfig,
    Perturbation,
    PerturbationConfig,
    PerturbationType,
)
from ltx_core.model.transformer import Modality
from ltx_core.model.transformer.model_configurator import LTXVideoOnlyModelConfigurator
from ltx_core.model.upsampler import LatentUpsamplerConfigurator
from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator

CONFIGURATORS = {
    "transformer": LTXVideoOnlyModelConfigurator,
    "encoder": VideoEncoderConfigurator,
    "decoder": VideoDecoderConfigurator,
    "upsampler": LatentUpsamplerConfigurator,
}


def blueprint(
    kind: str, config: Mapping[str, Any], metadata: Mapping[str, str], gemma: str = ""
) -> torch.nn.Module:
    """Return a model without weights (on the meta device) for a checkpoint's configuration.

    kind: a key of CONFIGURATORS, or "text" for the layers that follow the text encoder in folder
    `gemma`. Raises ValueError for a configuration that this ltx_core cannot build.
    """
    configurator = _text_configurator(gemma) if kind == "text" else CONFIGURATORS[kind]
    with torch.device("meta"):
        if hasattr(configurator, "from_metadata"):  # ltx_core 1.2
            model = configurator.from_metadata({**metadata, "config": config})
        else:
            model = configurator.from_config(config)
    return model.eval().requires_grad_(False)


def velocity(
    model: torch.nn.Module,
    *,
    latent: torch.Tensor,
    sigma: torch.Tensor,
    timesteps: torch.Tensor,
    positions: torch.Tensor,
    context: torch.Tensor,
    skipped: Sequence[int] = (),
) -> torch.Tensor:
    """Run the transformer once, without sound; shapes as in `Models.velocity`.

    skipped: blocks whose self-attention is left out (spatio-temporal guidance).
    """
    video = Modality(
        latent=latent, sigma=sigma, timesteps=timesteps, positions=positions, context=context
    )
    found: torch.Tensor = model(
        video=video, audio=None, perturbations=_skip(skipped, model, latent)
    )[0]
    return found


def _skip(
    blocks: Sequence[int], model: torch.nn.Module, latent: torch.Tensor
) -> BatchedPerturbationConfig | None:
    if not blocks:
        return None
    skip = Perturbation(PerturbationType.SKIP_VIDEO_SELF_ATTN, list(blocks))
    each = [PerturbationConfig([skip])] * len(latent)
    if "num_blocks" not in signature(BatchedPerturbationConfig).parameters:
        return BatchedPerturbationConfig(each)
    return BatchedPerturbationConfig(  # ltx_core 1.2
        each, len(model.transformer_blocks), latent.device, latent.dtype
    )


def decode(model: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Run the decoder; one that mixes in noise gets the same noise at every call."""
    if not getattr(model, "timestep_conditioning", False):
        return model(latents)
    generator = torch.Generator(latents.device).manual_seed(0)
    return model(latents, generator=generator)


def _text_configurator(gemma: str) -> Any:
    """Import what needs transformers only when it is asked for."""
    stand_in_for_torchaudio()
    from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator as Configurator

    if hasattr(Configurator, "with_gemma_model_path"):  # ltx_core 1.2
        return Configurator.with_gemma_model_path(gemma)
    return Configurator


def stand_in_for_torchaudio() -> None:
    """Let what imports torchaudio, and never uses it here, import: where it is missing or broken.

    It has no build for CPUs alone, and transformers and ltx_pipelines import it unasked.
    """
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        package = _empty_module("torchaudio")
        package.transforms = _empty_module("torchaudio.transforms")
        package.functional = _empty_module("torchaudio.functional")


def _empty_module(name: str) -> Any:
    module: Any = ModuleType(name)
    module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    module.__version__ = "0.0"
    module.MelSpectrogram = _NoSound
    sys.modules[name] = module
    return module


class _NoSound:
    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError("torchaudio does not work here, and nothing of ltxfilter needs it")
