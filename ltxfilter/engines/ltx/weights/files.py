"""Model files (safetensors): what kind of model one holds, found from its header alone.

Imports neither torch nor safetensors, so that `doctor` can look at files anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

LARGEST_HEADER = 100 << 20  # bytes, as the format itself limits it
TRANSFORMER = "model.diffusion_model."
ENCODER = "vae.encoder."
DECODER = "vae.decoder."
STATISTICS = "vae.per_channel_statistics."
TEXT = "text_embedding_projection."
CONTEXT = "video_context"  # the tensor of a context file
# Of the tiny autoencoders, which all share their tensors' names, those that fit LTX's latents.
TINY_VAE = {"encoder.0.weight": (64, 48, 3, 3), "decoder.1.weight": (256, 128, 3, 3)}
TINY_VAE_TENSORS = 128  # wider ones have more
# What only models with sound have, after the transformer's prefix; and inside one of its blocks.
SOUND = ("audio_", "av_ca_", "video_embeddings_connector.", "audio_embeddings_connector.")
SOUND_IN_BLOCK = ("audio_", "video_to_audio_attn.", "scale_shift_table_a2v_ca_")


class Kind(Enum):
    """What a model file holds."""

    CHECKPOINT = "an LTX-2 checkpoint"
    SPATIAL = "a spatial upsampler"
    TEMPORAL = "a temporal upsampler"
    LORA = "a LoRA"
    CONTEXT = "a text context"
    TINY_VAE = "a tiny autoencoder"
    OTHER = "none of the files that ltxfilter knows"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a file's header."""

    dtype: str  # the format's name: BF16, F32, F8_E4M3, ...
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file's header."""

    path: str
    kind: Kind
    config: Mapping[str, Any]  # of a checkpoint or an upsampler; {} if it has none
    metadata: Mapping[str, str]
    tensors: Mapping[str, Tensor]

    def bytes_under(self, *prefixes: str) -> int:
        """Return the bytes of the tensors whose names begin with one of `prefixes`."""
        return sum(t.nbytes for name, t in self.tensors.items() if name.startswith(prefixes))

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of the tensors that begin with `prefix`."""
        return (name for name in self.tensors if name.startswith(prefix))

    @property
    def quantized(self) -> bool:
        """True if its transformer is stored in 8 bits."""
        return any(self.tensors[name].dtype == "F8_E4M3" for name in self.names(TRANSFORMER))


def required(options: ModelOptions, kind: Kind) -> ModelFile:
    """Return the header of the file of a kind that options name. Raises EngineUnavailableError."""
    flag = FLAGS[kind]
    path = getattr(options, flag.removeprefix("--").replace("-", "_"))
    if path is None:
        hint = "; make one with ltxfilter context" if kind is Kind.CONTEXT else ""
        raise EngineUnavailableError(f"{flag} FILE is needed: {kind.value}{hint}")
    return open_file(path, kind, flag)


def open_file(path: str, expected: Kind, flag: str) -> ModelFile:
    """Read the header of the file that `flag` names. Raises EngineUnavailableError.

    The message says what the file is when it is not what was expected, and which flag takes it.
    """
    found = read_header(path, flag)
    if found.kind is not expected:
        owner = FLAGS.get(found.kind)
        hint = f"; that goes to {owner}" if owner else ""
        raise EngineUnavailableError(
            f"{flag} {path}: it holds {found.kind.value}, not {expected.value}{hint}"
        )
    if expected is Kind.CHECKPOINT:
        _check_generation(found)
    if expected is Kind.TINY_VAE:
        _check_tiny_vae(found)
    return found


def read_header(path: str, flag: str = "file") -> ModelFile:
    """Read a safetensors header. Raises EngineUnavailableError naming `flag` and the path."""
    try:
        text, length = _header_text(Path(path))
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        tensors = {name: _tensor(entry) for name, entry in entries.items()}
        config = json.loads(metadata.get("config", "{}"))
        stored = sum(tensor.nbytes for tensor in tensors.values())
    except OSError as error:
        raise EngineUnavailableError(f"{flag} {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EngineUnavailableError(f"{flag} {path}: not a safetensors file") from None
    if stored > length:
        raise EngineUnavailableError(
            f"{flag} {path}: truncated, {length} of {stored} bytes are there; download it again"
        )
    return ModelFile(path, _kind(config, tensors), config, metadata, tensors)


def _header_text(path: Path) -> tuple[bytes, int]:
    """Return a file's header and how many bytes of tensors follow it."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= LARGEST_HEADER:
            raise ValueError(size)
        text = file.read(size)
        return text, path.stat().st_size - 8 - size


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    return Tensor(entry["dtype"], tuple(entry["shape"]), end - begin)


def _kind(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Kind:
    if any(name.startswith((TRANSFORMER, ENCODER, DECODER)) for name in tensors):
        return Kind.CHECKPOINT
    if "upsampler.0.weight" in tensors or config.get("_class_name") == "LatentUpsampler":
        # Both kinds share their class and their tensors' names: only the configuration tells.
        temporal = config.get("temporal_upsample") and not config.get("spatial_upsample")
        return Kind.TEMPORAL if temporal else Kind.SPATIAL
    if any(name.endswith((".lora_A.weight", ".lora_down.weight")) for name in tensors):
        return Kind.LORA
    if all(name in tensors for name in TINY_VAE):
        return Kind.TINY_VAE
    return Kind.CONTEXT if CONTEXT in tensors else Kind.OTHER


FLAGS = {
    Kind.CHECKPOINT: "--checkpoint",
    Kind.SPATIAL: "--spatial-upsampler",
    Kind.TEMPORAL: "--temporal-upsampler",
    Kind.LORA: "--lora",
    Kind.CONTEXT: "--context",
    Kind.TINY_VAE: "--tiny-vae",
}


def _check_generation(found: ModelFile) -> None:
    """Refuse checkpoints that ltx_core 1.0.0 would load into garbage. Raises."""
    settings = found.config.get("transformer", {})
    if settings.get("use_keyframes_abs_pos_embedding") or settings.get("ff_bias") is False:
        raise EngineUnavailableError(
            f"--checkpoint {found.path}: made for LTX-2.5; ltxfilter reads LTX-2 and LTX-2.3"
        )
    channels = (
        settings.get("in_channels", 128),
        found.config.get("vae", {}).get("latent_channels", 128),
    )
    if channels[0] != channels[1]:
        raise EngineUnavailableError(
            f"--checkpoint {found.path}: its transformer takes {channels[0]} channels and its VAE "
            f"makes {channels[1]}"
        )


def _check_tiny_vae(found: ModelFile) -> None:
    """Refuse tiny autoencoders of other models' latents, and wider ones. Raises."""
    fits = all(found.tensors[name].shape == shape for name, shape in TINY_VAE.items())
    if not fits or len(found.tensors) > TINY_VAE_TENSORS:
        raise EngineUnavailableError(
            f"--tiny-vae {found.path}: made for another model or size; "
            "ltxfilter reads taeltx_2 and taeltx2_3"
        )


def video_only(name: str) -> bool:
    """Return True for a transformer tensor (its prefix removed) that drawing needs."""
    if name.startswith(SOUND):
        return False
    if name.startswith("transformer_blocks."):
        return not name.split(".", 2)[2].startswith(SOUND_IN_BLOCK)
    return True
