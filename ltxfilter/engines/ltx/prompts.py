"""From prompts to contexts: schedules of prompts, encoding with Gemma, and a cache on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import torch

from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt, read_contexts
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.errors import EngineUnavailableError, OptionError, OutputError
from ltxfilter.values import parse_time

log = logging.getLogger("ltxfilter.context")

FINGERPRINT_BYTES = 1 << 20  # of a checkpoint's tensors at each of three places
CACHE_FORMAT = "1"  # of cached files; files of another format are not read

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


def make(
    prompts: Sequence[Prompt],
    negative: str | None,
    checkpoint: str | None,
    gemma: str | None,
    device: str | None = None,
) -> Contexts:
    """Encode prompts for a checkpoint; Gemma is loaded only if one of them is not cached.

    negative: the negative prompt. checkpoint, gemma, device: as in `ModelOptions`. Raises
    EngineUnavailableError.
    """
    if checkpoint is None:
        raise EngineUnavailableError(f"--checkpoint FILE is needed: {FileKind.CHECKPOINT.value}")
    file = files.open_file(checkpoint, FileKind.CHECKPOINT, "--checkpoint")
    encode = CachedEncoder(file, gemma, device)
    return Contexts(
        tuple(prompts),
        torch.cat([encode(prompt.text) for prompt in prompts]),
        None if negative is None else encode(negative),
    )


class CachedEncoder:
    """Encodes prompts for one checkpoint, and keeps the contexts in files."""

    def __init__(self, file: ModelFile, gemma: str | None, device: str | None) -> None:
        """Load nothing yet. file: the checkpoint. gemma, device: as in `ModelOptions`."""
        self._file = file
        self._gemma = gemma
        self._device = device
        self._fingerprint = fingerprint(file)
        self._encode: Encode | None = None

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context [1, L, D] of a prompt. Raises EngineUnavailableError."""
        words = json.dumps([CACHE_FORMAT, self._fingerprint, prompt])
        key = hashlib.sha256(words.encode()).hexdigest()
        path = cache_folder() / f"{key}.safetensors"
        if path.exists():
            try:
                return read_contexts(files.open_file(str(path), FileKind.CONTEXT, "cache")).positive
            except EngineUnavailableError as error:
                log.warning("the prompt is encoded again: %s", error)
        context = self._encoder()(prompt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Contexts((Prompt(Fraction(0), prompt),), context, None).write(path)
        except (OSError, OutputError) as error:
            log.warning("the context is not cached: %s", error)
        return context

    def _encoder(self) -> Encode:
        if self._encode is None:
            from ltxfilter.engines.ltx.models.gemma import TextEncoder

            if self._gemma is None:
                raise EngineUnavailableError(
                    "--gemma FOLDER is needed: the text encoder, "
                    "google/gemma-3-12b-it-qat-q4_0-unquantized"
                )
            self._encode = TextEncoder(self._file, self._gemma, self._device)
        return self._encode


def cache_folder() -> Path:
    """Return the folder of cached contexts: ltxfilter/contexts in XDG_CACHE_HOME or ~/.cache."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path("~/.cache").expanduser()) / "ltxfilter" / "contexts"


def fingerprint(file: ModelFile) -> str:
    """Return a digest of a checkpoint's size, its header and samples of its tensors."""
    size = Path(file.path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with Path(file.path).open("rb") as opened:
        for place in (0, size // 3, 2 * size // 3):
            opened.seek(place)
            digest.update(opened.read(FINGERPRINT_BYTES))
    return digest.hexdigest()
