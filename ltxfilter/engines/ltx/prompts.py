"""From prompts to contexts: schedules of prompts, encoding with Gemma, and a cache on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import torch

from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt, read_contexts
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.engines.ltx.weights.generations import generation
from ltxfilter.engines.ltx.weights.parts import FIELDS, ModelParts
from ltxfilter.errors import EngineUnavailableError, OptionError, OutputError
from ltxfilter.options import ModelOptions
from ltxfilter.user_folders import NAME, user_folder
from ltxfilter.values import parse_time, shown

log = logging.getLogger("ltxfilter.context")

FINGERPRINT_BYTES = 1 << 20  # of a checkpoint's tensors at each of three places
# What is published: for the generations before LTX-2.5, and for that.
ENCODERS = (
    "google/gemma-3-12b-it-qat-q4_0-unquantized",
    "gemma4-12b-with-proj-ltx-2.5-bf16.safetensors",
)
CACHE_FORMAT = "2"  # of cached files; files of another format are not read

Encode = Callable[[str], torch.Tensor]  # prompt -> context [1, L, D]


def parse_schedule(text: str, name: str) -> tuple[Prompt, ...]:
    """Read lines of "TIME PROMPT"; empty lines and those that begin with # are left out.

    name: of the file or option, for messages. Raises OptionError with the name and the line.
    """
    prompts: list[Prompt] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        time, _, words = line.strip().partition(" ")
        try:
            prompt = Prompt(parse_time(time), words.strip())
        except OptionError as error:
            raise OptionError(f"{name}, line {number}: {error}") from None
        if not prompt.text:
            raise OptionError(f"{name}, line {number}: write a time, a space and a prompt")
        if prompts and prompt.time <= prompts[-1].time:
            raise OptionError(f"{name}, line {number}: times must ascend, {time} does not")
        prompts.append(prompt)
    if not prompts:
        raise OptionError(f"{name}: no prompt in it; write lines such as 00:00:10 a boat sails by")
    return tuple(prompts)


def make(prompts: Sequence[Prompt], negative: str | None, options: ModelOptions) -> Contexts:
    """Encode prompts for a checkpoint; Gemma is loaded only if one of them is not cached.

    negative: the negative prompt. Raises EngineUnavailableError, also if different prompts come out
    alike.
    """
    encode = CachedEncoder(options)
    encoded = {text: encode(text) for text in dict.fromkeys(prompt.text for prompt in prompts)}
    if negative is not None:
        encoded[negative] = encode(negative)
    for (one, first), (other, second) in combinations(encoded.items(), 2):
        if one.strip() != other.strip() and torch.equal(first, second):
            raise EngineUnavailableError(
                f"--gemma {options.gemma}: different prompts come out alike, {shown(one)} and "
                f"{shown(other)}; its tokenizer is not the right one"
            )
    return Contexts(
        tuple(prompts),
        torch.cat([encoded[prompt.text] for prompt in prompts]),
        None if negative is None else encoded[negative],
    )


def with_context(options: ModelOptions) -> ModelOptions:
    """Return the models of a run whose prompt is encoded: a file takes the prompt's place.

    The negative prompt is empty. Raises EngineUnavailableError, OptionError.
    """
    if options.prompt is None:
        return options
    if options.context is not None:
        raise OptionError("--prompt and --context: give one of them")
    encoded = make([Prompt(Fraction(0), options.prompt)], "", options)
    digest = hashlib.sha256(encoded.to_bytes()).hexdigest()
    path = cache_folder() / f"run-{digest}.safetensors"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded.write(path)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from None
    return replace(options, context=str(path), prompt=None)


def lacking_for_prompt(options: ModelOptions) -> tuple[str, ...]:
    """Return the fields of models without which the prompt cannot be encoded.

    They are not named and not found, or cannot be used. None is needed for a prompt that was
    encoded before, or where there is no prompt.
    """
    if options.prompt is None:
        return ()
    parts, kinds = ModelParts(options), [FileKind.GEMMA, FileKind.TEXT]
    with suppress(EngineUnavailableError, OutputError):
        if generation(parts.find(FileKind.TRANSFORMER)) == "2.5":
            kinds.remove(FileKind.TEXT)  # it is in the text encoder's file
        encoder = CachedEncoder(options)
        if encoder.has(options.prompt) and encoder.has(""):
            return ()
    return tuple(FIELDS[kind] for kind in kinds if not parts.has(kind) or parts.obstacle(kind))


class CachedEncoder:
    """Encodes prompts for one checkpoint, and keeps the contexts in files.

    A context belongs to the prompt, the checkpoint and the text encoder. Where no text encoder is
    named, the context that was encoded last for prompt and checkpoint is taken.
    """

    def __init__(self, options: ModelOptions) -> None:
        """Load nothing yet. Raises EngineUnavailableError."""
        self._parts = ModelParts(options)
        self._gemma = options.gemma
        self._device = options.device
        found = [self._parts.find(FileKind.TRANSFORMER)]
        if self._parts.has(FileKind.TEXT):
            found.append(self._parts.find(FileKind.TEXT))
        self._checkpoint = [fingerprint(file) for file in found]
        if self._gemma is None and self._parts.has(FileKind.GEMMA):
            self._gemma = self._parts.find(FileKind.GEMMA).path
        self._encode: Encode | None = None

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context [1, L, D] of a prompt. Raises EngineUnavailableError."""
        path = self._path(prompt, self._encoder_fingerprint())
        if path.exists():
            try:
                return read_contexts(files.open_file(str(path), FileKind.CONTEXT, "cache")).positive
            except EngineUnavailableError as error:
                log.warning("the prompt is encoded again: %s", error)
        context = self._encoder()(prompt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for place in (path, self._path(prompt, None)):
                Contexts((Prompt(Fraction(0), prompt),), context, None).write(place)
        except (OSError, OutputError) as error:
            log.warning("the context is not cached: %s", error)
        return context

    def has(self, prompt: str) -> bool:
        """Return True if a prompt was encoded before. Raises EngineUnavailableError."""
        return self._path(prompt, self._encoder_fingerprint()).exists()

    def _path(self, prompt: str, encoder: str | None) -> Path:
        """Return the file of a context. encoder: fingerprint of the text encoder, None for any."""
        words = json.dumps([CACHE_FORMAT, self._checkpoint, encoder, prompt])
        return cache_folder() / f"{hashlib.sha256(words.encode()).hexdigest()}.safetensors"

    def _encoder_fingerprint(self) -> str | None:
        if self._gemma is None:
            return None
        from ltxfilter.engines.ltx.models.text.gemma_weights import find_gemma

        return fingerprint(find_gemma(self._gemma))

    def _encoder(self) -> Encode:
        if self._encode is None:
            newer = generation(self._parts.find(FileKind.TRANSFORMER)) == "2.5"
            if self._gemma is None:
                raise EngineUnavailableError(
                    f"--gemma {'FILE' if newer else 'FOLDER'} is needed: the text encoder, "
                    + ENCODERS[newer]
                )
            self._encode = self._load(self._gemma, newer=newer)
        return self._encode

    def _load(self, gemma: str, *, newer: bool) -> Encode:
        """Return the text encoder of the checkpoint's generation."""
        if newer:
            from ltxfilter.engines.ltx.models.text.gemma_4 import NewerTextEncoder

            return NewerTextEncoder(self._parts, gemma, self._device)
        from ltxfilter.engines.ltx.models.text.gemma import TextEncoder

        return TextEncoder(self._parts, gemma, self._device)


def cache_folder() -> Path:
    """Return the folder of cached contexts: ltxfilter/contexts in the user's cache.

    Raises OutputError where the user has none.
    """
    folder = user_folder("CACHE")
    if folder is None:
        raise OutputError("there is no home to keep encoded prompts in; set XDG_CACHE_HOME")
    return folder / NAME / "contexts"


def fingerprint(file: ModelFile) -> str:
    """Return a digest of a model's size, its headers and samples of its tensors."""
    digest = hashlib.sha256()
    for path in file.paths:
        size = Path(path).stat().st_size
        digest.update(str(size).encode())
        with Path(path).open("rb") as opened:
            for place in (0, size // 3, 2 * size // 3):
                opened.seek(place)
                digest.update(opened.read(FINGERPRINT_BYTES))
    return digest.hexdigest()
