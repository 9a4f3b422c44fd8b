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
from ltxfilter.engines.ltx.models.text.gemma_weights import (
    DTYPE,
    EXPECTED,
    find_gemma,
    load_text_model,
    text_config,
)
from ltxfilter.engines.ltx.weights.files import FileKind
from ltxfilter.engines.ltx.weights.formats import names
from ltxfilter.engines.ltx.weights.generations import generation
from ltxfilter.engines.ltx.weights.load import (
    fill,
    prefix_naming,
    read_tensors,
    stored_tensors,
)
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError

log = logging.getLogger("ltxfilter.context")

TOKENS = 1024  # of every prompt, padded on its left
TOKENIZER = "put tokenizer.json and tokenizer_config.json of google/gemma-3-12b-it beside it"
SAFELY = {"local_files_only": True, "trust_remote_code": False}  # of transformers' loaders
RENAMED = {  # prefix in a checkpoint -> prefix in the module
    names.TEXT: "feature_extractor.",
    names.TRANSFORMER + "video_embeddings_connector.": "video_connector.",
    names.TRANSFORMER + "audio_embeddings_connector.": "audio_connector.",
}


class TextEncoder:
    """Gemma and the checkpoint's text layers, loaded once."""

    def __init__(self, parts: ModelParts, gemma: str, device: str | None) -> None:
        """Load both.

        parts: find the checkpoint's text layers. gemma: file or folder. device: as in
        `ModelOptions`. Raises EngineUnavailableError that names what is missing and where to get
        it.
        """
        if find_spec("transformers") is None:
            raise EngineUnavailableError(f"prompts need transformers: {INSTALL}")
        self._device = choose_device(device)
        self._gemma = gemma
        config = text_config(find_gemma(gemma))
        check_projection(parts, config, gemma)
        self._layers = load_text_layers(parts, config, self._device)
        self._tokenizer, self._model = load_gemma(gemma, self._device)

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context of a prompt, [1, 1024, D] bfloat16 on the CPU.

        Raises EngineUnavailableError if the folder holds another text encoder or tokenizer.
        """
        given = self._tokenize(prompt.strip())
        ids, mask = given.input_ids.to(self._device), given.attention_mask.to(self._device)
        if mask.all():
            log.warning("the prompt fills %d tokens; what goes beyond is left out", TOKENS)
        if prompt.strip() and torch.equal(given.input_ids, self._tokenize("").input_ids):
            raise EngineUnavailableError(
                f"--gemma {self._gemma}: its tokenizer makes no tokens of the prompt"
            )
        with torch.no_grad():
            states = self._model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states
            try:
                encoded = self._layers.process_hidden_states(states, mask)
            except RuntimeError as error:
                raise EngineUnavailableError(
                    f"--gemma {self._gemma}: not the text encoder of this checkpoint: {error}"
                ) from None
        return encoded.video_encoding.to("cpu", DTYPE)

    def _tokenize(self, text: str) -> Any:
        return self._tokenizer(
            text, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        )


def check_projection(parts: ModelParts, config: Any, gemma: str) -> None:
    """Refuse a text projection that is made for another transformer, or another Gemma.

    config: transformers' configuration of the text model. gemma: its path, for the message. Raises
    EngineUnavailableError.
    """
    file, projection = parts.find(FileKind.TRANSFORMER), parts.find(FileKind.TEXT)
    own, other = generation(file), generation(projection)
    if projection is not file and None not in (own, other) and own != other:
        raise EngineUnavailableError(
            f"--text-projection {projection.path} is of LTX-{other}, and a transformer of "
            f"LTX-{own} is used with it ({file.path}); take both of one generation"
        )
    made = config.hidden_size * (config.num_hidden_layers + 1)  # states of a token, one per layer
    for name, storage in stored_tensors(projection, prefix_naming(names.TEXT)):
        if name.endswith("aggregate_embed.weight") and storage.shape[-1] != made:
            raise EngineUnavailableError(
                f"{projection.path}: its text projection takes {storage.shape[-1]} numbers per "
                f"token, and --gemma {gemma} makes {made}; {EXPECTED}"
            )


def load_text_layers(parts: ModelParts, gemma: Any, device: torch.device) -> Any:
    """Return the layers between Gemma, whose configuration is given, and the transformer.

    The projection may be in a file of its own, the rest is among the transformer's tensors. Raises
    EngineUnavailableError.
    """
    file, projection = parts.find(FileKind.TRANSFORMER), parts.find(FileKind.TEXT)
    try:
        layers = upstream.meta_module("text", file.config, file.metadata, gemma)
    except Exception as error:  # whatever its code meets in an unknown configuration
        raise EngineUnavailableError(
            f"{file.path}: ltx_core cannot build its text layers: {error}"
        ) from None
    tensors: dict[str, torch.Tensor] = {}
    for each in {one.path: one for one in (file, projection)}.values():
        tensors |= dict(read_tensors(each, text_name, device, DTYPE))
    fill(layers, tensors, projection.path)
    return layers


def load_gemma(path: str, device: torch.device) -> tuple[Any, Any]:
    """Return the tokenizer and the text model in a file or a folder.

    Raises EngineUnavailableError.
    """
    upstream.stub_torchaudio()
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    file = find_gemma(path)
    folder = tokenizer_folder(Path(file.path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=TOKENS, **SAFELY)
    except Exception as error:  # whatever its code meets in a folder that it does not know
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineUnavailableError(f"--gemma {path}: {reason}") from None
    words = text_config(file).vocab_size
    if len(tokenizer) < words // 2:
        raise EngineUnavailableError(
            f"--gemma {path}: its tokenizer knows {len(tokenizer)} tokens, and the model {words}; "
            f"{TOKENIZER}"
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, load_text_model(file, device)


def tokenizer_folder(path: Path) -> str:
    """Return the folder of the tokenizer that belongs to a text encoder.

    path: of its file or folder. Raises EngineUnavailableError if none is there: transformers would
    make one that takes every prompt for the same.
    """
    folder = path if path.is_dir() else path.parent
    places = (folder, folder / "tokenizer", folder.parent / "tokenizer")
    for place in places:
        if any((place / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
            return str(place)
    raise EngineUnavailableError(f"--gemma {path}: no tokenizer beside it; {TOKENIZER}")


def text_name(name: str) -> str | None:
    """Return the name in the text layers of a checkpoint's tensor; None if it has none there."""
    for prefix, new in RENAMED.items():
        if name.startswith(prefix):
            return new + name.removeprefix(prefix)
    return None
