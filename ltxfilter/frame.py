"""The values that travel: what a stream's frames have in common, and one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # [H, W] uint8 or uint16, the stream's own samples; rows may be padded
Planes = tuple[Plane, ...]  # in the pixel format's order


@dataclass(frozen=True, slots=True)
class PlaneShape:
    """One plane of a pixel format at a given picture size."""

    role: str  # "y", "u", "v", "a" (alpha), or "r", "g", "b"
    width: int  # samples
    height: int  # samples
    shift_x: int  # log2 of how many picture columns one sample covers
    shift_y: int  # log2 of how many picture rows one sample covers
    depth: int  # significant bits of a sample, 8..16

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 up to 8 bits, else uint16 (native byte order)."""
        return np.dtype(np.uint8 if self.depth <= 8 else np.uint16)

    @property
    def nbytes(self) -> int:
        """Bytes of one plane without padding."""
        return self.width * self.height * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """How samples stand for colour: H.273 code points, as FFmpeg numbers them."""

    matrix: int = 2  # 1 BT.709, 5/6 BT.601, 9 BT.2020; 2 unspecified
    range: int = 0  # 1 limited, 2 full; 0 unspecified, taken as limited
    primaries: int = 2
    transfer: int = 2
    chroma_location: int = 0  # 1 left, 2 centre, 3 top left, ...; 0 unspecified

    @property
    def full_range(self) -> bool:
        """True if samples use the whole code range (JPEG)."""
        return self.range == 2


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What every frame of a stream has in common."""

    width: int  # pixels
    height: int  # pixels
    pix_fmt: str  # FFmpeg's name of a planar format, e.g. "yuv420p10le"
    layout: tuple[PlaneShape, ...]  # one per plane, in the pixel format's order
    rate: Fraction | None  # frames per second; None when variable
    interval: Fraction | None = None  # typical seconds from frame to frame; None when unknown
    color: ColorInfo = field(default_factory=ColorInfo)
    sample_aspect: Fraction = Fraction(1)  # width of a pixel over its height

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame without padding."""
        return sum(shape.nbytes for shape in self.layout)

    @property
    def depth(self) -> int:
        """Significant bits of a sample of the first plane."""
        return self.layout[0].depth


class Made(Enum):
    """Where an output frame comes from."""

    SOURCE = "source"  # a source frame, untouched
    INTERPOLATED = "interpolated"  # made by an engine
    REPEATED = "repeated"  # a source frame repeated


@dataclass(frozen=True, slots=True)
class Credit:
    """Who drew a picture, and why."""

    engine: str  # its name
    rejected: str | None = None  # why the picture of the engine asked for was not taken
    choice: Any = None  # engines/'s own: which of its engines one that owns some let draw, and why


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture and the moment it is shown."""

    time: Fraction  # seconds on the source's clock
    planes: Planes
    origin: Any = None  # media/'s own: the decoded frame whose lasting side data this inherits
    duration: Fraction | None = None  # seconds, if the source declares it
    corrupt: bool = False  # the decoder could not vouch for it: never drawn from
    hidden: bool = False  # taken as missing: never drawn from, nor shown
    lost: bool = False  # frames before it did not decode: the time since the last is no pause
    spliced: bool = False  # the source changed its picture size here: never drawn across
    made: Made = Made.SOURCE
    psnr_db: float | None = None  # an engine's estimate of a drawn frame's quality
    credit: Credit | None = None  # of a drawn frame

    @property
    def nbytes(self) -> int:
        """Bytes of its samples."""
        return sum(plane.nbytes for plane in self.planes)
