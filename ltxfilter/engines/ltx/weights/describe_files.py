"""Lines about the model files that are named or found, for `doctor`; needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FLAGS, PARTS, FileKind, ModelFile
from ltxfilter.engines.ltx.weights.fits import check_generations
from ltxfilter.engines.ltx.weights.formats import names
from ltxfilter.engines.ltx.weights.formats.storage import StorageError, is_companion
from ltxfilter.engines.ltx.weights.generations import generation, is_ic_lora, takes_few_steps
from ltxfilter.engines.ltx.weights.parts import (
    FIELDS,
    KINDS,
    ModelParts,
    model_paths,
    needs_newer,
    needs_newer_decoder,
)
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

# What a user is asked to add first: the least bytes for the most use.
ORDER = ("vae", "temporal_upsampler", "tiny_vae", "transformer", "spatial_upsampler", "context")
SIZES = {  # of the published files, in GB: what a user has to fetch
    "vae": "1.5",
    "temporal_upsampler": "0.26",
    "tiny_vae": "0.02",
    "transformer": "20 to 46",
    "spatial_upsampler": "1.0",
    "gemma": "10 to 24",
    "text_projection": "2.3",
}
DEV = "dev (for few steps it needs the distilled LoRA)"
USED_AS = FIELDS | {FileKind.LORA: "loras"}
SHORT = {
    FileKind.TRANSFORMER: "transformer",
    FileKind.VAE: "autoencoder",
    FileKind.TEXT: "text projection",
}
SECTIONS = {FileKind.TRANSFORMER: "transformer", FileKind.VAE: "vae"}  # of a configuration


@dataclass(frozen=True, slots=True)
class FileLine:
    """What there is to say about one file."""

    field: str  # of ModelOptions
    found: str  # what it is; "" for one that cannot be used
    wrong: str = ""  # why it cannot be used
    named: bool = True  # False: it lies in the folder of models, and nobody asked for it


def describe_files(models: ModelOptions, users: Mapping[str, Sequence[str]]) -> Iterator[FileLine]:
    """Yield a line for each file that is named, then for each in the folder of models.

    users: field of ModelOptions -> the engines that use such a file.
    """
    for field, kind in KINDS.items():
        path = None if kind is FileKind.LORA else getattr(models, field)
        if path is not None:
            yield _line(field, path, kind, users)
    for path, strength in filter(None, (*models.loras, models.distilled_lora)):
        line = _line("loras", path, FileKind.LORA, users)
        strong = f"{line.found}, strength {strength:g}" if line.found else ""
        yield FileLine("lora", strong, line.wrong)
    if models.models is not None:
        yield from _in_folder(models.models, users)


def _in_folder(folder: str, users: Mapping[str, Sequence[str]]) -> Iterator[FileLine]:
    if not Path(folder).is_dir():
        yield FileLine("models", "", f"--models {folder}: no such folder")
        return
    paths = model_paths(Path(folder))
    if not paths:
        yield FileLine("models", "", f"--models {folder}: no .safetensors or .gguf file in it")
    for path in paths:
        try:
            file = files.read_header(str(path), "found")
        except EngineUnavailableError as error:
            yield FileLine("found", "", str(error).removeprefix("found "), named=False)
            continue
        wrong = problem(file)
        text = f"{path}: {wrong}" if wrong else describe(file) + _served(file, users)
        yield FileLine("found", "" if wrong else text, text if wrong else "", named=False)


def _line(field: str, path: str, kind: FileKind, users: Mapping[str, Sequence[str]]) -> FileLine:
    flag = FLAGS[kind]
    if (
        kind is FileKind.GEMMA
        and Path(path).is_dir()
        and not any(Path(path).glob("*.safetensors*"))
    ):
        return FileLine(field, "", f"{flag} {path}: no .safetensors file in it")
    try:
        file = files.open_file(path, kind, flag)
    except EngineUnavailableError as error:
        return FileLine(field, "", str(error))
    if wrong := problem(file):
        return FileLine(field, "", f"{flag} {path}: {wrong}")
    return FileLine(field, describe(file) + _served(file, users))


def describe(file: ModelFile) -> str:
    """Return what a file is: its name, size, generation and what it holds in which precision."""
    words = [file.file_name, f"{file.size / 1e9:.3g} GB"]
    if found := generation(file):
        words.append(f"LTX-{found}")
    if FileKind.TRANSFORMER in file.holds:
        steps = takes_few_steps(file)
        words += [] if steps is None else ["distilled" if steps else DEV]
    lacking = ["transformer"] if needs_newer(file) else []
    lacking += ["decoder"] if needs_newer_decoder(file) else []
    if lacking:
        words.append(f"whose {' and '.join(lacking)} needs ltx-core 1.2 ({installed.NEWER})")
    parts = [kind for kind in PARTS if kind in file.holds]
    if parts:
        words += [_part(file, kind) for kind in parts]
        words += [file.kind.value] if file.kind is FileKind.GEMMA else []
    elif file.kind is FileKind.LORA:
        words.append("an IC-LoRA" if is_ic_lora(file) else file.kind.value)
    elif file.kind is FileKind.SPATIAL:
        words.append(f"{file.kind.value} x{file.config.get('spatial_scale', 2.0):g}")
    else:
        words.append(file.kind.value)
    return ", ".join(words)


def _part(file: ModelFile, kind: FileKind) -> str:
    """Return what a file holds of a checkpoint: how many parameters, and their precision."""
    count: Counter[str] = Counter()
    storages = file.storages
    for name in part_names(file, kind):
        storage = storages.of(name)
        count[storage.precision] += prod(storage.shape)
    total = sum(count.values())
    precisions = [name for name, number in count.most_common() if number > total // 100]
    number = f"{total / 1e9:.3g} billion" if total >= 1e8 else f"{total / 1e6:.3g} million"
    return f"{SHORT[kind]} of {number} parameters in {' and '.join(precisions)}"


def part_names(file: ModelFile, kind: FileKind) -> Iterator[str]:
    """Yield the names of a part's tensors, without those that say how others are stored.

    Those of a transformer that only audio needs are left out.
    """
    prefixes = {
        FileKind.TRANSFORMER: (names.TRANSFORMER,),
        FileKind.VAE: (names.ENCODER, names.DECODER),
        FileKind.TEXT: (names.TEXT,),
    }.get(kind, ("",))
    for name in file.tensors:
        own = name.startswith(prefixes) and not is_companion(name)
        if own and kind is FileKind.TRANSFORMER:
            own = names.is_video_tensor(name.removeprefix(names.TRANSFORMER))
        if own:
            yield name


def problem(file: ModelFile) -> str | None:
    """Return why a file cannot be used, as far as its header tells; None if nothing is wrong."""
    if file.kind in (FileKind.GEMMA, FileKind.LORA, FileKind.AUDIO, FileKind.OTHER):
        return None
    storages = file.storages
    for kind in (each for each in FileKind if each in file.holds):
        try:
            for name in part_names(file, kind):
                storages.of(name)
        except StorageError as error:
            return str(error)
    return next(filter(None, (_unbuildable(file, kind) for kind in SECTIONS)), None)


def _unbuildable(file: ModelFile, kind: FileKind) -> str | None:
    """Return why a part that a file holds cannot be built; None if it can, or is not in it."""
    if kind not in SECTIONS or kind not in file.holds or file.config.get(SECTIONS[kind]):
        return None
    return (
        f"no configuration in its metadata, and its {SHORT[kind]} is not built like a published "
        "one; take the file that Lightricks published"
    )


def _served(file: ModelFile, users: Mapping[str, Sequence[str]]) -> str:
    """Return which engines use what a file holds."""
    kinds = [kind for kind in FileKind if kind in file.holds]
    if needs_newer(file):
        kinds.remove(FileKind.TRANSFORMER)
    if needs_newer_decoder(file):
        kinds.remove(FileKind.VAE)
    found = [name for kind in kinds for name in users.get(USED_AS.get(kind, ""), ())]
    return f"; for {', '.join(dict.fromkeys(found))}" if found else "; no engine uses it"


def needed_bytes(models: ModelOptions, fields: Iterable[str], itemsize: int) -> int:
    """Return the bytes of memory that the weights of an engine's files take once they are loaded.

    itemsize: bytes per number. Raises EngineUnavailableError, also for files that do not fit each
    other.
    """
    parts, total = ModelParts(models), 0
    kinds = [KINDS[field] for field in fields if field in KINDS]
    check_generations(parts, kinds)
    for kind in kinds:
        if kind in (FileKind.CONTEXT, FileKind.LORA):
            continue
        file = parts.find(kind)
        if wrong := _unbuildable(file, kind):
            raise EngineUnavailableError(f"{file.path}: {wrong}")
        try:
            storages = file.storages
            total += sum(prod(storages.of(name).shape) for name in part_names(file, kind))
        except StorageError as error:
            raise EngineUnavailableError(f"{file.path}: {error}") from None
    return total * itemsize


def wanted(fields: Iterable[str], models: ModelOptions) -> str:
    """Return what a user is asked to add: flags, what they take and how large it is.

    A file in the folder of models that has to be named is told by its name. What `obstacles` says
    of a part is left out.
    """
    words, parts = [], ModelParts(models)
    for field in sorted(fields, key=lambda field: ORDER.index(field) if field in ORDER else 9):
        if field in KINDS and parts.obstacle(KINDS[field]):
            continue
        found = parts.to_be_named(KINDS[field]) if field in KINDS else None
        size = f" ({SIZES[field]} GB)" if field in SIZES else ""
        file = "FILE" + size if found is None else f"{found.path} (found, and has to be named)"
        file += " (for few steps of a dev checkpoint)" if field == "distilled_lora" else ""
        words.append(f"--{field.replace('_', '-')} {file}")
    return ", ".join(words)


def obstacles(fields: Iterable[str], models: ModelOptions) -> str:
    """Return why the files that there are for some fields cannot be used; "" if nothing is wrong.

    They are too new for the installed packages, say, or two of them could be meant.
    """
    parts = ModelParts(models)
    found = (parts.obstacle(KINDS[field]) for field in fields if field in KINDS)
    return "; ".join(dict.fromkeys(filter(None, found)))


def shortfall(
    missing: Sequence[str], models: ModelOptions, others: Sequence[str] = ()
) -> tuple[str, str]:
    """Return "lacks" or "cannot run", and which files an engine lacks or why it cannot use some.

    missing: the fields that it needs and nobody names. others: those that it needs beside them.
    """
    absent = wanted(missing, models)
    wrong = obstacles(missing, models), unusable(models, others)
    text = "; and ".join(filter(None, (absent, *wrong)))
    return ("lacks" if absent else "cannot run"), text


def unusable(models: ModelOptions, fields: Iterable[str]) -> str:
    """Return why one of the files for some fields cannot be used; "" if all of them can."""
    try:
        needed_bytes(models, fields, 1)
    except EngineUnavailableError as error:
        return str(error)
    return ""
