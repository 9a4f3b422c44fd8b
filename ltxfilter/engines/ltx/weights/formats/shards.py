"""A model in a folder: one file, or several shards with an index."""

from __future__ import annotations

import json
from pathlib import Path

from ltxfilter.engines.ltx.weights.formats.entries import HeaderError, ModelHeader
from ltxfilter.engines.ltx.weights.formats.gguf_header import is_gguf, read_gguf
from ltxfilter.engines.ltx.weights.formats.safetensors_header import read_safetensors

INDEX = ".safetensors.index.json"
SUFFIXES = (".safetensors", ".gguf", ".sft")
USUAL = ("model.safetensors", "diffusion_pytorch_model.safetensors")  # of the one model there
LARGEST_INDEX = 50 << 20  # bytes


def read_model(path: Path) -> ModelHeader:
    """Read the header of a file, of a folder, or of the shards that an index names.

    Raises OSError, HeaderError.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.name.endswith(INDEX):
        return _read_index(path)
    return read_gguf(path) if is_gguf(path) else read_safetensors(path)


def _read_folder(folder: Path) -> ModelHeader:
    indexes = sorted(folder.glob("*" + INDEX))
    files = sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES)
    if len(indexes) == 1:
        return _read_index(indexes[0])
    usual = [each for each in files if each.name in USUAL]
    if not indexes and len(usual) == 1:
        return read_model(usual[0])
    if len(indexes) > 1 or len(files) > 1:
        names = ", ".join(each.name for each in (indexes or files)[:4])
        raise HeaderError(f"a folder of several models ({names}); name one of them, or --models")
    if not files:
        raise HeaderError("a folder without a .safetensors or .gguf file in it")
    return read_model(files[0])


def _read_index(path: Path) -> ModelHeader:
    """Read all shards. Every tensor must be in the shard that the index names, and nowhere else."""
    if path.stat().st_size > LARGEST_INDEX:
        raise HeaderError("not an index of shards")
    try:
        places = json.loads(path.read_bytes())["weight_map"]
        named = {str(name): str(file) for name, file in places.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HeaderError("not an index of shards") from None
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
