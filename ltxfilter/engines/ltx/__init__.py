"""The engines that use LTX-2's models; importing this package imports neither torch nor them."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ("torch", "safetensors", "einops", "ltx_core")
INSTALL = 'pip install "ltxfilter[ltx]"'


def missing_packages() -> str | None:
    """Return which packages to install before a model can be loaded; None if none is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    return f"needs {', '.join(missing)}; {INSTALL}" if missing else None
