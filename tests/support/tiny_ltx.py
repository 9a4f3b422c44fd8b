"""A random LTX-2.3 of three megabytes with the layout of the real files, made in under a second."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ltx_core.model.transformer.model_configurator import LTXModelConfigurator
from ltx_core.model.upsampler import LatentUpsamplerConfigurator
from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator
from safetensors.torch import load_file, save_file

from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.models import tiny_vae, upstream
from ltxfilter.engines.ltx.models.text import gemma_3_12b
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
# The two settings in which LTX-2.5's transformer differs; it takes the classes of ltx_core 1.2.
LTX_2_5 = CONFIG | {
    "transformer": TRANSFORMER | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
}


GENERATIONS = {"LTX-2": LTX_2, "LTX-2.3": CONFIG, "LTX-2.5": LTX_2_5}


def generation(name: str) -> dict[str, Any]:
    """Return a configuration of GENERATIONS; skip a test that ltx_core is too old for."""
    if name == "LTX-2.5" and not installed.builds_2_5():
        pytest.skip("LTX-2.5 needs ltx-core 1.2: make test-ltx-core")
    return GENERATIONS[name]


def build(folder: Path, seed: int = 0, config: dict[str, Any] = CONFIG) -> ModelOptions:
    """Write a checkpoint with audio, both upsamplers and a context; return their paths."""
    generator = torch.Generator().manual_seed(seed)
    write(
        folder / "checkpoint.safetensors",
        dict(_checkpoint(config, generator)),
        {"config": json.dumps(config), "model_version": version(config)},
    )
    for name, sizes in (("spatial", SPATIAL), ("temporal", TEMPORAL)):
        module = randomize(upstream.configured(LatentUpsamplerConfigurator, sizes, {}), generator)
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


def version(config: dict[str, Any]) -> str:
    """Return what a checkpoint's metadata say of its generation."""
    return {id(LTX_2): "2.0.0", id(LTX_2_5): "2.5.0"}.get(id(config), "2.3.0")


def with_smaller_upsampler(options: ModelOptions, folder: Path) -> ModelOptions:
    """Write a spatial upsampler that makes latents 1.5 times as large; return its path too."""
    config = SPATIAL | {"rational_resampler": True, "spatial_scale": 1.5}
    generator = torch.Generator().manual_seed(4)
    module = randomize(upstream.configured(LatentUpsamplerConfigurator, config, {}), generator)
    path = folder / "x1.5.safetensors"
    write(path, dict(_named(module, "")), {"config": json.dumps(config)})
    return replace(options, spatial_upsampler=str(path))


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
        module = randomize(upstream.configured(configurator, config, {}), generator)
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

    The sizes of Gemma, in our constant and in that of ltx_core 1.0, stay tiny afterwards.
    """
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    settings = _shrunk_gemma()
    model = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(deepcopy(settings)))
    generator = torch.Generator().manual_seed(5)
    randomize(model, generator)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(settings))
    write_tokenizer(folder)
    tensors = read(str(options.checkpoint))
    size = SimpleNamespace(**settings["text_config"])
    layers = randomize(upstream.meta_module("text", CONFIG, {}, size), generator)
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


GEMMA = {"image_token_index": 290, "boi_token_index": 291, "eoi_token_index": 292,
         "mm_tokens_per_image": 4}  # fmt: skip
GEMMA_TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "head_dim": 16, "num_attention_heads": 2,
              "num_key_value_heads": 1, "intermediate_size": 64, "vocab_size": 300,
              "query_pre_attn_scalar": 16, "sliding_window": 64}  # fmt: skip
GEMMA_VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 32, "image_size": 28, "patch_size": 14}  # fmt: skip


def _shrunk_gemma() -> dict[str, Any]:
    """Make Gemma tiny wherever its configuration is kept, and return that configuration."""
    own = gemma_3_12b.CONFIG
    own |= GEMMA
    own["text_config"] |= GEMMA_TEXT
    own["vision_config"] |= GEMMA_VISION
    if find_spec("ltx_core.text_encoders.gemma.config"):  # ltx_core 1.0
        from ltx_core.text_encoders.gemma import config

        theirs = config.GEMMA3_CONFIG_FOR_LTX
        vars(theirs).update(GEMMA)
        vars(theirs.text_config).update(GEMMA_TEXT)
        vars(theirs.vision_config).update(GEMMA_VISION)
    return own


def write_tokenizer(folder: Path) -> None:
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
