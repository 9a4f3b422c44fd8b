"""The only file that imports ltx_core: its model classes by our names.

Asks for features, not for version numbers: works with the classes of 1.0.0 and of 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def blueprint(kind: str, config: Mapping[str, Any], metadata: Mapping[str, str]) -> torch.nn.Module:
    """Return a model without weights (on the meta device) for a checkpoint's configuration.

    kind: a key of CONFIGURATORS. Raises ValueError for a configuration that this ltx_core cannot
    build.
    """
    configurator = CONFIGURATORS[kind]
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
    found: torch.Tensor = model(video=video, audio=None, perturbations=_skip(skipped, len(latent)))[
        0
    ]
    return found


def _skip(blocks: Sequence[int], batch: int) -> BatchedPerturbationConfig | None:
    if not blocks:
        return None
    skip = Perturbation(PerturbationType.SKIP_VIDEO_SELF_ATTN, list(blocks))
    return BatchedPerturbationConfig([PerturbationConfig([skip])] * batch)


def decode(model: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Run the decoder; one that mixes in noise gets the same noise at every call."""
    if not getattr(model, "timestep_conditioning", False):
        return model(latents)
    generator = torch.Generator(latents.device).manual_seed(0)
    return model(latents, generator=generator)
