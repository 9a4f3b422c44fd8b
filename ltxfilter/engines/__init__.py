"""The engines by name; each module is imported only when its engine is used."""

from __future__ import annotations

import logging
from dataclasses import fields
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.model_files import complete
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_spec

__all__ = ["ENGINES", "Drawn", "Engine", "build", "engine_class", "engine_names", "refuse_unused"]

log = logging.getLogger("ltxfilter.engines")

GROUP = "ltxfilter.engines"  # entry points of other packages: NAME = "module:Class"

ENGINES = {  # name -> module:class
    "auto": "ltxfilter.engines.auto:Auto",
    "flow": "ltxfilter.engines.flow:Flow",
    "blend": "ltxfilter.engines.blend:Blend",
    "hold": "ltxfilter.engines.hold:Hold",
    "ltx-keyframe": "ltxfilter.engines.ltx.keyframe:LtxKeyframe",
    "ltx-motion": "ltxfilter.engines.ltx.motion:LtxMotion",
    "ltx-reference": "ltxfilter.engines.ltx.reference:LtxReference",
    "ltx-temporal": "ltxfilter.engines.ltx.temporal:LtxTemporal",
    "onnx": "ltxfilter.engines.onnx.engine:Onnx",
}


@cache
def registered() -> dict[str, str]:
    """Return the engines of other packages, name -> module:class; a name of ours stays ours."""
    from importlib.metadata import entry_points  # 10 ms that an engine of ours does not need

    found: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        if point.name in ENGINES or point.name in found:
            package = point.dist.name if point.dist else point.value
            log.warning("engine %s of %s: the name is taken, it is left out", point.name, package)
        else:
            found[point.name] = point.value
    return found


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: our own, then those that other packages registered."""
    return (*ENGINES, *registered())


def engine_class(name: str) -> type[Engine]:
    """Return the class of the engine called `name`.

    Raises OptionError for a name that is not known, EngineUnavailableError for an engine of another
    package that cannot be imported or keeps not to the contract.
    """
    place = ENGINES.get(name) or registered().get(name)
    if place is None:
        raise OptionError(f"no engine {name!r}; there are {', '.join(engine_names())}")
    module, _, attribute = place.partition(":")
    if name in ENGINES:
        own: type[Engine] = getattr(import_module(module), attribute)
        return own
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # whatever another package's import does
        raise EngineUnavailableError(
            f"engine {name}: {place} cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise EngineUnavailableError(
            f"engine {name}: {place} is no subclass of ltxfilter.engines.base.Engine"
        )
    return found


def build(spec: str, models: ModelOptions | None = None, scale: Fraction | None = None) -> Engine:
    """Build the engine that "NAME:key=value" describes, not yet open. Raises OptionError.

    models: for an engine that uses them; the environment and the settings file complete them.
    scale: how many times larger pictures are to become, see `Engine.enlarge`, which may raise
    EngineUnavailableError.
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
    if kind.uses_models:
        values["models"] = complete(models or ModelOptions())
    engine = kind(**values)
    if scale is not None:
        engine.enlarge(scale)
    return engine


def refuse_unused(spec: str, models: ModelOptions, scale: Fraction | None = None) -> None:
    """Refuse files that a command line names and the engine that `spec` describes does not use.

    Who names a file wants something of it. What the environment and the settings file name besides
    may be for other engines. Raises OptionError.
    """
    if models == ModelOptions():
        return
    engine = build(spec, models, scale)
    for field in fields(ModelOptions):
        given = getattr(models, field.name)
        if given and field.name not in engine.used_files:
            raise OptionError(_unused(engine, field.name, given))


def with_option(engine: str, option: str) -> str:
    """Return what a user writes who wants an engine with an option: its own, or a flag, or none."""
    if option.startswith("--"):
        return f"{engine} {option}"
    return f"{engine}:{option}" if option else engine


def _unused(engine: Engine, field: str, given: Any) -> str:
    """Return the message about a file that an engine does not use, and what would use it."""
    name = "lora" if field == "loras" else field
    value = given[0] if isinstance(given, tuple) else given
    path = value[0] if isinstance(value, tuple) else value
    users = []
    for other in ENGINES:
        takes = engine_class(other).takes_files
        if field in takes:
            users.append(with_option(other, takes[field]))
    own = engine.takes_files.get(field)
    told = f"add {own}, or leave it out" if own else ""
    if own == "":  # a checkpoint
        told = "all that it takes of one has a flag of its own; leave one of these flags out"
    told = told or (f"it is for {', '.join(users)}" if users else "leave it out")
    return f"--{name.replace('_', '-')} {path}: engine {engine.name} does not use it; {told}"
