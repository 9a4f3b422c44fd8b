"""LTX-2's models, loaded once and resident: encode, denoise, upsample and decode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from threading import RLock
from time import perf_counter
from typing import Any, Literal, TypeVar

import torch

from ltxfilter.engines.ltx.device import (
    check_memory,
    choose_device,
    computed_in,
    text_bytes,
    torch_bytes,
)
from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, TEMPORAL_COMPRESSION
from ltxfilter.engines.ltx.models import empty_models, upstream
from ltxfilter.engines.ltx.models.cancellation import Cancellation
from ltxfilter.engines.ltx.models.contexts import Contexts, check_width, read_contexts
from ltxfilter.engines.ltx.models.cuda_graphs import check_graphs, choose_graphs
from ltxfilter.engines.ltx.models.offload import BUFFERS, offload_blocks
from ltxfilter.engines.ltx.models.tiled_decode import decode_tiled
from ltxfilter.engines.ltx.models.transformer import Transformer
from ltxfilter.engines.ltx.weights import files, fp8, load
from ltxfilter.engines.ltx.weights.files import FileKind, ModelFile, Naming
from ltxfilter.engines.ltx.weights.fits import check_generations
from ltxfilter.engines.ltx.weights.lora import named_loras
from ltxfilter.engines.ltx.weights.parts import ModelParts, spatial_scale
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

log = logging.getLogger("ltxfilter.engines")

T = TypeVar("T")
Upsampling = Literal["spatial", "temporal"]
UPSAMPLINGS = ("spatial", "temporal")
TRIAL = (9, 64, 64)  # frames, height and width of the clip by which the work of a CPU is timed


class Models:
    """The models of one run, each loaded when it is first used and kept until `close`.

    Latents are [B, 128, f, h, w] for pictures [B, 3, F, H, W] in -1..1 with F = 8 (f - 1) + 1,
    H = 32 h, W = 32 w. Results are on `device`; arguments may be on any. May be used from several
    threads. `loading` lists the names of the models.
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

        device: None chooses by `options.device`. dtype: that the models compute in; None is
        bfloat16 on a GPU that computes in it, else float32. fp8: how the transformer's weights are
        stored, "auto", "rowwise", "cast" or "off". tile: side in pixels of the tiles to decode in;
        0 decodes whole pictures. offload: keep the transformer's blocks in host memory and copy
        each to the device when it runs. compiled: let torch compile the blocks when they first run,
        which takes minutes. tiny: encode and decode with the tiny autoencoder in place of the
        checkpoint's. graphs: "auto", "on" or "off", see `choose_graphs`. text_memory: billions of
        bytes for the text's keys and values; -1 is a quarter of a GPU's free memory when the
        transformer first runs, and nothing on a CPU.
        """
        self.options = options
        self.device = device or choose_device(options.device)
        self.dtype = dtype or computed_in(self.device)
        self.fp8 = fp8
        self.tile = tile
        self.offload = offload
        self.compiled = compiled
        self.tiny = tiny
        self.graphs = check_graphs(graphs, self.device)
        self.text_memory = text_memory
        self.parts = ModelParts(options)
        self._lock = RLock()  # reentrant: making one object may make another
        self._loaded: dict[str, Any] = {}
        self.cancellation = Cancellation()

    @property
    def transformer_file(self) -> ModelFile:
        """The header of the file that the transformer is in. Raises EngineUnavailableError."""
        return self.parts.find(FileKind.TRANSFORMER)

    def load(self, *names: str) -> None:
        """Load models now.

        Raises EngineUnavailableError, before anything is loaded if the device cannot hold them.
        """
        self.check_files(*names)
        needed = sum(self.nbytes(name) for name in dict.fromkeys(names) if name not in self._loaded)
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
            can_shrink = "transformer" in names and not self.offload
            check_memory(needed, free, self.device, self._fp8_mode() if can_shrink else "")
        for name in names:
            self._module(name)

    def check_files(self, *names: str) -> None:
        """Refuse files that are missing, all at once, and files that do not fit each other.

        Raises EngineUnavailableError.
        """
        left = [name for name in names if name not in self._loaded]
        kinds = dict.fromkeys(empty_models.file_kind(name, tiny=self.tiny) for name in left)
        if "statistics" not in self._loaded and any(name in UPSAMPLINGS for name in left):
            kinds[FileKind.VAE] = None  # which holds the latents' statistics
        self.parts.check_found(kinds)
        check_generations(self.parts, kinds)

    @property
    def host_bytes(self) -> int:
        """Bytes of host memory that torch and the models that are loaded take."""
        modules = [value for value in self._loaded.values() if isinstance(value, torch.nn.Module)]
        values = (value for each in modules for value in (*each.parameters(), *each.buffers()))
        on_host = sum(value.nbytes for value in values if value.device.type == "cpu")
        text = max(self.text_memory, 0) * 1e9 if self.device.type == "cpu" else 0
        return torch_bytes(self.device) + on_host + int(text)

    @property
    def device_bytes(self) -> int:
        """Bytes of device memory that the models that are loaded take; 0 on a CPU."""
        total = 0
        for name, module in self._loaded.items():
            if not isinstance(module, torch.nn.Module) or self.device.type == "cpu":
                continue
            if self.offload and name in empty_models.TRANSFORMERS:
                total += self.nbytes(name)
            else:
                total += sum(each.nbytes for each in (*module.parameters(), *module.buffers()))
        return total

    def adopt(self, name: str, module: torch.nn.Module) -> None:
        """Use a model that is in memory already, in place of one from a file.

        For "statistics", which upsampling needs beside the upsampler, pass the encoder.
        """
        encoder = name == "statistics"
        own = load.statistics(module.per_channel_statistics.named_buffers()) if encoder else module
        self._loaded[name] = own

    def nbytes(self, name: str) -> int:
        """Return the bytes of device memory of a model's weights. Raises EngineUnavailableError."""
        file, naming = self._file(name)
        size = self.dtype.itemsize
        if name not in empty_models.TRANSFORMERS:
            return load.loaded_bytes(file, naming, size)
        share = Fraction(min(BUFFERS, self.blocks), self.blocks) if self.offload else Fraction(1)
        quantized = self._fp8_mode() != "off"
        return load.loaded_bytes(file, naming, size, quantized=quantized, block_share=share)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the latents of pictures, float32.

        Raises ValueError unless the frames number 8k + 1 and the sides are multiples of 32.
        """
        frames, height, width = pixels.shape[2:]
        cell = SPATIAL_COMPRESSION
        if frames % TEMPORAL_COMPRESSION != 1 or height % cell or width % cell:
            raise ValueError(f"{frames} frames of {width}x{height}: not 8k + 1 of 32n x 32m")
        module = self._module("encoder")
        with torch.no_grad():
            return module(pixels.to(self.device, self.dtype)).float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the pictures of latents, float32; some values may exceed -1..1."""
        module = self._module("decoder")
        given = latents.to(self.device, self.dtype)

        def decode_whole(latents: torch.Tensor) -> torch.Tensor:
            self.cancellation.check()
            return upstream.decode(module, latents).float()

        with torch.no_grad():
            return (
                decode_tiled(decode_whole, given, self.tile) if self.tile else decode_whole(given)
            )

    def seconds_per_frame(self, pixels: int) -> float | None:
        """Return the seconds that a CPU takes to encode and decode a frame, by a small trial.

        pixels: of the frame. None on a GPU, whose first work is no measure. What a transformer
        takes comes on top.
        """
        if self.device.type != "cpu":
            return None
        grey = torch.zeros(1, 3, *TRIAL)
        begin = perf_counter()
        self.decode(self.encode(grey))
        return (perf_counter() - begin) * pixels / prod(TRIAL)

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
        first: int = 0,
        skipped: Sequence[int] = (),
        refining: bool = False,
    ) -> torch.Tensor:
        """Return the derivative of latent tokens [B, T, 128] by sigma, float32.

        sigma: of all windows, or [B] float32. timesteps: [B, T, 1] float32, each token's own sigma.
        positions: [B, 3, T, 2] float32, begin and end of each token in seconds, pixel rows and
        pixel columns; the tensor must not change later. context: [1 or B, L, D]; the keys and
        values of a single one may be cached. first: tokens of the first latent frame, which LTX-2.5
        marks. skipped: blocks without self-attention. refining: use the distilled LoRA, if any.
        """
        self.cancellation.check()
        runner = self._transformer(self.refiner if refining else "transformer")
        # Outside of inference mode, so that what is cached can be used in any mode.
        with torch.inference_mode(mode=False), torch.no_grad():
            return runner.velocity(
                latent.to(self.device, self.dtype),
                sigma,
                timesteps.to(self.device),
                positions.to(self.device),
                context=context.to(self.device, self.dtype),
                first=first,
                skipped=tuple(skipped),
            ).float()

    def retry_without_text(self, draw: Callable[[], T]) -> T:
        """Call `draw`; if device memory runs out, drop cached text and graphs and call it again.

        Raises torch.OutOfMemoryError if there were neither, or if memory runs out again.
        """
        try:
            return draw()
        except torch.OutOfMemoryError:
            dropped = [runner.drop_caches() for runner in self._runners()]
            if not any(dropped):
                raise
        log.warning(
            "device memory is short: the prompt's keys and values are not cached any more, and "
            "steps are not replayed as CUDA graphs"
        )
        return draw()

    @property
    def captures_later(self) -> bool:
        """True while a step that has run will be captured as a CUDA graph when it runs again."""
        return any(runner.captures_later for runner in self._runners())

    def _runners(self) -> list[Transformer]:
        return [value for value in self._loaded.values() if isinstance(value, Transformer)]

    def context(self, time: Fraction = Fraction(0)) -> torch.Tensor:
        """Return the text context [1, L, D] for a time, seconds after the first frame. Raises."""
        return self._contexts().at(time)

    def contexts(self, times: Sequence[Fraction]) -> torch.Tensor:
        """Return the text contexts of several windows' times, [1 or B, L, D]. Raises."""
        return self._contexts().of(times)

    def negative_context(self) -> torch.Tensor | None:
        """Return the context [1, L, D] of the negative prompt; None if --context has none."""
        return self._contexts().negative

    @property
    def spatial_scale(self) -> Fraction:
        """How many times larger the spatial upsampler makes latents. Raises."""
        return spatial_scale(self.parts.find(FileKind.SPATIAL))

    @property
    def loras(self) -> list[ModelFile]:
        """The headers of the LoRAs. Raises EngineUnavailableError."""
        return [files.open_file(path, FileKind.LORA, "--lora") for path, _ in self.options.loras]

    @property
    def refiner(self) -> str:
        """The name of the model that refines: "refiner" if there is a distilled LoRA."""
        return "refiner" if self.options.distilled_lora else "transformer"

    @property
    def blocks(self) -> int:
        """The number of the transformer's blocks."""
        return int(self.transformer_file.config.get("transformer", {}).get("num_layers", 48))

    def close(self) -> None:
        """Release every model."""
        for runner in self._runners():
            runner.close()
        self._loaded.clear()

    def _once(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = make()
            value: T = self._loaded[name]
        return value

    def _file(self, name: str) -> tuple[ModelFile, Naming]:
        """Return the header of the file that holds a model, and how its tensors are named."""
        kind = empty_models.file_kind(name, tiny=self.tiny)
        return self.parts.find(kind), empty_models.naming_of(name, kind)

    def _module(self, name: str) -> torch.nn.Module:
        return self._once(name, lambda: self._build(name))

    def _transformer(self, name: str) -> Transformer:
        """Return what runs the steps of "transformer" or "refiner"."""

        def make() -> Transformer:
            module = self._module(name)
            if self.compiled and not self.offload:  # torch compiles the layers as they are
                return Transformer(module, None, choose_graphs(self.graphs, self.device))
            if self.offload:
                return Transformer(module)  # without a cache or graphs, for which memory is short
            text = text_bytes(self.text_memory, self.device)
            return Transformer(module, text, choose_graphs(self.graphs, self.device))

        return self._once(f"running {name}", make)

    def _build(self, name: str) -> torch.nn.Module:
        file, naming = self._file(name)
        module = empty_models.empty_model(name, file)
        if name in empty_models.TRANSFORMERS:
            device = torch.device("cpu") if self.offload else self.device
            loras = named_loras(self.options, device, distilled=name == "refiner")
            load.fill_transformer(
                module, file, device, self.dtype, mode=self._fp8_mode(), loras=loras
            )
            if self._fp8_mode() == "rowwise" and self.device.type == "cuda":
                fp8.pad_products(module, self._least_rows() or 1)
            if self.compiled and not self.offload:
                for block in module.transformer_blocks:
                    block.compile()
                return module
            self.cancellation.watch(*module.transformer_blocks)
            if self.offload:
                offload_blocks(module, self.device)
        else:
            change = empty_models.change_of(name, file)
            load.fill_plain(module, file, naming, self.device, self.dtype, change=change)
            self.cancellation.watch_layers(module)
        return module

    def _fp8_mode(self) -> str:
        """Return how the transformer's weights are stored: "off", "rowwise" or "cast".

        Raises EngineUnavailableError if the device cannot do what was asked for.
        """
        if self.fp8 in ("off", "cast") or self.device.type != "cuda":
            return fp8.choose_mode(self.fp8, self.device, 0)
        works = self._least_rows() is not None
        if self.fp8 == "rowwise" and not works:
            raise EngineUnavailableError(
                f"option fp8=rowwise: {self.device} does not multiply in 8 bits with torch "
                f"{torch.__version__}; use fp8=auto or fp8=cast"
            )
        nbytes = load.transformer_bytes(self.transformer_file)
        return fp8.choose_mode(self.fp8, self.device, nbytes, rowwise=works)

    def _least_rows(self) -> int | None:
        return fp8.least_rows(self.device, load.quantized_sizes(self.transformer_file))

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents' mean and deviation per channel, [128, 1, 1, 1] float32 each."""

        def read() -> dict[str, torch.Tensor]:
            return load.read_statistics(self.parts.find(FileKind.VAE), self.device)

        both = self._once("statistics", read)
        return both["mean-of-means"], both["std-of-means"]

    def _contexts(self) -> Contexts:
        def make() -> Contexts:
            file = self.parts.find(FileKind.CONTEXT)
            contexts = read_contexts(file)
            check_width(contexts, file, self.transformer_file)
            return contexts.on(self.device, self.dtype)

        return self._once("context", make)
