"""What the model files that are named hold, and which engines they serve; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import Kind, ModelFile
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

EXPECTED = {  # field of ModelOptions -> what the file should be
    "checkpoint": Kind.CHECKPOINT,
    "spatial_upsampler": Kind.SPATIAL,
    "temporal_upsampler": Kind.TEMPORAL,
    "context": Kind.CONTEXT,
    "tiny_vae": Kind.TINY_VAE,
}


def survey(
    models: ModelOptions, engines: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str, str]]:
    """Yield each file's name, what was found, and else what is wrong or missing.

    engines: the fields of ModelOptions that each engine cannot do without.
    """
    for field, kind in EXPECTED.items():
        served = [name for name, needed in engines.items() if field in needed]
        flag = files.FLAGS[kind]
        path = getattr(models, field)
        if path is not None:
            yield (field, *_look(path, kind, flag))
        elif served:
            wanted = f"{flag} FILE or LTXFILTER_{field.upper()}"
            yield field, "", f"{kind.value}, for {', '.join(served)}; {wanted}"
    for path, strength in filter(None, (*models.loras, models.distilled_lora)):
        found, wrong = _look(path, Kind.LORA, "--lora")
        yield "lora", found and f"{found}, strength {strength:g}", wrong


def _look(path: str, kind: Kind, flag: str) -> tuple[str, str]:
    try:
        return describe(files.open_file(path, kind, flag)), ""
    except EngineUnavailableError as error:
        return "", str(error)


def describe(file: ModelFile) -> str:
    """Say what a file holds, in a line."""
    size = f"{Path(file.path).name}, {Path(file.path).stat().st_size / 1e9:.3g} GB"
    if file.kind is not Kind.CHECKPOINT:
        return f"{size}, {file.kind.value}"
    numbers = sum(
        file.tensors[name].elements
        for name in file.names(files.TRANSFORMER)
        if files.video_only(name.removeprefix(files.TRANSFORMER))
    )
    version = file.metadata.get("model_version", "unknown")
    kept = "8 bits" if file.quantized else "16 bits"
    return f"{size}, LTX {version}, {numbers / 1e9:.3g} billion numbers to draw with, {kept}"
