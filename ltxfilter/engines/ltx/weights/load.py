"""Filling a model from a file: tensors one at a time, renamed, changed by LoRAs, quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import torch

from ltxfilter.engines.ltx.weights import files, fp8
from ltxfilter.engines.ltx.weights.files import ModelFile
from ltxfilter.engines.ltx.weights.lora import Lora, check_layers
from ltxfilter.engines.ltx.weights.tensor_file import open_tensors
from ltxfilter.errors import EngineUnavailableError

MISSING_NAMED = 4  # missing tensors that a message names
SCALE = ".weight_scale"  # suffix of the scale beside a weight that is published in 8 bits
SCALES = (SCALE, ".input_scale")

# Name in the file -> name in the model, None for a tensor that the model does not have.
Naming = Callable[[str], str | None]
NamedTensors = Iterator[tuple[str, torch.Tensor]]


def read_statistics(file: ModelFile, device: torch.device) -> dict[str, torch.Tensor]:
    """Read a checkpoint's mean and standard deviation of latents per channel.

    Returns "mean-of-means" and "std-of-means", [128, 1, 1, 1] float32 each.
    """
    naming = prefix_naming(files.STATISTICS)
    return statistics(read_tensors(file, naming, device))


def statistics(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return what `read_statistics` does, out of an encoder's named buffers."""
    return {
        name: value.float().reshape(-1, 1, 1, 1)
        for name, value in tensors
        if name in ("mean-of-means", "std-of-means")
    }


def read_tensors(file: ModelFile, naming: Naming, device: torch.device) -> NamedTensors:
    """Yield the tensors that `naming` keeps with their new names, one at a time."""
    with open_tensors(file.path, str(device)) as opened:
        for name in file.tensors:
            if (new := naming(name)) is not None:
                yield new, opened.get_tensor(name)


def loaded_bytes(
    file: ModelFile,
    naming: Naming,
    itemsize: int,
    *,
    quantized: bool = False,
    block_share: Fraction = Fraction(1),
) -> int:
    """Return the bytes on the device that the tensors that `naming` keeps will take.

    itemsize: bytes per number. quantized: large layers take one byte per number. block_share: share
    of the transformer's blocks that is on the device at a time, 0..1.
    """
    total = Fraction(0)
    for name, tensor in file.tensors.items():
        if (new := naming(name)) is not None:
            layer = new.removesuffix(".weight")
            small = quantized and layer != new and fp8.is_quantized(layer, tensor.shape)
            size = tensor.elements * (1 if small else itemsize)
            total += size * block_share if new.startswith("transformer_blocks.") else size
    return int(total)


def transformer_bytes(file: ModelFile) -> int:
    """Return the bytes of a checkpoint's transformer in 16 bits."""
    return sum(
        2 * tensor.elements for name, tensor in file.tensors.items() if transformer_name(name)
    )


def fill(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: str) -> None:
    """Give a module on the meta device its weights.

    path: of their file, for messages. Raises EngineUnavailableError if shapes differ or a tensor is
    missing.
    """
    try:
        module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:  # its message has a line for each shape that differs
        lines = str(error).splitlines()
        raise EngineUnavailableError(f"{path}: {lines[min(1, len(lines) - 1)].strip()}") from None
    everything = (*module.named_parameters(), *module.named_buffers())
    missing = [name for name, value in everything if value.is_meta]
    if missing:
        rest = len(missing) - MISSING_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        raise EngineUnavailableError(f"{path}: it lacks {', '.join(missing[:MISSING_NAMED])}{more}")


def fill_plain(
    module: torch.nn.Module,
    file: ModelFile,
    naming: Naming,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Fill an autoencoder, an upsampler or text layers. Raises EngineUnavailableError."""
    tensors = read_tensors(file, naming, device)
    fill(module, {name: _cast(value, dtype) for name, value in tensors}, file.path)


def fill_transformer(
    module: torch.nn.Module,
    file: ModelFile,
    device: torch.device,
    dtype: torch.dtype,
    *,
    mode: str,
    loras: Sequence[Lora],
) -> None:
    """Fill the transformer.

    mode: "off", or "rowwise" or "cast" to quantize its large layers. loras: added to the weights
    before they are quantized. Raises EngineUnavailableError.
    """
    linears = (name for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear))
    known = frozenset(linears)
    for lora in loras:
        check_layers(lora, known)
    quantized = frozenset() if mode == "off" else fp8.replace_linears(module, mode)
    weights: dict[str, torch.Tensor] = {}
    for layer, name, value, scale in _transformer_tensors(file, device):
        for lora in loras:
            if layer in lora.layers:
                value, scale = lora.added_to(layer, _dequantized(value, scale)), None
        if layer in quantized:
            weights[name], weights[layer + SCALE] = _quantized(value, scale)
        else:
            weights[name] = _cast(_dequantized(value, scale), dtype)
    fill(module, weights, file.path)


def _transformer_tensors(
    file: ModelFile, device: torch.device
) -> Iterator[tuple[str, str, torch.Tensor, torch.Tensor | None]]:
    """Yield for each tensor its layer, its name, its value, and its scale if it has one.

    The layer is "" for a tensor that is no layer's weight.
    """
    scales = dict(read_tensors(file, _scale_name, device))
    for name, value in read_tensors(file, transformer_name, device):
        if not name.endswith(SCALES):
            layer = name.removesuffix(".weight") if name.endswith(".weight") else ""
            yield layer, name, value, scales.get(layer + SCALE)


def _dequantized(value: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    return value if scale is None else value.float() * scale.float()


def _quantized(
    value: torch.Tensor, scale: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight in 8 bits and its scales [1, out]; one published in 8 bits stays as it is."""
    if scale is None:
        value, rows = fp8.quantize_rows(value)
        return value, rows.t().contiguous()
    return value, scale.float().reshape(1, -1).expand(1, len(value)).contiguous()


def _cast(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def transformer_name(name: str) -> str | None:
    """Return a checkpoint tensor's name in the transformer without audio; None if it has none."""
    new = without_prefix(name, files.TRANSFORMER)
    return new if new is not None and files.is_video_tensor(new) else None


def vae_naming(prefix: str) -> Naming:
    """Return the naming of the encoder's or the decoder's tensors, the statistics included."""

    def naming(name: str) -> str | None:
        if name.startswith(files.STATISTICS):
            return name.removeprefix("vae.")
        return without_prefix(name, prefix)

    return naming


def prefix_naming(prefix: str) -> Naming:
    """Return the naming that keeps tensors with a prefix, without the prefix."""
    return lambda name: without_prefix(name, prefix)


def without_prefix(name: str, prefix: str) -> str | None:
    """Return `name` without `prefix`, None if it does not begin with it."""
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def _scale_name(name: str) -> str | None:
    return transformer_name(name) if name.endswith(SCALE) else None
