"""`ltxfilter preview`: a few seconds, before and after, side by side and slowed down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from ltxfilter.cli.commands.engine_flags import engines_of, level_flag, model_flags, models_of
from ltxfilter.cli.terminal import Console, StopSignals
from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import OptionError
from ltxfilter.normalize import fps_of
from ltxfilter.values import parse_level, parse_speed, parse_time

HELP = """\
Make a few seconds of a video as a run would, and show them slowly beside the source.

\b
ltxfilter preview -i in.mp4 --at 00:01:20                        one moment
ltxfilter preview -i in.mp4 --at 80 --engines flow,auto          engines side by side
ltxfilter preview -i in.mp4 --worst 3 -o worst.mp4               where it is hardest

On a terminal with a display the system's player opens the file; else its name is printed. The
left panel shows the source at its own pace, each other one what an engine makes of it.
"""


@click.command("preview", help=HELP)
@click.option("-i", "--input", "path", metavar="FILE", required=True, help="The video to look at.")
@click.option(
    "--at",
    metavar="TIME",
    multiple=True,
    help="The moment: seconds, or HH:MM:SS.mmm. Repeat it for more.",
)
@click.option(
    "--worst",
    metavar="[N]",
    is_flag=False,
    flag_value="1",
    help="Find the N moments (default 1) that flow's estimate finds hardest. This reads all of it.",
)
@click.option(
    "--engines",
    metavar="LIST",
    multiple=True,
    help=r"Show these engines, each as for --engine, with commas between them; a comma in a value "
    r"is written \,. Default: auto.",
)
@click.option("--seconds", metavar="N", default="3", help="Show N seconds of it (default 3).")
@click.option(
    "--speed", metavar="FACTOR", default="1/4", help="Show it so fast (default 1/4); 1 is as it is."
)
@click.option("--fps", metavar="RATE", default="auto", help="Interpolate to RATE, as in a run.")
@click.option("-o", "--output", metavar="FILE", help="Write FILE, in place of a temporary one.")
@click.option("-y", "overwrite", is_flag=True, help="Overwrite FILE if it exists.")
@click.option("--no-open", is_flag=True, help="Open no player; print the file's name.")
@level_flag
@model_flags
def preview_command(*, level: str, no_open: bool, **given: Any) -> int:
    """Make the preview, and open it or print its name."""
    from ltxfilter.compare.preview import PreviewOptions, make_preview
    from ltxfilter.compare.preview.clip import time_text

    console = Console(parse_level(level))
    read = _read(given)
    named = read.pop("output")
    models = models_of(given)
    engines = tuple(engines_of(read.pop("engines"), ("auto",), models))
    options = PreviewOptions(output=named or "", engines=engines, models=models, **read)
    folder = None if named else tempfile.mkdtemp(prefix="ltxfilter-preview-")
    output = named or str(Path(folder or "", f"{Path(options.input).stem}-preview.mp4"))
    options = replace(options, output=output)
    with StopSignals(console.say_last):
        try:
            moments = make_preview(options, console.show)
        finally:
            console.end_status()
            if folder is not None and not Path(output).exists():
                shutil.rmtree(folder, ignore_errors=True)
    if options.worst:
        console.say(f"moments: {', '.join(time_text(float(moment)) for moment in moments)}")
    if no_open or not _opened(output):
        write_text(output)
    else:
        console.say(f"opened {output}")
    return 0


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """Take what is not a model flag out of `given`, and read it. Raises OptionError."""
    worst = given.pop("worst") or "0"
    if not worst.isdecimal():
        raise OptionError(f"--worst {worst}: write a whole number")
    return {
        "input": given.pop("path"),
        "at": tuple(_time("--at", text) for text in given.pop("at")),
        "worst": int(worst),
        "engines": given.pop("engines"),
        "seconds": _time("--seconds", given.pop("seconds")),
        "speed": parse_speed(given.pop("speed")),
        "fps": fps_of(given.pop("fps")),
        "output": given.pop("output"),
        "overwrite": given.pop("overwrite"),
    }


def _time(flag: str, text: str) -> Fraction:
    try:
        return parse_time(text)
    except OptionError as error:
        raise OptionError(f"{flag}: {error}") from None


def _opened(path: str) -> bool:
    """Open a file with the system's player; return False where there is no display for it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    if sys.platform == "win32":
        os.startfile(path)
        return True
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    shows = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not shows or shutil.which(opener) is None:
        return False
    nowhere = subprocess.DEVNULL
    with suppress(OSError):
        player = subprocess.Popen(
            [opener, path], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        threading.Thread(target=player.wait, daemon=True).start()  # nobody else waits for it
        return True
    return False
