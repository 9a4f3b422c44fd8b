"""What an actor needs of the job: its options, with names that hold everywhere, and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ltxfilter.engines import engine_class
from ltxfilter.engines.model_files import complete
from ltxfilter.jobs.journal import identity
from ltxfilter.jobs.ray_cluster.actor import Assignment
from ltxfilter.options import ModelOptions, Options

INTERVAL = 0.3  # seconds between two reports of progress of one actor
ANSWERS = 200  # reports in a second, of all actors; a driver of Ray takes about 1,000 calls


def assignment_of(share: Options, actors: int, token: tuple[str, str]) -> Assignment:
    """Return what the actors are told. share: the options of one. token: see `Assignment`.

    Raises InputError, OptionError.
    """
    found: list[str] = []

    def noted(path: str) -> str:
        found.append(str(Path(path).absolute()))
        return found[-1]

    models = share.models
    if engine_class(share.engine.partition(":")[0]).uses_models:
        models = _with_files(complete(models), noted)
    source = str(Path(share.input.path).absolute())
    options = replace(
        share,
        input=replace(share.input, path=source),
        models=models,
    )
    files = {path: _known(path) for path in found}
    return Assignment(
        options,
        {**files, source: identity(source)},
        token,
        max(INTERVAL, actors / ANSWERS),
    )


def _with_files(models: ModelOptions, name: Callable[[str], str]) -> ModelOptions:
    """Return models with other names of files and folders."""
    changed: dict[str, Any] = {}
    for field in fields(models):
        value = getattr(models, field.name)
        if field.name == "loras":
            changed["loras"] = tuple((name(path), strength) for path, strength in value)
        elif isinstance(value, tuple):
            changed[field.name] = (name(value[0]), value[1])
        elif isinstance(value, str) and field.name not in ("device", "prompt"):
            changed[field.name] = name(value)
    return replace(models, **changed)


def _known(path: str) -> dict[str, Any]:
    """Return what a model file is known by; nothing for a folder, and for what the engine names."""
    try:
        return identity(path)
    except OSError:
        return {}
