"""From a model file into a model: a tensor at a time, renamed, changed by LoRAs, made smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import torch
from safetensors import safe_open

from ltxfilter.engines.ltx.models import tiny_vae, upstream
from ltxfilter.engines.ltx.weights import files, fp8
from ltxfilter.engines.ltx.weights.files import Kind, ModelFile
from ltxfilter.engines.ltx.weights.lora import Lora, check_layers
from ltxfilter.errors import EngineUnavailableError

TRANSFORMERS = ("transformer", "refiner")
KINDS = {"spatial": Kind.SPATIAL, "temporal": Kind.TEMPORAL}
NAMED = 4  # missing tensors that a message names
SCALE = ".weight_scale"  # beside a weight that is published in 8 bits
SCALES = (SCALE, ".input_scale")

# name in the file -> name in the model, None for one that the model does not have
Naming = Callable[[str], str | None]
Tensors = Iterator[tuple[str, torch.Tensor]]


def empty_model(part: str, file: ModelFile) -> torch.nn.Module:
    """Return a part without weights. Raises EngineUnavailableError."""
    if file.kind is Kind.TINY_VAE:
        return tiny_vae.blueprint(part)
    config = dict(file.config)
    if part in TRANSFORMERS:
        config["transformer"] = {**config.get("transformer", {}), "attention_type": "pytorch"}
    try:
        kind = "upsampler" if part in KINDS else part.replace("refiner", "transformer")
        return upstream.blueprint(kind, config, file.metadata)
    except (ValueError, KeyError, TypeError) as error:
        raise EngineUnavailableError(
            f"{file.path}: ltx_core cannot build its {part}: {error}"
        ) from None


def read_statistics(file: ModelFile, device: torch.device) -> dict[str, torch.Tensor]:
    """Read the latents' mean and deviation per channel, [128, 1, 1, 1] float32 each."""
    return statistics(read_tensors(file, lambda name: after(name, files.STATISTICS), device))


def statistics(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return those of an encoder's buffers that upsampling needs, [128, 1, 1, 1] float32 each."""
    return {
        name: value.float().reshape(-1, 1, 1, 1)
        for name, value in tensors
        if name in ("mean-of-means", "std-of-means")
    }


def read_tensors(file: ModelFile, naming: Naming, device: torch.device) -> Tensors:
    """Yield the tensors that `naming` keeps, by their new names, one at a time."""
    with safe_open(file.path, "pt", device=str(device)) as opened:
        for name in file.tensors:
            if (new := naming(name)) is not None:
                yield new, opened.get_tensor(name)


def loaded_bytes(
    file: ModelFile,
    naming: Naming,
    itemsize: int,
    *,
    eight: bool = False,
    share: Fraction = Fraction(1),
) -> int:
    """Return how many bytes on the device the tensors that `naming` keeps will take.

    eight: large layers are kept in 8 bits. share: how much of the blocks is there at a time.
    """
    total = Fraction(0)
    for name, tensor in file.tensors.items():
        if (new := naming(name)) is not None:
            layer = new.removesuffix(".weight")
            small = eight and layer != new and fp8.chosen_layer(layer, tensor.shape)
            size = tensor.elements * (1 if small else itemsize)
            total += size * share if new.startswith("transformer_blocks.") else size
    return int(total)


def transformer_bytes(file: ModelFile) -> int:
    """Return how many bytes a checkpoint's transformer takes in 16 bits."""
    return sum(
        2 * tensor.elements for name, tensor in file.tensors.items() if transformer_name(name)
    )


def fill(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: str) -> None:
    """Give a module without weights its weights. Raises EngineUnavailableError if any lacks."""
    try:
        module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:  # shapes that differ, a line each
        lines = str(error).splitlines()
        raise EngineUnavailableError(f"{path}: {lines[min(1, len(lines) - 1)].strip()}") from None
    everything = (*module.named_parameters(), *module.named_buffers())
    missing = [name for name, value in everything if value.is_meta]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise EngineUnavailableError(f"{path}: it lacks {', '.join(missing[:NAMED])}{more}")


def fill_plain(
    module: torch.nn.Module,
    file: ModelFile,
    naming: Naming,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Fill a VAE or an upsampler. Raises EngineUnavailableError."""
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
    """Fill the transformer; its large layers in 8 bits unless `mode` is "off". Raises.

    LoRAs are added before anything is rounded to 8 bits.
    """
    linears = (name for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear))
    known = frozenset(linears)
    for lora in loras:
        check_layers(lora, known)
    small = frozenset() if mode == "off" else fp8.replace_linears(module, mode)
    found: dict[str, torch.Tensor] = {}
    for layer, name, value, scale in _transformer_tensors(file, device):
        for lora in loras:
            if layer in lora.layers:
                value, scale = lora.added_to(layer, _restored(value, scale)), None
        if layer in small:
            found[name], found[layer + SCALE] = _quantized(value, scale)
        else:
            found[name] = _cast(_restored(value, scale), dtype)
    fill(module, found, file.path)


def _transformer_tensors(
    file: ModelFile, device: torch.device
) -> Iterator[tuple[str, str, torch.Tensor, torch.Tensor | None]]:
    """Yield the layer if it is one's weight, else "", the tensor's name, it, and its scale."""
    scales = dict(read_tensors(file, _scale_name, device))
    for name, value in read_tensors(file, transformer_name, device):
        if not name.endswith(SCALES):
            layer = name.removesuffix(".weight") if name.endswith(".weight") else ""
            yield layer, name, value, scales.get(layer + SCALE)


def _restored(value: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
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
    """Return a tensor's name in the video-only transformer, None if it has no place there."""
    new = after(name, files.TRANSFORMER)
    return new if new is not None and files.video_only(new) else None


def vae_naming(prefix: str) -> Naming:
    """Return the naming of the encoder's or the decoder's tensors, the statistics among them."""

    def naming(name: str) -> str | None:
        if name.startswith(files.STATISTICS):
            return name.removeprefix("vae.")
        return after(name, prefix)

    return naming


def after(name: str, prefix: str) -> str | None:
    """Return `name` without `prefix`, None if it does not begin with it."""
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def _scale_name(name: str) -> str | None:
    return transformer_name(name) if name.endswith(SCALE) else None


NAMINGS: dict[str, Naming] = {
    **dict.fromkeys(TRANSFORMERS, transformer_name),
    "encoder": vae_naming(files.ENCODER),
    "decoder": vae_naming(files.DECODER),
}
