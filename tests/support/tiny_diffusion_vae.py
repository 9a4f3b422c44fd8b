"""A tiny autoencoder with LTX-2.5's diffusion decoder, in the published layout; ltx_core 1.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator

from ltxfilter.engines.ltx.models import upstream
from support import tiny_ltx
from support.ltx_layouts import Tensors, write

HEAD = 16
DECODER: dict[str, Any] = {  # the published values, except for the tiny sizes
    "_class_name": "NADiffusionDecoder",
    "in_channels": 128,
    "out_channels": 3,
    "patch_size": 4,
    "head_dim": HEAD,
    "stage_channels": [128, 64, 32, 32, 16],
    "stage_depths": [1, 1, 1, 1, 2],
    "stage_kernels": [[3, 3, 3]] * 5,
    "upsamples": [[[1, 2, 2], 2], [[2, 1, 1], 2], [[2, 2, 2], 1], [[2, 2, 2], 2]],
    "stage5_kernel": [3, 3, 3],
    "t_emb_dim": 32,
    "spatial_padding_mode": "zeros",
    "resampler_kind": "linear",
    "timestep_scale_multiplier": 1000.0,
    "default_num_inference_steps": 1,
}
ENCODER: dict[str, Any] = {
    "_class_name": "VideoEncoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 128,
    "patch_size": 4,
    "norm_layer": "pixel_norm",
    "latent_log_var": "constant",
    "spatial_padding_mode": "zeros",
    "base_channels": 128,
    "blocks": tiny_ltx.VAE["encoder_blocks"],
}
CONFIG: dict[str, Any] = {
    "vae": {
        "_class_name": "CausalDiffusionVAE",
        "latent_channels": 128,
        "model_output_type": "x0",
        "encoder": ENCODER,
        "decoder": DECODER,
    }
}
RENAMED = {  # of the module -> of the file
    "t_embedder.timestep_embedder.linear_1.": "t_embedder.mlp.0.",
    "t_embedder.timestep_embedder.linear_2.": "t_embedder.mlp.2.",
}


def build(path: Path) -> Path:
    """Write the autoencoder."""
    return write(path, dict(tensors()), CONFIG, model_version="2.5.0")


def tensors() -> Tensors:
    """Return its tensors under the names of the published file."""
    generator = torch.Generator().manual_seed(6)
    found: Tensors = {}
    for configurator, prefix in (
        (VideoEncoderConfigurator, "vae.encoder."),
        (VideoDecoderConfigurator, "vae.decoder."),
    ):
        module = tiny_ltx.randomize(upstream.configured(configurator, CONFIG, {}), generator)
        own = {name: value.to(torch.bfloat16) for name, value in module.state_dict().items()}
        for name, value in own.items():
            if ".qkv.to_k." in name or ".qkv.to_v." in name:
                continue
            if ".qkv.to_q." in name:
                parts = [own[name.replace(".to_q.", f".to_{each}.")] for each in "qkv"]
                name, value = name.replace(".to_q.", "."), torch.cat(parts)
            for old, new in RENAMED.items():
                name = name.replace(old, new)
            whole = f"{prefix}{name}".replace(f"{prefix}per_channel_", "vae.per_channel_")
            found[whole] = value.contiguous()
    found["vae.decoder.type_emb"] = torch.zeros(128, dtype=torch.bfloat16)
    return found
