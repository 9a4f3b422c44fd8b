"""Tiny LTX models in the layouts and precisions that people have, as their tools write them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from support import tiny_ltx

Tensors = dict[str, torch.Tensor]
PREFIX = "model.diffusion_model."
QUANTIZED = re.compile(r".*transformer_blocks\.\d+\.(attn[12]|ff)\..*\.weight")
WIDTH = 64  # a multiple of 32, as MXFP8 needs
WIDER = tiny_ltx.TRANSFORMER | {
    "attention_head_dim": WIDTH // 2,
    "cross_attention_dim": WIDTH,
    "audio_attention_head_dim": WIDTH // 4,
    "audio_cross_attention_dim": WIDTH // 2,
    "connector_attention_head_dim": WIDTH // 2,
    "audio_connector_attention_head_dim": WIDTH // 4,
}
CONFIG = tiny_ltx.CONFIG | {"transformer": WIDER}
# An autoencoder with the layers of LTX-2.3's, each of them narrower.
PUBLISHED_VAE = tiny_ltx.VAE | {
    "encoder_blocks": [
        ["res_x", {"num_layers": 4}], ["compress_space_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 6}], ["compress_time_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 4}], ["compress_all_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 2}], ["compress_all_res", {"multiplier": 1}],
        ["res_x", {"num_layers": 2}],
    ],
    "decoder_blocks": [
        ["res_x", {"num_layers": 4}], ["compress_space", {"multiplier": 2}],
        ["res_x", {"num_layers": 6}], ["compress_time", {"multiplier": 2}],
        ["res_x", {"num_layers": 4}], ["compress_all", {"multiplier": 1}],
        ["res_x", {"num_layers": 2}], ["compress_all", {"multiplier": 2}],
        ["res_x", {"num_layers": 2}],
    ],
}  # fmt: skip
PUBLISHED_VAE_2 = tiny_ltx.VAE | {
    "encoder_blocks": [
        *PUBLISHED_VAE["encoder_blocks"][:4], ["res_x", {"num_layers": 6}],
        *PUBLISHED_VAE["encoder_blocks"][5:],
    ],
    "decoder_blocks": [
        ["res_x", {"num_layers": 5}],
        *[block for _ in range(3) for block in (
            ["compress_all", {"residual": True, "multiplier": 2}], ["res_x", {"num_layers": 5}])],
    ],
}  # fmt: skip
del PUBLISHED_VAE_2["spatial_padding_mode"]


def write(path: Path, tensors: Tensors, config: Any = None, **metadata: str) -> Path:
    """Write a safetensors file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"config": json.dumps(config)} if config else {}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=told | metadata)
    return path


def under(tensors: Tensors, prefix: str, new: str = "") -> Tensors:
    """Return the tensors whose names begin with a prefix, with another prefix in its place."""
    return {new + k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def video_only(tensors: Tensors) -> Tensors:
    """Return a checkpoint's transformer without audio, without prefix."""
    from ltxfilter.engines.ltx.weights.formats.names import is_video_tensor

    return {k: v for k, v in under(tensors, PREFIX).items() if is_video_tensor(k)}


def sharded(folder: Path, tensors: Tensors, config: Any, stem: str = "model") -> Path:
    """Write three shards and their index; return the folder."""
    names = sorted(tensors)
    places = {}
    for number in range(3):
        shard = f"{stem}-{number + 1:05}-of-00003.safetensors"
        own = {name: tensors[name] for name in names[number::3]}
        write(folder / shard, own, config)
        places |= dict.fromkeys(own, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return folder


def diffusers_transformer(tensors: Tensors) -> Tensors:
    """Return a transformer without prefix under diffusers' names."""
    begins = {
        "patchify_proj.": "proj_in.",
        "adaln_single.": "time_embed.",
        "prompt_adaln_single.": "prompt_adaln.",
    }

    def named(name: str) -> str:
        for old, new in begins.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
        return name.replace(".q_norm.", ".norm_q.").replace(".k_norm.", ".norm_k.")

    return {named(name): value for name, value in tensors.items()}


def diffusers_vae(tensors: Tensors) -> Tensors:
    """Return an autoencoder without prefix, with LTX-2.3's layers, under diffusers' names."""
    down = {0: "down_blocks.0.", 8: "mid_block."}
    up = {0: "mid_block."}
    for stage in range(4):
        down[2 * stage] = f"down_blocks.{stage}."
        down[2 * stage + 1] = f"down_blocks.{stage}.downsamplers.0."
        up[2 * stage + 1] = f"up_blocks.{stage}.upsamplers.0."
        up[2 * stage + 2] = f"up_blocks.{stage}."

    def named(name: str) -> str:
        name = name.replace("res_blocks.", "resnets.")
        name = name.replace("per_channel_statistics.mean-of-means", "latents_mean")
        name = name.replace("per_channel_statistics.std-of-means", "latents_std")
        name = re.sub(r"down_blocks\.(\d+)\.", lambda m: down[int(m[1])], name)
        return re.sub(r"up_blocks\.(\d+)\.", lambda m: up[int(m[1])], name)

    return {named(name): value for name, value in tensors.items()}


def stored(tensors: Tensors, store: Callable[[str, torch.Tensor], Tensors]) -> Tensors:
    """Return tensors with the large weights of blocks stored in another way.

    store: takes a layer's name and its weight, returns the tensors to write.
    """
    found: Tensors = {}
    for name, value in tensors.items():
        if QUANTIZED.fullmatch(name) and value.ndim == 2 and min(value.shape) >= 32:
            found |= store(name.removesuffix(".weight"), value.float())
        else:
            found[name] = value
    return found


def note(**told: object) -> torch.Tensor:
    """Return what ComfyUI writes beside a weight to say how it is stored."""
    return torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8).clone()


def fp8_tensor(layer: str, weight: torch.Tensor, end: str = ".weight_scale") -> Tensors:
    """Store a weight in 8 bits with one scale."""
    scale = weight.abs().max() / 448
    return {f"{layer}.weight": (weight / scale).to(torch.float8_e4m3fn), layer + end: scale}


def fp8_rows(layer: str, weight: torch.Tensor, *, flat: bool) -> Tensors:
    """Store a weight in 8 bits with a scale per row. flat: the scales have one axis."""
    scale = weight.abs().amax(1, keepdim=True) / 448
    value = (weight / scale).to(torch.float8_e4m3fn)
    return {f"{layer}.weight": value, f"{layer}.weight_scale": scale[:, 0] if flat else scale}


def comfy(layer: str, weight: torch.Tensor) -> Tensors:
    """Store a weight as ComfyUI does since 2025: in 8 bits, with a note and a scale of inputs."""
    noted = note(format="float8_e4m3fn", full_precision_matrix_mult=True)
    return fp8_tensor(layer, weight) | {
        f"{layer}.comfy_quant": noted,
        f"{layer}.input_scale": torch.tensor(1.0),
    }


def blocked(scales: torch.Tensor) -> torch.Tensor:
    """Return a table of scales in the arrangement for tensor cores, padded with zeros."""
    rows, columns = scales.shape
    high, wide = -(-rows // 128), -(-columns // 4)
    whole = torch.zeros(128 * high, 4 * wide, dtype=torch.float32)
    whole[:rows, :columns] = scales.float()
    out = torch.zeros_like(whole).reshape(-1)
    for row in range(rows):
        for column in range(columns):
            tile = (row // 128) * wide + column // 4
            inside = (row % 32) * 16 + (row % 128 // 32) * 4 + column % 4
            out[tile * 512 + inside] = scales[row, column].float()
    return out.reshape(128 * high, 4 * wide)


def mxfp8(layer: str, weight: torch.Tensor) -> Tensors:
    """Store a weight in 8 bits with a power of two for each 32 numbers."""
    blocks = weight.unflatten(1, (-1, 32))
    exponent = torch.ceil(torch.log2(blocks.abs().amax(-1) / 448)).clamp(-127, 127)
    value = (blocks / torch.exp2(exponent)[..., None]).flatten(1).to(torch.float8_e4m3fn)
    scale = blocked(exponent + 127).to(torch.uint8)
    return {
        f"{layer}.weight": value,
        f"{layer}.weight_scale": scale,
        f"{layer}.comfy_quant": note(format="mxfp8"),
    }


def nvfp4(layer: str, weight: torch.Tensor) -> Tensors:
    """Store a weight in 4 bits with a scale for each 16 numbers and one for all scales."""
    second = weight.abs().max() / (448 * 6)
    blocks = weight.unflatten(1, (-1, 16))
    scale = (blocks.abs().amax(-1) / 6 / second).to(torch.float8_e4m3fn)
    known = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    shown = (blocks / (scale.float() * second)[..., None]).flatten(1)
    codes = (shown.abs()[..., None] - known).abs().argmin(-1) + 8 * (shown < 0)
    packed = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)
    return {
        f"{layer}.weight": packed,
        f"{layer}.weight_scale": blocked(scale.float()).to(torch.float8_e4m3fn),
        f"{layer}.weight_scale_2": second.reshape(()),
        f"{layer}.comfy_quant": note(format="nvfp4"),
    }


def int8(layer: str, weight: torch.Tensor, **told: object) -> Tensors:
    """Store a weight in whole numbers of 8 bits."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    noted = {f"{layer}.comfy_quant": note(**told)} if told else {}
    return {
        f"{layer}.weight": (weight / scale).round().to(torch.int8),
        f"{layer}.weight_scale": scale,
        **noted,
    }


SCALES_AT = {"Q6_K": (208,), "Q5_K": (0, 2), "Q4_K": (0, 2), "Q3_K": (108,)}  # bytes of a block


def write_gguf(path: Path, tensors: Tensors, kind: str, config: Any = None) -> Tensors:
    """Write a GGUF file whose large weights are blocks of a kind; return what they stand for.

    Kinds that the package cannot make are blocks of random bytes with small scales.
    """
    import gguf
    import numpy as np
    from gguf.quants import dequantize, quantize

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "ltxv")
    if config:
        writer.add_string("config", json.dumps(config))
    chosen = gguf.GGMLQuantizationType[kind]
    numbers, size = gguf.GGML_QUANT_SIZES[chosen]
    random = np.random.default_rng(3)
    values: Tensors = {}
    for name, value in tensors.items():
        array = value.float().numpy()
        if not (QUANTIZED.fullmatch(name) and value.ndim == 2 and not value.numel() % numbers):
            writer.add_tensor(name, np.atleast_1d(array))
            values[name] = value.float()
            continue
        flat = array.reshape(-1, numbers)
        if kind in SCALES_AT:
            data = random.integers(0, 256, (len(flat), size), dtype=np.uint8)
            for at in SCALES_AT[kind]:
                data[:, at : at + 2] = np.full((len(flat), 1), 2e-4, np.float16).view(np.uint8)
        else:
            data = quantize(flat, chosen)
        writer.add_tensor(name, data, raw_dtype=chosen)
        writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(n) for n in value.shape])
        values[name] = torch.from_numpy(dequantize(data, chosen)).reshape(value.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values
