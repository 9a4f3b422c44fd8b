"""The configuration of the published LTX-2.3, and the operations that its models take."""

from __future__ import annotations

from typing import Any

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
    "num_attention_heads": 32,
    "attention_head_dim": 128,
    "in_channels": 128,
    "out_channels": 128,
    "num_layers": 48,
    "cross_attention_dim": 4096,
    "caption_channels": 3840,
    "norm_eps": 1e-6,
    "attention_type": "pytorch",
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "timestep_scale_multiplier": 1000,
    "causal_temporal_positioning": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "apply_gated_attention": True,
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
    "caption_proj_before_connector": True,
    "cross_attention_adaln": True,
}


AUDIO: dict[str, Any] = {  # a checkpoint's audio transformer, which ltxfilter does not read
    "audio_num_attention_heads": 32,
    "audio_attention_head_dim": 64,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
    "audio_cross_attention_dim": 2048,
    "audio_positional_embedding_max_pos": [20],
    "av_ca_timestep_scale_multiplier": 1000.0,
}


def with_audio(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with audio as published: half as wide as the picture."""
    transformer = config["transformer"]
    heads, width = transformer["num_attention_heads"], transformer["cross_attention_dim"]
    audio = AUDIO | {
        "audio_num_attention_heads": heads,
        "audio_attention_head_dim": transformer["attention_head_dim"] // 2,
        "audio_cross_attention_dim": width // 2,
    }
    return config | {"transformer": transformer | audio}


def _blocks(*pairs: tuple[str, int]) -> list[list[Any]]:
    """Return blocks of an autoencoder. pairs: kind, and number of layers or multiplier."""
    key = {"res_x": "num_layers"}
    return [[kind, {key.get(kind, "multiplier"): number}] for kind, number in pairs]


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
    "encoder_base_channels": 128,
    "decoder_base_channels": 128,
    "spatial_padding_mode": "zeros",
    "encoder_blocks": _blocks(
        ("res_x", 4), ("compress_space_res", 2), ("res_x", 6), ("compress_time_res", 2),
        ("res_x", 4), ("compress_all_res", 2), ("res_x", 2), ("compress_all_res", 1), ("res_x", 2),
    ),
    "decoder_blocks": _blocks(
        ("res_x", 4), ("compress_space", 2), ("res_x", 6), ("compress_time", 2),
        ("res_x", 4), ("compress_all", 1), ("res_x", 2), ("compress_all", 2), ("res_x", 2),
    ),
}  # fmt: skip
SPATIAL: dict[str, Any] = {
    "_class_name": "LatentUpsampler",
    "in_channels": 128,
    "mid_channels": 1024,
    "num_blocks_per_stage": 4,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}
TEMPORAL: dict[str, Any] = SPATIAL | {
    "mid_channels": 512,
    "spatial_upsample": False,
    "temporal_upsample": True,
    "spatial_scale": 1.0,
    "rational_resampler": True,
}
CONFIG = {"transformer": TRANSFORMER, "vae": VAE}
CONTEXT = (1, 1024, 4096)  # shape of a context of the published text encoder

TERA = 1e12
HD = 34 * 60  # latents of a 1920x1088 picture


def transformer_flops(tokens: int) -> float:
    """Return the operations of one forward pass of 48 blocks, with 1024 tokens of text."""
    linear = 48 * 28 * 4096**2 * tokens + text_flops() + 0.36e9 * tokens
    return linear + 48 * 4 * 4096 * (tokens**2 + 1024 * tokens)


def text_flops() -> float:
    """Return the operations of the text's keys and values in one forward pass."""
    return 48 * 4 * 4096**2 * 1024


def encoder_flops(frames: int, cells: int) -> float:
    """Return the operations of encoding, as torch counts them at 1920x1088.

    cells: latents of a picture.
    """
    return (9.01 + 4.97 * (frames - 1)) * TERA * cells / HD


def decoder_flops(frames: int, cells: int) -> float:
    """Return the operations of decoding, as torch counts them at 1920x1088.

    cells: latents of a picture.
    """
    return (9.07 + 5.128 * (frames - 1)) * TERA * cells / HD


def upsampler_flops(kind: str, latents: int, cells: int) -> float:
    """Return the operations of upsampling `latents` latent frames of `cells` latents.

    kind: "spatial" or "temporal".
    """
    if kind == "temporal":
        return 2.08 * TERA * (2 * latents - 1) / 5 * cells / HD
    return 14.5 * TERA * latents / 3 * 4 * cells / HD
