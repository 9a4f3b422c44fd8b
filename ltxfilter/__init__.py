"""Raise the frame rate of video in a stream; names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltxfilter.api import Interpolator, convert, interpolate
    from ltxfilter.errors import (
        EngineError,
        EngineUnavailableError,
        InputError,
        Interrupted,
        LtxFilterError,
        OptionError,
        OutputError,
        ResourceError,
    )
    from ltxfilter.options import ModelOptions

__version__ = "0.1.0"

__all__ = [
    "EngineError",
    "EngineUnavailableError",
    "InputError",
    "Interpolator",
    "Interrupted",
    "LtxFilterError",
    "ModelOptions",
    "OptionError",
    "OutputError",
    "ResourceError",
    "__version__",
    "convert",
    "interpolate",
]

_HOMES = {  # the module of each name that is not an error
    "convert": "api",
    "Interpolator": "api",
    "interpolate": "api",
    "ModelOptions": "options",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import ltxfilter` stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'ltxfilter' has no attribute {name!r}")
    value = getattr(import_module(f"ltxfilter.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
