"""LoRAs: files of low-rank changes that are added to a transformer's weights when it is loaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import torch

from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile
from ltxfilter.engines.ltx.weights.formats.names import LORA, is_video_tensor
from ltxfilter.engines.ltx.weights.formats.storage import StorageError, is_companion
from ltxfilter.engines.ltx.weights.tensor_file import open_tensors
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import shown

log = logging.getLogger("ltxfilter.engines")

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "base_model.model.")
PAIRS = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora_down.weight", ".lora_up.weight"),
    (".lora_A.default.weight", ".lora_B.default.weight"),
)
READ = "ltxfilter reads plain LoRAs: lora_A and lora_B, or lora_down and lora_up"


class Lora:
    """One file, which adds strength * alpha / rank * B A to each of its layers.

    (Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1.)
    """

    def __init__(self, path: str, strength: float, device: torch.device) -> None:
        """Read the file's header only. Raises EngineUnavailableError."""
        self.path = path
        self._strength = strength
        self._device = device
        self._file = files.open_file(path, FileKind.LORA, "--lora")
        self._names: dict[str, tuple[str, str, str]] = {}  # layer -> names of A, B and alpha
        for name in self._file.tensors:
            for down, up in PAIRS:
                if name.endswith(down):
                    stem = name.removesuffix(down)
                    self._names[_layer(stem)] = (name, stem + up, stem + ".alpha")
        missing = [up for _, up, _ in self._names.values() if up not in self._file.tensors]
        if missing:
            raise EngineUnavailableError(f"--lora {path}: it lacks {missing[0]}")
        self._check_rest()

    def _check_rest(self) -> None:
        """Refuse what changes weights in another way, and name what else is not used. Raises."""
        read = {name for names in self._names.values() for name in names}
        rest = [name for name in self._file.tensors if name not in read]
        kinds = [name for name in rest if LORA.search(name) and not is_companion(name)]
        if kinds:
            raise EngineUnavailableError(f"--lora {self.path}: {kinds[0]} is not read; {READ}")
        for down, up, _ in self._names.values():
            for name in (down, up):
                self._check_numbers(name)
        if rest:
            more = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
            log.warning("--lora %s: nothing is done with %s%s", self.path, rest[0], more)
        if not any(map(is_video_tensor, self._names)):
            log.warning("--lora %s changes layers for audio alone, which do not run", self.path)

    def _check_numbers(self, name: str) -> None:
        """Refuse a matrix that is stored with scales, or in another way than as numbers. Raises."""
        try:
            storage = self._file.storages.of(name)
        except StorageError as error:
            raise EngineUnavailableError(f"--lora {self.path}: {error}") from None
        if storage.scale is not None or storage.format not in ("plain", "fp8"):
            raise EngineUnavailableError(
                f"--lora {self.path}: {name} is in {storage.precision} with scales, which is not "
                "read in a LoRA; take the one in 16 bits"
            )

    @property
    def layers(self) -> Iterable[str]:
        """The names in the transformer of the layers that it changes, audio's included."""
        return self._names

    def added_to(self, layer: str, weight: torch.Tensor) -> torch.Tensor:
        """Return a layer's weight [out, in] with its change, float32.

        A layer that it does not change comes back as it is. Raises EngineUnavailableError if the
        shapes differ.
        """
        if layer not in self._names:
            return weight
        down, up, alpha = self._names[layer]
        with open_tensors(self.path, str(self._device)) as opened:
            a, b = opened.get_tensor(down).float(), opened.get_tensor(up).float()
            scale = self._strength
            if alpha in self._file.tensors:
                scale *= float(opened.get_tensor(alpha)) / len(a)
        if (len(b), a.shape[1]) != tuple(weight.shape):
            raise EngineUnavailableError(
                f"--lora {self.path}: made for another model: {layer} is {len(b)} by {a.shape[1]} "
                f"there and {weight.shape[0]} by {weight.shape[1]} in the checkpoint"
            )
        return weight.float() + scale * (b @ a)


def named_loras(options: ModelOptions, device: torch.device, *, distilled: bool) -> list[Lora]:
    """Return the LoRAs that options name. Raises EngineUnavailableError.

    distilled: with `options.distilled_lora`, for the refining steps.
    """
    named = [*options.loras]
    if distilled and options.distilled_lora:
        named.append(options.distilled_lora)
    return [Lora(path, strength, device) for path, strength in named]


def reference_downscale(options: ModelOptions) -> int:
    """Return how many times smaller than the picture an IC-LoRA wants its reference clip.

    Raises OptionError where no LoRA is named, EngineUnavailableError for one that cannot be read.
    """
    if not options.loras:
        raise OptionError("option reference=1: name an IC-LoRA by --lora FILE")
    loras = [files.open_file(path, FileKind.LORA, "--lora") for path, _ in options.loras]
    return max(_downscale(file) for file in loras)


def _downscale(file: ModelFile) -> int:
    """Return what a LoRA's metadata says. Raises EngineUnavailableError."""
    text = file.metadata.get("reference_downscale_factor", "1")
    if not re.fullmatch(r"(?a)[1-9]\d{0,3}", text):
        raise EngineUnavailableError(
            f"--lora {file.path}: its reference_downscale_factor is {shown(text)}, which is no "
            "whole number above 0"
        )
    return int(text)


def check_layers(lora: Lora, known: frozenset[str]) -> None:
    """Refuse a LoRA for layers that the transformer does not have.

    known: the transformer's linear layers. Raises EngineUnavailableError.
    """
    unknown = [name for name in lora.layers if is_video_tensor(name) and name not in known]
    if unknown:
        raise EngineUnavailableError(
            f"--lora {lora.path}: made for another model: the checkpoint has no {unknown[0]}"
        )


def _layer(stem: str) -> str:
    for prefix in PREFIXES:
        if stem.startswith(prefix):
            return stem.removeprefix(prefix)
    return stem
