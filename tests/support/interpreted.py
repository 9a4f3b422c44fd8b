"""Triton's interpreter, which has to be asked for before Triton is loaded for the first time.

Parts of torch load Triton by themselves, and its own functions are then compiled ones for ever.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch


def load() -> None:
    """Load Triton, where it is installed, with its interpreter unless there is a GPU."""
    if find_spec("triton") is None or torch.cuda.is_available():
        return
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        import triton.language  # noqa: F401
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]


def works() -> bool:
    """Return True if kernels that are loaded now will be interpreted, given TRITON_INTERPRET=1."""
    import triton.language as language

    return "Interpreted" in type(language.max).__name__
