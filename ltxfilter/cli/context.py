"""`ltxfilter context`: encode prompts for the LTX engines, once, into a file."""

from __future__ import annotations

from pathlib import Path

import click

from ltxfilter.errors import EngineUnavailableError, InputError, OptionError


@click.command("context")
@click.option("--prompt", help="What is to be seen, for the whole video.")
@click.option("--prompt-file", help="A file with lines of TIME PROMPT; each holds from its time.")
@click.option("--negative", help="What guidance leads away from.")
@click.option("--gemma", help="The folder of the text encoder.")
@click.option("--checkpoint", help="The LTX-2 checkpoint that the prompt is encoded for.")
@click.option("--device", help="What runs the text encoder: auto (default), cpu, cuda or cuda:N.")
@click.option("-o", "--output", required=True, help="The file to write, for --context.")
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
    """Encode prompts for the LTX engines, once; what was encoded before needs no text encoder."""
    from ltxfilter.engines import model_files
    from ltxfilter.engines.ltx import missing_packages
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
    models = model_files.complete(ModelOptions(checkpoint=checkpoint, gemma=gemma, device=device))
    encoded = prompts.make(schedule, negative, models.checkpoint, models.gemma, models.device)
    encoded.write(output)
    return 0


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
