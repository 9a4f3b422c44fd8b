"""What the ltx_core that is installed can build, told without importing it, or torch.

It asks for a feature in its source, not for a version: a checkout says the same number for long.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

# PyPI has 1.0.0. Without dependencies: those of 1.2 are there, but for what only its own text
# encoder and its pipelines need.
NEWER = (
    'pip install --no-deps "ltx-core @ '
    'git+https://github.com/Lightricks/LTX-2#subdirectory=packages/ltx-core"'
)
TRANSFORMERS = "model/transformer/model_configurator.py"  # in the package: reads configurations
DECODERS = "model/video_vae/diffusion_video_decoder.py"


def builds_2_5() -> bool:
    """Return True if ltx_core builds the transformer of LTX-2.5; False if it is not installed."""
    return b"use_keyframes_abs_pos_embedding" in _source(TRANSFORMERS)


def decodes_by_diffusion() -> bool:
    """Return True if ltx_core builds LTX-2.5's diffusion decoder; False if it is not installed."""
    return b"DiffusionVideoDecoder" in _source(DECODERS)


@cache
def _source(name: str) -> bytes:
    """Return a file of the package; empty if there is none."""
    spec = find_spec("ltx_core")
    if spec is None or spec.origin is None:
        return b""
    path = Path(spec.origin).parent / name
    return path.read_bytes() if path.is_file() else b""
