"""What a file for the engine `onnx` is, in a line of `ltxfilter doctor`."""

from __future__ import annotations

from pathlib import Path

from ltxfilter.engines.onnx.network import Network, NetworkSettings
from ltxfilter.errors import EngineError


def describe_network(path: str) -> tuple[str, str]:
    """Return what a file holds and "", or "" and what is wrong with it; needs ONNX Runtime."""
    try:
        network = Network(path, NetworkSettings(provider="cpu"))
    except EngineError as error:
        return "", str(error)
    size = f"{Path(path).name}, {Path(path).stat().st_size / 1e6:.3g} MB"
    sides = "" if network.size else f", sides in multiples of {network.multiple}"
    return f"{size}, {network.form}{sides}", ""
