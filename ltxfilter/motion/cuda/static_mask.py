"""Where pictures are static, on the device: `kernels.static_mask`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ltxfilter.motion.cuda import device, picture_kernels
from ltxfilter.motion.cuda.estimate import empty
from ltxfilter.motion.cuda.upload import ByteLayout


@dataclass(frozen=True, slots=True, eq=False)
class StaticMask:
    """Where the pictures around a pair are static."""

    mask: Tensor  # [H, W] of luma, uint8: 255 there, else 0
    ready: Any  # the event after which it is there


class StaticMaskFinder:
    """Finds what is static, and remembers it from pair to pair; one thread, one stream."""

    def __init__(self, layout: ByteLayout) -> None:
        self._luma = layout.luma
        size = layout.luma.rows, layout.luma.columns
        self._pictures = [empty(*size, dtype=torch.uint8) for _ in range(4)]
        self._detail = empty(*size, dtype=torch.uint8)
        self._static_pairs = empty(*size, dtype=torch.uint8)  # `seen` of kernels.static_mask
        self._mask = empty(*size, dtype=torch.uint8)
        self._run = device.ReplayedLaunches(self._launches)

    def __call__(self, pictures: Sequence[Tensor], *, forget: bool) -> Tensor:
        """Return the mask of four consecutive pictures' bytes; forget: nothing is remembered."""
        for target, source in zip(self._pictures, pictures, strict=True):
            target.copy_(self._luma.of(source))
        if forget:
            self._static_pairs.zero_()
        self._run()
        return self._mask.clone()

    def _launches(self) -> None:
        rows, columns = self._mask.shape
        count, detail = rows * columns, self._detail
        device.launch(picture_kernels.detail_kernel, count, *self._pictures, detail, columns, rows)
        inputs = detail, self._static_pairs, self._mask, columns, rows
        device.launch(picture_kernels.company_kernel, count, *inputs)
