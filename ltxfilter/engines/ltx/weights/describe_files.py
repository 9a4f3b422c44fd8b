"""A line about each model file that is named or needed, for `doctor`; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

EXPECTED = {  # field of ModelOptions -> what the file should hold
    "checkpoint": FileKind.CHECKPOINT,
    "spatial_upsampler": FileKind.SPATIAL,
    "temporal_upsampler": FileKind.TEMPORAL,
    "context": FileKind.CONTEXT,
    "tiny_vae": FileKind.TINY_VAE,
}


def describe_files(
    models: ModelOptions, engines: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str, str]]:
    """Yield the field of each file, what it holds, and what is wrong or missing.

    engines: name of an engine -> the fields of ModelOptions that it needs. One of the two texts is
    empty. A file that is neither named nor needed is left out.
    """
    for field, kind in EXPECTED.items():
        served = [name for name, needed in engines.items() if field in needed]
        flag = files.FLAGS[kind]
        path = getattr(models, field)
        if path is not None:
            yield (field, *_check(path, kind, flag))
        elif served:
            wanted = f"{flag} FILE or LTXFILTER_{field.upper()}"
            yield field, "", f"{kind.value}, for {', '.join(served)}; {wanted}"
    for path, strength in filter(None, (*models.loras, models.distilled_lora)):
        contents, wrong = _check(path, FileKind.LORA, "--lora")
        yield "lora", contents and f"{contents}, strength {strength:g}", wrong


def _check(path: str, kind: FileKind, flag: str) -> tuple[str, str]:
    """Return what a file holds and "", or "" and what is wrong with it."""
    try:
        return describe(files.open_file(path, kind, flag)), ""
    except EngineUnavailableError as error:
        return "", str(error)


def describe(file: ModelFile) -> str:
    """Return what a file holds, in one line."""
    size = f"{Path(file.path).name}, {Path(file.path).stat().st_size / 1e9:.3g} GB"
    if file.kind is not FileKind.CHECKPOINT:
        return f"{size}, {file.kind.value}"
    parameters = sum(
        file.tensors[name].elements
        for name in file.names(files.TRANSFORMER)
        if files.is_video_tensor(name.removeprefix(files.TRANSFORMER))
    )
    version = file.metadata.get("model_version", "unknown")
    stored = "8 bits" if file.quantized else "16 bits"
    return (
        f"{size}, LTX {version}, transformer of {parameters / 1e9:.3g} billion parameters, {stored}"
    )
