"""The header of a safetensors file, and what a file that is none turns out to be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltxfilter.engines.ltx.weights.formats.entries import (
    BITS,
    HeaderError,
    ModelHeader,
    TensorEntry,
)

LARGEST_HEADER = 100 << 20  # bytes, the limit of the format itself
SNIFFED = 512  # bytes that tell what another file is
# What a file begins with -> what it is and what to do.
OTHERS = (
    (
        re.compile(rb"version https://git-lfs"),
        "it is a pointer of Git LFS, not the file itself; fetch that with git lfs pull",
    ),
    (
        re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE),
        "it is a web page that was saved in the file's place; log in at the site, accept the "
        "model's licence there and download the file again",
    ),
    (
        re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"),
        "it is a pickle of PyTorch; ltxfilter reads .safetensors and .gguf",
    ),
)


def read_safetensors(path: Path) -> ModelHeader:
    """Read a header. Raises OSError, and HeaderError for what is no whole safetensors file."""
    try:
        text, begin, length = _header_text(path)
        entries = _object(text)
        metadata = entries.pop("__metadata__", {})
        tensors = {name: _tensor(name, entry, path, begin) for name, entry in entries.items()}
        _check_metadata(metadata)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HeaderError(another_file(path) or "not a safetensors file") from None
    stored = sum(tensor.nbytes for tensor in tensors.values())
    end = max((tensor.begin + tensor.nbytes for tensor in tensors.values()), default=begin) - begin
    if max(stored, end) > length:
        raise HeaderError(
            f"truncated, {length} of {max(stored, end)} bytes are there; download it again"
        )
    return ModelHeader(tensors, metadata, (str(path),))


def another_file(path: Path) -> str:
    """Return what a file is that is none of a model, and what to do; "" if it is not known."""
    with path.open("rb") as file:
        first = file.read(SNIFFED)
    if not first:
        return "it is empty; download it again"
    return next((what for pattern, what in OTHERS if pattern.match(first)), "")


def _header_text(path: Path) -> tuple[bytes, int, int]:
    """Return a file's header, where the tensors begin, and how many bytes of them there are."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= LARGEST_HEADER:
            raise ValueError(size)
        text = file.read(size)
        return text, 8 + size, path.stat().st_size - 8 - size


def _object(text: str | bytes) -> dict[str, Any]:
    """Read an object in JSON. Raises ValueError, RecursionError."""
    entries = json.loads(text)
    if not isinstance(entries, dict):
        raise ValueError(text[:80])
    return entries


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata")


def _tensor(name: str, entry: Mapping[str, Any], path: Path, start: int) -> TensorEntry:
    """Read one entry of a header. Raises ValueError, KeyError, TypeError."""
    begin, end = entry["data_offsets"]
    numbers = [begin, end, *entry["shape"]]
    whole = all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
    if not whole or begin > end or not isinstance(entry["dtype"], str):
        raise ValueError(entry)
    shape = tuple(entry["shape"])
    return TensorEntry(entry["dtype"], shape, end - begin, name, str(path), start + begin)


def misfit(entry: TensorEntry) -> str | None:
    """Return what is wrong with an entry whose bytes are not those of its shape; None if nothing.

    A type that is not in BITS is left to whoever reads it.
    """
    bits = BITS.get(entry.dtype)
    if bits is None or entry.nbytes * 8 == entry.elements * bits:
        return None
    shape = " by ".join(map(str, entry.shape)) or "one number"
    return f"{entry.stored} has {entry.nbytes} bytes for {shape} of {entry.dtype}"
