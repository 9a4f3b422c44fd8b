"""Flags that subcommands with several engines share: which engines, and their model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click

from ltxfilter.cli.flags import MODEL_FLAGS
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_lora, parse_specs

Command = TypeVar("Command", bound=Callable[..., Any])

LORAS = {"lora": "loras"}  # flags that add up -> the field
NONE = "none"  # in place of engines: no engine at all


def level_flag(command: Command) -> Command:
    """Give a command the flag -v; `parse_level` reads its value, the parameter `level`."""
    said = "Say more or less: quiet, error, warning, info (default) or debug."
    named = click.option("-v", "--loglevel", "level", metavar="LEVEL", default="info", help=said)
    return named(command)


def model_flags(command: Command) -> Command:
    """Give a command the model flags of a run; `models_of` reads their values."""
    for flag in reversed(MODEL_FLAGS):
        command = click.option(
            flag.dashed,
            flag.name,
            metavar=flag.metavar,
            multiple=flag.name in LORAS,
            help=flag.help,
        )(command)
    return command


def models_of(values: Mapping[str, Any]) -> ModelOptions:
    """Return what model flags ask for. Raises OptionError."""
    named = {LORAS.get(name, name): value for name, value in values.items()}
    try:
        named["loras"] = tuple(parse_lora(text) for text in values["lora"])
        if values["distilled_lora"] is not None:
            named["distilled_lora"] = parse_lora(values["distilled_lora"])
    except OptionError as error:
        raise OptionError(f"--lora: {error}") from None
    return ModelOptions(**named)


def engines_of(texts: Sequence[str], default: tuple[str, ...], models: ModelOptions) -> list[str]:
    """Return the engines that --engines names, each a spec; checked, and not yet open.

    texts: its values. default: where it is not given. Raises OptionError, EngineUnavailableError.
    """
    from ltxfilter.engines import build

    if tuple(texts) == (NONE,):
        return []
    specs = [spec for text in texts for spec in parse_specs(text)] if texts else list(default)
    used: set[str] = set()
    for spec in specs:
        engine = build(spec, models)
        if missing := type(engine).unavailable():
            raise EngineUnavailableError(f"engine {spec}: {missing}")
        used |= engine.used_files
    _refuse_unused(specs, models, used)
    return specs


def _refuse_unused(specs: Sequence[str], models: ModelOptions, used: set[str]) -> None:
    """Refuse a model file that none of the engines uses. Raises OptionError."""
    from ltxfilter.engines import refuse_unused

    for name in (field.name for field in fields(ModelOptions)):
        value = getattr(models, name)
        if value and name not in used:
            refuse_unused(specs[0] if specs else "flow", ModelOptions(**{name: value}))


def default_engines(models: ModelOptions) -> tuple[str, ...]:
    """Return what is compared where no engine is named: `auto` too if it is more than flow."""
    from ltxfilter.engines import build

    usual = ("hold", "blend", "flow")
    return (*usual, "auto") if len(build("auto", models).partners) > 1 else usual
