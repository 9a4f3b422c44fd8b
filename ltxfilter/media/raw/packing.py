"""Interleaved arrangements of raw samples: taken apart into planes and put together again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.errors import InputError
from ltxfilter.frame import Planes, PlaneShape
from ltxfilter.media.pixfmt import planar_name, plane_shapes


@dataclass(frozen=True, slots=True)
class PackedSamples:
    """Where one component lies: every `step`-th element of `plane` from `first` on."""

    plane: int
    step: int
    first: int


@dataclass(frozen=True, slots=True)
class Packed:
    """An arrangement of components in interleaved planes, as FFmpeg's pixel descriptors say."""

    parts: dict[str, PackedSamples]  # by role
    shift: int = 0  # unused low bits of each element
    bytes: int = 1  # of an element


def _interleaved(order: str, bytes_: int = 1) -> Packed:
    """Describe one plane of whole pixels; "x" in `order` is padding."""
    parts = {role: PackedSamples(0, len(order), at) for at, role in enumerate(order) if role != "x"}
    return Packed(parts, bytes=bytes_)


def _semi_planar(order: str, bits: int = 8) -> Packed:
    """Describe a luma plane and one of both chromas in `order`, in the high bits of an element."""
    parts = {"y": PackedSamples(0, 1, 0)} | {
        role: PackedSamples(1, 2, at) for at, role in enumerate(order)
    }
    return Packed(parts, *((0, 1) if bits == 8 else (16 - bits, 2)))


def _yuyv(order: str) -> Packed:
    """Describe groups of two pixels: two lumas that share the chromas."""
    parts = {"y": PackedSamples(0, 2, order.index("y"))}
    return Packed(parts | {role: PackedSamples(0, 4, order.index(role)) for role in "uv"})


PACKED = {
    "nv12": _semi_planar("uv"),
    "nv21": _semi_planar("vu"),
    "nv16": _semi_planar("uv"),
    "nv24": _semi_planar("uv"),
    "p010le": _semi_planar("uv", 10),
    "p012le": _semi_planar("uv", 12),
    "p210le": _semi_planar("uv", 10),
    "yuyv422": _yuyv("yuyv"),
    "uyvy422": _yuyv("uyvy"),
    "yvyu422": _yuyv("yvyu"),
    "rgb24": _interleaved("rgb"),
    "bgr24": _interleaved("bgr"),
    "rgb0": _interleaved("rgbx"),
    "bgr0": _interleaved("bgrx"),
    "0rgb": _interleaved("xrgb"),
    "0bgr": _interleaved("xbgr"),
    "rgba": _interleaved("rgba"),
    "bgra": _interleaved("bgra"),
    "argb": _interleaved("argb"),
    "abgr": _interleaved("abgr"),
    "rgb48le": _interleaved("rgb", 2),
    "rgba64le": _interleaved("rgba", 2),
}


class Arrangement:
    """How the bytes of a raw frame of one size are laid out; planar formats included."""

    def __init__(self, name: str, width: int, height: int) -> None:
        """Describe frames of pixel format `name`. Raises InputError for one we cannot hold."""
        self.name = name
        self.planar = planar_name(name)
        self.layout = plane_shapes(self.planar, width, height)
        self._packed = PACKED.get(name)
        if self._packed is None:
            if name not in (self.planar, self.planar[:-2] + "be") and not name.startswith("yuvj"):
                raise InputError(f"raw {name} is not supported; use {self.planar}")
            self._shapes = [(shape.height, shape.width) for shape in self.layout]
            order = ">" if name.endswith("be") else "<"
            self._dtype = np.dtype(f"{order}u{self.layout[0].dtype.itemsize}")
        else:
            self._shapes = _packed_shapes(self._packed, self.layout)
            self._dtype = np.dtype(f"<u{self._packed.bytes}")
        sizes = [rows * columns * self._dtype.itemsize for rows, columns in self._shapes]
        ends = list(accumulate(sizes))
        self._places = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._native = self._dtype.newbyteorder("=")
        self.frame_bytes = ends[-1]

    def unpack(self, buffer: NDArray[np.uint8]) -> Planes:
        """Return the planes of a frame of `frame_bytes` bytes: views of it where they lie so."""
        raw = self._split(buffer)
        if self._packed is not None:
            return tuple(self._take(self._packed, raw, shape) for shape in self.layout)
        if self._dtype == self._native:
            return tuple(raw)
        return tuple(plane.astype(self._native) for plane in raw)

    def pack(self, planes: Planes) -> Planes:
        """Return what to write, one array after another."""
        if self._packed is None:
            return tuple(plane.astype(self._dtype, copy=False) for plane in planes)
        buffer = np.full(self.frame_bytes, 255, np.uint8)  # opaque where there is padding
        raw = self._split(buffer)
        for shape, plane in zip(self.layout, planes, strict=True):
            part = self._packed.parts[shape.role]
            target = raw[part.plane][:, part.first :: part.step]
            target[:, : shape.width] = plane << self._packed.shift if self._packed.shift else plane
        return (buffer,)

    def _split(self, buffer: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Return the arrangement's own planes as views of `buffer`."""
        parts = zip(self._places, self._shapes, strict=True)
        return [buffer[place].view(self._dtype).reshape(shape) for place, shape in parts]

    def _take(self, packed: Packed, raw: list[NDArray[Any]], shape: PlaneShape) -> NDArray[Any]:
        part = packed.parts[shape.role]
        samples = raw[part.plane][:, part.first :: part.step][:, : shape.width]
        if packed.shift:
            return (samples >> packed.shift).astype(self._native, copy=False)
        return np.ascontiguousarray(samples, self._native)


def _packed_shapes(packed: Packed, layout: tuple[PlaneShape, ...]) -> list[tuple[int, int]]:
    """Return rows and elements per row of each interleaved plane."""
    shapes: dict[int, tuple[int, int]] = {}
    for shape in layout:
        part = packed.parts[shape.role]
        rows, columns = shapes.get(part.plane, (0, 0))
        shapes[part.plane] = max(rows, shape.height), max(columns, shape.width * part.step)
    return [shapes[index] for index in sorted(shapes)]
