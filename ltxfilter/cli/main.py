"""The command line: argv -> convert; the only place that prints, and that picks exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ltxfilter import __version__
from ltxfilter.cli.flags import FLAGS, LEVELS, Side
from ltxfilter.cli.parse import Arguments, parse
from ltxfilter.cli.terminal import Console, ProgressFile, StopSignals
from ltxfilter.errors import (
    EngineUnavailableError,
    InputError,
    Interrupted,
    LtxFilterError,
    OptionError,
)

if TYPE_CHECKING:
    from ltxfilter.pipeline.progress import Progress
    from ltxfilter.pipeline.run import Run

BROKEN_PIPE = 141  # what a shell reports for a filter whose reader left
HEAP = {  # glibc's names, and what they are set to
    -8: 1,  # M_ARENA_MAX, heaps
    -3: 32 << 20,  # M_MMAP_THRESHOLD, bytes; what is smaller comes from the heap
    -1: 32 << 20,  # M_TRIM_THRESHOLD, bytes freed at its end before they are given back
}
USAGE = """\
\b
ffmpeg -i x.mp4 -f rawvideo - | ltxfilter | ffmpeg -i - y.mp4
ltxfilter -i in.mkv --fps 60 -c:v libx265 -crf 18 out.mkv
ltxfilter engines | doctor | probe -i in.mkv --fps 50
ltxfilter context --prompt "a boat sails by" -o boat.safetensors

Raise the frame rate of video: source frames pass through untouched, an engine draws the ones
between. What stands before -i describes the input, what stands after it the output; no -i is
standard input, no output is standard output. Options take one dash or two. An option that is not
listed goes to the video encoder.
"""

DOCTOR = """\
Say what this machine can run, and what each missing thing takes to install. Model files given as
for a run are looked at too.
"""
PROBE = "Print the plan of a run, given as for a run, without decoding everything."


class FfmpegStyle(click.Command):
    """A command whose arguments are written as for ffmpeg."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to `arguments.parse`."""
        arguments = parse(args)
        if arguments.show == "version":
            click.echo(f"ltxfilter {__version__}")
            ctx.exit()
        if arguments.show == "help":
            click.echo(ctx.get_help())
            ctx.exit()
        ctx.params["arguments"] = arguments
        return []

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line as ffmpeg does."""
        formatter.write_usage(ctx.command_path, "[options] [-i FILE] [options] [FILE]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the flags by what they describe."""
        for side in Side:
            with formatter.section(side.value):
                formatter.write_dl(
                    [
                        (f"{flag.dashed} {flag.metavar}".strip(), flag.help)
                        for flag in FLAGS
                        if flag.side is side
                    ]
                )


@click.command("ltxfilter", cls=FfmpegStyle, help=USAGE)
def filter_command(arguments: Arguments) -> int:
    """Run the filter; return the exit code."""
    _set_up_heap()
    to_stdout = arguments.options.output.path == "-"
    console = Console(arguments.level, arguments.stats)
    with StopSignals(exit_at_once=to_stdout) as signals:
        if to_stdout:
            from ltxfilter.media.pipe.stdio import claim_stdout

            claim_stdout()
        console.say(f"opening {arguments.options.input.path}", LEVELS["debug"])
        try:
            return _convert(arguments, console, signals)
        except LtxFilterError as error:
            console.say(str(error), LEVELS["error"])
            if isinstance(error, Interrupted):
                os._exit(error.exit_code)  # an encoder may take seconds to let its threads go
            return error.exit_code


def _set_up_heap() -> None:
    """Let all threads allocate from one heap, where what one of them freed serves the next.

    glibc gives each thread a heap of its own; at 1080p that kept 10 MB of frames idle. And it gives
    back what the next frame needs again: up to 540 page faults a frame at 720p, 5 % of the time.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # other C libraries know no such thing
        heap = ctypes.CDLL(None)
        for name, value in HEAP.items():
            heap.mallopt(name, value)


def _convert(arguments: Arguments, console: Console, signals: StopSignals) -> int:
    from ltxfilter.pipeline.progress import summary
    from ltxfilter.pipeline.run import open_run

    with ProgressFile(arguments.progress, arguments.options.output.path == "-") as blocks:
        signals.run = run = open_run(arguments.options)
        try:
            with run:
                for line in _opening_lines(run):
                    console.say(line)
                progress = run.go(_reporter(console, blocks))
        finally:
            console.end_status()
            if run.partial:
                console.say(run.partial, LEVELS["error"])
        blocks.write(progress, ended=True)
    for line in summary(progress):
        console.say(line)
    return 0


def _opening_lines(run: Run) -> list[str]:
    """Say what becomes of what, and how much memory that takes."""
    from ltxfilter.pipeline.progress import memory_line, rate_text

    info = run.info
    rate = "every interval halved" if run.rate is None else rate_text(run.rate)
    return [
        f"{run.source.name} -> {run.sink.name}: {info.width}x{info.height} {info.pix_fmt}, "
        f"{rate_text(info.rate)} -> {rate}, engine {run.worker.engine}",
        memory_line(run.progress.memory),
    ]


def _reporter(console: Console, blocks: ProgressFile) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        console.show(progress)
        blocks.write(progress, ended=False)

    return report


@click.command("engines")
def engines_command() -> int:
    """List the engines, their options with defaults, and why one cannot run here."""
    from ltxfilter.engines import ENGINES, engine_class

    for name in ENGINES:
        engine = engine_class(name)
        missing = engine.unavailable()
        click.echo(f"{name}: {engine.summary}" + (f" [unavailable: {missing}]" if missing else ""))
        for option in engine.options:
            default = (
                str(option.default).lower() if option.default in (True, False) else option.default
            )
            click.echo(f"    {option.name}={default}  {option.help} ({option.allowed()})")
    return 0


@click.command("doctor", cls=FfmpegStyle, help=DOCTOR)
def doctor_command(arguments: Arguments) -> int:
    """Print what this machine has and lacks."""
    from ltxfilter.cli.doctor import examine

    for finding in examine(arguments.options.models):
        click.echo(finding.line())
    return 0


@click.command("context")
@click.option("--prompt", help="What is to be seen, for the whole video.")
@click.option("--prompt-file", help="Lines of TIME PROMPT, each from its time on.")
@click.option("--negative", help="What guidance leads away from.")
@click.option("--gemma", help="Folder of the text encoder.")
@click.option("--checkpoint", help="The LTX-2 checkpoint that will draw.")
@click.option("--device", help="auto (default), cpu, cuda or cuda:N.")
@click.option("-o", "--output", required=True, help="The file for --context.")
def context_command(
    *,
    prompt: str | None,
    prompt_file: str | None,
    negative: str | None,
    gemma: str | None,
    checkpoint: str | None,
    device: str | None,
    output: str,
) -> int:
    """Encode prompts for the ltx engines, once; what was encoded before needs no text encoder."""
    from ltxfilter.engines import model_files
    from ltxfilter.engines.ltx import missing_packages
    from ltxfilter.options import ModelOptions

    if (prompt is None) == (prompt_file is None):
        raise OptionError("give --prompt or --prompt-file")
    if missing := missing_packages():
        raise EngineUnavailableError(missing)
    from ltxfilter.engines.ltx import prompts as context

    if prompt_file is None:
        prompts = context.parse_schedule(f"0 {prompt}", "--prompt")
    else:
        prompts = context.parse_schedule(_read_text(prompt_file), prompt_file)
    models = model_files.complete(ModelOptions(checkpoint=checkpoint, gemma=gemma, device=device))
    made = context.make(prompts, negative, models.checkpoint, models.gemma, models.device)
    made.write(output)
    return 0


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


@click.command("probe", cls=FfmpegStyle, help=PROBE)
def probe_command(arguments: Arguments) -> int:
    """Print the plan of a run."""
    from ltxfilter.cli.doctor import describe, plan

    with StopSignals(exit_at_once=False):
        Console(arguments.level)
        for line in describe(plan(arguments.options)):
            click.echo(line)
    return 0


COMMANDS: dict[str, click.Command] = {
    "engines": engines_command,
    "context": context_command,
    "doctor": doctor_command,
    "probe": probe_command,
}


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    # NumPy's matrix products are not used: the threads that wait for one cost 0.1 s at the start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run a command line; return its exit code, having printed what went wrong."""
    try:
        return _dispatch(list(argv))
    except click.exceptions.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        _abandon_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return 130
    except (LtxFilterError, click.ClickException) as error:
        return _fail(str(error), error.exit_code)
    except Exception as error:
        if any(level in argv for level in ("debug", "trace", "48", "56")):
            traceback.print_exc()
        problem = f"{type(error).__name__}: {error}".rstrip(": ")
        return _fail(f"{problem}; run with -v debug for the traceback", 1)


def _dispatch(words: list[str]) -> int:
    """Run the command that the first word names, else the filter."""
    command: click.Command = filter_command
    name = "ltxfilter"
    if words and words[0] in COMMANDS:
        command, name = COMMANDS[words[0]], f"ltxfilter {words.pop(0)}"
    with command.make_context(name, words) as context:  # main() would turn EPIPE into exit 1
        code: int = command.invoke(context)
        if sys.stdout is not None:  # closed with >&-
            sys.stdout.flush()
    return code


def _fail(message: str, code: int) -> int:
    print(f"ltxfilter: {message}", file=sys.stderr)
    return code


def _abandon_stdout() -> None:
    """Point fd 1 nowhere, so that nothing complains about the closed pipe at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
