"""What an output says about how it was made."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import PurePath

from ltxfilter import __version__
from ltxfilter.engines import Engine
from ltxfilter.options import ModelOptions, Options, OutputOptions
from ltxfilter.values import without_secrets


def with_provenance(options: Options, engine: Engine) -> OutputOptions:
    """Return the output of a run, with the text that goes into its tags.

    That is ltxfilter with its version, the engine with its partner, and the seed, unless
    `provenance` is none. Names of files, prompts and options are told only where it is full.
    """
    output = options.target
    if output.provenance == "none":
        return output
    names = [engine.name]
    if partners := engine.partners:
        names.append(f"({', '.join(partner.name for partner in partners)})")
    parts = [f"ltxfilter {__version__}", f"engine {' '.join(names)}"]
    if engine.seed is not None:
        parts.append(f"seed {engine.seed}")
    if output.provenance == "full":
        parts += _details(options)
    return replace(output, made_by=", ".join(parts))


def _details(options: Options) -> list[str]:
    """Return the input, the options that decide about frames, and the model files."""
    source = options.shareable.input.path
    parts = [
        f"input {without_secrets(PurePath(source).name or source)}",
        f"options {options.engine}",
        f"fps {options.fps}",
    ]
    if options.speed != 1:
        parts.append(f"speed {options.speed}")
    if options.output.scale is not None:
        parts.append(f"scale {options.output.scale}")
    if not options.cuts:
        parts.append("no cuts")
    if options.repeats != "report":
        parts.append(f"repeats {options.repeats}")
    if options.redraw:
        spans = " ".join(f"{float(begin):g}:{float(end):g}" for begin, end in options.redraw)
        parts.append(f"redraw {spans}")
    for field in fields(ModelOptions):
        value = getattr(options.models, field.name)
        if isinstance(value, str) and value and field.name != "device":
            shown = value if field.name == "prompt" else PurePath(value).name
            parts.append(f"{field.name} {shown}")
    return parts
