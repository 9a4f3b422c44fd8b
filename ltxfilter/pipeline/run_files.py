"""The files that a run reads and writes, compared before any of them is opened for writing."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import fields

from ltxfilter.engines import model_files
from ltxfilter.errors import OptionError, OutputError
from ltxfilter.media.format_names import STDIN_NAMES, STDOUT_NAMES
from ltxfilter.media.many_files.names import input_files, many_files
from ltxfilter.media.output_name import PART, RunFile, refuse_shared
from ltxfilter.options import ModelOptions, Options


def check_files(options: Options, progress: str | None = None) -> None:
    """Raise OutputError if a run would write a file that it reads, or write one twice.

    progress: the file that `-progress` names, if any.
    """
    output = options.output.path
    written = [RunFile("/dev/stdout" if output in STDOUT_NAMES else output, "the output")]
    written += [RunFile(path, "--report") for path in options.report]
    if progress:
        written.append(RunFile(progress, "-progress"))
    provisional = [
        RunFile(file.path + PART, f"the provisional file of {file.what}")
        for file in written
        if file.what != "-progress" and file.path != "/dev/stdout"
    ]
    sources = input_files(options.input)
    read = [RunFile("/dev/stdin" if path in STDIN_NAMES else path, "the input") for path in sources]
    read += [RunFile(path, "a model file") for path in model_files_of(options.models)]
    refuse_shared(written, read)
    refuse_shared([*provisional, *written], [])
    _refuse_numbered(options, read)


def _refuse_numbered(options: Options, read: list[RunFile]) -> None:
    """Raise OutputError if one of the many files of an output is one that the run reads."""
    output = options.output
    files = many_files(output)
    if files is None:
        return
    if output.path == options.input.path:
        raise OutputError(f"{output.shown}: is the input itself; name another output")
    known = {key: file for file in read if (key := _identity(file.path))}
    for path in files:
        key = _identity(path)
        if key and (file := known.get(key)):
            raise OutputError(
                f"{output.path}: {path} would be overwritten, and is {file.what}; name another "
                "output"
            )


def _identity(path: str) -> tuple[int, int] | None:
    """Return what two names of one file have in common; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (a Path refuses some names)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def model_files_of(models: ModelOptions) -> list[str]:
    """Return the names of all model files and folders, and of the settings file."""
    with suppress(OptionError):  # the engines that need a settings file say what is wrong with it
        models = model_files.complete(models)
    found = []
    for field in fields(models):
        value = getattr(models, field.name)
        loras = value if field.name == "loras" else (value,)
        for entry in loras:
            name = entry[0] if isinstance(entry, tuple) else entry
            if isinstance(name, str) and field.name not in ("device", "prompt"):
                found.append(name)
    settings = model_files.settings_file()
    return found if settings is None else [*found, str(settings)]
