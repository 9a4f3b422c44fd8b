"""Model files of the published size with random weights, for code that loads models from files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from ltx_core.model.transformer.model_configurator import LTXModelConfigurator
from safetensors.torch import save_file

from benchmarks import ltx_sizes as sizes
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.options import ModelOptions

POOL = 1 << 22  # random numbers, which are written again and again
SPREAD = 0.02  # standard deviation of a random weight
DTYPE = torch.bfloat16

Shape = tuple[int, ...]
Entry = tuple[str, Shape, bool]  # name, shape, True for ones instead of random numbers


def write_models(folder: Path, config: Mapping[str, Any], spatial: Mapping[str, Any]) -> int:
    """Write a checkpoint with audio, a spatial upsampler and a context; return their bytes."""
    written = write_tensors(
        folder / "checkpoint.safetensors",
        checkpoint_entries(config),
        {"config": json.dumps(config), "model_version": "2.3.0"},
    )
    upsampler = entries(upstream.meta_module("upsampler", spatial, {}), "")
    path = folder / "spatial.safetensors"
    written += write_tensors(path, upsampler, {"config": json.dumps(spatial)})
    width = config["transformer"]["cross_attention_dim"]
    length = sizes.CONTEXT[1] if width == sizes.CONTEXT[2] else 128
    prompts = {
        name: torch.randn(1, length, width).to(DTYPE)
        for name in ("video_context", "negative_context")
    }
    save_file(prompts, folder / "context.safetensors")
    return written


def options(folder: Path, device: torch.device) -> ModelOptions:
    """Return the paths of the files that `write_models` wrote."""
    return ModelOptions(
        checkpoint=str(folder / "checkpoint.safetensors"),
        spatial_upsampler=str(folder / "spatial.safetensors"),
        context=str(folder / "context.safetensors"),
        device=str(device),
    )


def checkpoint_entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the tensors of a checkpoint as published, without text layers and audio's VAE."""
    with torch.device("meta"):
        joint = upstream.configured(LTXModelConfigurator, config, {})
    yield from entries(joint, "model.diffusion_model.")
    for name in ("encoder", "decoder"):
        prefix = f"vae.{name}."
        for tensor, shape, ones in entries(upstream.meta_module(name, config, {}), prefix):
            if name == "encoder" or not tensor.startswith(f"{prefix}per_channel_statistics."):
                yield tensor.replace(f"{prefix}per_channel", "vae.per_channel"), shape, ones


def entries(module: torch.nn.Module, prefix: str) -> Iterator[Entry]:
    """Yield the names and shapes of a module's tensors, and which are ones."""
    for name, value in module.state_dict().items():
        scale = "norm" in name and value.ndim == 1
        yield prefix + name, tuple(value.shape), scale or name.endswith("std-of-means")


def write_tensors(path: Path, wanted: Iterable[Entry], metadata: Mapping[str, str]) -> int:
    """Write a safetensors file piece by piece; return its size in bytes."""
    tensors = list(wanted)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    for name, shape, _ in tensors:
        end = place + prod(shape) * DTYPE.itemsize
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(0)
    random = _bytes(torch.randn(POOL, generator=generator) * SPREAD)
    ones = _bytes(torch.ones(POOL))
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape, flat in tensors:
            _repeat(file, ones if flat else random, prod(shape) * DTYPE.itemsize)
        return file.tell()


def _bytes(values: torch.Tensor) -> memoryview:
    return memoryview(values.to(DTYPE).view(torch.uint8).numpy())


def _repeat(file: BinaryIO, pool: memoryview, count: int) -> None:
    while count:
        piece = min(count, len(pool))
        file.write(pool[:piece])
        count -= piece
