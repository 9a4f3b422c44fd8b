"""One tensor of a model file, as the file's header describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

BITS = {  # of one number, by the format's word for its type
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I64": 64, "U64": 64, "I32": 32, "U32": 32, "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip


class HeaderError(ValueError):
    """A header that cannot be read; its text says what the file is instead."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One entry of a file's header."""

    dtype: str  # in the file format's words: BF16, F32, F8_E4M3, Q4_K, ...
    shape: tuple[int, ...]
    nbytes: int
    stored: str = ""  # its name in the file, which may differ from the one that it is known by
    path: str = ""  # the file that it is in: a shard, where there are several
    begin: int = 0  # byte of that file at which it begins

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What a file, or a folder of shards, says of itself."""

    tensors: Mapping[str, TensorEntry]  # by the names that the file uses
    metadata: Mapping[str, str]
    paths: tuple[str, ...]  # all files that were read, at least one
