"""A model in a folder: one file, or several shards with an index."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ltxfilter.engines.ltx.weights.formats.entries import HeaderError, ModelHeader
from ltxfilter.engines.ltx.weights.formats.gguf_header import is_gguf, read_gguf
from ltxfilter.engines.ltx.weights.formats.safetensors_header import another_file, read_safetensors

INDEX = ".safetensors.index.json"
SUFFIXES = (".safetensors", ".gguf", ".sft")
USUAL = ("model.safetensors", "diffusion_pytorch_model.safetensors")  # of the one model there
LARGEST_INDEX = 50 << 20  # bytes
SHARD = re.compile(r"(?a)(.*)-(\d{5})-of-(\d{5})\.(safetensors|gguf)")  # name of one of several


def read_model(path: Path) -> ModelHeader:
    """Read the header of a file, of a folder, or of the shards that an index names.

    Raises OSError, HeaderError.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.name.endswith(INDEX):
        return _read_index(path)
    header = read_gguf(path) if is_gguf(path) else read_safetensors(path)
    if (match := SHARD.fullmatch(path.name)) and int(match[3]) > 1:
        raise HeaderError(_one_of_several(match))
    return header


def _one_of_several(match: re.Match[str]) -> str:
    """Return what to do with a file that is one of the shards of a model."""
    stem, number, count, suffix = match.groups()
    text = f"shard {int(number)} of {int(count)}"
    if suffix == "gguf":
        return f"{text}; join them with llama-gguf-split --merge"
    return f"{text}; name their folder, with {stem}{INDEX} in it"


def _read_folder(folder: Path) -> ModelHeader:
    indexes = sorted(folder.glob("*" + INDEX))
    files = sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES)
    if len(indexes) == 1:
        return _read_index(indexes[0])
    usual = [each for each in files if each.name in USUAL]
    if not indexes and len(usual) == 1:
        return read_model(usual[0])
    shards = [match for each in files if (match := SHARD.fullmatch(each.name))]
    if not indexes and shards and shards[0][4] == "safetensors" and len(shards) == len(files):
        raise HeaderError(f"its index {shards[0][1]}{INDEX} is missing; download that, too")
    if len(indexes) > 1 or len(files) > 1:
        names = ", ".join(each.name for each in (indexes or files)[:4])
        raise HeaderError(f"a folder of several models ({names}); name one of them, or --models")
    if not files:
        raise HeaderError(
            "a folder without a .safetensors or .gguf file in it; name the one that is inside it, "
            "or give this one to --models"
        )
    return read_model(files[0])


def _read_index(path: Path) -> ModelHeader:
    """Read all shards. Every tensor must be in the shard that the index names, and nowhere else."""
    if path.stat().st_size > LARGEST_INDEX:
        raise HeaderError("not an index of shards")
    try:
        places = json.loads(path.read_bytes())["weight_map"]
        named = {str(name): str(file) for name, file in places.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        what = another_file(path) or "not an index of shards; download it again"
        raise HeaderError(f"its index {path.name}: {what}") from None
    headers = {}
    for shard in sorted(set(named.values())):
        file = path.parent / Path(shard).name  # never outside of the folder
        if not file.is_file():
            raise HeaderError(f"its shard {shard} is missing; download it again")
        try:
            headers[shard] = read_safetensors(file)
        except HeaderError as error:
            raise HeaderError(f"its shard {shard}: {error}") from None
    for name, shard in named.items():
        if name not in headers[shard].tensors:
            raise HeaderError(f"its shard {shard} lacks {name}, which the index says is in it")
    tensors = {
        name: entry
        for shard, header in headers.items()
        for name, entry in header.tensors.items()
        if named.get(name, shard) == shard
    }
    metadata = {k: v for header in headers.values() for k, v in header.metadata.items()}
    paths = tuple(str(path.parent / Path(shard).name) for shard in headers)
    return ModelHeader(tensors, metadata, (str(path), *paths))
