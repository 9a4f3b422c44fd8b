"""Fields at other sizes: averages as OpenCV's INTER_AREA, and bilinear as INTER_LINEAR."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.picture_kernels import area_kernel
from ltxfilter.motion.grid import Array

LEAST = 1e-3  # of a sample; a smaller share is left out


class Area:
    """One reduction from [rows, columns] to fewer."""

    def __init__(self, large: tuple[int, int], small: tuple[int, int]) -> None:
        self._sizes = large[1], large[0], small[1], small[0]
        across, down = shares(large[1], small[1]), shares(large[0], small[0])
        most = max(across[1].shape[1], down[1].shape[1])
        self._most = most
        self._tables = []
        for start, share in (across, down):
            padded = np.pad(share, ((0, 0), (0, most - share.shape[1])))
            self._tables += [torch.from_numpy(table).to(device.NAME) for table in (start, padded)]

    def codes(self, source: Tensor, target: Tensor) -> None:
        """Average [rows, columns] of uint8, rounded."""
        self._launch(source, target, 1.0, 1, whole=True)

    def flows(self, source: Tensor, target: Tensor, scale: float) -> None:
        """Average [2, rows, columns] of float32, times `scale`."""
        self._launch(source, target, scale, 2, whole=False)

    def _launch(
        self, source: Tensor, target: Tensor, scale: float, planes: int, whole: bool
    ) -> None:
        count = self._sizes[2] * self._sizes[3]
        args = (source, target, *self._sizes, *self._tables, scale)
        device.launch(area_kernel, count, *args, beside=planes, most=self._most, whole=whole)


class Bilinear:
    """One enlargement of a field from [rows, columns] to more, as OpenCV's INTER_LINEAR.

    Every product and every sum is an operation of its own and so rounded by itself, which a
    library's bilinear interpolation does not promise on a device.
    """

    def __init__(self, small: tuple[int, int], large: tuple[int, int]) -> None:
        self._down, self._across = (
            [torch.from_numpy(table).to(device.NAME) for table in neighbours(*sides)]
            for sides in zip(small, large, strict=True)
        )

    def __call__(self, source: Tensor) -> Tensor:
        """Return [N, rows, columns] of float32 at the larger size."""
        left, right, near, far = self._across
        lines = source[:, :, left] * near + source[:, :, right] * far
        top, bottom, near, far = self._down
        return lines[:, top] * near[:, None] + lines[:, bottom] * far[:, None]


def neighbours(small: int, large: int) -> tuple[Array, Array, Array, Array]:
    """Return between which of `small` samples in a line each of `large` lies, and their weights.

    Numbers of both, [large] int64, and the weights of both, [large] float32.
    """
    place = np.clip((np.arange(large) + 0.5) * (small / large) - 0.5, 0, small - 1)
    first = np.floor(place).astype(np.int64)
    far = (place - first).astype(np.float32)
    return first, np.minimum(first + 1, small - 1), 1 - far, far


def shares(large: int, small: int) -> tuple[Array, Array]:
    """Return which of `large` samples in a line each of `small` covers, and how much of it.

    The first sample's number, [small] int32, and the shares from there on, [small, N] float32.
    """
    scale = large / small
    starts, rows = np.zeros(small, np.int32), []
    for k in range(small):
        low, high = k * scale, (k + 1) * scale
        width = min(scale, large - low)
        first, last = int(np.ceil(low)), min(int(np.floor(high)), large - 1)
        first = min(first, last)
        row = [1 / width] * (last - first)
        starts[k] = first
        if first - low > LEAST:
            row, starts[k] = [(first - low) / width, *row], first - 1
        if high - last > LEAST:
            row.append(min(high - last, 1.0, width) / width)
        rows.append(row)
    most = max(map(len, rows))
    return starts, np.array([row + [0.0] * (most - len(row)) for row in rows], np.float32)
