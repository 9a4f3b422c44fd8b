"""`ltxfilter completion`: what a shell is told of options and their values."""

from __future__ import annotations

import click

from ltxfilter.cli.text_output import write_text


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(*, shell: str) -> int:
    """Print the completion of options and their values for bash, zsh or fish."""
    from ltxfilter.cli.main import COMMANDS, command_named
    from ltxfilter.cli.shells.completions import SHELLS

    commands = {name: command_named(name) for name in COMMANDS}
    write_text(SHELLS[shell](commands), newline=False)
    return 0
