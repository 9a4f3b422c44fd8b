"""The engines by name; each module is imported only when its engine is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ltxfilter.engines import model_files
from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_spec

__all__ = ["ENGINES", "Drawn", "Engine", "build", "engine_class"]

ENGINES = {  # name -> module:class
    "auto": "ltxfilter.engines.auto:Auto",
    "flow": "ltxfilter.engines.flow:Flow",
    "blend": "ltxfilter.engines.blend:Blend",
    "hold": "ltxfilter.engines.hold:Hold",
    "ltx-keyframe": "ltxfilter.engines.ltx.keyframe:Keyframe",
    "ltx-motion": "ltxfilter.engines.ltx.motion:Motion",
    "ltx-reference": "ltxfilter.engines.ltx.reference:Reference",
    "ltx-temporal": "ltxfilter.engines.ltx.temporal:Temporal",
}


def engine_class(name: str) -> type[Engine]:
    """Return the class of the engine called `name`. Raises OptionError."""
    if name not in ENGINES:
        raise OptionError(f"no engine {name!r}; there are {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    found: type[Engine] = getattr(import_module(module), attribute)
    return found


def build(spec: str, models: ModelOptions | None = None) -> Engine:
    """Build the engine that "NAME:key=value" describes, not yet open. Raises OptionError.

    models: for an engine that needs any; the environment and the settings file fill its gaps.
    """
    name, given = parse_spec(spec)
    kind = engine_class(name)
    known = {option.name: option for option in kind.options}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            allowed = ", ".join(known) or "none"
            raise OptionError(f"engine {name} has no option {key!r}; it has {allowed}")
        values[key] = known[key].parse(text)
    if hasattr(kind, "files"):  # a ModelEngine
        values["models"] = model_files.complete(models or ModelOptions())
    return kind(**values)
