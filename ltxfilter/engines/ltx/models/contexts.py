"""Encoded prompts as the transformer reads them, and the files that they are kept in."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors.torch import save

from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import ModelFile
from ltxfilter.engines.ltx.weights.tensor_file import open_tensors
from ltxfilter.errors import EngineUnavailableError, OutputError
from ltxfilter.values import parse_fraction

NEGATIVE = "negative_context"  # the tensor of the negative prompt in a context file


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that holds from a time on."""

    time: Fraction  # seconds after the video's first frame
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """The contexts of one or more prompts: their text, encoded."""

    prompts: tuple[Prompt, ...]  # in ascending order of time
    positive: torch.Tensor  # [number of prompts, L, D]
    negative: torch.Tensor | None  # of the negative prompt, [1, L, D]

    def at(self, time: Fraction) -> torch.Tensor:
        """Return the context [1, L, D] for a time; before the second prompt it is the first one.

        time: seconds after the video's first frame.
        """
        number = max(bisect_right(self.prompts, time, key=lambda prompt: prompt.time) - 1, 0)
        return self.positive[number : number + 1]

    def of(self, times: Sequence[Fraction]) -> torch.Tensor:
        """Return the contexts for several times, [B, L, D], or [1, L, D] if all share one."""
        different = {context.data_ptr(): context for context in map(self.at, times)}
        if len(different) == 1:
            return next(iter(different.values()))
        return torch.cat([self.at(time) for time in times])

    def on(self, device: torch.device, dtype: torch.dtype) -> Contexts:
        """Return them on a device in a precision."""
        negative = None if self.negative is None else self.negative.to(device, dtype)
        return replace(self, positive=self.positive.to(device, dtype), negative=negative)

    def to_bytes(self) -> bytes:
        """Return the content of the file that --context takes.

        A program that knows one context per file reads the first prompt's.
        """
        tensors = {files.CONTEXT: self.positive.contiguous()}
        if self.negative is not None:
            tensors[NEGATIVE] = self.negative.contiguous()
        words = [[str(prompt.time), prompt.text] for prompt in self.prompts]
        return save(tensors, metadata={"prompts": json.dumps(words)})

    def write(self, path: str | Path) -> None:
        """Write that file at once, in place of one that exists. Raises OutputError."""
        partial = Path(f"{path}.{os.getpid()}.part")
        try:
            with partial.open("xb") as file:
                file.write(self.to_bytes())
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from None


def read_contexts(file: ModelFile) -> Contexts:
    """Read a file that `Contexts.write` or another program wrote.

    Raises EngineUnavailableError if its prompts and its contexts differ in number.
    """
    with open_tensors(file.path) as opened:
        tensors = {name: opened.get_tensor(name) for name in file.tensors}
    positive = tensors[files.CONTEXT]
    positive = positive.reshape(-1, *positive.shape[-2:])
    try:
        words = json.loads(file.metadata.get("prompts", '[["0", ""]]'))
        prompts = tuple(Prompt(parse_fraction(time), str(text)) for time, text in words)
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        prompts = ()
    if len(prompts) != len(positive):
        raise EngineUnavailableError(
            f"--context {file.path}: {len(positive)} contexts for {len(prompts)} prompts; "
            "make it again with ltxfilter context"
        )
    return Contexts(prompts, positive, tensors.get(NEGATIVE))


def check_width(contexts: Contexts, file: ModelFile, checkpoint: ModelFile) -> None:
    """Refuse contexts of another width than a checkpoint reads. Raises EngineUnavailableError.

    file: where the contexts come from.
    """
    settings = checkpoint.config.get("transformer", {})
    before = settings.get("caption_proj_before_connector", False)
    wanted = settings.get("cross_attention_dim" if before else "caption_channels")
    width = contexts.positive.shape[-1]
    if wanted not in (None, width):
        raise EngineUnavailableError(
            f"--context {file.path}: {width} values wide, and this checkpoint wants {wanted}; "
            "make it again with ltxfilter context"
        )
