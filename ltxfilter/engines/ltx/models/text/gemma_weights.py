"""Gemma's text model from a folder, shards, one file, 8 bits or GGUF; all at once or by layers.

Layer by layer, only one of the 48 layers is in memory at a time beside the embeddings: 2.5 GB in
place of 24, for the time that it takes to read the file.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ltxfilter.engines.ltx.models.text import gemma_3_12b
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.engines.ltx.weights.formats.storage import Storage
from ltxfilter.engines.ltx.weights.load import (
    fill,
    first_misfit,
    listed,
    read_tensors,
    stored_tensors,
)
from ltxfilter.errors import EngineUnavailableError

log = logging.getLogger("ltxfilter.context")

DTYPE = torch.bfloat16
SHARE = 0.9  # of the free memory that the text encoder may take as a whole
# What may stand before a text model's own names, longest first.
PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.", "")
OWN = ("embed_tokens.", "layers.", "norm.")
EMBEDDINGS = "embed_tokens.weight"
EXPECTED = "LTX-2 and LTX-2.3 take Gemma 3 12B"
GGUF = (  # llama.cpp's names -> transformers'
    ("token_embd.", "embed_tokens."),
    ("output_norm.", "norm."),
    ("blk.", "layers."),
)
GGUF_INSIDE = (
    (".attn_q_norm.", ".self_attn.q_norm."),
    (".attn_k_norm.", ".self_attn.k_norm."),
    (".attn_q.", ".self_attn.q_proj."),
    (".attn_k.", ".self_attn.k_proj."),
    (".attn_v.", ".self_attn.v_proj."),
    (".attn_output.", ".self_attn.o_proj."),
    (".attn_norm.", ".input_layernorm."),
    (".post_attention_norm.", ".post_attention_layernorm."),
    (".ffn_norm.", ".pre_feedforward_layernorm."),
    (".post_ffw_norm.", ".post_feedforward_layernorm."),
    (".ffn_gate.", ".mlp.gate_proj."),
    (".ffn_up.", ".mlp.up_proj."),
    (".ffn_down.", ".mlp.down_proj."),
)


def find_gemma(path: str) -> ModelFile:
    """Return the header of the text encoder in a file or a folder.

    A folder in diffusers' layout has it in `text_encoder`. Raises EngineUnavailableError.
    """
    inside = Path(path) / "text_encoder"
    return files.open_file(str(inside if inside.is_dir() else path), FileKind.GEMMA, "--gemma")


def text_config(file: ModelFile) -> Any:
    """Return transformers' configuration of the text model: the folder's, or else Gemma 3 12B's.

    It has as many words as there are embeddings; programs that write GGUF leave out those that no
    word belongs to. Raises EngineUnavailableError.
    """
    from transformers import Gemma3Config, Gemma3TextConfig

    path = Path(file.path)
    folder = path if path.is_dir() else path.parent
    kind = _model_type(folder / "config.json", own=path.is_dir())
    if path.is_dir() and kind and not kind.startswith("gemma3"):
        raise EngineUnavailableError(
            f"--gemma {path}: its config.json says that it is {kind}; {EXPECTED}"
        )
    try:
        if kind == "gemma3_text":
            config = Gemma3TextConfig.from_pretrained(str(folder), local_files_only=True)
        elif kind == "gemma3":
            config = Gemma3Config.from_pretrained(str(folder), local_files_only=True).text_config
        else:
            config = Gemma3Config.from_dict(copy.deepcopy(gemma_3_12b.CONFIG)).text_config
    except Exception as error:  # whatever its code meets in a file that it does not know
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineUnavailableError(f"--gemma {file.path}: {reason}") from None
    embeddings = [entry for name, entry in file.tensors.items() if gemma_name(name) == EMBEDDINGS]
    if embeddings and len(embeddings[0].shape) == 2:
        config.vocab_size = embeddings[0].shape[0]
    return config


def _model_type(path: Path, *, own: bool) -> str:
    """Return what a config.json says a model is; "" if it says nothing, or is not there.

    own: it is of the model's folder, so that it has to be one. Raises EngineUnavailableError.
    """
    try:
        return str(json.loads(path.read_bytes()).get("model_type", ""))
    except OSError:
        return ""
    except (ValueError, AttributeError, RecursionError) as error:
        if not own:
            return ""
        reason = type(error).__name__ if isinstance(error, RecursionError) else error
        raise EngineUnavailableError(
            f"--gemma {path.parent}: its config.json cannot be read: {reason}"
        ) from None


def load_text_model(file: ModelFile, device: torch.device, *, by_layer: bool | None = None) -> Any:
    """Return the text model on a device.

    by_layer: read each layer when it runs, and forget it afterwards; None does so if the device has
    too little free memory for all of them. Raises EngineUnavailableError.
    """
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextModel

    config = text_config(file)
    try:
        with torch.device("meta"):
            model = Gemma3TextModel(config)
        _make_buffers(model, config, device)
    except Exception as error:  # whatever its code meets in an odd configuration
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineUnavailableError(f"--gemma {file.path}: {reason}") from None
    model.eval().requires_grad_(False)
    stored = dict(stored_tensors(file, gemma_name))
    _check_shapes(model, stored, file.path)
    size = sum(2 * prod(storage.shape) for storage in stored.values())
    free = free_memory(device)
    if by_layer is None:
        by_layer = free is not None and size > SHARE * free
    if not by_layer:
        fill(model, dict(_tensors(file, device)), file.path)
        return model
    log.warning("the text encoder is read layer by layer, which takes less memory and more time")
    layers, model.layers = model.layers, nn.ModuleList()
    fill(model, dict(_tensors(file, device, "embed_tokens.", "norm.")), file.path)
    model.layers = layers
    for number, layer in enumerate(layers):
        _read_when_needed(layer, file, f"layers.{number}.", device)
    return model


def _check_shapes(model: nn.Module, stored: Mapping[str, Storage], path: str) -> None:
    """Refuse another text encoder before gigabytes of it are read. Raises."""
    if missing := [name for name in model.state_dict() if name not in stored]:
        raise EngineUnavailableError(f"--gemma {path}: it lacks {listed(missing)}; {EXPECTED}")
    shapes = {name: storage.shape for name, storage in stored.items()}
    if wrong := first_misfit(model, shapes):
        raise EngineUnavailableError(f"--gemma {path}: {wrong}; {EXPECTED}")


def _read_when_needed(layer: nn.Module, file: ModelFile, prefix: str, device: torch.device) -> None:
    """Let a layer read its weights just before it runs, and give them back afterwards."""

    def before(module: nn.Module, *_: object) -> None:
        own = {name.removeprefix(prefix): v for name, v in _tensors(file, device, prefix)}
        fill(module, own, file.path)

    def after(module: nn.Module, *_: object) -> None:
        module.to("meta")

    layer.register_forward_pre_hook(before)
    layer.register_forward_hook(after)


def _tensors(
    file: ModelFile, device: torch.device, *begins: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the text model's tensors whose names have one of some begins, all by default."""

    def naming(name: str) -> str | None:
        new = gemma_name(name)
        return new if new is not None and new.startswith(begins or ("",)) else None

    gguf = any(name.startswith("blk.") for name in file.tensors)
    for name, value in read_tensors(file, naming, device, DTYPE):
        # llama.cpp stores what a norm multiplies by, transformers by how much that exceeds 1.
        yield name, value - 1 if gguf and name.endswith("norm.weight") else value


def gemma_name(name: str) -> str | None:
    """Return the name in the text model of a file's tensor; None if it has none there."""
    for old, new in GGUF:
        if name.startswith(old):
            name = new + name.removeprefix(old)
            for inner, outer in GGUF_INSIDE:
                name = name.replace(inner, outer)
            return name
    for prefix in PREFIXES:
        if name.startswith(prefix) and name.removeprefix(prefix).startswith(OWN):
            return name.removeprefix(prefix)
    return None


def _make_buffers(model: Any, config: Any, device: torch.device) -> None:
    """Give a model on the meta device the tables that are in no file."""
    model.rotary_emb = type(model.rotary_emb)(config).to(device)
    if hasattr(model, "rotary_emb_local"):  # of transformers 4, for layers with a sliding window
        local = copy.deepcopy(config)
        local.rope_theta = config.rope_local_base_freq
        local.rope_scaling = {"rope_type": "default"}
        model.rotary_emb_local = type(model.rotary_emb_local)(config=local).to(device)
    scale = torch.tensor(config.hidden_size**0.5, device=device)
    model.embed_tokens.register_buffer("embed_scale", scale, persistent=False)


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device; None if the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
