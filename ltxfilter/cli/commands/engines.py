"""`ltxfilter engines`: the engines, their options with defaults, and why one cannot run here."""

from __future__ import annotations

import click

from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import EngineOption


@click.command("engines")
@click.option("--all", "every", is_flag=True, help="List the options for experts too.")
def engines_command(*, every: bool) -> int:
    """List the engines, their options with defaults, and why one cannot run here."""
    from ltxfilter.engines import engine_class, engine_names

    for name in engine_names():
        try:
            engine = engine_class(name)
        except EngineUnavailableError as error:  # an engine of another package
            write_text(f"{name}: [unavailable: {error}]")
            continue
        missing = engine.unavailable()
        write_text(f"{name}: {engine.summary}" + (f" [unavailable: {missing}]" if missing else ""))
        for option in engine.options:
            if every or not option.expert:
                write_text(f"    {_described(option)}")
        hidden = sum(option.expert for option in engine.options)
        if hidden and not every:
            write_text(f"    ({hidden} options for experts: ltxfilter engines --all)")
    return 0


def _described(option: EngineOption) -> str:
    """Return an option with its default, its help and the values it takes, on one line."""
    switch = isinstance(option.default, bool)
    default = int(option.default) if switch else option.default
    return f"{option.name}={default}  {option.help} ({option.allowed()})"
