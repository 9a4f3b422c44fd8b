"""Linear layers in 8 bits (FP8): each row of the weights and each token has a scale of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache
from weakref import ref

import torch
from torch import nn

from ltxfilter.engines.ltx.weights.fp8_range import FP8_MAX, LEAST_MAXIMUM

log = logging.getLogger("ltxfilter.engines")

Quantized = tuple[torch.Tensor, torch.Tensor]  # rows in 8 bits [R, K], their scales [R, 1] float32

FP8 = torch.float8_e4m3fn
# Almost all of the transformer's weights; patches, AdaLN and the last projection are not quantized.
LAYERS = re.compile(r"transformer_blocks\.\d+\.(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))")
MULTIPLE = 16  # that rows and columns must be of, for the matrix product in 8 bits
ROWWISE_CAPABILITY = (8, 9)  # CUDA compute capability of the first GPUs that multiply in 8 bits
FEW, MANY = 16, 272  # rows of the products that are tried; libraries refuse some sizes up to 256


def quantize_rows(value: torch.Tensor) -> Quantized:
    """Return a matrix [R, K] in 8 bits, and the scales that its rows are to be multiplied by."""
    if value.is_cuda and not torch.compiler.is_compiling():
        kernel = triton_kernel(value.device)
        if kernel is not None:
            return kernel(value)
    whole = value.float()
    scale = whole.abs().amax(-1, keepdim=True).clamp_min(LEAST_MAXIMUM) / FP8_MAX
    return (whole / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


@cache
def triton_kernel(device: torch.device) -> Callable[[torch.Tensor], Quantized] | None:
    """Return the kernel that quantizes in one pass on a GPU.

    None, after a warning, if Triton does not work there.
    """
    try:
        from ltxfilter.engines.ltx.weights.fp8_triton import quantize

        quantize(torch.ones(1, MULTIPLE, dtype=torch.bfloat16, device=device))
    except Exception as error:  # of a missing package, of Triton's compiler, of the driver
        reason = str(error).partition("\n")[0]
        log.warning("rounding to 8 bits does not use Triton, which is slower: %s", reason)
        return None
    return quantize


class LatestQuantized:
    """The latest input of a model's layers in 8 bits: queries, keys and values share one input."""

    def __init__(self) -> None:
        self._value: ref[torch.Tensor] | None = None
        self._version = 0
        self._quantized: Quantized | None = None

    def of(self, value: torch.Tensor) -> Quantized:
        """Return the rows of a tensor [..., K] in 8 bits, and their scales."""
        version = None if value.is_inference() else value._version
        same = self._value is not None and self._value() is value
        if self._quantized is None or not same or version is None or version != self._version:
            self._quantized = quantize_rows(value.reshape(-1, value.shape[-1]))
            self._value, self._version = ref(value), version or 0
        return self._quantized


class Fp8Linear(nn.Module):
    """A linear layer whose weights are stored in 8 bits with a scale per row."""

    weight: torch.Tensor  # [out, in] float8_e4m3fn
    weight_scale: torch.Tensor  # [1, out] float32
    bias: torch.Tensor | None  # [out]
    least_rows = 1  # rows that a product needs at least on this device
    fused_bias = False  # add the bias before rounding to 16 bits, in the same kernel as the product

    def __init__(self, outputs: int, inputs: int, bias: bool) -> None:
        """Allocate the layer on torch's meta device."""
        super().__init__()
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=FP8, device="meta"))
        self.register_buffer("weight_scale", torch.empty(1, outputs, device="meta"))
        self.register_buffer("bias", torch.empty(outputs, device="meta") if bias else None)
        self.latest = LatestQuantized()


class RowwiseLinear(Fp8Linear):
    """Multiplies in 8 bits, with a scale per token: on Ada, Hopper and later GPUs, and on CPUs."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return `value` [..., in] times the weights, [..., out] in the same dtype."""
        if torch.compiler.is_compiling():
            tokens, scale = quantize_rows(value.reshape(-1, value.shape[-1]))
        else:
            tokens, scale = self.latest.of(value)
        bias = self.bias if self.fused_bias else None
        product = self._product(tokens, scale, bias).to(value.dtype)
        if self.bias is not None and bias is None:
            product += self.bias
        return product.reshape(*value.shape[:-1], -1)

    def _product(
        self, tokens: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return tokens [R, in] times the weights, [R, out] bfloat16."""
        rows = len(tokens)
        if rows < self.least_rows:
            tokens = with_rows(tokens.view(torch.uint8), self.least_rows).view(FP8)
            scale = with_rows(scale, self.least_rows)
        given = {"scale_a": scale, "scale_b": self.weight_scale, "out_dtype": torch.bfloat16}
        if bias is not None:
            given["bias"] = bias.to(torch.bfloat16)
        return torch._scaled_mm(tokens, self.weight.t(), **given, use_fast_accum=True)[:rows]


class CastLinear(Fp8Linear):
    """Casts the weights to the input's dtype and multiplies in it: saves memory only."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return `value` [..., in] times the weights, [..., out] in the same dtype."""
        product = nn.functional.linear(value, self.weight.to(value.dtype))
        product = product * self.weight_scale.to(value.dtype)
        return product if self.bias is None else product + self.bias


LINEARS = {"rowwise": RowwiseLinear, "cast": CastLinear}  # by mode


def with_rows(value: torch.Tensor, rows: int) -> torch.Tensor:
    """Return a matrix with zeros below it up to `rows` rows."""
    return torch.cat([value, value.new_zeros(rows - len(value), value.shape[1])])


def choose_mode(asked: str, device: torch.device, nbytes: int, *, rowwise: bool = True) -> str:
    """Return "rowwise", "cast" or "off" for a transformer of `nbytes` in 16 bits.

    asked: one of them, or "auto": rowwise where the GPU multiplies in 8 bits; where it does not,
    off if 16 bits take at most half of its memory, else cast; off on a CPU. rowwise: whether it
    does, as `least_rows` has found.
    """
    if asked != "auto":
        return asked
    if device.type != "cuda":
        return "off"
    if rowwise:
        return "rowwise"
    return "off" if 2 * nbytes <= torch.cuda.get_device_properties(device).total_memory else "cast"


@cache
def least_rows(device: torch.device, sizes: frozenset[tuple[int, int]]) -> int | None:
    """Return how many rows products in 8 bits need at least on a device; None if it refuses them.

    sizes: inputs and outputs of all layers. Each is tried, with few rows and with many, since what
    a library takes depends on its version, on the GPU and on the sizes.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < ROWWISE_CAPABILITY:
        return None
    for inputs, outputs in sorted(sizes):
        if reason := product_refused(device, MANY, inputs, outputs):
            log.warning(
                "%s does not multiply %dx%d in 8 bits, so that 8 bits save memory only: %s",
                *(device, inputs, outputs, reason),
            )
            return None
    few = any(product_refused(device, FEW, *size) for size in sorted(sizes))
    return MANY if few else 1


def product_refused(device: torch.device, rows: int, inputs: int, outputs: int) -> str | None:
    """Return why a product of `rows` rows cannot be computed in 8 bits, or None; it is tried."""
    tokens = torch.ones(rows, inputs, device=device).to(FP8)
    layer = RowwiseLinear(outputs, inputs, bias=False)
    layer.weight = torch.ones(outputs, inputs, device=device).to(FP8)
    layer.weight_scale = torch.ones(1, outputs, device=device)
    try:
        found = layer._product(tokens, torch.ones(rows, 1, device=device), None)
        right = bool((found.float() == inputs).all())
    except (RuntimeError, ValueError) as error:  # NotImplementedError is one of them
        return str(error).partition("\n")[0]
    return None if right else "the result is wrong"


def pad_products(model: nn.Module, rows: int) -> None:
    """Let the layers in 8 bits of a model compute at least `rows` rows."""
    for layer in model.modules():
        if isinstance(layer, RowwiseLinear):
            layer.least_rows = rows


def replace_linears(model: nn.Module, mode: str) -> frozenset[str]:
    """Replace the layers to quantize by 8-bit layers without weights; return their names.

    mode: "rowwise" or "cast".
    """
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and is_quantized(name, layer.weight.shape)
    ]
    latest = LatestQuantized()
    for name, layer in chosen:
        empty = LINEARS[mode](layer.out_features, layer.in_features, layer.bias is not None)
        empty.latest = latest
        model.set_submodule(name, empty)
    return frozenset(name for name, _ in chosen)


def is_quantized(name: str, shape: Sequence[int]) -> bool:
    """Return True for a layer, with weights of `shape`, that is stored in 8 bits."""
    fits = len(shape) == 2 and all(length % MULTIPLE == 0 for length in shape)
    return fits and LAYERS.fullmatch(name) is not None
