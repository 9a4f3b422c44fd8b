"""The files that a run reads and writes, compared before any of them is opened for writing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields

from ltxfilter.engines import model_files
from ltxfilter.errors import OptionError
from ltxfilter.media.format_names import STDIN_NAMES, STDOUT_NAMES
from ltxfilter.media.output_name import PART, RunFile, refuse_shared
from ltxfilter.options import ModelOptions, Options


def check_files(options: Options, progress: str | None = None) -> None:
    """Raise OutputError if a run would write a file that it reads, or write one twice.

    progress: the file that `-progress` names, if any.
    """
    output = options.output.path
    written = [RunFile("/dev/stdout" if output in STDOUT_NAMES else output, "the output")]
    if options.report:
        written.append(RunFile(options.report, "--report"))
    if progress:
        written.append(RunFile(progress, "-progress"))
    provisional = [
        RunFile(file.path + PART, f"the provisional file of {file.what}")
        for file in written
        if file.what != "-progress" and file.path != "/dev/stdout"
    ]
    source = options.input.path
    read = [RunFile("/dev/stdin" if source in STDIN_NAMES else source, "the input")]
    read += [RunFile(path, "a model file") for path in _model_files(options.models)]
    refuse_shared(written, read)
    refuse_shared([*provisional, *written], [])


def _model_files(models: ModelOptions) -> list[str]:
    """Return the names of all model files and folders, and of the settings file."""
    with suppress(OptionError):  # the engines that need a settings file say what is wrong with it
        models = model_files.complete(models)
    found = []
    for field in fields(models):
        value = getattr(models, field.name)
        loras = value if field.name == "loras" else (value,)
        for entry in loras:
            name = entry[0] if isinstance(entry, tuple) else entry
            if isinstance(name, str) and field.name != "device":
                found.append(name)
    settings = model_files.settings_file()
    return found if settings is None else [*found, str(settings)]
