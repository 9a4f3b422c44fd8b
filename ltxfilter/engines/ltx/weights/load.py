"""Filling a model from a file: tensors one at a time, renamed, changed by LoRAs, quantized."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from fractions import Fraction

import torch

from ltxfilter.engines.ltx.weights import fp8
from ltxfilter.engines.ltx.weights.dequantize import CHUNK, WeightReader
from ltxfilter.engines.ltx.weights.files import ModelFile, Naming
from ltxfilter.engines.ltx.weights.formats import names
from ltxfilter.engines.ltx.weights.formats.storage import Storage, StorageError, is_companion
from ltxfilter.engines.ltx.weights.lora import Lora, check_layers
from ltxfilter.errors import EngineUnavailableError

log = logging.getLogger("ltxfilter.engines")

Change = Callable[[str, torch.Tensor], Iterable[tuple[str, torch.Tensor]]]

NAMED = 4  # missing or superfluous tensors that a message names
SCALE = ".weight_scale"  # suffix of the scale beside a weight in 8 bits, in our modules
# Of a checkpoint's statistics, those that no model reads.
UNREAD = ("per_channel_statistics.",)


def read_statistics(file: ModelFile, device: torch.device) -> dict[str, torch.Tensor]:
    """Read the mean and standard deviation of latents per channel, of an autoencoder's file.

    Returns "mean-of-means" and "std-of-means", [128, 1, 1, 1] float32 each. Raises
    EngineUnavailableError.
    """
    naming = prefix_naming(names.STATISTICS)
    found = statistics(read_tensors(file, naming, device, torch.float32))
    if missing := {"mean-of-means", "std-of-means"} - set(found):
        raise EngineUnavailableError(f"{file.path}: it lacks {names.STATISTICS}{min(missing)}")
    return found


def statistics(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return what `read_statistics` does, out of an encoder's named buffers."""
    return {
        name: value.float().reshape(-1, 1, 1, 1)
        for name, value in tensors
        if name in ("mean-of-means", "std-of-means")
    }


def stored_tensors(file: ModelFile, naming: Naming) -> Iterator[tuple[str, Storage]]:
    """Yield the tensors that `naming` keeps with their new names and how they are stored.

    Raises EngineUnavailableError for one that cannot be read for what it is, and for a scale whose
    weight is not there.
    """
    storages = file.storages
    kept = [(name, new) for name in file.tensors if (new := naming(name)) is not None]
    try:
        for name, new in kept:
            if not is_companion(name):
                yield new, storages.of(name)
    except StorageError as error:
        raise EngineUnavailableError(f"{file.path}: {error}") from None
    if lost := storages.without_weight(name for name, _ in kept):
        raise EngineUnavailableError(f"{file.path}: {lost[0]} belongs to no weight there")


def read_tensors(
    file: ModelFile, naming: Naming, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that `naming` keeps with their new names, one at a time.

    Raises EngineUnavailableError.
    """
    stored = list(stored_tensors(file, naming))  # all are checked before the first one is read
    with closing(WeightReader(device)) as reader:
        for name, storage in stored:
            try:
                yield name, reader.numbers(storage, dtype)
            except StorageError as error:
                raise EngineUnavailableError(f"{file.path}: {error}") from None


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
    of the transformer's blocks that is on the device at a time, 0..1. Raises
    EngineUnavailableError.
    """
    total = Fraction(0)
    for new, storage in stored_tensors(file, naming):
        layer = new.removesuffix(".weight")
        small = quantized and layer != new and fp8.is_quantized(layer, storage.shape)
        elements = 1
        for length in storage.shape:
            elements *= length
        size = elements * (1 if small else itemsize)
        total += size * block_share if new.startswith("transformer_blocks.") else size
    return int(total)


def transformer_bytes(file: ModelFile) -> int:
    """Return the bytes of a checkpoint's transformer in 16 bits. Raises EngineUnavailableError."""
    return loaded_bytes(file, transformer_name, 2)


def quantized_sizes(file: ModelFile) -> frozenset[tuple[int, int]]:
    """Return inputs and outputs of the transformer's layers that are quantized.

    Raises EngineUnavailableError.
    """
    stored = stored_tensors(file, transformer_name)
    layers = ((name.removesuffix(".weight"), storage.shape) for name, storage in stored)
    return frozenset(
        (shape[1], shape[0]) for layer, shape in layers if fp8.is_quantized(layer, shape)
    )


def fill(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: str) -> None:
    """Give a module on the meta device its weights; a warning names those that it has no use for.

    path: of their file, for messages. Raises EngineUnavailableError if shapes differ or a tensor is
    missing.
    """
    try:
        result = module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError:
        given = {name: tuple(value.shape) for name, value in tensors.items()}
        raise EngineUnavailableError(f"{path}: {first_misfit(module, given)}") from None
    everything = (*module.named_parameters(), *module.named_buffers())
    missing = [name for name, value in everything if value.is_meta]
    if missing:
        raise EngineUnavailableError(f"{path}: it lacks {listed(missing)}")
    if beyond := [name for name in result.unexpected_keys if not name.startswith(UNREAD)]:
        log.warning(
            "%s: nothing is done with %s, which this model does not have", path, listed(beyond)
        )


def first_misfit(module: torch.nn.Module, given: Mapping[str, tuple[int, ...]]) -> str:
    """Return which of a module's tensors has another shape in a file; "" if none has.

    given: the shapes there by name.
    """
    for name, value in module.state_dict().items():
        own, there = tuple(value.shape), given.get(name, tuple(value.shape))
        if own != there:
            shapes = (" by ".join(map(str, shape)) or "one number" for shape in (there, own))
            return f"{name} is {next(shapes)} there and {next(shapes)} in the model"
    return ""


def listed(names_of_tensors: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names_of_tensors) - NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names_of_tensors[:NAMED]) + more


def fill_plain(
    module: torch.nn.Module,
    file: ModelFile,
    naming: Naming,
    device: torch.device,
    dtype: torch.dtype,
    *,
    change: Change | None = None,
) -> None:
    """Fill an autoencoder, an upsampler or text layers. Raises EngineUnavailableError.

    change: of each tensor into those that the module has in its place.
    """
    tensors: Iterable[tuple[str, torch.Tensor]] = read_tensors(file, naming, device, dtype)
    if change is not None:
        tensors = (new for name, value in tensors for new in change(name, value))
    fill(module, dict(tensors), file.path)
    module.to(device)  # tables that are in no file


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
    quantized = quantized_layers(module, mode, loras)
    weights = dict(transformer_tensors(file, device, dtype, quantized=quantized, loras=loras))
    fill(module, weights, file.path)


def quantized_layers(module: torch.nn.Module, mode: str, loras: Sequence[Lora]) -> frozenset[str]:
    """Replace the large layers of a transformer by quantized ones; return their names.

    mode: "off", or "rowwise" or "cast". loras: they are checked against the layers. Raises
    EngineUnavailableError.
    """
    linears = (name for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear))
    known = frozenset(linears)
    for lora in loras:
        check_layers(lora, known)
    return frozenset() if mode == "off" else fp8.replace_linears(module, mode)


def transformer_tensors(
    file: ModelFile,
    device: torch.device,
    dtype: torch.dtype,
    *,
    quantized: frozenset[str],
    loras: Sequence[Lora],
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a transformer's tensors by name, one at a time; nothing is held of the one before.

    quantized: layers whose weights come in 8 bits, each with its scales. loras: added to the
    weights before they are quantized. Raises EngineUnavailableError.
    """
    stored = list(stored_tensors(file, transformer_name))
    with closing(WeightReader(device)) as reader:
        for name, storage in stored:
            layer = name.removesuffix(".weight") if name.endswith(".weight") else ""
            own = [lora for lora in loras if layer in lora.layers]
            try:
                if layer in quantized:
                    yield from _with_scales(name, _quantized_weight(reader, storage, layer, own))
                else:
                    yield name, _weight(reader, storage, layer, own, dtype)
            except StorageError as error:
                raise EngineUnavailableError(f"{file.path}: {error}") from None


def _with_scales(
    name: str, both: tuple[torch.Tensor, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a weight in 8 bits and its scales by name."""
    yield name, both[0]
    yield name.removesuffix(".weight") + SCALE, both[1]


def _weight(
    reader: WeightReader, storage: Storage, layer: str, loras: Sequence[Lora], dtype: torch.dtype
) -> torch.Tensor:
    """Return a tensor in `dtype`, changed by LoRAs."""
    if not loras:
        return reader.numbers(storage, dtype)
    value = reader.numbers(storage, torch.float32)
    for lora in loras:
        value = lora.added_to(layer, value)
    return value.to(dtype)


def _quantized_weight(
    reader: WeightReader, storage: Storage, layer: str, loras: Sequence[Lora]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight in 8 bits and its scales [1, out]; one published in 8 bits stays as it is."""
    if not loras and (both := reader.in_8_bits(storage)) is not None:
        return both[0], both[1][None]
    plain = storage.format == "plain" and storage.entry.dtype == "BF16"
    value = _weight(reader, storage, layer, loras, torch.bfloat16 if plain else torch.float32)
    if value.is_cuda:
        stored, rows = fp8.quantize_rows(value)
        return stored, rows.t().contiguous()
    stored = torch.empty(value.shape, dtype=fp8.FP8)
    scales = torch.empty(1, len(value))
    step = max(CHUNK // value.shape[1], 1)
    for begin in range(0, len(value), step):
        part, rows = fp8.quantize_rows(value[begin : begin + step])
        stored[begin : begin + step], scales[0, begin : begin + step] = part, rows[:, 0]
    return stored, scales


def transformer_name(name: str) -> str | None:
    """Return a checkpoint tensor's name in the transformer without audio; None if it has none."""
    new = without_prefix(name, names.TRANSFORMER)
    return new if new is not None and names.is_video_tensor(new) else None


def vae_naming(prefix: str) -> Naming:
    """Return the naming of the encoder's or the decoder's tensors, the statistics included."""

    def naming(name: str) -> str | None:
        if name.startswith(names.STATISTICS):
            return name.removeprefix("vae.")
        return without_prefix(name, prefix)

    return naming


def prefix_naming(prefix: str) -> Naming:
    """Return the naming that keeps tensors with a prefix, without the prefix."""
    return lambda name: without_prefix(name, prefix)


def without_prefix(name: str, prefix: str) -> str | None:
    """Return `name` without `prefix`, None if it does not begin with it."""
    return name.removeprefix(prefix) if name.startswith(prefix) else None
