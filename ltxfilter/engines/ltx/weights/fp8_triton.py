"""Rows rounded to 8 bits on a GPU, in Triton: read once and written once.

In torch's own operations a row crosses memory ten times, which takes longer than the matrix product
in 8 bits saves.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

LARGEST = tl.constexpr(448.0)  # as fp8.LARGEST
SMALLEST = tl.constexpr(1e-12)  # as fp8.SMALLEST_SCALE
NARROW = 2048  # numbers of a row that four warps do


def quantize(
    value: torch.Tensor, stored: torch.dtype = torch.float8_e4m3fn
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `fp8.quantize_rows` returns of a matrix [R, K] on a GPU.

    stored: float32 leaves numbers as they are before they are rounded.
    """
    rows, width = value.shape
    value = value.contiguous()
    codes = torch.empty(rows, width, dtype=stored, device=value.device)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=value.device)
    block = triton.next_power_of_2(width)
    quantize_kernel[(rows,)](
        value, codes, scales, width, block=block, num_warps=4 if block <= NARROW else 8
    )
    return codes, scales


@triton.jit
def quantize_kernel(value, codes, scales, width, block: tl.constexpr):
    """Round one row: its largest number becomes the largest that 8 bits hold."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    inside = column < width
    place = row * width + column
    found = tl.load(value + place, mask=inside, other=0.0).to(tl.float32)
    scale = tl.div_rn(tl.maximum(tl.max(tl.abs(found), 0), SMALLEST), LARGEST)
    scaled = tl.div_rn(found, scale)
    clamped = tl.minimum(tl.maximum(scaled, -LARGEST), LARGEST)
    tl.store(codes + place, clamped.to(codes.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale)
