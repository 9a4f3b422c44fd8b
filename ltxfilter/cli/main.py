"""The command line: argv in, exit code out. Only files of this folder print."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from ltxfilter.cli.ffmpeg_style import FfmpegStyle
from ltxfilter.cli.parse import Arguments
from ltxfilter.cli.progress_file import ProgressFile
from ltxfilter.cli.terminal import Console, StopSignals, escaped, write_error
from ltxfilter.cli.text_output import named_stdout
from ltxfilter.errors import Interrupted, LtxFilterError
from ltxfilter.refusals import refusal_of
from ltxfilter.values import LEVELS, OWN_PROCESS

if TYPE_CHECKING:
    from ltxfilter.pipeline.progress import Progress
    from ltxfilter.pipeline.run import Opening

BROKEN_PIPE = 141  # exit code of a filter whose reader left, as a shell reports it
HEAP = {  # parameters of glibc's mallopt, and what they are set to
    -8: 1,  # M_ARENA_MAX, heaps
    -3: 32 << 20,  # M_MMAP_THRESHOLD, bytes; what is smaller comes from the heap
    -1: 32 << 20,  # M_TRIM_THRESHOLD, bytes freed at its end before they are given back
}
ABOUT = """\
Raise the frame rate of video. Source frames pass through untouched; an engine interpolates the
frames between them. Without -i the input is standard input; without a file name the output is
standard output. Options take one dash or two. An option with one dash that is not listed here goes
to the video encoder.
"""
USAGE = f"""\
\b
ffmpeg -i x.mp4 -f rawvideo - | ltxfilter | ffmpeg -i - y.mp4
ltxfilter -i in.mkv --fps 60 -c:v libx265 -crf 18 out.mkv
ltxfilter -i film.mkv --resume --workers auto --fps 60 out.mkv
ltxfilter engines | doctor | jobs | probe -i in.mkv --fps 50 | completion bash | man
ltxfilter compare clip.mp4 -o FOLDER
ltxfilter preview -i in.mkv --at 00:01:20
ltxfilter context --prompt "a boat sails by" -o boat.safetensors

{ABOUT}"""


@click.command("ltxfilter", cls=FfmpegStyle, help=USAGE)
def filter_command(arguments: Arguments) -> int:
    """Run the filter; return the exit code."""
    _set_up_heap()
    to_stdout = arguments.options.output.path == "-"
    console = Console(arguments.level, arguments.stats)
    with StopSignals(console.say_last) as signals:
        if to_stdout:
            from ltxfilter.media.pipe.stdio import claim_stdout

            claim_stdout()
        console.say(f"opening {arguments.options.input.shown}", LEVELS["debug"])
        try:
            return _convert(arguments, console, signals)
        except LtxFilterError as error:
            signals.last_words.acquire()
            console.say_last(str(error))
            if isinstance(error, Interrupted):
                os._exit(error.exit_code)  # an encoder may take seconds to let its threads go
            return error.exit_code
        except Exception:
            if signals.seen is None:
                raise
            signals.last_words.acquire()
            console.say_last(str(Interrupted(signals.seen)))
            os._exit(Interrupted(signals.seen).exit_code)  # the signal hit code that changed it


def _set_up_heap() -> None:
    """Let all threads allocate from one heap, where what one of them freed serves the next.

    glibc gives each thread a heap of its own; at 1080p that kept 10 MB of frames idle. And it gives
    back what the next frame needs again: up to 540 page faults a frame at 720p, 5 % of the time.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # other C libraries have no mallopt
        heap = ctypes.CDLL(None)
        for name, value in HEAP.items():
            heap.mallopt(name, value)


def _convert(arguments: Arguments, console: Console, signals: StopSignals) -> int:
    from ltxfilter.cli.progress_line import summary
    from ltxfilter.engines import refuse_unused
    from ltxfilter.jobs.opening import open_run
    from ltxfilter.view.records import open_record, watched

    options = arguments.options
    refuse_unused(options.engine, options.models, options.output.scale)
    with (
        _progress_file(arguments) as blocks,
        watched(arguments.options, _reporter(console, blocks)) as shown,
    ):
        gc.freeze()  # what is loaded by now stays, and need not be looked through
        signals.run = run = open_run(arguments.options, open_record)
        gc.enable()
        try:
            with run:
                if run.finished:
                    console.say(f"{arguments.options.output.path} is complete since an earlier run")
                    return 0
                for line in _opening_lines(run.opening):
                    console.say(line)
                progress = run.go(shown)
        finally:
            console.end_status()
            if run.partial:
                signals.last_words.acquire()
                console.say_last(run.partial)
        blocks.write(progress, ended=True)
    for line in summary(progress):
        console.say(line)
    return 0


def _progress_file(arguments: Arguments) -> ProgressFile:
    from ltxfilter.pipeline.run_files import check_files

    target = arguments.progress
    named = target if target and target != "-" and not target.startswith("pipe:") else None
    if named:
        check_files(arguments.options, named)
    return ProgressFile(target, stdout_taken=arguments.options.output.path == "-")


def _opening_lines(opening: Opening) -> list[str]:
    """Say which input becomes which output, and how much memory that takes."""
    from ltxfilter.cli.progress_line import memory_line, rate_text

    info = opening.info
    rate = "every interval halved" if opening.rate is None else rate_text(opening.rate)
    return [
        f"{opening.source} -> {opening.sink}: {info.width}x{info.height} {info.pix_fmt}, "
        f"{rate_text(info.rate)} -> {rate}, engine {opening.engine}",
        *opening.lines,
        *([memory_line(opening.memory, opening.on_device)] if opening.memory else []),
    ]


def _reporter(console: Console, blocks: ProgressFile) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        console.show(progress)
        blocks.write(progress, ended=False)

    return report


COMMANDS = (  # modules of `ltxfilter.cli.commands`
    "compare",
    "completion",
    "context",
    "doctor",
    "engines",
    "jobs",
    "man",
    "preview",
    "probe",
)


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_standard_descriptors()
    # NumPy's matrix products are not used: the threads that wait for one cost 0.1 s at the start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ[OWN_PROCESS] = "1"  # see `media.encoding.process_state`
    gc.disable()  # until a run is open: imports leave nothing to collect
    code = run(sys.argv[1:])
    _abandon_unwritten()
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run a command line; return its exit code, having printed what went wrong."""
    try:
        return _dispatch(list(argv))
    except click.exceptions.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        _abandon(1)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _report(refusal_of(error) or error, argv)


def _report(error: Exception, argv: Sequence[str]) -> int:
    """Print what went wrong; return its exit code."""
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, LtxFilterError):
        return _fail(str(error), error.exit_code)
    if any(level in argv for level in ("debug", "trace", "48", "56")):
        traceback.print_exception(error)
    problem = f"{type(error).__name__}: {error}".rstrip(": ")
    return _fail(f"{problem}; run with -v debug for the traceback", 1)


def _open_standard_descriptors() -> None:
    """Open what is closed of descriptors 0 to 2, so that no file of a run becomes one of them.

    A library that writes to descriptor 2 would else write into the output. What Python found closed
    at its start stays closed to us: `sys.stderr` is None then.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one


def _dispatch(words: list[str]) -> int:
    """Run the command that the first word names, else the filter."""
    command: click.Command = filter_command
    name = "ltxfilter"
    if words and words[0] in COMMANDS:
        gc.enable()
        command, name = command_named(words[0]), f"ltxfilter {words.pop(0)}"
    with named_stdout():  # which help is printed on
        context = command.make_context(name, words)  # main() would turn EPIPE into exit 1
    with context:
        code: int = command.invoke(context)
    return code


def command_named(name: str) -> click.Command:
    """Return one of COMMANDS, importing its module."""
    module = import_module(f"ltxfilter.cli.commands.{name}")
    command: click.Command = getattr(module, f"{name}_command")
    return command


def _fail(message: str, code: int) -> int:
    write_error(f"ltxfilter: {escaped(message)}\n")
    return code


def _abandon_unwritten() -> None:
    """Point standard streams nowhere whose text was not taken, as by a full disk.

    Python would try again at exit, fail, and exit with 120 whatever the run came to.
    """
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _abandon(descriptor)


def _abandon(descriptor: int) -> None:
    """Point a descriptor nowhere, so that nothing complains about it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
