"""Gemma 4, the text encoder of LTX-2.5: loaded and run by ltx_core 1.2, all at once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ltxfilter.engines.ltx import INSTALL
from ltxfilter.engines.ltx.device import choose_device
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.text.gemma_weights import DTYPE, find_gemma
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.engines.ltx.weights.load import listed
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError

NEEDED = 'it takes pip install "transformers>=5.8,<5.15"'  # what ltx_core 1.2 was tried with


class NewerTextEncoder:
    """Gemma 4 and the text layers of LTX-2.5, loaded once."""

    def __init__(self, parts: ModelParts, gemma: str, device: str | None) -> None:
        """Load both.

        parts: find the checkpoint. gemma: file or folder. device: as in `ModelOptions`. Raises
        EngineUnavailableError.
        """
        if find_spec("transformers") is None:
            raise EngineUnavailableError(f"prompts need transformers: {INSTALL}")
        upstream.stub_torchaudio()
        own = find_gemma(gemma)
        weights = [parts.find(FileKind.TRANSFORMER)]
        if parts.has(FileKind.TEXT):
            weights.append(parts.find(FileKind.TEXT))
        try:
            kind = upstream.gemma_kind(own.path)
        except Exception as error:  # whatever its code meets in a file that it does not know
            raise EngineUnavailableError(_unknown(gemma, error)) from None
        if not kind.startswith("gemma4"):
            raise EngineUnavailableError(
                f"--gemma {gemma}: it holds {kind}, and LTX-2.5 reads prompts that Gemma 4 has "
                "encoded; name the text encoder that Lightricks publishes with it"
            )
        try:
            self._encoder, self._layers = upstream.newer_text_models(
                own.path, _paths(weights, own), choose_device(device), DTYPE
            )
        except Exception as error:
            raise EngineUnavailableError(_unknown(gemma, error)) from None
        _check_filled(self._encoder, own.path, "language_model.")
        _check_filled(self._layers, weights[-1].path, "")

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context of a prompt, [1, 1024, D] bfloat16 on the CPU."""
        with torch.no_grad():
            ((states, mask),) = self._encoder.encode([prompt])
            encoded = self._layers.process_hidden_states(states, mask)
        return encoded.video_encoding.to("cpu", DTYPE)


def _paths(weights: list[ModelFile], gemma: ModelFile) -> tuple[str, ...]:
    """Return the files that may hold text layers, each once, the checkpoint first."""
    named = [path for file in weights for path in file.paths]
    named += [path for path in gemma.paths if Path(gemma.path).is_file()]
    return tuple(dict.fromkeys(named))


def _unknown(gemma: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"--gemma {gemma}: {reason}; {NEEDED}"


def _check_filled(module: Any, path: str, inside: str) -> None:
    """Refuse a model that lacks weights, which ltx_core only warns of."""
    everything = (*module.named_parameters(), *module.named_buffers())
    missing = [name for name, value in everything if value.is_meta and inside in name]
    if missing:
        raise EngineUnavailableError(f"{path}: it lacks {listed(missing)}")
