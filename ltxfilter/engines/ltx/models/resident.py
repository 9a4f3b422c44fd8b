"""LTX-2's models, loaded once and resident: encode, denoise, upsample, decode in our own terms."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from threading import RLock
from typing import Any, Literal, TypeVar

import torch

from ltxfilter.engines.ltx.device import check_memory, choose_device, text_bytes, torch_bytes
from ltxfilter.engines.ltx.models import tiny_vae, upstream
from ltxfilter.engines.ltx.models.cuda_graphs import check_graphs, choose_graphs
from ltxfilter.engines.ltx.models.offload import SLOTS, stream_blocks
from ltxfilter.engines.ltx.models.tiled_decode import decode_tiled
from ltxfilter.engines.ltx.models.transformer import Transformer
from ltxfilter.engines.ltx.prompts import Contexts, check_width
from ltxfilter.engines.ltx.prompts import read as read_contexts
from ltxfilter.engines.ltx.weights import files, fp8
from ltxfilter.engines.ltx.weights.files import Kind, ModelFile
from ltxfilter.engines.ltx.weights.fill import (
    KINDS,
    NAMINGS,
    TRANSFORMERS,
    Naming,
    empty_model,
    fill_plain,
    fill_transformer,
    loaded_bytes,
    read_statistics,
    statistics,
    transformer_bytes,
)
from ltxfilter.engines.ltx.weights.lora import named_loras
from ltxfilter.options import ModelOptions

log = logging.getLogger("ltxfilter.engines")

T = TypeVar("T")
Upsampling = Literal["spatial", "temporal"]


class Models:
    """The models of one run, each loaded when it is first asked for and kept until `close`.

    Latents are [B, 128, f, h, w] for pictures [B, 3, F, H, W] in [-1, 1] with F = 8 (f - 1) + 1,
    H = 32 h, W = 32 w. Everything goes in and comes out on `device`. May be used from several
    threads: each model loads once.
    """

    def __init__(
        self,
        options: ModelOptions,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        fp8: str = "off",
        tile: int = 0,
        offload: bool = False,
        compiled: bool = False,
        tiny: bool = False,
        graphs: str = "auto",
        text_memory: float = -1,
    ) -> None:
        """Load nothing yet. Raises EngineUnavailableError for a device that is not there.

        device: None chooses by `options.device`. dtype: what the models compute in; None is
        bfloat16 on a GPU, float32 on a CPU. fp8: how the transformer is kept, one of fp8.MODES.
        tile: side in pixels of what is decoded at a time; 0 decodes whole pictures. offload: leave
        the transformer's blocks in host memory, and bring each to the device when it runs.
        compiled: let torch compile the blocks when they first run, which takes minutes. tiny:
        encode and decode with the tiny autoencoder in place of the checkpoint's. graphs: one of
        graphs.MODES. text_memory: billions of bytes for the text's keys and values; -1 a quarter
        of what is free on a GPU when the transformer first runs, else nothing.
        """
        self.options = options
        self.device = device or choose_device(options.device)
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.bfloat16)
        self.fp8 = fp8
        self.tile = tile
        self.offload = offload
        self.compiled = compiled
        self.tiny = tiny
        self.graphs = check_graphs(graphs, self.device)
        self.text_memory = text_memory
        self._lock = RLock()  # making one thing may ask for another
        self._loaded: dict[str, Any] = {}

    @property
    def checkpoint(self) -> ModelFile:
        """The checkpoint's header."""
        return self._once("checkpoint", lambda: files.required(self.options, Kind.CHECKPOINT))

    def load(self, *parts: str) -> None:
        """Load "transformer", `refiner`, "encoder", "decoder", "spatial", "temporal" now.

        Raises EngineUnavailableError, before anything is loaded if the device cannot hold it.
        """
        needed = sum(self.nbytes(part) for part in dict.fromkeys(parts) if part not in self._loaded)
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
            can_shrink = "transformer" in parts and not self.offload
            check_memory(needed, free, self.device, self._mode() if can_shrink else "")
        for part in parts:
            self._module(part)

    @property
    def host_bytes(self) -> int:
        """How much of the host's memory torch and the models that are loaded take."""
        loaded = [part for part in self._loaded.values() if isinstance(part, torch.nn.Module)]
        values = (value for part in loaded for value in (*part.parameters(), *part.buffers()))
        there = sum(value.nbytes for value in values if value.device.type == "cpu")
        text = max(self.text_memory, 0) * 1e9 if self.device.type == "cpu" else 0
        return torch_bytes(self.device) + there + int(text)

    def adopt(self, part: str, module: torch.nn.Module) -> None:
        """Draw with a model that is in memory already, in place of one from a file.

        For "statistics", which upsampling needs beside the upsampler, give the encoder.
        """
        self._loaded[part] = (
            statistics(module.per_channel_statistics.named_buffers())
            if part == "statistics"
            else module
        )

    def nbytes(self, part: str) -> int:
        """Return how much of the device's memory a part's weights take. Raises."""
        file, naming = self._stored(part)
        size = self.dtype.itemsize
        if part not in TRANSFORMERS:
            return loaded_bytes(file, naming, size)
        share = Fraction(min(SLOTS, self.blocks), self.blocks) if self.offload else Fraction(1)
        return loaded_bytes(file, naming, size, eight=self._mode() != "off", share=share)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the latents of pictures, float32. Frames must number 8k + 1, sides 32n."""
        frames, height, width = pixels.shape[2:]
        if frames % 8 != 1 or height % 32 or width % 32:
            raise ValueError(f"{frames} frames of {width}x{height}: not 8k + 1 of 32n x 32m")
        module = self._module("encoder")
        with torch.no_grad():
            return module(pixels.to(self.device, self.dtype)).float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the pictures of latents, float32, not clamped."""
        module = self._module("decoder")
        given = latents.to(self.device, self.dtype)

        def decoded(part: torch.Tensor) -> torch.Tensor:
            return upstream.decode(module, part).float()

        with torch.no_grad():
            return decode_tiled(decoded, given, self.tile) if self.tile else decoded(given)

    def upsample(self, latents: torch.Tensor, kind: Upsampling) -> torch.Tensor:
        """Return latents of twice the height and width, or of 2f - 1 latent frames, float32."""
        module = self._module(kind)
        mean, deviation = self._statistics()
        with torch.no_grad():
            raw = latents.to(self.device, torch.float32) * deviation + mean
            return (module(raw.to(self.dtype)).float() - mean) / deviation

    def velocity(
        self,
        latent: torch.Tensor,
        sigma: torch.Tensor | float,
        timesteps: torch.Tensor,
        positions: torch.Tensor,
        context: torch.Tensor,
        *,
        skipped: Sequence[int] = (),
        refining: bool = False,
    ) -> torch.Tensor:
        """Return how the latent tokens [B, T, 128] move per unit of sigma, float32.

        sigma: of all windows, or [B] float32. timesteps: [B, T, 1] float32, each token's own
        sigma. positions: [B, 3, T, 2] float32, begin and end of each token in seconds, rows and
        columns; nobody may change them later. context: [1 or B, L, D]; what a single one
        contributes may be remembered. skipped: blocks whose self-attention is left out. refining:
        with the distilled LoRA, where there is one.
        """
        runner = self._transformer(self.refiner if refining else "transformer")
        with torch.inference_mode(mode=False), torch.no_grad():  # what is kept serves any mode
            return runner.velocity(
                latent.to(self.device, self.dtype),
                sigma,
                timesteps.to(self.device),
                positions.to(self.device),
                context=context.to(self.device, self.dtype),
                skipped=tuple(skipped),
            ).float()

    def leaner(self, draw: Callable[[], T]) -> T:
        """Draw; if the device's memory gives out, do it again without what is remembered of text.

        Raises torch.OutOfMemoryError if there was nothing to forget, or that did not help.
        """
        try:
            return draw()
        except torch.OutOfMemoryError:
            texts = [run.text for run in self._loaded.values() if isinstance(run, Transformer)]
            remembering = [text for text in texts if text is not None and text.nbytes]
            if not remembering:
                raise
        log.warning("what the prompt contributes is computed anew from here on: memory is short")
        for text in remembering:
            text.forget()
        return draw()

    def context(self, time: Fraction = Fraction(0)) -> torch.Tensor:
        """Return the text context [1, L, D] for a moment, seconds from the first frame. Raises."""
        return self._contexts().at(time)

    def contexts(self, times: Sequence[Fraction]) -> torch.Tensor:
        """Return the text contexts of several windows drawn at once, [1 or B, L, D]. Raises."""
        return self._contexts().of(times)

    def negative_context(self) -> torch.Tensor | None:
        """Return the context [1, L, D] that guidance leads away from, if --context has one."""
        return self._contexts().negative

    @property
    def refiner(self) -> str:
        """The part that refines: the transformer, or one with the distilled LoRA beside it."""
        return "refiner" if self.options.distilled_lora else "transformer"

    @property
    def blocks(self) -> int:
        """How many blocks the transformer has."""
        return int(self.checkpoint.config.get("transformer", {}).get("num_layers", 48))

    def close(self) -> None:
        """Let go of every model."""
        self._loaded.clear()

    def _once(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = make()
            value: T = self._loaded[name]
        return value

    def _stored(self, part: str) -> tuple[ModelFile, Naming]:
        """Return the header of the file that holds a part, and how its tensors are named."""
        if self.tiny and part in tiny_vae.PARTS:
            return files.required(
                self.options, Kind.TINY_VAE
            ), lambda name: name if name.startswith(part) else None
        file = files.required(self.options, KINDS[part]) if part in KINDS else self.checkpoint
        return file, NAMINGS.get(part, str)

    def _module(self, part: str) -> torch.nn.Module:
        return self._once(part, lambda: self._build(part))

    def _transformer(self, part: str) -> Transformer:
        def make() -> Transformer:
            module = self._module(part)
            if self.compiled:
                return Transformer(module, None)  # layers are traced as they are
            if self.offload:
                return Transformer(module)  # where two blocks fit, nothing else does
            text = text_bytes(self.text_memory, self.device)
            return Transformer(module, text, choose_graphs(self.graphs, self.device))

        return self._once(f"running {part}", make)

    def _build(self, part: str) -> torch.nn.Module:
        file, naming = self._stored(part)
        module = empty_model(part, file)
        if part in TRANSFORMERS:
            home = torch.device("cpu") if self.offload else self.device
            loras = named_loras(self.options, home, distilled=part == "refiner")
            fill_transformer(module, file, home, self.dtype, mode=self._mode(), loras=loras)
            if self.offload:
                stream_blocks(module, self.device)
            elif self.compiled:
                for block in module.transformer_blocks:
                    block.compile()
        else:
            fill_plain(module, file, naming, self.device, self.dtype)
        return module

    def _mode(self) -> str:
        """Return how the transformer's weights are kept."""
        return fp8.choose_mode(self.fp8, self.device, transformer_bytes(self.checkpoint))

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents' mean and deviation per channel, [128, 1, 1, 1] float32 each."""
        found = self._once("statistics", lambda: read_statistics(self.checkpoint, self.device))
        return found["mean-of-means"], found["std-of-means"]

    def _contexts(self) -> Contexts:
        def make() -> Contexts:
            file = files.required(self.options, Kind.CONTEXT)
            found = read_contexts(file)
            check_width(found, file, self.checkpoint)
            return found.on(self.device, self.dtype)

        return self._once("context", make)
