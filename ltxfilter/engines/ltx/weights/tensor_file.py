"""Tensors of model files, read by safetensors, whose errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError, safe_open

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
