"""The text encoder: Gemma's hidden states, then the checkpoint's own text layers."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ltxfilter.engines.ltx import INSTALL
from ltxfilter.engines.ltx.device import choose_device
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.weights.files import ModelFile
from ltxfilter.engines.ltx.weights.formats import names
from ltxfilter.engines.ltx.weights.load import fill_plain
from ltxfilter.errors import EngineUnavailableError

log = logging.getLogger("ltxfilter.context")

TOKENS = 1024  # of every prompt, padded on its left
DTYPE = torch.bfloat16
SAFELY = {"local_files_only": True, "trust_remote_code": False}  # of transformers' loaders
RENAMED = {  # prefix in a checkpoint -> prefix in the module
    names.TEXT: "feature_extractor.",
    names.TRANSFORMER + "video_embeddings_connector.": "video_connector.",
    names.TRANSFORMER + "audio_embeddings_connector.": "audio_connector.",
}


class TextEncoder:
    """Gemma and the checkpoint's text layers, loaded once."""

    def __init__(self, file: ModelFile, folder: str, device: str | None) -> None:
        """Load both.

        file: the checkpoint. folder: Gemma's. device: as in `ModelOptions`. Raises
        EngineUnavailableError that names what is missing and where to get it.
        """
        if find_spec("transformers") is None:
            raise EngineUnavailableError(f"prompts need transformers: {INSTALL}")
        self._device = choose_device(device)
        self._folder = folder
        self._tokenizer, self._gemma = load_gemma(folder, self._device)
        try:
            self._layers = upstream.meta_module("text", file.config, file.metadata, folder)
        except Exception as error:  # whatever its code meets in an unknown configuration
            raise EngineUnavailableError(
                f"{file.path}: ltx_core cannot build its text layers: {error}"
            ) from None
        fill_plain(self._layers, file, text_name, self._device, DTYPE)

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context of a prompt, [1, 1024, D] bfloat16 on the CPU.

        Raises EngineUnavailableError if the folder holds another text encoder.
        """
        given = self._tokenizer(
            prompt.strip(),
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        ids, mask = given.input_ids.to(self._device), given.attention_mask.to(self._device)
        if mask.all():
            log.warning("the prompt fills %d tokens; what goes beyond is left out", TOKENS)
        with torch.no_grad():
            states = self._gemma.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
            try:
                encoded = self._layers.process_hidden_states(states, mask)
            except RuntimeError as error:
                raise EngineUnavailableError(
                    f"--gemma {self._folder}: not the text encoder of this checkpoint: {error}"
                ) from None
        return encoded.video_encoding.to("cpu", DTYPE)


def load_gemma(folder: str, device: torch.device) -> tuple[Any, Any]:
    """Return the tokenizer and the model in a folder. Raises EngineUnavailableError."""
    upstream.stub_torchaudio()
    from transformers import AutoTokenizer, Gemma3ForConditionalGeneration
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not (Path(folder) / "config.json").is_file():
        raise EngineUnavailableError(f"--gemma {folder}: no config.json there")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=TOKENS, **SAFELY)
        model = Gemma3ForConditionalGeneration.from_pretrained(
            folder, dtype=DTYPE, use_safetensors=True, **SAFELY
        )
    except Exception as error:  # whatever its code meets in a folder that it does not know
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineUnavailableError(f"--gemma {folder}: {reason}") from None
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.to(device).eval().requires_grad_(False)


def text_name(name: str) -> str | None:
    """Return the name in the text layers of a checkpoint's tensor; None if it has none there."""
    for prefix, new in RENAMED.items():
        if name.startswith(prefix):
            return new + name.removeprefix(prefix)
    return None
