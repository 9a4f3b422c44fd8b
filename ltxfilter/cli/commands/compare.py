"""`ltxfilter compare`: how near interpolated frames come to the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltxfilter.cli.commands.engine_flags import (
    default_engines,
    engines_of,
    level_flag,
    model_flags,
    models_of,
)
from ltxfilter.cli.terminal import Console, StopSignals
from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import OptionError
from ltxfilter.values import parse_level

if TYPE_CHECKING:
    from ltxfilter.compare.request import CompareOptions
    from ltxfilter.compare.results.table import Comparisons

HELP = """\
Leave out every second frame of CLIP, let engines draw it back, and compare with the true one.

\b
ltxfilter compare clip.mp4                              the engines of this machine
ltxfilter compare clip.mp4 --engines flow,blend,auto    chosen ones
ltxfilter compare clip.mp4 --vs other.mp4               and what another tool made
ltxfilter compare a.mp4 b.mp4                           two results of one source

The table goes to standard output. With -o FOLDER there is also a page with the worst frames under
a wipe slider, a video of all results side by side, a contact sheet, and every frame's scores.
A file after --vs holds CLIP's frames one by one, at CLIP's own rate; only those that were left out
are compared. Of two or more files without --engines and --vs, the first one is what the others are
compared with.
"""


@click.command("compare", help=HELP)
@click.argument("clips", metavar="CLIP [FILE]...", nargs=-1, required=True)
@click.option(
    "--engines",
    metavar="LIST",
    multiple=True,
    help=r"Compare these engines, each as for --engine, with commas between them; a comma in a "
    r"value is written \,. Or none. Default: hold,blend,flow, and auto where it has a partner.",
)
@click.option("--vs", metavar="FILE", multiple=True, help="Compare FILE too. Repeat it for more.")
@click.option(
    "--step", metavar="N", type=int, default=2, help="Keep one frame of N, not of 2 (2 to 16)."
)
@click.option("--frames", metavar="N", type=int, help="Read only the first N frames of CLIP.")
@click.option(
    "--skip-end",
    metavar="N",
    type=int,
    default=0,
    help="Do not score the last N intervals between kept frames, which some tools do not draw.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json"]),
    default="text",
    help="Print the table as text (default), as CSV, or as JSON with every frame's scores.",
)
@click.option("-o", "--output", metavar="FOLDER", help="Write all files into FOLDER.")
@click.option("-y", "overwrite", is_flag=True, help="Overwrite files that exist in FOLDER.")
@click.option(
    "--worst", metavar="N", type=int, default=6, help="Show the N worst frames (default 6)."
)
@click.option("--ffmpeg", metavar="FILE", help="An ffmpeg with libvmaf, which VMAF needs.")
@level_flag
@model_flags
def compare_command(*, form: str, level: str, **given: Any) -> int:
    """Compare, print the table, and say where the files are."""
    from ltxfilter.compare.session import compare_clip

    console = Console(parse_level(level))
    options = _options(given)
    with StopSignals(console.say_last):
        try:
            found = compare_clip(options, console.show)
        finally:
            console.end_status()
    for piece in _printed(found, form):
        write_text(piece, newline=False)
    if options.folder is not None:
        console.say(f"the page is {options.folder.rstrip('/')}/index.html")
    else:
        console.say("add -o FOLDER for the page, the pictures and the scores of every frame")
    return 0


def _options(given: dict[str, Any]) -> CompareOptions:
    """Return what the command line asks for. Raises OptionError, EngineUnavailableError."""
    from ltxfilter.compare.request import CompareOptions

    clip, *others = given.pop("clips")
    engines, vs = given.pop("engines"), given.pop("vs")
    step, most, skip_end = given.pop("step"), given.pop("frames"), given.pop("skip_end")
    worst, ffmpeg = given.pop("worst"), given.pop("ffmpeg")
    folder, overwrite = given.pop("output"), given.pop("overwrite")
    models = models_of(given)
    for name, value, least in (("frames", most, 1), ("skip-end", skip_end, 0), ("worst", worst, 0)):
        if value is not None and value < least:
            raise OptionError(f"--{name} {value}: write a whole number of at least {least}")
    _refuse_engines(others, engines)
    results = bool(others) and not engines and not vs
    if step < 2:
        raise OptionError(f"--step {step}: write a whole number from 2 to 16")
    return CompareOptions(
        clip=clip,
        engines=() if results else tuple(engines_of(engines, default_engines(models), models)),
        others=(*vs, *others),
        step=1 if results else step,
        most=most,
        skip_end=skip_end,
        worst=worst,
        folder=folder,
        overwrite=overwrite,
        ffmpeg=ffmpeg,
        models=models,
    )


def _refuse_engines(files: Sequence[str], engines: Sequence[str]) -> None:
    """Raise OptionError for a file that does not exist and has the name of an engine."""
    from ltxfilter.engines import engine_names

    for name in files:
        if name.partition(":")[0] in engine_names() and not Path(name).exists():
            listed = ",".join([*engines, name])
            raise OptionError(f"{name}: no such file; an engine is named so: --engines {listed}")


def _printed(found: Comparisons, form: str) -> list[str]:
    from ltxfilter.compare.results import table

    if form == "json":
        return [piece.decode() for piece in table.as_json(found)]
    return [table.as_csv(found) if form == "csv" else table.as_text(found)]
