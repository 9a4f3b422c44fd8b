"""How each weight of a file is stored: its precision, and the scales that belong to it.

Tensors that only say how another one is stored (its companions) are told apart from weights here.
What is stored in a way that is not known is refused by name: a guess would make noise of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ltxfilter.engines.ltx.weights.formats.entries import TensorEntry
from ltxfilter.engines.ltx.weights.formats.gguf_header import BLOCKS, PLAIN
from ltxfilter.engines.ltx.weights.formats.safetensors_header import misfit

# What is beside a weight -> the ends that its name has in one program or another.
SCALE = (".weight_scale", ".scale_weight", ".weight_scale_inv")
SECOND = (".weight_scale_2",)
INPUT = (".input_scale", ".scale_input")
NOTE = (".comfy_quant",)
OWN = "_embedding_scale"  # of an embedding that is no layer's weight, as LTX-2.5 has one
COMPANIONS = (*SCALE, *SECOND, *INPUT, *NOTE, ".pre_quant_scale", OWN)
MARKER = "scaled_fp8"  # the name of an empty tensor in files of ComfyUI with scales
METADATA = "_quantization_metadata"  # what the same files, and official ones, have since
LARGEST_NOTE = 1 << 16  # bytes
EIGHT = ("F8_E4M3", "F8_E5M2")
NUMBERS = ("BF16", "F16", "F32", "F64")
MXFP8_BLOCK, NVFP4_BLOCK = 32, 16  # numbers that share a scale
NOTED = {  # what notes call a format -> ours
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}
UNREAD = "ltxfilter reads bf16, fp16, fp32, fp8, mxfp8, nvfp4 and GGUF's Q8_0 to Q3_K"


class StorageError(ValueError):
    """A tensor that cannot be read for what it is; the text names it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How one tensor is stored."""

    format: str  # "plain", "fp8" (one scale, or none), "fp8 rows", "mxfp8", "nvfp4" or "gguf"
    entry: TensorEntry
    shape: tuple[int, ...]  # of the tensor itself
    scale: TensorEntry | None = None
    second: TensorEntry | None = None  # the scale of all scales, of nvfp4

    @property
    def entries(self) -> Iterator[TensorEntry]:
        """The tensors that are read for it."""
        return (each for each in (self.entry, self.scale, self.second) if each is not None)

    @property
    def precision(self) -> str:
        """What a user calls it: bf16, fp8, Q4_K, ..."""
        if self.format == "plain":
            return {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}.get(
                self.entry.dtype, self.entry.dtype
            )
        return self.entry.dtype if self.format == "gguf" else self.format.split()[0]


def is_companion(name: str) -> bool:
    """Return True for a tensor that only says how another one is stored."""
    return name.endswith(COMPANIONS) or name.rpartition(".")[2] == MARKER


class Storages:
    """The storage of the tensors of one file."""

    def __init__(self, tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> None:
        """Take the tensors by the names that they are known by."""
        self._tensors = tensors
        self._noted = _noted(metadata)
        self._scaled = bool(self._noted) or any(
            name.endswith((*SCALE, *NOTE)) or name.rpartition(".")[2] == MARKER for name in tensors
        )

    def of(self, name: str) -> Storage:
        """Return how a tensor is stored. Raises StorageError."""
        entry = self._tensors[name]
        layer = name.removesuffix(".weight")
        scale = self._scale_of(name, layer)
        second = self._beside(layer, SECOND) if layer != name else None
        noted = self._note(layer) if layer != name else {}
        found = self._stored(entry, scale, second)
        if wrong := misfit(entry):
            raise StorageError(wrong)
        told = str(noted.get("format", ""))
        if noted and NOTED.get(told) != found.format.split()[0]:
            raise StorageError(_refused(entry, told or "an unnamed format"))
        if noted.get("convrot"):
            raise StorageError(_refused(entry, f"{told} with ConvRot"))
        if self._beside(layer, (".pre_quant_scale",)) is not None:
            raise StorageError(
                _refused(entry, f"{found.format} with a scale of its inputs' channels")
            )
        return found

    def without_weight(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that are companions of a tensor that is not there."""
        lost = []
        for name in names:
            end = next((end for end in COMPANIONS if name.endswith(end)), None)
            owner = name.removesuffix("_scale" if end == OWN else end or "")
            owner += "" if end == OWN else ".weight"
            if end is not None and owner not in self._tensors:
                lost.append(name)
        return lost

    def _stored(
        self, entry: TensorEntry, scale: TensorEntry | None, second: TensorEntry | None
    ) -> Storage:
        kind = entry.dtype
        if kind in EIGHT:
            return self._in_8_bits(entry, scale, second)
        if kind == "U8" and scale is not None and scale.dtype in EIGHT and second is not None:
            return _nvfp4(entry, scale, second)
        if kind in BLOCKS:
            return Storage("gguf", entry, entry.shape)
        if kind not in NUMBERS and kind not in PLAIN:
            return self._refuse_unknown(entry)
        if scale is not None:
            raise StorageError(f"{entry.stored} is in {kind} and has a scale beside it")
        return Storage("plain", entry, entry.shape)

    def _refuse_unknown(self, entry: TensorEntry) -> Storage:
        layer = self._layer_of(entry)
        told = self._note(layer)
        if entry.dtype == "I8":
            name = str(told.get("format", "int8"))
            if told.get("convrot") or "convrot" not in name:
                name += " (ConvRot)" if told.get("convrot") else ""
            raise StorageError(_refused(entry, name))
        raise StorageError(_refused(entry, str(told.get("format") or entry.dtype)))

    def _layer_of(self, entry: TensorEntry) -> str:
        known = next((name for name, own in self._tensors.items() if own is entry), entry.stored)
        return known.removesuffix(".weight")

    def _in_8_bits(
        self, entry: TensorEntry, scale: TensorEntry | None, second: TensorEntry | None
    ) -> Storage:
        if second is not None:
            raise StorageError(_refused(entry, "8 bits with two scales"))
        if scale is None:
            if self._scaled and len(entry.shape) > 1:
                raise StorageError(
                    f"{entry.stored} is in 8 bits and its scale is missing, though others have one"
                )
            return Storage("fp8", entry, entry.shape)
        rows = entry.shape[0] if entry.shape else 1
        if wrong := misfit(scale):
            raise StorageError(wrong)
        if scale.dtype in ("U8", "F8_E8M0") and len(entry.shape) == 2:
            blocks = _blocked(rows, ceil(entry.shape[1] / MXFP8_BLOCK))
            if scale.elements == blocks[0] * blocks[1] and not entry.shape[1] % MXFP8_BLOCK:
                return Storage("mxfp8", entry, entry.shape, scale)
        if scale.dtype in ("F32", "BF16", "F16"):
            if scale.elements == 1:
                return Storage("fp8", entry, entry.shape, scale)
            if scale.shape in ((rows,), (rows, 1)):
                return Storage("fp8 rows", entry, entry.shape, scale)
        shape = " by ".join(map(str, scale.shape)) or "one number"
        raise StorageError(_refused(entry, f"8 bits with scales of {shape} in {scale.dtype}"))

    def _scale_of(self, name: str, layer: str) -> TensorEntry | None:
        """Return the scale of a tensor. layer: its name without .weight."""
        if layer != name:
            return self._beside(layer, SCALE)
        return self._tensors.get(f"{name}_scale") if is_companion(f"{name}_scale") else None

    def _beside(self, layer: str, ends: Iterable[str]) -> TensorEntry | None:
        found = [self._tensors[layer + end] for end in ends if layer + end in self._tensors]
        if len(found) > 1:
            raise StorageError(f"{found[0].stored} and {found[1].stored} are scales of one weight")
        return found[0] if found else None

    def _note(self, layer: str) -> Mapping[str, Any]:
        """Return what a note beside a layer, or the file's metadata, say of its storage."""
        entry = self._beside(layer, NOTE)
        if entry is None:
            return self._noted.get(layer) or self._noted.get(_bare(layer)) or {}
        try:
            with Path(entry.path).open("rb") as file:
                file.seek(entry.begin)
                note = json.loads(file.read(min(entry.nbytes, LARGEST_NOTE)).rstrip(b"\0"))
        except (ValueError, RecursionError):
            note = None
        if not isinstance(note, dict):
            raise StorageError(f"{entry.stored} is no note on a format")
        return note


def _nvfp4(entry: TensorEntry, scale: TensorEntry, second: TensorEntry) -> Storage:
    """Return the storage of a weight in 4 bits, two numbers to a byte. Raises StorageError."""
    if len(entry.shape) != 2 or second.elements != 1 or second.dtype != "F32":
        raise StorageError(_refused(entry, "4 bits in an unknown arrangement"))
    rows, columns = entry.shape[0], 2 * entry.shape[1]
    high, wide = _blocked(rows, ceil(columns / NVFP4_BLOCK))
    if scale.elements != high * wide or columns % NVFP4_BLOCK or misfit(scale):
        shape = " by ".join(map(str, scale.shape))
        raise StorageError(_refused(entry, f"nvfp4 with scales of {shape}"))
    return Storage("nvfp4", entry, (rows, columns), scale, second)


def _blocked(rows: int, columns: int) -> tuple[int, int]:
    """Return the size of a table of scales in NVIDIA's arrangement for tensor cores."""
    return 128 * ceil(rows / 128), 4 * ceil(columns / 4)


def _refused(entry: TensorEntry, what: str) -> str:
    return f"{entry.stored} is in {what}, which is not read; {UNREAD}"


def _bare(layer: str) -> str:
    return layer.removeprefix("model.diffusion_model.")


def _noted(metadata: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return what a file's metadata say of the storage of its layers, by their bare names."""
    try:
        layers = json.loads(metadata.get(METADATA, "{}"))["layers"]
        return {_bare(str(name)): dict(told) for name, told in layers.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
