"""The header of a GGUF file; the package `gguf` is imported only when there is one to read."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ltxfilter.engines.ltx.weights.formats.entries import HeaderError, ModelHeader, TensorEntry

MAGIC = b"GGUF"
INSTALL = 'pip install "ltxfilter[gguf]"'
PLAIN = {"F32", "F16", "BF16", "F64"}  # types that are numbers, not blocks
# Types of blocks that are read, named by bits per weight.
BLOCKS = {"Q8_0": 8.5, "Q6_K": 6.6, "Q5_K": 5.5, "Q4_K": 4.5, "Q3_K": 3.4}
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."  # of a tensor whose rows were too short for blocks
KEPT = ("config", "model_version", "general.architecture", "general.name")


def is_gguf(path: Path) -> bool:
    """Return True for a file that begins like GGUF. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_gguf(path: Path) -> ModelHeader:
    """Read a header. Raises HeaderError, also if the package is missing."""
    if find_spec("gguf") is None:
        raise HeaderError(f"it is a GGUF file, which needs the package gguf: {INSTALL}")
    try:
        reader = open_gguf(str(path), path.stat().st_mtime_ns)
        tensors = {
            tensor.name: TensorEntry(
                tensor.tensor_type.name,
                _shape(reader, tensor),
                int(tensor.n_bytes),
                tensor.name,
                str(path),
                int(tensor.data_offset),
            )
            for tensor in reader.tensors
        }
        metadata = {
            name: str(reader.fields[name].contents()) for name in KEPT if name in reader.fields
        }
    except Exception as error:  # whatever the package meets in a damaged file
        reason = str(error).partition("\n")[0]
        raise HeaderError(f"a GGUF file that cannot be read: {reason}; download it again") from None
    end = max((entry.begin + entry.nbytes for entry in tensors.values()), default=0)
    if end > path.stat().st_size:
        raise HeaderError(f"truncated, {path.stat().st_size} of {end} bytes are there")
    return ModelHeader(tensors, metadata, (str(path),))


@cache
def open_gguf(path: str, changed: int) -> Any:  # noqa: ARG001
    """Return the package's reader of a file. changed: its time, by which a new one is told."""
    from gguf import GGUFReader

    return GGUFReader(path)


def _shape(reader: Any, tensor: Any) -> tuple[int, ...]:
    """Return a tensor's shape, the last axis fastest as in PyTorch."""
    field = reader.get_field(ORIGINAL_SHAPE + tensor.name)
    if field is not None:
        return tuple(int(number) for number in field.contents())
    return tuple(int(number) for number in reversed(tensor.shape.tolist()))
