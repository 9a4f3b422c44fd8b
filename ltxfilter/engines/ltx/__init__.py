"""The engines that use LTX-2's models; importing this package imports neither torch nor them."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

PACKAGES = ("torch", "safetensors", "einops", "ltx_core")
# torch 2.9 computes convolutions of video in bfloat16 slowly, and with its cuDNN partly wrongly.
OLDEST_TORCH = (2, 10)
INSTALL = 'pip install "ltxfilter[ltx]"'


def missing_packages() -> str | None:
    """Return which packages to install before a model can be loaded; None if none is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        return f"needs {', '.join(missing)}; {INSTALL}"
    torch = version("torch")
    old = tuple(map(int, torch.split(".")[:2])) < OLDEST_TORCH
    oldest = ".".join(map(str, OLDEST_TORCH))
    return f"needs torch {oldest} or newer, not {torch}; {INSTALL}" if old else None
