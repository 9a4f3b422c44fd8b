"""The LTX models at their published size with random weights, and how long their calls take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks import ltx_sizes as sizes
from benchmarks.gpu_windows import ModelCall
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.cuda_graphs import CudaCapture, GraphCache, uncaptured
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.models.transformer import Transformer
from ltxfilter.engines.ltx.weights import fp8
from ltxfilter.options import ModelOptions

SECONDS = 1.0  # for which each call is repeated
WARMUPS = 3  # calls before that, after which text is cached and graphs are captured
SIGMA = 0.7  # any noise level
TEXT_BYTES = 4 << 30  # enough for one prompt at one noise level


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one call takes."""

    seconds: float  # without a cache, each kernel launched by itself
    text_seconds: float  # with the prompt's keys and values cached
    graph_seconds: float | None  # also replayed as a CUDA graph; None if it cannot be captured
    peak_bytes: int | None  # of device memory, models included; None on a CPU


class Bench:
    """The models with random weights in one precision, and the timings of their calls."""

    def __init__(self, device: torch.device, mode: str, tiny: bool) -> None:
        """Build the models. mode: how the transformer is stored. tiny: build small ones."""
        self.device = device
        self._tiny = tiny
        self._timings: dict[ModelCall, Timing | str] = {}
        self.models = random_models(device, mode, tiny)
        self.context = torch.randn(
            (1, 128, sizes_of(tiny)["transformer"]["cross_attention_dim"])
            if tiny
            else sizes.CONTEXT,
            device=device,
        )

    def time(self, call: ModelCall) -> Timing | str:
        """Return how long a call takes, or why it could not run."""
        if self._tiny:
            call = replace(call, cells=(2, 3))
        if call not in self._timings:
            try:
                self._timings[call] = self._measure(call)
            except torch.cuda.OutOfMemoryError:
                self._timings[call] = "out of memory"
        return self._timings[call]

    def _function(self, call: ModelCall) -> Callable[[], torch.Tensor]:
        """Return a function that makes a call with random inputs."""
        (height, width), device = call.cells, self.device
        if call.model == "encoder":
            size = (1, 3, call.length, 32 * height, 32 * width)
            pictures = torch.rand(size, device=device, dtype=self.models.dtype)
            return lambda: self.models.encode(pictures)
        length = (call.length - 1) // 8 + 1 if call.model == "decoder" else call.length
        latents = torch.randn(1, 128, length, height, width, device=device)
        if call.model == "decoder":
            return lambda: self.models.decode(latents)
        kind: Any = call.model
        return lambda: self.models.upsample(latents, kind)

    def _measure(self, call: ModelCall) -> Timing:
        """Return how long a call takes in every way in which it can be made."""
        if call.model == "transformer":
            return self._measure_transformer(call)
        function = self._function(call)
        seconds, peak = self._measure_once(function)
        graph = captured(function, self.device)
        return Timing(seconds, seconds, graph and per_call(graph, self.device), peak)

    def _measure_transformer(self, call: ModelCall) -> Timing:
        module, device = self.models._module("transformer"), self.device
        tokens = torch.randn(1, call.tokens, 128, device=device, dtype=self.models.dtype)
        timesteps = torch.full((1, call.tokens, 1), SIGMA, device=device)
        positions = torch.rand(1, 3, call.tokens, 2, device=device)
        context = self.context.to(self.models.dtype)

        def step_of(runner: Transformer) -> Callable[[], torch.Tensor]:
            def step() -> torch.Tensor:
                with torch.no_grad():
                    return runner.velocity(tokens, SIGMA, timesteps, positions, context=context)

            return step

        seconds, peak = self._measure_once(step_of(Transformer(module)))
        text = per_call(step_of(Transformer(module, TEXT_BYTES)), device)
        graphs = (
            GraphCache(CudaCapture(device)) if device.type == "cuda" else GraphCache(uncaptured)
        )
        replayed = per_call(step_of(Transformer(module, TEXT_BYTES, graphs)), device)
        return Timing(seconds, text, replayed if len(graphs) else None, peak)

    def _measure_once(self, call: Callable[[], torch.Tensor]) -> tuple[float, int | None]:
        """Return the seconds of a call, and the peak of device memory in bytes, None on a CPU."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        seconds = per_call(call, self.device)
        return seconds, torch.cuda.max_memory_allocated(self.device) if cuda else None


def sizes_of(tiny: bool) -> dict[str, Any]:
    """Return a checkpoint's configuration, of the published size or tiny."""
    if not tiny:
        return sizes.CONFIG
    small = {"num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 2}
    vae = {
        "encoder_blocks": [
            [f"compress_{axes}_res", {"multiplier": 1}] for axes in ("space", "time", "all", "all")
        ],
        "decoder_blocks": [
            ["compress_space", {"multiplier": 2}],
            ["compress_time", {"multiplier": 2}],
            ["compress_all", {"multiplier": 1}],
            ["compress_all", {"multiplier": 2}],
        ],
        "decoder_base_channels": 4,
    }
    transformer = sizes.TRANSFORMER | small | {"cross_attention_dim": 48}
    return {"transformer": transformer, "vae": sizes.VAE | vae}


def small_upsampler(tiny: bool) -> dict[str, Any]:
    """Return the values that make an upsampler's configuration tiny; none if not `tiny`."""
    return {"mid_channels": 32, "num_blocks_per_stage": 1} if tiny else {}


def random_models(device: torch.device, mode: str, tiny: bool) -> Models:
    """Return models with random weights, built without a file."""
    models = Models(ModelOptions(), device=device, dtype=torch.bfloat16, fp8=mode)
    config = sizes_of(tiny)
    small = small_upsampler(tiny)
    configs = {
        "transformer": ("transformer", config),
        "encoder": ("encoder", config),
        "decoder": ("decoder", config),
        "spatial": ("upsampler", sizes.SPATIAL | small),
        "temporal": ("upsampler", sizes.TEMPORAL | small),
    }
    for name, (kind, settings) in configs.items():
        module = upstream.meta_module(kind, settings, {})
        if name == "transformer" and mode != "off":
            fp8.replace_linears(module, mode)
        randomize(module, device)
        models.adopt(name, module)
        if name == "encoder":
            models.adopt("statistics", module)
    return models


def randomize(module: nn.Module, device: torch.device) -> None:
    """Give a module on the meta device small random weights, a layer at a time."""
    for layer in module.modules():
        if isinstance(layer, fp8.Fp8Linear):
            random = torch.randn(layer.weight.shape, device=device) * 0.02
            layer.weight, scale = fp8.quantize_rows(random)
            layer.weight_scale = scale.t().contiguous()
        for named in (layer._parameters, layer._buffers):
            for name, value in named.items():
                if value is not None and value.is_meta:
                    named[name] = _like(name, value, device, isinstance(value, nn.Parameter))


def _like(name: str, value: torch.Tensor, device: torch.device, trained: bool) -> torch.Tensor:
    ones = value.ndim <= 1 and name in ("weight", "std-of-means")
    made = torch.ones(value.shape) if ones else torch.randn(value.shape, device=device) * 0.02
    made = made.to(device, torch.bfloat16)
    return nn.Parameter(made, requires_grad=False) if trained else made


def per_call(call: Callable[[], object], device: torch.device) -> float:
    """Return the mean seconds of one call out of many in a row."""
    for _ in range(WARMUPS):
        call()
    count, begin = 0, _now(device)
    while (passed := _now(device) - begin) < SECONDS or not count:
        call()
        count += 1
    return passed / count


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def captured(call: Callable[[], torch.Tensor], device: torch.device) -> Callable[[], object] | None:
    """Return a call as a CUDA graph; None on a CPU, or if it cannot be captured."""
    if device.type != "cuda":
        return None
    try:
        return CudaCapture(device)(call)
    except RuntimeError:
        torch.cuda.synchronize(device)
        return None


def ceiling(device: torch.device, mode: str, side: int) -> float:
    """Return operations per second of one large matrix product, `side` x `side`."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    if mode == "off":
        return 2 * side**3 / per_call(lambda: left @ right, device)
    rows, scale = fp8.quantize_rows(left)
    columns, other = fp8.quantize_rows(right)
    layer = {"scale_a": scale, "scale_b": other.t().contiguous(), "out_dtype": torch.bfloat16}
    layer["use_fast_accum"] = True  # as the layers do
    return 2 * side**3 / per_call(lambda: torch._scaled_mm(rows, columns.t(), **layer), device)


def linear_seconds(device: torch.device, mode: str, tokens: int, width: int) -> float:
    """Return the seconds of one linear layer, `width` to 4 `width`, with the scaling in 8 bits."""
    layer: nn.Module = nn.Linear(width, 4 * width, bias=False, dtype=torch.bfloat16, device="meta")
    if mode != "off":
        layer = fp8.LINEARS[mode](4 * width, width, False)
    randomize(layer, device)
    value = torch.randn(tokens, width, device=device, dtype=torch.bfloat16)

    def call() -> torch.Tensor:
        layer.latest = (
            fp8.LatestQuantized()
        )  # or the input would still be quantized from the call before
        return layer(value)

    return per_call(call, device)
