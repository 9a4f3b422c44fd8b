"""How the bytes of raw frames are laid out: taken apart into planes, and put together again."""

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
    """Where the samples of one component lie in an interleaved plane."""

    plane: int
    """Number of the interleaved plane, from 0."""

    step: int
    """Elements from one sample to the next."""

    first: int
    """Element of the first sample in each row."""


@dataclass(frozen=True, slots=True)
class PackedFormat:
    """A pixel format of interleaved planes, as FFmpeg's pixel descriptors have it."""

    components: dict[str, PackedSamples]
    """By the role that `PlaneShape` calls it: y, u, v, r, g, b, a."""

    shift: int = 0
    """Unused low bits of each element."""

    element_bytes: int = 1
    """Bytes of an element, little-endian."""


def _interleaved(order: str, element_bytes: int = 1) -> PackedFormat:
    """Describe one plane of whole pixels; "x" in `order` is padding."""
    components = {
        role: PackedSamples(0, len(order), at) for at, role in enumerate(order) if role != "x"
    }
    return PackedFormat(components, element_bytes=element_bytes)


def _semi_planar(order: str, depth: int = 8) -> PackedFormat:
    """Describe a luma plane and one of both chromas in `order`.

    depth: bits of a sample; more than 8 are the high bits of two bytes.
    """
    components = {"y": PackedSamples(0, 1, 0)}
    components |= {role: PackedSamples(1, 2, at) for at, role in enumerate(order)}
    if depth == 8:
        return PackedFormat(components)
    return PackedFormat(components, shift=16 - depth, element_bytes=2)


def _yuyv(order: str) -> PackedFormat:
    """Describe groups of two pixels: two luma samples that share a pair of chroma samples."""
    components = {"y": PackedSamples(0, 2, order.index("y"))}
    components |= {role: PackedSamples(0, 4, order.index(role)) for role in "uv"}
    return PackedFormat(components)


PACKED_FORMATS = {  # by FFmpeg's names
    "nv12": _semi_planar("uv"),
    "nv21": _semi_planar("vu"),
    "nv16": _semi_planar("uv"),
    "nv24": _semi_planar("uv"),
    "nv42": _semi_planar("vu"),
    "p010le": _semi_planar("uv", 10),
    "p012le": _semi_planar("uv", 12),
    "p016le": _semi_planar("uv", 16),
    "p210le": _semi_planar("uv", 10),
    "p212le": _semi_planar("uv", 12),
    "p216le": _semi_planar("uv", 16),
    "p410le": _semi_planar("uv", 10),
    "p412le": _semi_planar("uv", 12),
    "p416le": _semi_planar("uv", 16),
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
    "vyu444": _interleaved("vyu"),
    "vuyx": _interleaved("vuyx"),
    "vuya": _interleaved("vuya"),
    "ayuv": _interleaved("ayuv"),
    "uyva": _interleaved("uyva"),
    "ayuv64le": _interleaved("ayuv", 2),
    "rgb48le": _interleaved("rgb", 2),
    "bgr48le": _interleaved("bgr", 2),
    "bgra64le": _interleaved("bgra", 2),
    "rgba64le": _interleaved("rgba", 2),
}


class SampleLayout:
    """How the bytes of a raw frame of one pixel format and size are laid out."""

    def __init__(self, name: str, width: int, height: int) -> None:
        """Describe frames of pixel format `name`, planar or packed, of `width` x `height` pixels.

        Raises InputError for a format that cannot be held.
        """
        self.name = name
        self.planar = planar_name(name)  # the format of the planes
        self.layout = plane_shapes(self.planar, width, height)
        self._packed = PACKED_FORMATS.get(name)
        if self._packed is None:
            if name not in (self.planar, self.planar[:-2] + "be") and not name.startswith("yuvj"):
                raise InputError(f"raw {name} is not supported; use {self.planar}")
            self._shapes = [(shape.height, shape.width) for shape in self.layout]
            order = ">" if name.endswith("be") else "<"
            self._dtype = np.dtype(f"{order}u{self.layout[0].dtype.itemsize}")
        else:
            self._shapes = _packed_shapes(self._packed, self.layout)
            self._dtype = np.dtype(f"<u{self._packed.element_bytes}")
        sizes = [rows * columns * self._dtype.itemsize for rows, columns in self._shapes]
        ends = list(accumulate(sizes))
        self._places = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._native = self._dtype.newbyteorder("=")
        self.frame_bytes = ends[-1]

    def unpack(self, buffer: NDArray[np.uint8]) -> Planes:
        """Return the planes of a frame of `frame_bytes` bytes.

        They are views of `buffer` where it holds whole planes in native byte order, else copies.
        """
        raw = self._split(buffer)
        if self._packed is not None:
            return tuple(self._take(self._packed, raw, shape) for shape in self.layout)
        if self._dtype == self._native:
            return tuple(raw)
        return tuple(plane.astype(self._native) for plane in raw)

    def pack(self, planes: Planes) -> Planes:
        """Return the arrays to write, one after another, for a frame of `planes`."""
        packed = self._packed
        if packed is None:
            return tuple(plane.astype(self._dtype, copy=False) for plane in planes)
        buffer = np.full(self.frame_bytes, 255, np.uint8)  # opaque where there is padding
        raw = self._split(buffer)
        for shape, plane in zip(self.layout, planes, strict=True):
            place = packed.components[shape.role]
            target = raw[place.plane][:, place.first :: place.step]
            target[:, : shape.width] = plane << packed.shift if packed.shift else plane
        return (buffer,)

    def _split(self, buffer: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Return the planes as they lie in `buffer`, interleaved or not, as views of it."""
        return [
            buffer[place].view(self._dtype).reshape(shape)
            for place, shape in zip(self._places, self._shapes, strict=True)
        ]

    def _take(
        self, packed: PackedFormat, raw: list[NDArray[Any]], shape: PlaneShape
    ) -> NDArray[Any]:
        """Return the plane of `shape` out of the interleaved planes `raw`."""
        place = packed.components[shape.role]
        samples = raw[place.plane][:, place.first :: place.step][:, : shape.width]
        if packed.shift:
            return (samples >> packed.shift).astype(self._native, copy=False)
        return np.ascontiguousarray(samples, self._native)


def _packed_shapes(packed: PackedFormat, layout: tuple[PlaneShape, ...]) -> list[tuple[int, int]]:
    """Return rows and elements per row of each interleaved plane."""
    shapes: dict[int, tuple[int, int]] = {}
    for shape in layout:
        place = packed.components[shape.role]
        rows, columns = shapes.get(place.plane, (0, 0))
        shapes[place.plane] = max(rows, shape.height), max(columns, shape.width * place.step)
    return [shapes[index] for index in sorted(shapes)]
