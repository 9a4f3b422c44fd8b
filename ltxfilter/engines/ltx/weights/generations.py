"""Which generation of LTX a file belongs to, and whether it is distilled, as far as it says so.

The tensors of a checkpoint tell its generation, except that the convolutional autoencoder of
LTX-2.5 looks like that of LTX-2.3. Those of an upsampler do not, and nothing in a file tells a
distilled checkpoint from one that takes many steps: there the metadata and at last the name that it
was published under have to do.
"""

from __future__ import annotations

import re

from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.engines.ltx.weights.formats import inferred
from ltxfilter.engines.ltx.weights.formats.names import TEXT

VERSION = re.compile(r"(?a)ltx[-_ ]?(2(?:[._]?[035])?)(?![\d])", re.IGNORECASE)
DISTILLED = re.compile(r"distil", re.IGNORECASE)
DEV = re.compile(r"(?:^|[-_. ])dev(?:[-_. ]|$)", re.IGNORECASE)
IC_LORA = re.compile(r"ic[-_]?lora", re.IGNORECASE)
REFERENCE = "reference_downscale_factor"  # in the metadata of an IC-LoRA


def generation(file: ModelFile) -> str | None:
    """Return "2", "2.3" or "2.5"; None for a file that does not say."""
    settings = file.config.get("transformer", {})
    if FileKind.TRANSFORMER in file.holds:
        if settings.get("use_keyframes_abs_pos_embedding") or settings.get("ff_bias") is False:
            return "2.5"
        if settings:
            return "2.3" if settings.get("cross_attention_adaln") else "2"
    told = file.metadata.get("model_version", "")
    if match := re.match(r"(?a)2(?:\.[1-9])?", told):
        return match[0]
    if FileKind.TEXT in file.holds and file.kind is FileKind.TEXT and _named(file) != "2.5":
        video = TEXT + "video_aggregate_embed.weight"  # LTX-2 has one for both
        return "2.3" if video in file.tensors else "2"
    if FileKind.VAE in file.holds:
        found, named = inferred.vae_generation(file.tensors), _named(file)
        return "2.5" if (found, named) == ("2.3", "2.5") else found or named
    return _named(file)


def _named(file: ModelFile) -> str | None:
    match = VERSION.search(file.file_name)
    if match is None:
        return None
    number = match[1].replace("_", ".")
    known = {"2": "2", "2.0": "2", "20": "2", "2.3": "2.3", "23": "2.3", "2.5": "2.5", "25": "2.5"}
    return known.get(number)


def takes_few_steps(file: ModelFile) -> bool | None:
    """Return True for a distilled checkpoint, False for a dev one; None if nothing says."""
    said = " ".join(value for value in file.metadata.values() if len(value) < 200)
    for text in (said, file.file_name):
        if DISTILLED.search(text):
            return True
        if DEV.search(text):
            return False
    return None


def is_distilled_lora(file: ModelFile) -> bool:
    """Return True for the LoRA that makes a dev checkpoint a distilled one."""
    return file.kind is FileKind.LORA and takes_few_steps(file) is True


def is_ic_lora(file: ModelFile) -> bool:
    """Return True for a LoRA that reads a reference clip beside the latents."""
    return REFERENCE in file.metadata or IC_LORA.search(file.file_name) is not None
