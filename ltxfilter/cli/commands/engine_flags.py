"""Flags that subcommands with several engines share: which engines, and their model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from ltxfilter.cli.flags import MODEL_FLAGS
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_lora, parse_specs

Command = TypeVar("Command", bound=Callable[..., Any])

LORAS = {"lora": "loras"}  # flags that add up -> the field
NONE = "none"  # in place of engines: no engine at all


def model_flags(command: Command) -> Command:
    """Give a command the model flags of a run; `models_of` reads their values."""
    for flag in reversed(MODEL_FLAGS):
        names = {flag.dashed, f"--{flag.name}", *(f"-{each}" for each in (flag.name,))}
        command = click.option(
            *sorted(names),
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
    from ltxfilter.errors import EngineUnavailableError

    if tuple(texts) == (NONE,):
        return []
    specs = [spec for text in texts for spec in parse_specs(text)] if texts else list(default)
    for spec in specs:
        engine = build(spec, models)
        if missing := type(engine).unavailable():
            raise EngineUnavailableError(f"engine {spec}: {missing}")
    return specs


def default_engines(models: ModelOptions) -> tuple[str, ...]:
    """Return what is compared where no engine is named: `auto` too if it is more than flow."""
    from ltxfilter.engines import build

    usual = ("hold", "blend", "flow")
    return (*usual, "auto") if len(build("auto", models).partners) > 1 else usual
