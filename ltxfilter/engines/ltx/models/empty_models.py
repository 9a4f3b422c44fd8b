"""Which file each model is in, how its tensors are named there, and its class without weights.

The models are "transformer", "refiner" (a second transformer, with the distilled LoRA), "encoder",
"decoder", "spatial" and "temporal" (the upsamplers).
"""

from __future__ import annotations

import torch

from ltxfilter.engines.ltx.models import tiny_vae, upstream
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile, Naming
from ltxfilter.engines.ltx.weights.formats import names
from ltxfilter.engines.ltx.weights.load import Change, transformer_name, vae_naming
from ltxfilter.engines.ltx.weights.parts import decodes_by_diffusion
from ltxfilter.errors import EngineUnavailableError

TRANSFORMERS = ("transformer", "refiner")
UPSAMPLERS = {"spatial": FileKind.SPATIAL, "temporal": FileKind.TEMPORAL}
NAMINGS: dict[str, Naming] = {
    **dict.fromkeys(TRANSFORMERS, transformer_name),
    "encoder": vae_naming(names.ENCODER),
    "decoder": vae_naming(names.DECODER),
}


def file_kind(name: str, *, tiny: bool) -> FileKind:
    """Return the kind of file that holds a model.

    tiny: the encoder and the decoder are those of the tiny autoencoder.
    """
    if tiny and name in tiny_vae.MODULES:
        return FileKind.TINY_VAE
    if name in TRANSFORMERS:
        return FileKind.TRANSFORMER
    return UPSAMPLERS.get(name, FileKind.VAE)


def naming_of(name: str, kind: FileKind) -> Naming:
    """Return how a model's tensors are named in a file of a kind."""
    if kind is FileKind.TINY_VAE:
        return lambda tensor: tensor if tensor.startswith(name) else None
    return NAMINGS.get(name, str)


def empty_model(name: str, file: ModelFile) -> torch.nn.Module:
    """Return a model without weights, on torch's meta device. Raises EngineUnavailableError."""
    if file.kind is FileKind.TINY_VAE:
        return tiny_vae.meta_module(name)
    config = dict(file.config)
    kind = name
    check_configured(name, file)
    if name in TRANSFORMERS:
        kind = "transformer"
        config["transformer"] = {**config.get("transformer", {}), "attention_type": "pytorch"}
    elif name in UPSAMPLERS:
        kind = "upsampler"
    try:
        return upstream.meta_module(kind, config, file.metadata)
    except Exception as error:  # whatever its code meets in a configuration that it does not know
        raise EngineUnavailableError(
            f"{file.path}: ltx_core cannot build its {name}: {error}"
        ) from None


def change_of(name: str, file: ModelFile) -> Change | None:
    """Return how a file's tensors become those of a model; None if they are alike."""
    if name == "decoder" and decodes_by_diffusion(file):
        return upstream.diffusion_decoder_change(file.paths[0])
    return None


def check_configured(name: str, file: ModelFile) -> None:
    """Refuse a file that does not say how its model is built. Raises EngineUnavailableError.

    That is one without metadata whose layers are not those of a published model.
    """
    needed = {"transformer": "transformer", "refiner": "transformer"}.get(name, "vae")
    if not (file.config if name in UPSAMPLERS else file.config.get(needed)):
        raise EngineUnavailableError(
            f"{file.path}: it has no configuration in its metadata, and its {name} is not built "
            "like a published one; take the file that Lightricks published"
        )
