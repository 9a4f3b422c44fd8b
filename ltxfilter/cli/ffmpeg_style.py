"""Commands whose arguments are written as for ffmpeg, and their help."""

from __future__ import annotations

import click

from ltxfilter import __version__
from ltxfilter.cli.ffmpeg_options.accepted import ACCEPTED
from ltxfilter.cli.flag import Side
from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.parse import parse
from ltxfilter.cli.text_output import write_text


class FfmpegStyle(click.Command):
    """A command whose arguments are written as for ffmpeg."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to `cli.parse`."""
        arguments = parse(args)
        if arguments.show == "version":
            write_text(f"ltxfilter {__version__}")
            ctx.exit()
        if arguments.show == "help":
            write_text(ctx.get_help())
            ctx.exit()
        ctx.params["arguments"] = arguments
        return []

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line as ffmpeg does."""
        formatter.write_usage(ctx.command_path, "[options] [-i FILE] [options] [FILE]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the flags by what they describe."""
        for side in (side for side in Side if side is not Side.REFUSED):
            with formatter.section(side.value):
                formatter.write_dl(
                    [
                        (f"{flag.dashed} {flag.metavar}".strip(), flag.help)
                        for flag in (*FLAGS, *ACCEPTED)
                        if flag.side is side
                    ]
                )
