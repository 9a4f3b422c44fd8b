"""Raise the frame rate of video in a stream; names are imported when they are first used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltxfilter.convert import convert
    from ltxfilter.errors import (
        EngineError,
        EngineUnavailableError,
        InputError,
        Interrupted,
        LtxFilterError,
        OptionError,
        OutputError,
    )
    from ltxfilter.interpolator import Interpolator, interpolate
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
    "__version__",
    "convert",
    "interpolate",
]

_HOMES = {  # where names come from that are no errors
    "convert": "convert",
    "Interpolator": "interpolator",
    "interpolate": "interpolator",
    "ModelOptions": "options",
}


class _Package(ModuleType):
    """This package: the function `convert` stays in front of the module it lives in."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'ltxfilter' has no attribute {name!r}")
        value = getattr(import_module(f"ltxfilter.{_HOMES.get(name, 'errors')}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "convert" and isinstance(value, ModuleType):  # the import system binds it
            value = value.convert
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
