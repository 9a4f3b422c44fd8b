"""The only file that imports ltx_core: its model classes by our names.

Asks for features, not for version numbers: works with the classes of 1.0.0 and of 1.2.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

Cosines = tuple[torch.Tensor, torch.Tensor]  # and sines, of each token's place

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
    perturbations: Any = None,
) -> torch.Tensor:
    """Run the transformer once, without sound; shapes as in `Models.velocity`.

    perturbations: what `skip` returned.
    """
    video = Modality(
        latent=latent, sigma=sigma, timesteps=timesteps, positions=positions, context=context
    )
    found: torch.Tensor = model(video=video, audio=None, perturbations=perturbations)[0]
    return found


def skip(
    blocks: Sequence[int], model: torch.nn.Module, latent: torch.Tensor
) -> BatchedPerturbationConfig | None:
    """Return what leaves out the self-attention of blocks (spatio-temporal guidance)."""
    if not blocks:
        return None
    left_out = Perturbation(PerturbationType.SKIP_VIDEO_SELF_ATTN, list(blocks))
    each = [PerturbationConfig([left_out])] * len(latent)
    if "num_blocks" not in signature(BatchedPerturbationConfig).parameters:
        return BatchedPerturbationConfig(each)
    return BatchedPerturbationConfig(  # ltx_core 1.2
        each, len(model.transformer_blocks), latent.device, latent.dtype
    )


def text_has_sigma(model: torch.nn.Module) -> bool:
    """Return True for a transformer that changes its text by sigma (LTX-2.3)."""
    return getattr(model, "prompt_adaln_single", None) is not None


class Places:
    """Positional embeddings of one transformer: computed once for all steps of a window.

    Computing them copies a table from the host each time, which a CUDA graph cannot hold; a graph
    is given them.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Take the place of the model's own function."""
        preprocessor: Any = model.video_args_preprocessor
        compute: Any = preprocessor._prepare_positional_embeddings
        self._compute: Any = compute._compute if isinstance(compute, Places) else compute
        self._settings: dict[str, Any] | None = None
        self._given: Cosines | None = None
        self._latest: tuple[torch.Tensor, Cosines] | None = None
        preprocessor._prepare_positional_embeddings = self

    def __call__(self, *, positions: torch.Tensor, **settings: Any) -> Cosines:
        """Return cosines and sines of positions, as the model asks for them."""
        if self._given is not None:
            return self._given
        self._settings = settings
        return self.of(positions)

    @property
    def ready(self) -> bool:
        """True once the model has asked, so that `of` knows how."""
        return self._settings is not None

    def of(self, positions: torch.Tensor) -> Cosines:
        """Return cosines and sines of positions [B, 3, T, 2], which nobody changes later."""
        if self._latest is None or self._latest[0] is not positions:
            found = self._compute(positions=positions, **(self._settings or {}))
            self._latest = positions, found
        return self._latest[1]

    @contextmanager
    def given(self, embeddings: Cosines) -> Iterator[None]:
        """Let a step take these, whatever its positions."""
        self._given = embeddings
        try:
            yield
        finally:
            self._given = None


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
