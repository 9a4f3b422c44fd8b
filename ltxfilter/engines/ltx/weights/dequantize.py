"""From stored tensors to numbers: scales applied, blocks unpacked, a few rows at a time.

Formats: FP8 with one scale per tensor or per row; MXFP8 and NVFP4 (OCP Microscaling 1.0, 2023, and
NVIDIA's variant), whose scales lie in the arrangement for tensor cores ("128x4" in the manual of
cuBLAS); the blocks of GGUF, which the package `gguf` unpacks.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from ltxfilter.engines.ltx.weights.formats.entries import TensorEntry
from ltxfilter.engines.ltx.weights.formats.storage import (
    MXFP8_BLOCK,
    NVFP4_BLOCK,
    Storage,
    StorageError,
)
from ltxfilter.engines.ltx.weights.tensor_file import BlockReader

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.uint8,
    "U8": torch.uint8,
}
CHUNK = 1 << 22  # numbers that are made at a time, so that little more than the result is held
# Values of 4 bits: a sign and E2M1.
FOUR_BITS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E8M0_BIAS = 127
# The largest value of a weight that was cast to 8 bits without a scale: far above any real weight,
# and far below the 448 that scaling makes of the largest one.
LARGEST_CAST = 64.0


class WeightReader:
    """Reads the tensors of one model's files in the precision that is asked for."""

    def __init__(self, device: torch.device) -> None:
        """Results go to `device`."""
        self._device = device
        self._blocks = BlockReader()

    def close(self) -> None:
        """Close the files."""
        self._blocks.close()

    def raw(self, entry: TensorEntry) -> Tensor:
        """Return a tensor as it is stored. Raises EngineUnavailableError."""
        data = self._blocks.read(entry)
        return data.view(DTYPES[entry.dtype]).reshape(entry.shape).to(self._device)

    def in_8_bits(self, storage: Storage) -> tuple[Tensor, Tensor] | None:
        """Return a weight [R, K] in float8_e4m3fn and its scales [R] float32, as stored.

        None for one that is stored otherwise. Raises StorageError.
        """
        if storage.format not in ("fp8", "fp8 rows") or storage.entry.dtype != "F8_E4M3":
            return None
        value = self.raw(storage.entry)
        self._check_cast(storage, value)
        return value, self._scale(storage).reshape(-1).expand(len(value)).contiguous()

    def numbers(self, storage: Storage, dtype: torch.dtype) -> Tensor:
        """Return a tensor in `dtype`. Raises EngineUnavailableError, StorageError."""
        if storage.format == "plain":
            return self.raw(storage.entry).to(dtype)
        if storage.format == "gguf":
            return self._gguf(storage, dtype)
        value = self.raw(storage.entry)
        if storage.format.startswith("fp8"):
            self._check_cast(storage, value)
        rows = self._row_maker(storage, value)
        if value.ndim < 2:
            return rows(0, None).to(dtype)
        result = torch.empty(storage.shape, dtype=dtype, device=self._device)
        step = max(CHUNK // max(storage.shape[-1], 1), 1)
        for begin in range(0, len(value), step):
            end = min(begin + step, len(value))
            result[begin:end] = rows(begin, end)
        return result

    def _row_maker(self, storage: Storage, value: Tensor) -> Callable[[int, int | None], Tensor]:
        """Return what makes the rows from a begin to an end, float32."""
        if storage.format.startswith("fp8"):
            scale = self._scale(storage)
            if value.ndim < 2 or scale.numel() == 1:
                return lambda begin, end: value[begin:end].float() * scale.reshape(())
            return lambda begin, end: value[begin:end].float() * scale.reshape(-1, 1)[begin:end]
        block = MXFP8_BLOCK if storage.format == "mxfp8" else NVFP4_BLOCK
        scales = self._block_scales(storage, storage.shape[1] // block)
        unpack = Tensor.float if storage.format == "mxfp8" else four_bits

        def rows(begin: int, end: int | None) -> Tensor:
            numbers = unpack(value[begin:end]).unflatten(1, (-1, block))
            return (numbers * scales[begin:end, :, None]).flatten(1)

        return rows

    def _scale(self, storage: Storage) -> Tensor:
        """Return the scale of a tensor or of its rows, float32; 1 if there is none. Raises."""
        if storage.scale is None:
            return torch.ones((), device=self._device)
        scale = self.raw(storage.scale).float()
        if not bool((torch.isfinite(scale) & (scale > 0)).all()):
            raise StorageError(f"{storage.scale.stored} is not above 0 everywhere")
        return scale

    def _block_scales(self, storage: Storage, columns: int) -> Tensor:
        """Return the scales of blocks, [rows, columns] float32. Raises StorageError."""
        assert storage.scale is not None
        stored = self.raw(storage.scale).reshape(-1)
        if storage.format == "mxfp8":
            scales = torch.exp2(stored.float() - E8M0_BIAS)
        else:
            assert storage.second is not None
            second = self.raw(storage.second).float().reshape(())
            if not bool(torch.isfinite(second) & (second > 0)):
                raise StorageError(f"{storage.second.stored} is not above 0")
            scales = stored.float() * second
        if not bool(torch.isfinite(scales).all()):
            raise StorageError(f"{storage.scale.stored} has scales that are no numbers")
        return from_blocked(scales, storage.shape[0], columns)

    def _check_cast(self, storage: Storage, value: Tensor) -> None:
        """Refuse 8 bits without a scale whose values are those of scaled ones."""
        if storage.scale is None and value.numel():
            largest = float(value.float().abs().max())
            if not largest <= LARGEST_CAST:
                raise StorageError(
                    f"{storage.entry.stored} is in 8 bits, has no scale and reaches {largest:g}: "
                    "its scale is missing"
                )

    def _gguf(self, storage: Storage, dtype: torch.dtype) -> Tensor:
        """Return a tensor out of GGUF's blocks, unpacked a few rows at a time."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType[storage.entry.dtype]
        numbers, size = GGML_QUANT_SIZES[kind]
        data = self._blocks.read(storage.entry).reshape(-1, size)
        if len(data) * numbers != storage.entry.elements:
            raise StorageError(f"{storage.entry.stored} has too few blocks for its shape")
        result = torch.empty(storage.entry.elements, dtype=dtype, device=self._device)
        step = CHUNK // numbers
        for begin in range(0, len(data), step):
            part = torch.from_numpy(dequantize(data[begin : begin + step].numpy(), kind))
            result[begin * numbers : begin * numbers + part.numel()] = part.reshape(-1)
        if not bool(torch.isfinite(result).all()):
            raise StorageError(f"{storage.entry.stored} has blocks whose scales are no numbers")
        return result.reshape(storage.shape)


def four_bits(packed: Tensor) -> Tensor:
    """Return numbers [R, K] float32 of bytes [R, K / 2], in each the upper half first."""
    both = torch.stack([packed >> 4, packed & 15], -1).flatten(-2).long()
    table = torch.tensor([*FOUR_BITS, *(-each for each in FOUR_BITS)], device=packed.device)
    return table[both]


def from_blocked(stored: Tensor, rows: int, columns: int) -> Tensor:
    """Return scales [rows, columns] out of the arrangement for tensor cores, one axis.

    Tiles of 128 rows and 4 columns follow each other; in a tile, row r lies at (r % 32, r // 32).
    """
    high, wide = ceil(rows / 128), ceil(columns / 4)
    tiles = stored.reshape(high, wide, 32, 4, 4).permute(0, 3, 2, 1, 4)
    return tiles.reshape(128 * high, 4 * wide)[:rows, :columns].contiguous()
