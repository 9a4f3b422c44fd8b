"""Tensors of model files: whole files by safetensors, single tensors byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from ltxfilter.engines.ltx.weights.formats.entries import TensorEntry
from ltxfilter.errors import EngineUnavailableError


@contextmanager
def open_tensors(path: str, device: str = "cpu") -> Iterator[Any]:
    """Open a file to get its tensors on a device. Raises EngineUnavailableError."""
    try:
        with safe_open(path, "pt", device=device) as opened:
            yield opened
    except SafetensorError as error:
        raise EngineUnavailableError(f"{path}: not a safetensors file: {error}") from None
    except OSError as error:
        raise EngineUnavailableError(f"{path}: {error.strerror or error}") from None


class BlockReader:
    """Reads the bytes of single tensors, each once, and nothing else of their files.

    Files are read and not mapped: a mapped file counts as memory in use, and one that is cut off
    while it is read kills the process.
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._files: dict[str, BinaryIO] = {}

    def read(self, entry: TensorEntry) -> torch.Tensor:
        """Return the bytes of a tensor, uint8 on the CPU. Raises EngineUnavailableError."""
        data = torch.empty(entry.nbytes, dtype=torch.uint8)
        try:
            if entry.path not in self._files:
                self._files[entry.path] = open(entry.path, "rb", buffering=0)  # noqa: PTH123, SIM115
            file = self._files[entry.path]
            file.seek(entry.begin)
            view, done = memoryview(data.numpy()), 0
            while done < entry.nbytes:
                count = file.readinto(view[done:])  # type: ignore[attr-defined]
                if not count:
                    raise EngineUnavailableError(
                        f"{entry.path}: truncated in {entry.stored}; download it again"
                    )
                done += count
        except OSError as error:
            raise EngineUnavailableError(f"{entry.path}: {error.strerror or error}") from None
        return data

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
