"""Planes whose samples stay on a torch device, and the streams on which they change hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.frame import Plane


class DevicePlane:
    """A plane whose samples stay on a torch device; numpy is handed a copy where it asks.

    Behaves as a plane in what the path looks at: shape, dtype, nbytes, and slices, of which only
    the samples that they name are copied.
    """

    __slots__ = ("__weakref__", "_host", "codes", "dtype")

    def __init__(self, codes: Tensor) -> None:
        """Take samples [H, W]: uint8, or int32 that stand for uint16."""
        self.codes = codes
        self.dtype = np.dtype(np.uint8 if codes.dtype == torch.uint8 else np.uint16)
        self._host: Plane | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(self.codes.shape)

    @property
    def size(self) -> int:
        """How many samples."""
        return self.codes.numel()

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self.codes.numel() * self.codes.element_size()

    def __getitem__(self, key: Any) -> Plane:
        """Return a part in host memory."""
        return self._copied(self.codes[key]) if self._host is None else self._host[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Plane:
        """Return all of it in host memory, copied there once."""
        if self._host is None:
            self._host = self._copied(self.codes)
        return np.array(self._host, dtype, copy=copy)

    def _copied(self, codes: Tensor) -> Plane:
        return np.ascontiguousarray(codes.cpu().numpy().astype(self.dtype, copy=False))


def has_streams(codes: Tensor) -> bool:
    """Return True if work on a tensor is queued on streams."""
    return codes.is_cuda


def to_default_stream(codes: Tensor) -> Tensor:
    """Return codes of a program's own CUDA stream, for engines, which work on the default one."""
    if has_streams(codes):
        own = torch.cuda.current_stream(codes.device)
        _pass_on(codes, own, torch.cuda.default_stream(codes.device))
    return codes


def from_default_stream(codes: Tensor) -> Tensor:
    """Return codes that an engine made, for the CUDA stream that the program works on."""
    if has_streams(codes):
        own = torch.cuda.current_stream(codes.device)
        _pass_on(codes, torch.cuda.default_stream(codes.device), own)
    return codes


def _pass_on(codes: Tensor, made_on: Any, used_on: Any) -> None:
    """Let a stream wait for another one, and keep the memory until it has used it."""
    if made_on != used_on:
        used_on.wait_stream(made_on)
        codes.record_stream(used_on)


def load_codes(plane: Any, device: Any) -> Tensor:
    """Return the codes of a plane on a device: uint8, or int32 for uint16."""
    if isinstance(plane, DevicePlane):
        return from_default_stream(plane.codes).to(device)
    whole = np.require(plane, requirements=("C", "W"))  # torch warns of others
    if whole.dtype != np.uint16:
        return torch.from_numpy(whole).to(device)
    codes = torch.from_numpy(whole.view(np.int16)).to(device)  # torch computes little with uint16
    return codes.to(torch.int32) & 0xFFFF
