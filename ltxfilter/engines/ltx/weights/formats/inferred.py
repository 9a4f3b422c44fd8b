"""The configuration of a model whose file has none, out of its tensors' names and shapes.

What shapes cannot tell (activations, positions, padding) is what Lightricks' published models have.
A model that none of them resembles gets no configuration, so that nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ltxfilter.engines.ltx.weights.formats.entries import TensorEntry
from ltxfilter.engines.ltx.weights.formats.names import DECODER, ENCODER, TRANSFORMER

Tensors = Mapping[str, TensorEntry]
Block = list[Any]  # [kind, {setting: value}] of an autoencoder

ROWS = 6  # of a block's table of modulation in LTX-2; later models modulate the text too
HEAD = 128  # channels of a head in the published transformers
PUBLISHED: dict[str, Any] = {  # what all published transformers have in common
    "dropout": 0.0,
    "attention_bias": True,
    "num_vector_embeds": None,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "use_linear_projection": False,
    "only_cross_attention": False,
    "cross_attention_norm": True,
    "double_self_attention": False,
    "upcast_attention": False,
    "standardization_norm": "rms_norm",
    "norm_elementwise_affine": False,
    "qk_norm": "rms_norm",
    "positional_embedding_type": "rope",
    "use_audio_video_cross_attention": True,
    "share_ff": False,
    "av_cross_ada_norm": True,
    "use_middle_indices_grid": True,
    "norm_eps": 1e-6,
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
    "timestep_scale_multiplier": 1000,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "causal_temporal_positioning": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
}
CONNECTOR: dict[str, Any] = {  # of LTX-2.3's text layers
    "use_embeddings_connector": True,
    "connector_positional_embedding_max_pos": [4096],
    "connector_norm_output": True,
    "connector_learnable_registers_std": 1,
}
VAE: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
}
STRIDES = {2: "compress_time", 4: "compress_space", 8: "compress_all"}
# Kinds and numbers of layers of the published encoders and decoders, in the order they run.
LTX_2 = (
    ("res4", "space", "res6", "time", "res6", "all", "res2", "all", "res2"),
    ("res5", "all", "res5", "all", "res5", "all", "res5"),
)
LTX_2_3 = (
    ("res4", "space", "res6", "time", "res4", "all", "res2", "all", "res2"),
    ("res2", "all", "res2", "all", "res4", "time", "res6", "space", "res4"),
)


def transformer_config(tensors: Tensors) -> dict[str, Any] | None:
    """Return the settings of the transformer in a file; None if it resembles no published one."""
    own = {
        name.removeprefix(TRANSFORMER): entry.shape
        for name, entry in tensors.items()
        if name.startswith(TRANSFORMER)
    }
    heads = own.get("transformer_blocks.0.attn1.to_gate_logits.bias")
    inside = own.get("transformer_blocks.0.attn1.to_q.bias")
    if inside is None or "patchify_proj.bias" not in own or "proj_out.bias" not in own:
        return None
    gated = heads is not None
    width = inside[0]
    if not gated and width % HEAD:
        return None
    number = heads[0] if heads is not None else width // HEAD
    prompted = "prompt_adaln_single.linear.weight" in own
    table = own.get("transformer_blocks.0.scale_shift_table", (ROWS,))
    caption = _columns(own, "caption_projection.linear_1.weight")
    found: dict[str, Any] = PUBLISHED | {
        "num_attention_heads": number,
        "attention_head_dim": width // number,
        "in_channels": _columns(own, "patchify_proj.weight") or 128,
        "out_channels": own["proj_out.bias"][0],
        "num_layers": 1 + max(_numbers(own, r"transformer_blocks\.(\d+)\.")),
        "cross_attention_dim": _columns(own, "transformer_blocks.0.attn2.to_k.weight") or width,
        "caption_channels": caption or 3840,
    }
    if gated:
        found["apply_gated_attention"] = True
    if prompted or table[0] > ROWS:
        found["cross_attention_adaln"] = True
    if caption is None:
        found |= {
            "caption_projection_first_linear": False,
            "caption_projection_second_linear": False,
            "caption_proj_input_norm": False,
            "caption_proj_before_connector": True,
            "text_encoder_norm_type": "per_token_rms",
        }
    return found | _newer(own, prompted=prompted) | _audio(own) | _connectors(own)


def _newer(own: Mapping[str, tuple[int, ...]], *, prompted: bool) -> dict[str, Any]:
    """Return the settings that LTX-2.5 has and its predecessors have not.

    prompted: the text is modulated by sigma.
    """
    found: dict[str, Any] = {}
    if "keyframes_abs_pos_embedding" in own:
        found["use_keyframes_abs_pos_embedding"] = True
    if "transformer_blocks.0.prompt_scale_shift_table" in own and not prompted:
        found["use_prompt_adaln_single"] = False
    for setting, layer in (("ff_bias", "ff"), ("audio_ff_bias", "audio_ff")):
        names = (f"transformer_blocks.0.{layer}.net.2.{end}" for end in ("weight", "bias"))
        weight, bias = (name in own for name in names)
        if weight and not bias:
            found[setting] = False
    return found


def _audio(own: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the settings of the audio stream, if there is one."""
    inside = own.get("transformer_blocks.0.audio_attn1.to_q.bias")
    if inside is None:
        return {}
    gate = own.get("transformer_blocks.0.audio_attn1.to_gate_logits.bias")
    heads = gate[0] if gate else max(inside[0] // (HEAD // 2), 1)
    return {
        "audio_num_attention_heads": heads,
        "audio_attention_head_dim": inside[0] // heads,
        "audio_in_channels": _columns(own, "audio_patchify_proj.weight") or 128,
        "audio_out_channels": own.get("audio_proj_out.bias", (128,))[0],
        "audio_cross_attention_dim": _columns(own, "transformer_blocks.0.audio_attn2.to_k.weight")
        or inside[0],
    }


def _connectors(own: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the settings of the text layers that are among the transformer's tensors."""
    before = "video_embeddings_connector.transformer_1d_blocks.0.attn1."
    inside = own.get(before + "to_q.bias")
    if inside is None:
        return {}
    gate = own.get(before + "to_gate_logits.bias")
    heads = gate[0] if gate else max(inside[0] // HEAD, 1)
    registers = own.get("video_embeddings_connector.learnable_registers", (128,))
    found: dict[str, Any] = CONNECTOR | {
        "connector_num_attention_heads": heads,
        "connector_attention_head_dim": inside[0] // heads,
        "connector_num_layers": 1
        + max(_numbers(own, r"video_embeddings_connector\.transformer_1d_blocks\.(\d+)\.")),
        "connector_num_learnable_registers": registers[0],
        "connector_apply_gated_attention": gate is not None,
    }
    audio = before.replace("video", "audio")
    if (width := own.get(audio + "to_q.bias")) is not None:
        gate = own.get(audio + "to_gate_logits.bias")
        number = gate[0] if gate else max(width[0] // (HEAD // 2), 1)
        found["audio_connector_num_attention_heads"] = number
        found["audio_connector_attention_head_dim"] = width[0] // number
    return found


def vae_config(tensors: Tensors) -> dict[str, Any] | None:
    """Return the settings of the autoencoder in a file; None if it is no published one.

    Either half may be missing; the other one then tells which it is.
    """
    if DECODER + "conv_in_x_t.weight" in tensors:  # a diffusion decoder, whose shapes do not tell
        return None
    encoder = _blocks(tensors, ENCODER, "down_blocks", down=True)
    decoder = _blocks(tensors, DECODER, "up_blocks", down=False)
    kinds = _signature(encoder), _signature(decoder)
    found: dict[str, Any] = VAE | {
        "latent_channels": _channels(tensors),
        "encoder_blocks": [[f"{kind}_res" if "compress" in kind else kind, more]
                           for kind, more in encoder],
        "decoder_blocks": [list(block) for block in reversed(decoder)],
    }  # fmt: skip
    if base := tensors.get(DECODER + "conv_in.conv.weight"):
        found["decoder_base_channels"] = base.shape[0] // 8
    for published in (LTX_2_3, LTX_2):
        if all(own in ((), known) for own, known in zip(kinds, published, strict=True)):
            if not any(kinds):
                return None
            if published is LTX_2_3:
                return found | {"spatial_padding_mode": "zeros"}
            for kind, more in found["decoder_blocks"]:
                if kind == "compress_all":
                    more["residual"] = True
            return found
    return None


def vae_generation(tensors: Tensors) -> str | None:
    """Return "2" or "2.3" for an autoencoder whose layers are those of a published one."""
    encoder = _signature(_blocks(tensors, ENCODER, "down_blocks", down=True))
    decoder = _signature(_blocks(tensors, DECODER, "up_blocks", down=False))
    for name, published in (("2.3", LTX_2_3), ("2", LTX_2)):
        if (encoder or decoder) and all(
            own in ((), known) for own, known in zip((encoder, decoder), published, strict=True)
        ):
            return name
    return None


def _signature(blocks: Iterable[Block]) -> tuple[str, ...]:
    return tuple(
        f"res{more['num_layers']}" if kind == "res_x" else kind.removeprefix("compress_")
        for kind, more in blocks
    )


def _blocks(tensors: Tensors, prefix: str, group: str, *, down: bool) -> list[Block]:
    """Return the blocks of an encoder or a decoder as they run; empty for anything odd."""
    last = tensors.get(prefix + "conv_out.conv.weight")
    if last is None:
        return []
    inner = f"{prefix}{group}."
    numbers = sorted(set(_numbers(tensors, rf"{re.escape(inner)}(\d+)\.")))
    if numbers != list(range(len(numbers))):
        return []
    firsts = [
        tensors.get(f"{inner}{number}.res_blocks.0.conv1.conv.weight")
        or tensors.get(f"{inner}{number}.conv.conv.weight")
        for number in numbers
    ]
    found: list[Block] = []
    for number, first, following in zip(numbers, firsts, [*firsts[1:], last], strict=True):
        if first is None or following is None or len(first.shape) < 2 or len(following.shape) < 2:
            return []
        layers = set(_numbers(tensors, rf"{re.escape(inner)}{number}\.res_blocks\.(\d+)\."))
        if layers:
            found.append(["res_x", {"num_layers": len(layers)}])
            continue
        outputs, inputs, after = first.shape[0], first.shape[1], following.shape[1]
        stride = after / outputs if down else outputs / max(after, 1)
        ratio = after / inputs if down else inputs / max(after, 1)
        if stride not in STRIDES or ratio != int(ratio):
            return []
        found.append([STRIDES[int(stride)], {"multiplier": int(ratio)}])
    return found


def _channels(tensors: Tensors) -> int:
    for name, axis in ((ENCODER + "conv_in.conv.weight", 0), (DECODER + "conv_in.conv.weight", 1)):
        if name in tensors and len(tensors[name].shape) > axis:
            return tensors[name].shape[axis]
    return 128


def upsampler_config(tensors: Tensors) -> dict[str, Any] | None:
    """Return the settings of a latent upsampler; None if its shapes fit none."""
    first = tensors.get("initial_conv.weight")
    direct = tensors.get("upsampler.0.weight")
    rational = tensors.get("upsampler.conv.weight")
    layer = direct or rational
    if first is None or layer is None or len(first.shape) < 3 or len(layer.shape) < 3:
        return None
    middle = first.shape[0]
    growth = layer.shape[0] // middle
    stages = set(_numbers(tensors, r"res_blocks\.(\d+)\."))
    found: dict[str, Any] = {
        "_class_name": "LatentUpsampler",
        "in_channels": first.shape[1],
        "mid_channels": middle,
        "num_blocks_per_stage": len(stages),
        "dims": len(first.shape) - 2,
    }
    scales = {4: 2.0, 9: 1.5, 16: 4.0}  # of a rational resampler, by how many times more channels
    if direct is not None and growth == 2 and len(layer.shape) == 5:
        return found | {"spatial_upsample": False, "temporal_upsample": True}
    if direct is not None and growth == 4 and len(layer.shape) == 4:
        spatial = {"spatial_scale": 2.0, "rational_resampler": False}
    elif direct is None and growth in scales:
        spatial = {"spatial_scale": scales[growth], "rational_resampler": True}
    else:
        return None
    return found | {"spatial_upsample": True, "temporal_upsample": False} | spatial


def _numbers(names: Iterable[str], pattern: str) -> list[int]:
    found = (re.match(pattern, name) for name in names)
    return [int(match[1]) for match in found if match]


def _columns(own: Mapping[str, tuple[int, ...]], name: str) -> int | None:
    """Return the inputs of a layer by its weight's shape.

    Weights in 4 bits are stored two to a byte, so that theirs are not told here; their layers are
    inside of blocks, whose sizes other tensors tell.
    """
    shape = own.get(name, ())
    return shape[1] if len(shape) == 2 else None
