"""Model files (safetensors): what kind of model a file holds, read from its header alone.

Imports neither torch nor safetensors, so that `doctor` can look at files on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

from ltxfilter.engines.ltx.latent_shape import LATENT_CHANNELS
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

LARGEST_HEADER = 100 << 20  # bytes, the limit of the format itself
MOST_LAYERS = 1000  # of a transformer; LTX-2 has 48
# Prefixes of tensors in a checkpoint.
TRANSFORMER = "model.diffusion_model."
ENCODER = "vae.encoder."
DECODER = "vae.decoder."
STATISTICS = "vae.per_channel_statistics."
TEXT = "text_embedding_projection."
CONTEXT = "video_context"  # the tensor of a context file
# All tiny autoencoders have the same names of tensors; these shapes fit LTX's latents.
TINY_VAE = {"encoder.0.weight": (64, 48, 3, 3), "decoder.1.weight": (256, 128, 3, 3)}
TINY_VAE_TENSORS = 128  # at most; wider models have more
# Tensors that only models with audio have: after the transformer's prefix, and inside its blocks.
AUDIO = ("audio_", "av_ca_", "video_embeddings_connector.", "audio_embeddings_connector.")
AUDIO_IN_BLOCK = ("audio_", "video_to_audio_attn.", "scale_shift_table_a2v_ca_")


class FileKind(Enum):
    """What a model file holds; the value is the wording of messages."""

    CHECKPOINT = "an LTX-2 checkpoint"
    SPATIAL = "a spatial upsampler"
    TEMPORAL = "a temporal upsampler"
    LORA = "a LoRA"
    CONTEXT = "a text context"
    TINY_VAE = "a tiny autoencoder"
    OTHER = "none of the files that ltxfilter knows"


FLAGS = {
    FileKind.CHECKPOINT: "--checkpoint",
    FileKind.SPATIAL: "--spatial-upsampler",
    FileKind.TEMPORAL: "--temporal-upsampler",
    FileKind.LORA: "--lora",
    FileKind.CONTEXT: "--context",
    FileKind.TINY_VAE: "--tiny-vae",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One entry of a file's header."""

    dtype: str  # in the format's words: BF16, F32, F8_E4M3, ...
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The header of a model file."""

    path: str
    kind: FileKind
    config: Mapping[str, Any]  # of a checkpoint or an upsampler; empty if there is none
    metadata: Mapping[str, str]
    tensors: Mapping[str, TensorEntry]  # by name

    def bytes_under(self, *prefixes: str) -> int:
        """Return the bytes of the tensors whose names begin with one of `prefixes`."""
        return sum(t.nbytes for name, t in self.tensors.items() if name.startswith(prefixes))

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of the tensors that begin with `prefix`."""
        return (name for name in self.tensors if name.startswith(prefix))

    @property
    def quantized(self) -> bool:
        """True if the transformer is stored in 8 bits."""
        return any(self.tensors[name].dtype == "F8_E4M3" for name in self.names(TRANSFORMER))


def open_required(options: ModelOptions, kind: FileKind) -> ModelFile:
    """Read the header of the file of a kind that options name.

    Raises EngineUnavailableError if none is named, or if it cannot be used.
    """
    flag = FLAGS[kind]
    path = getattr(options, flag.removeprefix("--").replace("-", "_"))
    if path is None:
        hint = "; make one with ltxfilter context" if kind is FileKind.CONTEXT else ""
        raise EngineUnavailableError(f"{flag} FILE is needed: {kind.value}{hint}")
    return open_file(path, kind, flag)


def open_file(path: str, expected: FileKind, flag: str) -> ModelFile:
    """Read the header of the file that `flag` names.

    Raises EngineUnavailableError if it cannot be used. If it holds something else than expected,
    the message says what, and which flag takes it.
    """
    file = read_header(path, flag)
    if file.kind is not expected:
        owner = FLAGS.get(file.kind)
        hint = f"; that goes to {owner}" if owner else ""
        raise EngineUnavailableError(
            f"{flag} {path}: it holds {file.kind.value}, not {expected.value}{hint}"
        )
    if expected is FileKind.CHECKPOINT:
        _check_generation(file)
    if expected is FileKind.TINY_VAE:
        _check_tiny_vae(file)
    return file


def read_header(path: str, flag: str = "file") -> ModelFile:
    """Read a safetensors header. Raises EngineUnavailableError that names `flag` and the path."""
    try:
        text, length = _header_text(Path(path))
        entries = _object(text)
        metadata = entries.pop("__metadata__", {})
        tensors = {name: _tensor(entry) for name, entry in entries.items()}
        config = _config(metadata)
        stored = sum(tensor.nbytes for tensor in tensors.values())
    except OSError as error:
        raise EngineUnavailableError(f"{flag} {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EngineUnavailableError(f"{flag} {path}: not a safetensors file") from None
    if stored > length:
        raise EngineUnavailableError(
            f"{flag} {path}: truncated, {length} of {stored} bytes are there; download it again"
        )
    return ModelFile(path, _kind(config, tensors), config, metadata, tensors)


def _header_text(path: Path) -> tuple[bytes, int]:
    """Return a file's header, and how many bytes of tensors follow it."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= LARGEST_HEADER:
            raise ValueError(size)
        text = file.read(size)
        return text, path.stat().st_size - 8 - size


def _object(text: str | bytes) -> dict[str, Any]:
    """Read an object in JSON. Raises ValueError, RecursionError."""
    entries = json.loads(text)
    if not isinstance(entries, dict):
        raise ValueError(text[:80])
    return entries


def _config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration in a header's metadata, its sections checked. Raises ValueError."""
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata")
    config = _object(metadata.get("config", "{}"))
    sections = [config.get(name, {}) for name in ("transformer", "vae")]
    if not all(isinstance(section, dict) for section in sections):
        raise ValueError("config")
    layers = sections[0].get("num_layers", 1)
    if type(layers) is not int or not 0 < layers <= MOST_LAYERS:
        raise ValueError("num_layers")
    return config


def _tensor(entry: Mapping[str, Any]) -> TensorEntry:
    """Read one entry of a header. Raises ValueError, KeyError, TypeError."""
    begin, end = entry["data_offsets"]
    numbers = [begin, end, *entry["shape"]]
    whole = all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
    if not whole or begin > end or not isinstance(entry["dtype"], str):
        raise ValueError(entry)
    return TensorEntry(entry["dtype"], tuple(entry["shape"]), end - begin)


def _kind(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> FileKind:
    if any(name.startswith((TRANSFORMER, ENCODER, DECODER)) for name in tensors):
        return FileKind.CHECKPOINT
    if "upsampler.0.weight" in tensors or config.get("_class_name") == "LatentUpsampler":
        # Both kinds have one class and the same names of tensors; only the configuration differs.
        temporal = config.get("temporal_upsample") and not config.get("spatial_upsample")
        return FileKind.TEMPORAL if temporal else FileKind.SPATIAL
    if any(name.endswith((".lora_A.weight", ".lora_down.weight")) for name in tensors):
        return FileKind.LORA
    if all(name in tensors for name in TINY_VAE):
        return FileKind.TINY_VAE
    return FileKind.CONTEXT if CONTEXT in tensors else FileKind.OTHER


def _check_generation(file: ModelFile) -> None:
    """Refuse checkpoints that ltx_core 1.0.0 would load wrongly. Raises EngineUnavailableError."""
    settings = file.config.get("transformer", {})
    if settings.get("use_keyframes_abs_pos_embedding") or settings.get("ff_bias") is False:
        raise EngineUnavailableError(
            f"--checkpoint {file.path}: made for LTX-2.5; ltxfilter reads LTX-2 and LTX-2.3"
        )
    channels = (
        settings.get("in_channels", LATENT_CHANNELS),
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


def is_video_tensor(name: str) -> bool:
    """Return True for a tensor that the transformer needs without audio.

    name: without the transformer's prefix.
    """
    if name.startswith(AUDIO):
        return False
    if name.startswith("transformer_blocks."):
        return not name.split(".", 2)[2].startswith(AUDIO_IN_BLOCK)
    return True
