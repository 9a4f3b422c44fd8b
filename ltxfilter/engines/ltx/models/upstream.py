"""The only door to ltx_core: its model classes under our names.

It asks for features, not for version numbers, and works with the classes of 1.0.0 and of 1.2.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines of every token's position

CONFIGURATORS = {
    "transformer": LTXVideoOnlyModelConfigurator,
    "encoder": VideoEncoderConfigurator,
    "decoder": VideoDecoderConfigurator,
    "upsampler": LatentUpsamplerConfigurator,
}


def meta_module(
    kind: str, config: Mapping[str, Any], metadata: Mapping[str, str], gemma: Any = None
) -> torch.nn.Module:
    """Return a model without weights, on torch's meta device.

    kind: a key of CONFIGURATORS, or "text" for the layers that follow the text encoder, whose
    configuration is `gemma`. config, metadata: of the model's file. Raises ValueError, KeyError,
    TypeError or NotImplementedError for a configuration that this ltx_core cannot build.
    """
    configurator = _text_configurator(gemma) if kind == "text" else CONFIGURATORS[kind]
    with torch.device("meta"):
        model = configured(configurator, config, metadata)
    if kind == "decoder" and hasattr(model, "diff_blocks"):
        _set_up_diffusion(model)
    return model.eval().requires_grad_(False)


def configured(
    configurator: Any, config: Mapping[str, Any], metadata: Mapping[str, str]
) -> torch.nn.Module:
    """Return what one of ltx_core's configurators makes of a file's configuration and metadata."""
    if not hasattr(configurator, "from_metadata"):  # ltx_core 1.0
        model: torch.nn.Module = configurator.from_config(dict(config))
        return model
    taken = signature(configurator.from_metadata).parameters
    operations = _operations() if "ops" in taken else {}
    newer: torch.nn.Module = configurator.from_metadata(
        {**metadata, "config": config}, **operations
    )
    return newer


def _operations() -> dict[str, Any]:
    """Return what makes a transformer of ltx_core 1.2 use torch's own attention.

    Left to itself it takes the fastest package that it finds. In 1.0 the configuration says it.
    """
    from ltx_core.model.transformer.attention import AttentionFunction, MaskedAttentionFunction
    from ltx_core.model.transformer.transformer import TransformerOpsConfig

    attention = AttentionFunction.PYTORCH, MaskedAttentionFunction.PYTORCH
    return {"ops": TransformerOpsConfig.from_functions(*attention)}


def velocity(
    model: torch.nn.Module,
    *,
    latent: torch.Tensor,
    sigma: torch.Tensor,
    timesteps: torch.Tensor,
    positions: torch.Tensor,
    context: torch.Tensor,
    marks: torch.Tensor | None = None,
    perturbations: Any = None,
) -> torch.Tensor:
    """Run the transformer once without audio; shapes are those of `Models.velocity`.

    marks: [B, T, 1], 1 for the tokens of the first latent frame, of a model that marks them.
    perturbations: what `skip_attention` returned.
    """
    marked = {} if marks is None else {"keyframes_mask": marks}
    video = Modality(
        latent=latent,
        sigma=sigma,
        timesteps=timesteps,
        positions=positions,
        context=context,
        **marked,
    )
    result: torch.Tensor = model(video=video, audio=None, perturbations=perturbations)[0]
    return result


def skip_attention(
    blocks: Sequence[int], model: torch.nn.Module, latent: torch.Tensor
) -> BatchedPerturbationConfig | None:
    """Return the perturbation that skips the self-attention of blocks.

    None for no block in ltx_core 1.0; in 1.2 a model would make one itself at every step then,
    which copies from host memory and so cannot be captured in a CUDA graph.

    latent: [B, T, 128], for its batch size, device and dtype. Used by spatio-temporal guidance.
    """
    is_1_2 = "num_blocks" in signature(BatchedPerturbationConfig).parameters
    if not blocks and not is_1_2:
        return None
    skipped = Perturbation(PerturbationType.SKIP_VIDEO_SELF_ATTN, list(blocks))
    windows = [PerturbationConfig([skipped] if blocks else [])] * len(latent)
    if not is_1_2:
        return BatchedPerturbationConfig(windows)
    return BatchedPerturbationConfig(  # ltx_core 1.2
        windows, len(model.transformer_blocks), latent.device, latent.dtype
    )


def text_has_sigma(model: torch.nn.Module) -> bool:
    """Return True for a transformer that modulates the text by sigma (LTX-2.3)."""
    return getattr(model, "prompt_adaln_single", None) is not None


def marks_first_frame(model: torch.nn.Module) -> bool:
    """Return True for a transformer that marks latent frames that last one frame (LTX-2.5)."""
    return getattr(model, "keyframes_abs_pos_embedding", None) is not None


class PositionalEmbeddings:
    """The rotary embeddings of one transformer, computed once for all steps of a window.

    Computing them copies a table from host memory each time, which a CUDA graph cannot capture, so
    that a graph gets them as inputs.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Replace the model's own function."""
        preprocessor: Any = model.video_args_preprocessor
        compute: Any = preprocessor._prepare_positional_embeddings
        earlier = isinstance(compute, PositionalEmbeddings)
        self._compute: Any = compute._compute if earlier else compute
        self._settings: dict[str, Any] | None = None  # the model's further arguments
        self._used: Rotation | None = None
        self._latest: tuple[torch.Tensor, Rotation] | None = None
        preprocessor._prepare_positional_embeddings = self

    def __call__(self, *, positions: torch.Tensor, **settings: Any) -> Rotation:
        """Return cosines and sines of positions, as the model asks for them."""
        if self._used is not None:
            return self._used
        self._settings = settings
        return self.embed(positions)

    @property
    def ready(self) -> bool:
        """True once the model has asked, so that `embed` knows the model's arguments."""
        return self._settings is not None

    def embed(self, positions: torch.Tensor) -> Rotation:
        """Return cosines and sines of positions [B, 3, T, 2], which nobody may change later."""
        if self._latest is None or self._latest[0] is not positions:
            embedded = self._compute(positions=positions, **(self._settings or {}))
            self._latest = positions, embedded
        return self._latest[1]

    @contextmanager
    def using(self, rotation: Rotation) -> Iterator[None]:
        """Let a step use these cosines and sines, whatever its positions."""
        self._used = rotation
        try:
            yield
        finally:
            self._used = None


def _set_up_diffusion(decoder: torch.nn.Module) -> None:
    """Let LTX-2.5's diffusion decoder work as upstream's does by default: eagerly, in parts.

    Without the package natten it uses upstream's Triton kernel, or on a CPU torch's attention.
    """
    from ltx_core.model.video_vae.transformer.apply import apply_diffvae_mode
    from ltx_core.model.video_vae.transformer.config import DiffVAEMode

    apply_diffvae_mode(decoder, DiffVAEMode.CHUNKED_EAGER)


def diffusion_decoder_change(
    path: str,
) -> Callable[[str, torch.Tensor], Iterable[tuple[str, torch.Tensor]]]:
    """Return how the tensors of LTX-2.5's diffusion decoder become those of its module.

    path: of the file, which is safetensors. Some layers are one in the file, others have a factor.
    """
    from ltx_core.model.video_vae.model_configurator import video_decoder_sd_ops_for_checkpoint

    changes = video_decoder_sd_ops_for_checkpoint(path, diffusion_vae=True)

    def change(name: str, value: torch.Tensor) -> Iterable[tuple[str, torch.Tensor]]:
        prefix = "vae." if name.startswith("per_channel_statistics.") else "vae.decoder."
        key = changes.apply_to_key(prefix + name)
        # type_emb is in the published file, and no decoder reads it.
        return [] if key in (None, "type_emb") else changes.apply_to_key_value(key, value)

    return change


def decode(model: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """Run the decoder; one that adds noise gets the same noise at every call."""
    if not getattr(model, "timestep_conditioning", False):
        return model(latents)
    parts = latents.split(1) if hasattr(model, "diff_blocks") else [latents]  # it takes no batch
    generators = [torch.Generator(latents.device).manual_seed(0) for _ in parts]
    decoded = [model(part, generator=own) for part, own in zip(parts, generators, strict=True)]
    return torch.cat(decoded) if len(decoded) > 1 else decoded[0]


def _text_configurator(gemma: Any) -> Any:
    """Import what needs transformers only when it is asked for."""
    stub_torchaudio()
    from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator as Configurator

    return _Layers(gemma) if hasattr(Configurator, "with_gemma_model_path") else Configurator


class _Layers:
    """Makes the text layers of ltx_core 1.2, whose own configurator reads a folder of Gemma's."""

    def __init__(self, gemma: Any) -> None:
        self._gemma = gemma

    def from_metadata(self, metadata: Mapping[str, Any]) -> torch.nn.Module:
        from ltx_core.text_encoders.gemma import embeddings_connector as connectors
        from ltx_core.text_encoders.gemma.embeddings_processor import EmbeddingsProcessor
        from ltx_core.text_encoders.gemma.encoders.encoder_configurator import (
            _create_feature_extractor,
        )

        settings = metadata["config"].get("transformer", {})
        return EmbeddingsProcessor(
            video_connector=connectors.Embeddings1DConnectorConfigurator.from_metadata(metadata),
            audio_connector=connectors.AudioEmbeddings1DConnectorConfigurator.from_metadata(
                metadata
            ),
            feature_extractor=_create_feature_extractor(settings, self._gemma),
        )


def gemma_kind(path: str) -> str:
    """Return the model_type of the text encoder in a file or folder, as ltx_core 1.2 tells it."""
    from ltx_core.text_encoders.gemma import gemma_model_type

    return str(gemma_model_type(path))


def newer_text_models(
    gemma: str, weights: tuple[str, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Any, torch.nn.Module]:
    """Return the text encoder of ltx_core 1.2 in a file or folder, and the layers after it.

    weights: the files of those layers; the first one has the configuration.
    """
    from ltx_core.loader.single_gpu_model_builder import SingleGPUModelBuilder
    from ltx_core.text_encoders import gemma as source

    names, changes = source.get_gemma_ops(gemma)
    encoder = SingleGPUModelBuilder(
        model_path=source.resolve_gemma_weight_paths(gemma),
        model_class_configurator=source.GemmaTextEncoderConfigurator.with_gemma_model_path(gemma),
        model_sd_ops=names,
        # What loads the processor of pictures and sound asks for files that nothing here needs.
        module_ops=tuple(each for each in changes if each.name != "ProcessorLoad"),
    ).build(device=device, dtype=dtype)
    layers = SingleGPUModelBuilder(
        model_path=weights,
        model_class_configurator=source.EmbeddingsProcessorConfigurator.with_gemma_model_path(
            gemma
        ),
        model_sd_ops=source.EMBEDDINGS_PROCESSOR_KEY_OPS,
    ).build(device=device, dtype=dtype)
    return encoder.eval(), layers.eval()


def stub_torchaudio() -> None:
    """Put an empty torchaudio in place of one that is missing or broken.

    transformers and ltx_pipelines import it, but nothing of it is used here, and there is no build
    of it for torch without CUDA.
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
    module.MelSpectrogram = _NoAudio
    sys.modules[name] = module
    return module


class _NoAudio:
    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError("torchaudio does not work here, and nothing of ltxfilter needs it")
