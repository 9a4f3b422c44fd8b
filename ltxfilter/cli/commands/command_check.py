"""Whether a command line will work, found out without running it; nothing is left behind."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ltxfilter.errors import EngineUnavailableError, LtxFilterError, OutputError
from ltxfilter.media.format_names import STDIN_NAMES, STDOUT_NAMES
from ltxfilter.values import scheme_of

if TYPE_CHECKING:
    from ltxfilter.engines.base import Engine
    from ltxfilter.media.base import Source
    from ltxfilter.options import ModelOptions, Options

WAITS = "standard input, which is looked at when it runs"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said of one part of a command line."""

    part: str  # "input", "engine", "output", ...
    text: str
    code: int = 0  # the exit code that the command would end with, if not 0


def check_command(options: Options) -> Iterator[Answer]:
    """Yield what each part of a command line comes to: good ones, and those that would fail.

    Models are not loaded: their files and their need of memory are looked at. Each part is looked
    at on its own, so that one call names all that is wrong, and each thing once.
    """
    said: set[str] = set()
    for answer in _answers(options):
        if not (answer.code and answer.text in said):
            yield answer
        said.add(answer.text)


def _answers(options: Options) -> Iterator[Answer]:
    """Yield what each part of a command line comes to."""
    with ExitStack() as opened:
        source: Source | None = None
        for part, check in (
            ("options", lambda: _options(options)),
            ("engine", lambda: _engine(options)),
            ("job", lambda: _job(options)),
        ):
            yield from _asked(part, check)
        try:
            source = _open_input(options)
        except LtxFilterError as error:
            yield Answer("input", str(error), error.exit_code)
        else:
            if source is not None:
                opened.enter_context(closing(source))
            yield Answer("input", WAITS if source is None else _described(source))
        yield from _asked("output", lambda: _output(options, source))
        if source is not None:
            yield from _asked("memory", lambda: _memory(options))


def _asked(part: str, check: Callable[[], str]) -> Iterator[Answer]:
    """Yield what a check says, or why it fails; nothing where there is nothing to say."""
    try:
        text = check()
    except LtxFilterError as error:
        yield Answer(part, str(error), error.exit_code)
    else:
        if text:
            yield Answer(part, text)


def _options(options: Options) -> str:
    """Compare what is read and what is written. Raises OptionError, OutputError."""
    from ltxfilter.engines import refuse_unused
    from ltxfilter.pipeline.run_files import check_files

    refuse_unused(options.engine, options.models, options.output.scale)
    check_files(options)
    return ""


def _engine(options: Options) -> str:
    """Return what the engine comes to here. Raises OptionError, EngineUnavailableError."""
    engine = _built(options)
    if missing := type(engine).unavailable():
        raise EngineUnavailableError(f"engine {engine.name}: {missing}")
    if lacking := _lacking(engine, options.models):
        raise EngineUnavailableError(f"engine {engine.name} {lacking}")
    partners = ", ".join(partner.name for partner in engine.partners)
    return options.engine + (f" ({partners})" if partners else "")


def _built(options: Options) -> Engine:
    from ltxfilter.engines import build

    return build(options.engine, options.models, options.output.scale)


def _lacking(engine: Engine, models: ModelOptions) -> str:
    """Return which files an engine and its partners lack, and why they cannot use others."""
    from ltxfilter.engines.ltx.weights.describe_files import shortfall, unusable
    from ltxfilter.engines.model_files import complete

    models, engines = complete(models), (engine, *engine.partners)
    missing = [name for each in engines for name in (*each.missing_files, *each.also_missing)]
    if "onnx_model" in missing:
        return "lacks: --onnx-model: a network, or LTXFILTER_ONNX_MODEL"
    if missing:
        return ": ".join(shortfall(missing, models))
    wrong = unusable(models, [name for each in engines for name in each.needed_files])
    return f"cannot run: {wrong}" if wrong else ""


def _job(options: Options) -> str:
    """Raise EngineUnavailableError if the job asks for a cluster, and Ray is not installed."""
    if options.job.ray is not None and find_spec("ray") is None:
        raise EngineUnavailableError('--ray needs Ray: pip install "ltxfilter[ray]"')
    return ""


def _open_input(options: Options) -> Source | None:
    """Open the input; None where it is standard input. Raises InputError, OptionError."""
    from ltxfilter.media.opening import open_source
    from ltxfilter.pipeline.assemble import input_of

    if options.input.path in STDIN_NAMES:
        return None
    try:
        given = input_of(options)
    except OutputError:  # what is wrong with the output is said there
        given = options.input
    return open_source(given)


def _described(source: Source) -> str:
    from ltxfilter.cli.progress_line import rate_text

    info, seconds = source.info, source.duration
    lasts = "of unknown length" if seconds is None else f"{float(seconds):.3f} s"
    return (
        f"{source.name}, {info.width}x{info.height} {info.pix_fmt}, {rate_text(info.rate)}, {lasts}"
    )


def _output(options: Options, source: Source | None) -> str:
    """Open the output for a moment. Raises OutputError, OptionError."""
    from ltxfilter.media.opening import open_trial
    from ltxfilter.media.scaling.scaled_source import as_written
    from ltxfilter.windows.timeline import output_rate

    target = options.target
    if _is_plain_file(target.path):
        from ltxfilter.media.output_file import OutputFile

        OutputFile(target.path, target.overwrite).discard()
    if source is not None:
        rate = output_rate(options.fps, source.info.rate)
        named = target.path not in STDOUT_NAMES or target.format is not None
        if named:
            open_trial(target, as_written(source, target), rate).close()
    return "standard output" if target.path in STDOUT_NAMES else target.shown


def _is_plain_file(path: str) -> bool:
    """Return True for what is one file, there or not: no pipe, device, address or pattern."""
    if path in STDOUT_NAMES or scheme_of(path) or "%" in path:
        return False
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return not path.endswith((".m3u8", ".mpd"))


def _memory(options: Options) -> str:
    """Return the memory that it takes, where no models have to be loaded to know that.

    Raises OptionError where --memory is too little, and whatever else opening finds.
    """
    from ltxfilter.cli.commands.probe import plan
    from ltxfilter.cli.progress_line import memory_line

    engine = _built(options)
    if any(each.needed_files for each in (engine, *engine.partners)) or _lacking(
        engine, options.models
    ):
        return ""
    return memory_line(plan(options).memory).removeprefix("memory: ")
