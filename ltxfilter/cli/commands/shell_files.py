"""`ltxfilter completion` and `ltxfilter man`: what a shell and man(1) are told."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(*, shell: str) -> int:
    """Print the completion of options and their values for bash, zsh or fish."""
    from ltxfilter.cli.main import COMMANDS
    from ltxfilter.cli.shells.completions import SHELLS

    click.echo(SHELLS[shell](COMMANDS), nl=False)
    return 0


@click.command("man")
def man_command() -> int:
    """Print the manual page: ltxfilter man > ltxfilter.1."""
    from ltxfilter.cli.main import ABOUT, COMMANDS
    from ltxfilter.cli.shells.manual_page import manual_page

    click.echo(manual_page(ABOUT, COMMANDS), nl=False)
    return 0
