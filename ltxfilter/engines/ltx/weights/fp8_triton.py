"""Rounding rows to 8 bits on a GPU, in Triton: each row is read once and written once.

With torch's own operations a row crosses memory ten times, which takes longer than the matrix
product in 8 bits saves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl

from ltxfilter.engines.ltx.weights import fp8_range

FP8_MAX = tl.constexpr(fp8_range.FP8_MAX)
LEAST_MAXIMUM = tl.constexpr(fp8_range.LEAST_MAXIMUM)
NARROW = 2048  # columns up to which four warps are enough


def quantize(
    value: torch.Tensor, stored: torch.dtype = torch.float8_e4m3fn
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `fp8.quantize_rows` returns for a matrix [R, K] on a GPU.

    stored: dtype of the result; with float32 the numbers are scaled but not rounded.
    """
    rows, width = value.shape
    value = value.contiguous()
    codes = torch.empty(rows, width, dtype=stored, device=value.device)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=value.device)
    block = triton.next_power_of_2(width)
    warps = 4 if block <= NARROW else 8
    with on_device(value):
        quantize_kernel[(rows,)](
            value, codes, scales, width, block=block, num_warps=warps, enable_fp_fusion=False
        )
    return codes, scales


def on_device(value: torch.Tensor) -> AbstractContextManager[Any]:
    """Return a context in which Triton, which asks no tensor, launches on a tensor's GPU."""
    return torch.cuda.device(value.device) if value.is_cuda else nullcontext()


@triton.jit
def quantize_kernel(value, codes, scales, width, block: tl.constexpr):
    """Scale one row so that its largest absolute value becomes FP8_MAX, and round it.

    A row with a NaN has the scale NaN, as in torch: what is multiplied by it shows the fault.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    place = row * width + column
    whole = tl.load(value + place, mask=inside, other=0.0).to(tl.float32)
    scale = tl.div_rn(tl.maximum(tl.max(tl.abs(whole), 0), LEAST_MAXIMUM), FP8_MAX)
    spoilt = tl.max((whole != whole).to(tl.int32), 0) > 0  # noqa: PLR0124  (not a number)
    scale = tl.where(spoilt, float("nan"), scale)
    scaled = tl.div_rn(whole, scale)
    clamped = tl.minimum(tl.maximum(scaled, -FP8_MAX), FP8_MAX)
    clamped = tl.where(scaled == scaled, clamped, scaled)  # noqa: PLR0124
    tl.store(codes + place, clamped.to(codes.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale)
