"""Model files: what kinds of models a file holds, read from its header alone.

Imports neither torch nor safetensors, so that `doctor` can look at files on any machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ltxfilter.engines.ltx.latent_shape import LATENT_CHANNELS
from ltxfilter.engines.ltx.weights.formats import inferred, names
from ltxfilter.engines.ltx.weights.formats.entries import HeaderError, ModelHeader, TensorEntry
from ltxfilter.engines.ltx.weights.formats.names import (
    CONNECTORS,
    DECODER,
    ENCODER,
    TEXT,
    TRANSFORMER,
)
from ltxfilter.engines.ltx.weights.formats.shards import read_model
from ltxfilter.engines.ltx.weights.formats.storage import Storages
from ltxfilter.errors import EngineUnavailableError

MOST_LAYERS = 1000  # of a transformer; LTX-2 has 48
CONTEXT = "video_context"  # the tensor of a context file
# All tiny autoencoders have the same names of tensors; these shapes fit LTX's latents.
TINY_VAE = {"encoder.0.weight": (64, 48, 3, 3), "decoder.1.weight": (256, 128, 3, 3)}
TINY_VAE_TENSORS = 128  # at most; wider models have more
GEMMA = re.compile(r"(.*\.)?layers\.0\.self_attn\.q_proj\.|blk\.0\.attn_q\.")
UPSAMPLER = ("upsampler.0.weight", "upsampler.conv.weight")

Naming = Callable[[str], str | None]  # name in the file -> name in the model, None if not in it


class FileKind(Enum):
    """What a model file holds; the value is the wording of messages."""

    CHECKPOINT = "an LTX-2 checkpoint"
    TRANSFORMER = "a transformer"
    VAE = "a video autoencoder"
    TEXT = "a text projection"
    SPATIAL = "a spatial upsampler"
    TEMPORAL = "a temporal upsampler"
    LORA = "a LoRA"
    CONTEXT = "a text context"
    TINY_VAE = "a tiny autoencoder"
    GEMMA = "a Gemma text encoder"
    AUDIO = "models for audio, which nothing here uses"
    OTHER = "none of the files that ltxfilter knows"


PARTS = (FileKind.TRANSFORMER, FileKind.VAE, FileKind.TEXT)  # of a checkpoint
FLAGS = {
    FileKind.CHECKPOINT: "--checkpoint",
    FileKind.TRANSFORMER: "--transformer",
    FileKind.VAE: "--vae",
    FileKind.TEXT: "--text-projection",
    FileKind.SPATIAL: "--spatial-upsampler",
    FileKind.TEMPORAL: "--temporal-upsampler",
    FileKind.LORA: "--lora",
    FileKind.CONTEXT: "--context",
    FileKind.TINY_VAE: "--tiny-vae",
    FileKind.GEMMA: "--gemma",
}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The header of a model: of one file, or of the shards of one."""

    path: str
    kind: FileKind  # CHECKPOINT for a file of several of PARTS
    holds: frozenset[FileKind]  # the parts of a checkpoint that are in it; else its kind alone
    config: Mapping[str, Any]  # of a checkpoint or an upsampler; empty if there is none
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorEntry]  # by Lightricks' names, whatever the file calls them
    paths: tuple[str, ...] = ()  # all files that it consists of

    def bytes_under(self, *prefixes: str) -> int:
        """Return the bytes of the tensors whose names begin with one of `prefixes`."""
        return sum(t.nbytes for name, t in self.tensors.items() if name.startswith(prefixes))

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of the tensors that begin with `prefix`."""
        return (name for name in self.tensors if name.startswith(prefix))

    @property
    def storages(self) -> Storages:
        """How its tensors are stored."""
        return Storages(self.tensors, self.metadata)

    @property
    def size(self) -> int:
        """Bytes of all files that it consists of."""
        return sum(Path(path).stat().st_size for path in self.paths)

    @property
    def file_name(self) -> str:
        """Its name without the folder."""
        return Path(self.path).name


def open_file(path: str, expected: FileKind, flag: str) -> ModelFile:
    """Read the header of the file that `flag` names.

    Raises EngineUnavailableError if it cannot be used. If it holds something else than expected,
    the message says what, and which flag takes it. For a checkpoint, any of its parts will do.
    """
    file = read_header(path, flag)
    wanted = set(PARTS) if expected is FileKind.CHECKPOINT else {expected}
    if not wanted & file.holds:
        owner = FLAGS.get(file.kind)
        hint = f"; that goes to {owner}" if owner else ""
        raise EngineUnavailableError(
            f"{flag} {path}: it holds {file.kind.value}, not {expected.value}{hint}"
        )
    if expected is FileKind.CHECKPOINT:
        _check_channels(file)
    if expected is FileKind.TINY_VAE:
        _check_tiny_vae(file)
    return file


def read_header(path: str, flag: str = "file") -> ModelFile:
    """Read the header of a file or a folder.

    Raises EngineUnavailableError that names `flag` and the path.
    """
    try:
        header = read_model(Path(path))
        config = _config(header.metadata)
    except OSError as error:
        raise EngineUnavailableError(f"{flag} {path}: {error.strerror or error}") from None
    except HeaderError as error:
        raise EngineUnavailableError(f"{flag} {path}: {error}") from None
    except (ValueError, RecursionError, AttributeError):
        raise EngineUnavailableError(f"{flag} {path}: not a safetensors file") from None
    return _model_file(path, header, config)


def _model_file(path: str, header: ModelHeader, config: dict[str, Any]) -> ModelFile:
    known = names.known_names(header.tensors)
    tensors = {known[name]: entry for name, entry in header.tensors.items()}
    holds = _holds(config, tensors)
    parts = [kind for kind in PARTS if kind in holds]
    single = FileKind.GEMMA if FileKind.GEMMA in holds else next(iter(holds))
    kind = FileKind.CHECKPOINT if len(parts) > 1 else single
    for section, infer in (
        ("transformer", inferred.transformer_config),
        ("vae", inferred.vae_config),
    ):
        if section not in config and parts and (found := infer(tensors)):
            config[section] = found
    if not config and holds & {FileKind.SPATIAL, FileKind.TEMPORAL}:
        config = inferred.upsampler_config(tensors) or {}
    return ModelFile(path, kind, holds, config, header.metadata, tensors, header.paths)


def _config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration in a header's metadata, its sections checked. Raises ValueError."""
    config = json.loads(metadata.get("config", "{}"))
    if not isinstance(config, dict):
        raise ValueError("config")
    sections = [config.get(name, {}) for name in ("transformer", "vae")]
    if not all(isinstance(section, dict) for section in sections):
        raise ValueError("config")
    layers = sections[0].get("num_layers", 1)
    if type(layers) is not int or not 0 < layers <= MOST_LAYERS:
        raise ValueError("num_layers")
    return config


def _holds(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> frozenset[FileKind]:
    """Return what a file holds, at least one kind."""
    if any(map(names.LORA.search, tensors)):
        return frozenset({FileKind.LORA})
    parts = set()
    for name in tensors:
        if name.startswith(TRANSFORMER) and not name.startswith(
            tuple(TRANSFORMER + each for each in CONNECTORS)
        ):
            parts.add(FileKind.TRANSFORMER)
        elif name.startswith((ENCODER, DECODER)):
            parts.add(FileKind.VAE)
        elif name.startswith(TEXT):
            parts.add(FileKind.TEXT)
    if parts == {FileKind.TEXT} and any(GEMMA.match(name) for name in tensors):
        parts.add(FileKind.GEMMA)  # LTX-2.5's text encoder, with the projection of its states
    return frozenset(parts or {_single_kind(config, tensors)})


def _single_kind(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> FileKind:
    if any(name in tensors for name in UPSAMPLER) or config.get("_class_name") == "LatentUpsampler":
        # Both kinds have one class and the same names of tensors; shapes and settings differ.
        told = config or inferred.upsampler_config(tensors) or {}
        temporal = told.get("temporal_upsample") and not told.get("spatial_upsample")
        return FileKind.TEMPORAL if temporal else FileKind.SPATIAL
    if all(name in tensors for name in TINY_VAE):
        return FileKind.TINY_VAE
    if CONTEXT in tensors:
        return FileKind.CONTEXT
    if any(GEMMA.match(name) for name in tensors):
        return FileKind.GEMMA
    if any(name.startswith(("audio_vae.", "vocoder.")) for name in tensors):
        return FileKind.AUDIO
    return FileKind.OTHER


def _check_channels(file: ModelFile) -> None:
    """Refuse a checkpoint whose parts do not fit each other. Raises EngineUnavailableError."""
    channels = (
        file.config.get("transformer", {}).get("in_channels", LATENT_CHANNELS),
        file.config.get("vae", {}).get("latent_channels", LATENT_CHANNELS),
    )
    if channels[0] != channels[1]:
        raise EngineUnavailableError(
            f"--checkpoint {file.path}: its transformer takes {channels[0]} channels and its VAE "
            f"makes {channels[1]}"
        )


def _check_tiny_vae(file: ModelFile) -> None:
    """Refuse tiny autoencoders of other models, and wider ones. Raises EngineUnavailableError."""
    fits = all(file.tensors[name].shape == shape for name, shape in TINY_VAE.items())
    if not fits or len(file.tensors) > TINY_VAE_TENSORS:
        raise EngineUnavailableError(
            f"--tiny-vae {file.path}: made for another model or size; "
            "ltxfilter reads taeltx_2 and taeltx2_3"
        )
