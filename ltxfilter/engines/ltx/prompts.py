"""Prompts as the transformer reads them: made once with Gemma, kept in small files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import Kind, ModelFile
from ltxfilter.errors import EngineUnavailableError, OptionError, OutputError
from ltxfilter.values import parse_time

log = logging.getLogger("ltxfilter.context")

NEGATIVE = "negative_context"
SAMPLE = 1 << 20  # bytes of a checkpoint's tensors that tell it from another of its kind
FORMAT = "1"  # of what is cached; another one is not looked at

Encode = Callable[[str], torch.Tensor]  # a prompt -> [1, L, D]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be seen from a moment on."""

    time: Fraction  # seconds from the video's first frame, as players count
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Encoded prompts, each from a moment on."""

    prompts: tuple[Prompt, ...]  # ascending time
    positive: torch.Tensor  # [number of prompts, L, D]
    negative: torch.Tensor | None  # [1, L, D], what guidance leads away from

    def at(self, time: Fraction) -> torch.Tensor:
        """Return the context [1, L, D] for a moment; the first one holds from the beginning."""
        number = max(bisect_right(self.prompts, time, key=lambda prompt: prompt.time) - 1, 0)
        return self.positive[number : number + 1]

    def of(self, times: Sequence[Fraction]) -> torch.Tensor:
        """Return the contexts for several moments: [1, L, D] if it is the same one for all."""
        found = {context.data_ptr(): context for context in map(self.at, times)}
        if len(found) == 1:
            return next(iter(found.values()))
        return torch.cat([self.at(time) for time in times])

    def on(self, device: torch.device, dtype: torch.dtype) -> Contexts:
        """Return them there, in that precision."""
        negative = None if self.negative is None else self.negative.to(device, dtype)
        return replace(self, positive=self.positive.to(device, dtype), negative=negative)

    def write(self, path: str | Path) -> None:
        """Write the file that --context takes; another program reads the first prompt's.

        Raises OutputError.
        """
        tensors = {files.CONTEXT: self.positive.contiguous()}
        if self.negative is not None:
            tensors[NEGATIVE] = self.negative.contiguous()
        words = [[str(prompt.time), prompt.text] for prompt in self.prompts]
        partial = Path(f"{path}.{os.getpid()}.part")
        try:
            partial.write_bytes(save(tensors, metadata={"prompts": json.dumps(words)}))
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from None


def read(file: ModelFile) -> Contexts:
    """Read a file that `Contexts.write`, or another program, wrote. Raises."""
    with safe_open(file.path, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in file.tensors}
    positive = tensors[files.CONTEXT]
    positive = positive.reshape(-1, *positive.shape[-2:])
    try:
        words = json.loads(file.metadata.get("prompts", '[["0", ""]]'))
        prompts = tuple(Prompt(Fraction(time), text) for time, text in words)
    except (ValueError, TypeError):
        prompts = ()
    if len(prompts) != len(positive):
        raise EngineUnavailableError(
            f"--context {file.path}: {len(positive)} contexts for {len(prompts)} prompts; "
            "make it anew with ltxfilter context"
        )
    return Contexts(prompts, positive, tensors.get(NEGATIVE))


def check_width(contexts: Contexts, file: ModelFile, checkpoint: ModelFile) -> None:
    """Refuse contexts that a checkpoint cannot read. Raises EngineUnavailableError."""
    settings = checkpoint.config.get("transformer", {})
    before = settings.get("caption_proj_before_connector", False)
    wanted = settings.get("cross_attention_dim" if before else "caption_channels")
    width = contexts.positive.shape[-1]
    if wanted not in (None, width):
        raise EngineUnavailableError(
            f"--context {file.path}: {width} values wide, and this checkpoint wants {wanted}; "
            "make it anew with ltxfilter context"
        )


def parse_schedule(text: str, name: str) -> tuple[Prompt, ...]:
    """Read lines of "TIME PROMPT"; empty ones and those that begin with # are left out.

    Raises OptionError naming the file and the line.
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
    """Encode prompts with a checkpoint; Gemma is loaded only for what the cache lacks.

    gemma: the text encoder's folder. Raises EngineUnavailableError.
    """
    if checkpoint is None:
        raise EngineUnavailableError(f"--checkpoint FILE is needed: {Kind.CHECKPOINT.value}")
    file = files.open_file(checkpoint, Kind.CHECKPOINT, "--checkpoint")
    encode = Cached(file, gemma, device)
    return Contexts(
        tuple(prompts),
        torch.cat([encode(prompt.text) for prompt in prompts]),
        None if negative is None else encode(negative),
    )


class Cached:
    """Encodes prompts, having looked into the cache first."""

    def __init__(self, file: ModelFile, gemma: str | None, device: str | None) -> None:
        self._file = file
        self._gemma = gemma
        self._device = device
        self._fingerprint = fingerprint(file)
        self._encode: Encode | None = None

    def __call__(self, prompt: str) -> torch.Tensor:
        """Return the context [1, L, D] of a prompt. Raises EngineUnavailableError."""
        key = hashlib.sha256(json.dumps([FORMAT, self._fingerprint, prompt]).encode()).hexdigest()
        path = cache_folder() / f"{key}.safetensors"
        if path.exists():
            try:
                return read(files.open_file(str(path), Kind.CONTEXT, "cache")).positive
            except EngineUnavailableError as error:
                log.warning("made anew: %s", error)
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
    """Return where contexts are kept: ~/.cache/ltxfilter/contexts unless XDG_CACHE_HOME differs."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path("~/.cache").expanduser()) / "ltxfilter" / "contexts"


def fingerprint(file: ModelFile) -> str:
    """Return a name for a checkpoint's contents, from its header and a sample of its tensors."""
    size = Path(file.path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with Path(file.path).open("rb") as opened:
        for place in (0, size // 3, 2 * size // 3):
            opened.seek(place)
            digest.update(opened.read(SAMPLE))
    return digest.hexdigest()
