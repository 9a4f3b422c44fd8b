"""`ltxfilter context`: encode prompts for the LTX engines, once, into a file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ltxfilter.cli.terminal import Console, StopSignals
from ltxfilter.errors import EngineUnavailableError, InputError, OptionError
from ltxfilter.values import LEVELS

READ = {  # the files of models that it reads, and what they are called
    "checkpoint": "the checkpoint",
    "transformer": "the transformer",
    "text_projection": "the text projection",
    "gemma": "the text encoder",
}


@click.command("context")
@click.option("--prompt", help="What is to be seen, for the whole video.")
@click.option("--prompt-file", help="A file with lines of TIME PROMPT; each holds from its time.")
@click.option("--negative", help="What guidance leads away from.")
@click.option("--gemma", help="The text encoder: a folder, or a file beside its tokenizer.")
@click.option("--models", help="A folder that is searched for what is not named.")
@click.option("--checkpoint", help="The LTX-2 checkpoint that the prompt is encoded for.")
@click.option("--transformer", help="Its transformer, if that is a file of its own.")
@click.option("--text-projection", help="Its text projection, if that is a file of its own.")
@click.option("--device", help="What runs the text encoder: auto (default), cpu, cuda or cuda:N.")
@click.option("-o", "--output", required=True, help="The file to write, for --context.")
@click.option("-y", "overwrite", is_flag=True, help="Overwrite the file if it exists.")
def context_command(
    *,
    prompt: str | None,
    prompt_file: str | None,
    negative: str | None,
    output: str,
    overwrite: bool,
    **files: Any,
) -> int:
    """Encode prompts for the LTX engines, once; what was encoded before needs no text encoder."""
    console = Console(LEVELS["info"])
    with StopSignals(console.say_last):  # before torch starts threads that would take the signals
        _write_context(prompt, prompt_file, negative, output, files, overwrite=overwrite)
    return 0


def _write_context(
    prompt: str | None,
    prompt_file: str | None,
    negative: str | None,
    output: str,
    files: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    from ltxfilter.engines import model_files
    from ltxfilter.engines.ltx import missing_packages
    from ltxfilter.media.output_file import OutputFile
    from ltxfilter.media.output_name import RunFile, refuse_shared
    from ltxfilter.options import ModelOptions

    if (prompt is None) == (prompt_file is None):
        raise OptionError("give --prompt or --prompt-file")
    if missing := missing_packages():
        raise EngineUnavailableError(missing)
    from ltxfilter.engines.ltx import prompts

    if prompt_file is None:
        schedule = prompts.parse_schedule(f"0 {prompt}", "--prompt")
    else:
        schedule = prompts.parse_schedule(_read_text(prompt_file), prompt_file)
    read = [(files[name], what) for name, what in READ.items()] + [(prompt_file, "the input")]
    refuse_shared(
        [RunFile(output, "the output")], [RunFile(name, what) for name, what in read if name]
    )
    models = model_files.complete(ModelOptions(**files))
    with ExitStack() as opening:
        file = OutputFile(output, overwrite)
        opening.callback(file.discard)
        encoded = prompts.make(schedule, negative, models)
        opening.pop_all()
    file.write_all([encoded.to_bytes()])
    file.complete()


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
