"""Linear layers in 8 bits: each row of the weights, and each token, has a scale of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache
from weakref import ref

import torch
from torch import nn

log = logging.getLogger("ltxfilter.engines")

Rounded = tuple[torch.Tensor, torch.Tensor]  # rows in 8 bits, and their scales

STORED = torch.float8_e4m3fn
LARGEST = 448.0  # that it can store
SMALLEST_SCALE = 1e-12  # of a row of zeros
# Almost all of the transformer's weights; patches, AdaLN and the last projection stay as they are.
CHOSEN = re.compile(r"transformer_blocks\.\d+\.(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))")
MULTIPLE = 16  # of rows and columns, for the matrix product in 8 bits
MODES = ("auto", "rowwise", "cast", "off")
ROWWISE_SINCE = (8, 9)  # compute capability of the first GPUs that multiply in 8 bits


def quantize_rows(value: torch.Tensor) -> Rounded:
    """Return a matrix [R, K] in 8 bits and what to multiply its rows by, [R, 1] float32."""
    if value.is_cuda and not torch.compiler.is_compiling() and (kernel := fused(value.device)):
        return kernel(value)
    whole = value.float()
    scale = whole.abs().amax(-1, keepdim=True).clamp_min(SMALLEST_SCALE) / LARGEST
    return (whole / scale).clamp(-LARGEST, LARGEST).to(STORED), scale


@cache
def fused(device: torch.device) -> Callable[[torch.Tensor], Rounded] | None:
    """Return what does it in one pass on a GPU; None, having said so, where Triton fails."""
    try:
        from ltxfilter.engines.ltx.weights.fp8_triton import quantize

        quantize(torch.ones(1, MULTIPLE, dtype=torch.bfloat16, device=device))
    except Exception as error:  # of a package that is missing, of its compiler, of the driver
        reason = str(error).partition("\n")[0]
        log.warning("rounding to 8 bits without Triton, more slowly: %s", reason)
        return None
    return quantize


class LatestRounded:
    """What a model's latest input became in 8 bits: queries, keys and values share one."""

    def __init__(self) -> None:
        self._value: ref[torch.Tensor] | None = None
        self._version = 0
        self._rounded: Rounded | None = None

    def of(self, value: torch.Tensor) -> Rounded:
        """Return the rows of a tensor [..., K] in 8 bits, and their scales."""
        version = None if value.is_inference() else value._version
        known = self._value is not None and self._value() is value
        if self._rounded is None or not known or version is None or version != self._version:
            self._rounded = quantize_rows(value.reshape(-1, value.shape[-1]))
            self._value, self._version = ref(value), version or 0
        return self._rounded


class Fp8Linear(nn.Module):
    """A linear layer whose weights [out, in] are kept in 8 bits with a scale per row."""

    weight: torch.Tensor  # [out, in] float8_e4m3fn
    weight_scale: torch.Tensor  # [1, out] float32
    bias: torch.Tensor | None

    def __init__(self, outputs: int, inputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=STORED, device="meta"))
        self.register_buffer("weight_scale", torch.empty(1, outputs, device="meta"))
        self.register_buffer("bias", torch.empty(outputs, device="meta") if bias else None)
        self.latest = LatestRounded()


class RowwiseLinear(Fp8Linear):
    """Multiplies in 8 bits, having scaled each token anew: Hopper, Ada and later, and CPUs."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return `value` [..., in] times the weights, [..., out] in its own dtype."""
        if torch.compiler.is_compiling():
            tokens, scale = quantize_rows(value.reshape(-1, value.shape[-1]))
        else:
            tokens, scale = self.latest.of(value)
        product = torch._scaled_mm(
            tokens,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.weight_scale,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        product = product.to(value.dtype)
        if self.bias is not None:
            product += self.bias
        return product.reshape(*value.shape[:-1], -1)


class CastLinear(Fp8Linear):
    """Keeps weights in 8 bits and multiplies in the input's precision: saves memory only."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return `value` [..., in] times the weights, [..., out] in its own dtype."""
        product = nn.functional.linear(value, self.weight.to(value.dtype))
        product = product * self.weight_scale.to(value.dtype)
        return product if self.bias is None else product + self.bias


KINDS = {"rowwise": RowwiseLinear, "cast": CastLinear}


def choose_mode(asked: str, device: torch.device, nbytes: int) -> str:
    """Return "rowwise", "cast" or "off" for a transformer of `nbytes` in 16 bits.

    "auto" multiplies in 8 bits where the device can; an older GPU keeps 16 bits if they take at
    most half of its memory; a CPU always does.
    """
    if asked != "auto":
        return asked
    if device.type != "cuda":
        return "off"
    if torch.cuda.get_device_capability(device) >= ROWWISE_SINCE:
        return "rowwise"
    return "off" if 2 * nbytes <= torch.cuda.get_device_properties(device).total_memory else "cast"


def replace_linears(model: nn.Module, mode: str) -> frozenset[str]:
    """Put 8-bit layers, still empty, in the place of the chosen ones; return their names."""
    chosen = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and chosen_layer(name, layer.weight.shape)
    ]
    latest = LatestRounded()
    for name, layer in chosen:
        empty = KINDS[mode](layer.out_features, layer.in_features, layer.bias is not None)
        empty.latest = latest
        model.set_submodule(name, empty)
    return frozenset(name for name, _ in chosen)


def chosen_layer(name: str, shape: Sequence[int]) -> bool:
    """Return True for a layer, weights of `shape`, that is kept in 8 bits."""
    fits = len(shape) == 2 and all(length % MULTIPLE == 0 for length in shape)
    return fits and CHOSEN.fullmatch(name) is not None
