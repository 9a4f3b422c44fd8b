"""`ltxfilter man`: the manual page."""

from __future__ import annotations

import click

from ltxfilter.cli.text_output import write_text


@click.command("man")
def man_command() -> int:
    """Print the manual page: ltxfilter man > ltxfilter.1."""
    from ltxfilter.cli.main import ABOUT, COMMANDS, command_named
    from ltxfilter.cli.shells.manual_page import manual_page

    commands = {name: command_named(name) for name in COMMANDS}
    write_text(manual_page(ABOUT, commands), newline=False)
    return 0
