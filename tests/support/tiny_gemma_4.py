"""A tiny Gemma 4 in one file, as LTX-2.5's text encoder is published; takes ltx_core 1.2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ltxfilter.engines.ltx.models import upstream
from ltxfilter.options import ModelOptions
from support import tiny_ltx

VERSION = "gemma4-tiny"
CONFIG: dict[str, Any] = {
    "model_type": "gemma4_unified",
    "gemma_version": VERSION,
    "text_config": {
        "model_type": "gemma4_unified_text",
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_global_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "attention_k_eq_v": True,
        "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"],
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    },
    "vision_config": None,
    "audio_config": None,
}
PLACES = {  # of the text layers: in the text encoder's file, or among the transformer's tensors
    "feature_extractor.": "text_embedding_projection.",
    "video_connector.": "model.diffusion_model.video_embeddings_connector.",
    "audio_connector.": "model.diffusion_model.audio_embeddings_connector.",
}


def build(options: ModelOptions, folder: Path) -> tuple[ModelOptions, Any, torch.nn.Module]:
    """Write a checkpoint with text layers and a text encoder.

    Returns their paths, and both models as they should be loaded: of transformers, and of ltx_core.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    generator = torch.Generator().manual_seed(5)
    config = AutoConfig.for_model(**CONFIG)
    encoder = AutoModelForImageTextToText.from_config(config).eval()
    fill(encoder.model.language_model, generator)
    layers = upstream.meta_module("text", tiny_ltx.LTX_2_5, {}, config.text_config)
    fill(layers, generator)
    own = {
        "model." + name: value.contiguous()
        for name, value in encoder.model.language_model.state_dict().items()
    }
    tensors = tiny_ltx.read(str(options.checkpoint))
    for name, value in layers.state_dict().items():
        part, _, rest = name.partition(".")
        place = own if part == "feature_extractor" else tensors
        place[PLACES[part + "."] + rest] = value.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    tiny_ltx.write_tokenizer(folder)
    own["tokenizer_json"] = as_tensor((folder / "tokenizer.json").read_bytes())
    own["hf_asset__tokenizer_config.json"] = as_tensor(
        (folder / "tokenizer_config.json").read_bytes()
    )
    own["hf_asset__processor_config.json"] = as_tensor(b"{}")
    gemma = folder / "gemma4.safetensors"
    tiny_ltx.write(gemma, own, {"gemma_config": json.dumps(CONFIG)})
    checkpoint = folder / "checkpoint.safetensors"
    metadata = {
        "config": json.dumps(tiny_ltx.LTX_2_5),
        "model_version": "2.5.0",
        "gemma_source_checkpoint": json.dumps({"gemma_version": VERSION}),
    }
    tiny_ltx.write(checkpoint, tensors, metadata)
    named = replace(options, checkpoint=str(checkpoint), gemma=str(gemma), context=None)
    return named, encoder, layers


def fill(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Give a module random weights in 16 bits; its tables, which are in no file, stay as made."""
    tables = {name: value.clone() for name, value in module.named_buffers() if not value.is_meta}
    tiny_ltx.randomize(module, generator)
    for name, value in module.named_buffers():
        if name in tables:
            value.data = tables[name]
    for parameter in module.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)


def as_tensor(content: bytes) -> torch.Tensor:
    """Return a file's content as such files keep it."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).clone()
