"""A random LTX-2.3 of three megabytes with the layout of the real files, made in under a second."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ltx_core.model.transformer.model_configurator import LTXModelConfigurator
from ltx_core.model.upsampler import LatentUpsamplerConfigurator
from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator
from safetensors.torch import load_file, save_file

from ltxfilter.engines.ltx.models import tiny_vae
from ltxfilter.options import ModelOptions

HEADS = 2
HEAD_WIDTH = 24
WIDTH = HEADS * HEAD_WIDTH  # channels of a token in the transformer, and of the context
TOKENS = 128  # of the context
LAYERS = 2

# The values of the published file, except for the tiny sizes.
TRANSFORMER: dict[str, Any] = {
    "_class_name": "AVTransformer3DModel",
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
    "num_attention_heads": HEADS,
    "attention_head_dim": HEAD_WIDTH,
    "in_channels": 128,
    "out_channels": 128,
    "num_layers": LAYERS,
    "cross_attention_dim": WIDTH,
    "caption_channels": 3840,
    "norm_eps": 1e-6,
    "attention_type": "default",
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "timestep_scale_multiplier": 1000,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "causal_temporal_positioning": True,
    "audio_num_attention_heads": HEADS,
    "audio_attention_head_dim": HEAD_WIDTH // 2,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
    "audio_cross_attention_dim": WIDTH // 2,
    "audio_positional_embedding_max_pos": [20],
    "rope_type": "split",
    "frequencies_precision": "float64",
    "use_embeddings_connector": True,
    "connector_attention_head_dim": HEAD_WIDTH,
    "connector_num_attention_heads": HEADS,
    "connector_num_layers": 1,
    "connector_positional_embedding_max_pos": [4096],
    "connector_num_learnable_registers": 128,
    "connector_norm_output": True,
    "connector_apply_gated_attention": True,
    "connector_learnable_registers_std": 1,
    "audio_connector_attention_head_dim": HEAD_WIDTH // 2,
    "audio_connector_num_attention_heads": HEADS,
    "apply_gated_attention": True,
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
    "caption_proj_before_connector": True,
    "cross_attention_adaln": True,
    "text_encoder_norm_type": "per_token_rms",
}
VAE: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "normalize_latent_channels": False,
    "spatial_padding_mode": "zeros",
    "encoder_base_channels": 128,
    "decoder_base_channels": 4,
    "encoder_blocks": [
        ["compress_space_res", {"multiplier": 1}],
        ["compress_time_res", {"multiplier": 1}],
        ["compress_all_res", {"multiplier": 1}],
        ["compress_all_res", {"multiplier": 1}],
    ],
    "decoder_blocks": [
        ["compress_space", {"multiplier": 2}],
        ["compress_time", {"multiplier": 2}],
        ["compress_all", {"multiplier": 1}],
        ["res_x", {"num_layers": 1}],
        ["compress_all", {"multiplier": 2}],
    ],
}
UPSAMPLER: dict[str, Any] = {
    "_class_name": "LatentUpsampler",
    "in_channels": 128,
    "mid_channels": 32,
    "num_blocks_per_stage": 1,
    "dims": 3,
}
SPATIAL = UPSAMPLER | {
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}
TEMPORAL = UPSAMPLER | {
    "spatial_upsample": False,
    "temporal_upsample": True,
    "spatial_scale": 1.0,
    "rational_resampler": True,
}
CONFIG = {"transformer": TRANSFORMER, "vae": VAE}
NEW_IN_2_3 = (  # settings that LTX-2 does not have
    "apply_gated_attention",
    "cross_attention_adaln",
    "caption_projection_first_linear",
    "caption_projection_second_linear",
    "caption_proj_input_norm",
    "caption_proj_before_connector",
)
CAPTION = 40  # channels of the context of LTX-2, whose transformer projects it itself
LTX_2 = CONFIG | {
    "transformer": {k: v for k, v in TRANSFORMER.items() if k not in NEW_IN_2_3}
    | {"caption_channels": CAPTION}
}


def build(folder: Path, seed: int = 0, config: dict[str, Any] = CONFIG) -> ModelOptions:
    """Write a checkpoint with audio, both upsamplers and a context; return their paths."""
    generator = torch.Generator().manual_seed(seed)
    write(
        folder / "checkpoint.safetensors",
        dict(_checkpoint(config, generator)),
        {"config": json.dumps(config), "model_version": "2.0.0" if config is LTX_2 else "2.3.0"},
    )
    for name, sizes in (("spatial", SPATIAL), ("temporal", TEMPORAL)):
        module = randomize(configured(LatentUpsamplerConfigurator, sizes), generator)
        path = folder / f"{name}.safetensors"
        write(path, dict(_named(module, "")), {"config": json.dumps(sizes)})
    width = CAPTION if config is LTX_2 else WIDTH
    context = torch.randn(1, TOKENS, width, generator=generator)
    write(folder / "context.safetensors", {"video_context": context}, {})
    return ModelOptions(
        checkpoint=str(folder / "checkpoint.safetensors"),
        spatial_upsampler=str(folder / "spatial.safetensors"),
        temporal_upsampler=str(folder / "temporal.safetensors"),
        context=str(folder / "context.safetensors"),
        device="cpu",
    )


def with_smaller_upsampler(options: ModelOptions, folder: Path) -> ModelOptions:
    """Write a spatial upsampler that makes latents 1.5 times as large; return its path too."""
    config = SPATIAL | {"rational_resampler": True, "spatial_scale": 1.5}
    generator = torch.Generator().manual_seed(4)
    module = randomize(configured(LatentUpsamplerConfigurator, config), generator)
    path = folder / "x1.5.safetensors"
    write(path, dict(_named(module, "")), {"config": json.dumps(config)})
    return replace(options, spatial_upsampler=str(path))


def configured(configurator: Any, config: dict[str, Any]) -> torch.nn.Module:
    """Return a model of ltx_core 1.0 or of 1.2, whose configurators take a file's metadata."""
    if hasattr(configurator, "from_metadata"):
        return configurator.from_metadata({"config": config})
    return configurator.from_config(config)


def with_tiny_vae(options: ModelOptions, folder: Path) -> ModelOptions:
    """Write a tiny autoencoder of the published size, 24 MB; return `options` with its path."""
    generator = torch.Generator().manual_seed(7)
    tensors: dict[str, torch.Tensor] = {}
    for name in tiny_vae.MODULES:
        tensors |= _named(randomize(tiny_vae.meta_module(name), generator), "")
    path = folder / "tiny_vae.safetensors"
    write(path, tensors, {})
    return replace(options, tiny_vae=str(path))


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file."""
    save_file(tensors, path, metadata=metadata)


def read(path: str) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file."""
    return load_file(path)


def _checkpoint(
    config: dict[str, Any], generator: torch.Generator
) -> Iterator[tuple[str, torch.Tensor]]:
    parts = (
        (LTXModelConfigurator, "model.diffusion_model."),
        (VideoEncoderConfigurator, "vae.encoder."),
        (VideoDecoderConfigurator, "vae.decoder."),
    )
    for configurator, prefix in parts:
        module = randomize(configured(configurator, config), generator)
        for name, value in _named(module, prefix):  # statistics are one level higher in real files
            yield (
                name.replace(f"{prefix}per_channel_statistics.", "vae.per_channel_statistics."),
                value,
            )


def _named(module: torch.nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in module.state_dict().items():
        yield prefix + name, value.to(torch.bfloat16).contiguous()


@torch.no_grad()
def randomize(module: torch.nn.Module, generator: torch.Generator) -> torch.nn.Module:
    """Fill a module with random weights that keep its activations near one."""
    if any(value.is_meta for value in module.parameters()):
        module.to_empty(device="cpu")
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith("std-of-means") or ("norm" in name and value.ndim == 1):
            value.data = torch.ones_like(value)
        elif name.endswith("mean-of-means"):
            value.data = torch.zeros_like(value)
        elif not name.endswith("kernel"):
            deviation = 1 / math.sqrt(value[0].numel()) if value.ndim > 1 else 0.02
            value.data = torch.randn(value.shape, generator=generator) * deviation
    return module


def with_text(options: ModelOptions, folder: Path) -> ModelOptions:
    """Write a checkpoint with text layers, and a Gemma of two layers; needs transformers.

    ltx_core takes Gemma's sizes from a constant, which stays tiny afterwards.
    """
    from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator
    from ltx_core.text_encoders.gemma import config as gemma
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    _shrink(gemma.GEMMA3_CONFIG_FOR_LTX)
    settings = gemma.GEMMA3_CONFIG_FOR_LTX.to_dict()
    settings["architectures"] = ["Gemma3ForConditionalGeneration"]
    model = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(settings))
    generator = torch.Generator().manual_seed(5)
    randomize(model, generator)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(settings))
    _write_tokenizer(folder)
    tensors = read(str(options.checkpoint))
    layers = randomize(EmbeddingsProcessorConfigurator.from_config(CONFIG), generator)
    places = {
        "feature_extractor.": "text_embedding_projection.",
        "video_connector.": "model.diffusion_model.video_embeddings_connector.",
        "audio_connector.": "model.diffusion_model.audio_embeddings_connector.",
    }
    for name, value in _named(layers, ""):
        part, _, rest = name.partition(".")
        tensors[places[part + "."] + rest] = value
    path = folder / "checkpoint.safetensors"
    write(path, tensors, {"config": json.dumps(CONFIG), "model_version": "2.3.0"})
    return replace(options, checkpoint=str(path), gemma=str(folder))


def _shrink(config: Any) -> None:
    text = config.text_config
    text.hidden_size, text.num_hidden_layers, text.head_dim = 32, 2, 16
    text.num_attention_heads, text.num_key_value_heads = 2, 1
    text.intermediate_size, text.vocab_size, text.query_pre_attn_scalar = 64, 300, 16
    text.sliding_window = 64
    vision = config.vision_config
    vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads = 16, 1, 2
    vision.intermediate_size, vision.image_size, vision.patch_size = 32, 28, 14
    config.image_token_index, config.boi_token_index, config.eoi_token_index = 290, 291, 292
    config.mm_tokens_per_image = 4


def _write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of 300 words: w3, w4, ..."""
    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
    words |= {f"w{number}": number for number in range(4, 300)}
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
        "added_tokens": [],
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
