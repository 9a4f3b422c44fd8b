"""One name for each tensor, whatever the layout of its file.

The names are those of Lightricks' own files: the transformer under `model.diffusion_model.`, the
autoencoder under `vae.`, the text projection under `text_embedding_projection.`. Other programs
write parts of such a file without prefixes, or with the names of diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ltxfilter.engines.ltx.weights.formats.entries import TensorEntry

# Prefixes of tensors in a checkpoint.
TRANSFORMER = "model.diffusion_model."
VAE = "vae."
ENCODER = "vae.encoder."
DECODER = "vae.decoder."
STATISTICS = "vae.per_channel_statistics."
TEXT = "text_embedding_projection."
CONNECTORS = ("video_embeddings_connector.", "audio_embeddings_connector.")
# Tensors that only models with audio have: after the transformer's prefix, and inside its blocks.
AUDIO = ("audio_", "av_ca_", *CONNECTORS)
AUDIO_IN_BLOCK = ("audio_", "video_to_audio_attn.", "scale_shift_table_a2v_ca_")
# In the names of LoRAs, and of their relatives, which are told apart where one is read.
LORA = re.compile(r"\.lora_(A|B|up|down|mid)\.|\.(hada_w|lokr_w|b?oft_)|\.dora_scale$")

BLOCK = re.compile(r"transformer_blocks\.\d+\.attn1\.to_")  # in a transformer's names
DIFFUSERS_TRANSFORMER = (  # at a name's begin
    ("audio_proj_in.", "audio_patchify_proj."),
    ("proj_in.", "patchify_proj."),
    ("audio_time_embed.", "audio_adaln_single."),
    ("time_embed.", "adaln_single."),
    ("audio_prompt_adaln.", "audio_prompt_adaln_single."),
    ("prompt_adaln.", "prompt_adaln_single."),
    ("av_cross_attn_video_scale_shift.", "av_ca_video_scale_shift_adaln_single."),
    ("av_cross_attn_video_a2v_gate.", "av_ca_a2v_gate_adaln_single."),
    ("av_cross_attn_audio_scale_shift.", "av_ca_audio_scale_shift_adaln_single."),
    ("av_cross_attn_audio_v2a_gate.", "av_ca_v2a_gate_adaln_single."),
)
DIFFUSERS_INSIDE = (
    (".norm_q.", ".q_norm."),
    (".norm_k.", ".k_norm."),
    (".video_a2v_cross_attn_scale_shift_table", ".scale_shift_table_a2v_ca_video"),
    (".audio_a2v_cross_attn_scale_shift_table", ".scale_shift_table_a2v_ca_audio"),
)
DIFFUSERS_TEXT = (
    ("text_proj_in.", TEXT + "aggregate_embed."),
    ("video_text_proj_in.", TEXT + "video_aggregate_embed."),
    ("audio_text_proj_in.", TEXT + "audio_aggregate_embed."),
    ("video_connector.", TRANSFORMER + "video_embeddings_connector."),
    ("audio_connector.", TRANSFORMER + "audio_embeddings_connector."),
)
STAGE = re.compile(r"(down|up)_blocks\.(\d+)\.(downsamplers\.0\.|upsamplers\.0\.)?")


def known_names(tensors: Mapping[str, TensorEntry]) -> dict[str, str]:
    """Return for each name in a file the name that the tensor is known by.

    Two tensors of a file never get one name: a later one keeps its own.
    """
    if any(map(LORA.search, tensors)):
        return {name: name for name in tensors}
    transformer, vae = _transformer_prefix(tensors), _vae_prefix(tensors)
    stages = _stages(tensors, vae)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in tensors:
        new = _known_name(name, transformer, vae, stages)
        found[name] = name if new in taken else new
        taken.add(found[name])
    return found


def _known_name(name: str, transformer: str | None, vae: str | None, stages: int) -> str:
    for old, new in DIFFUSERS_TEXT:
        if name.startswith(old):
            return new + _inside(name.removeprefix(old)).replace(
                "transformer_blocks.", "transformer_1d_blocks."
            )
    in_vae = vae is not None and name.startswith(vae)
    if in_vae and (new_vae := _vae_name(name.removeprefix(vae or ""), stages)) is not None:
        return VAE + new_vae
    if transformer is not None and name.startswith(transformer):
        rest = name.removeprefix(transformer)
        if transformer or not rest.startswith((VAE, TEXT, "audio_vae.", "vocoder.")):
            return TRANSFORMER + _transformer_name(rest)
    return name


def _transformer_prefix(tensors: Iterable[str]) -> str | None:
    """Return what stands before the names of a transformer's tensors; None if there is none."""
    for name in tensors:
        match = BLOCK.search(name)
        if match and "connector." not in name:
            return name[: match.start()]
    prefixes = (TRANSFORMER, "diffusion_model.")
    return next((p for p in prefixes if any(name.startswith(p) for name in tensors)), None)


def _vae_prefix(tensors: Mapping[str, TensorEntry]) -> str | None:
    """Return what stands before the names of a video autoencoder's tensors; None if there is none.

    An autoencoder for audio has the same names, and convolutions over two axes in place of three.
    """
    for name, entry in tensors.items():
        for end in ("encoder.conv_in.conv.weight", "decoder.conv_in.conv.weight"):
            if name.endswith(end) and len(entry.shape) == 5:
                return name.removesuffix(end)
    return VAE if any(name.startswith((ENCODER, DECODER)) for name in tensors) else None


def _transformer_name(name: str) -> str:
    """Return a transformer's tensor under Lightricks' name."""
    for old, new in DIFFUSERS_TRANSFORMER:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return _inside(name)


def _inside(name: str) -> str:
    for old, new in DIFFUSERS_INSIDE:
        name = name.replace(old, new)
    return name


def _stages(tensors: Iterable[str], vae: str | None) -> int:
    """Return the stages of an encoder in diffusers' names; 0 for one in Lightricks' own."""
    if vae is None or not any(".resnets." in name for name in tensors):
        return 0
    before = f"{vae}encoder.down_blocks."
    return len({name.split(".")[before.count(".")] for name in tensors if name.startswith(before)})


def _vae_name(name: str, stages: int) -> str | None:
    """Return an autoencoder's tensor under Lightricks' name; None if it is no part of one.

    name: without the file's prefix. stages: of an encoder in diffusers' names, else 0.
    """
    statistics = {"latents_mean": "mean-of-means", "latents_std": "std-of-means"}
    if name in statistics:
        return "per_channel_statistics." + statistics[name]
    if not name.startswith(("encoder.", "decoder.", "per_channel_statistics.")):
        return None
    if not stages:
        return name
    part, _, rest = name.partition(".")
    rest = rest.replace("resnets.", "res_blocks.")
    if rest.startswith("mid_block."):
        middle = f"down_blocks.{2 * stages}." if part == "encoder" else "up_blocks.0."
        return f"{part}.{middle}{rest.removeprefix('mid_block.')}"
    if (match := STAGE.match(rest)) is None:
        return f"{part}.{rest}"
    number = 2 * int(match[2]) + (0 if match[1] == "down" else 2)
    if match[3]:  # the sampler comes after the blocks of a stage down, and before those of one up
        number += 1 if match[1] == "down" else -1
    return f"{part}.{match[1]}_blocks.{number}.{rest[match.end() :]}"


def is_video_tensor(name: str) -> bool:
    """Return True for a tensor that the transformer needs without audio.

    name: without the transformer's prefix.
    """
    if name.startswith(AUDIO):
        return False
    if name.startswith("transformer_blocks."):
        return not name.split(".", 2)[2].startswith(AUDIO_IN_BLOCK)
    return True
