"""The values that travel: what the frames of a stream have in common, and one frame.

All of them are frozen, check themselves and print without their samples. The checks raise
ValueError or TypeError: a wrong value here is a mistake in a program, not in an option or a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # [H, W] uint8 or uint16, the stream's own samples; rows may be padded
Planes = tuple[Plane, ...]  # in the pixel format's order

USUAL_INTERVAL = Fraction(1, 24)  # seconds, where nobody knows how far apart frames are


@dataclass(frozen=True, slots=True)
class PlaneShape:
    """One plane of a pixel format at a given picture size."""

    role: str  # "y", "u", "v", "a" (alpha), or "r", "g", "b"
    width: int  # samples, > 0
    height: int  # samples, > 0
    shift_x: int  # log2 of how many picture columns one sample covers
    shift_y: int  # log2 of how many picture rows one sample covers
    depth: int  # significant bits of a sample, 8..16

    def __post_init__(self) -> None:
        """Check the numbers. Raises ValueError."""
        if self.width < 1 or self.height < 1 or not 8 <= self.depth <= 16:
            raise ValueError(f"{self}: a plane has samples, of 8 to 16 bits")

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
    primaries: int = 2  # 1 BT.709, 9 BT.2020; 2 unspecified
    transfer: int = 2  # 1 BT.709, 16 PQ, 18 HLG; 2 unspecified
    chroma_location: int = 0  # 1 left, 2 centre, 3 top left, ...; 0 unspecified

    @property
    def full_range(self) -> bool:
        """True if samples use the whole code range (JPEG)."""
        return self.range == 2


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What every frame of a stream has in common."""

    width: int  # pixels, > 0
    height: int  # pixels, > 0
    pix_fmt: str  # FFmpeg's name of a planar format, e.g. "yuv420p10le"
    layout: tuple[PlaneShape, ...]  # one per plane, in the pixel format's order
    rate: Fraction | None  # frames per second, > 0; None when variable
    interval: Fraction | None = None  # usual seconds from frame to frame; None when unknown
    color: ColorInfo = field(default_factory=ColorInfo)
    sample_aspect: Fraction = Fraction(1)  # width of a pixel over its height

    def __post_init__(self) -> None:
        """Check the numbers. Raises ValueError."""
        if self.width < 1 or self.height < 1 or not self.layout:
            raise ValueError(f"{self.width}x{self.height} {self.pix_fmt}: a picture has samples")
        if (self.rate is not None and self.rate <= 0) or (
            self.interval is not None and self.interval <= 0
        ):
            raise ValueError(f"rate {self.rate}, interval {self.interval}: both are above 0")

    @property
    def usual_interval(self) -> Fraction:
        """Usual seconds from frame to frame; USUAL_INTERVAL where that is unknown."""
        return self.interval or USUAL_INTERVAL

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

    SOURCE = "source"  # a source frame, passed through
    INTERPOLATED = "interpolated"  # made by an engine
    REPEATED = "repeated"  # a source frame shown again, or before its own time


@dataclass(frozen=True, slots=True)
class Credit:
    """Which engine made an interpolated frame, and why that one."""

    engine: str  # its name
    rejected: str | None = None  # why the picture of the engine asked for was not taken
    choice: Any = None  # engines/'s own: which partner an engine took the picture from, and why


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """One picture and the moment at which it is shown."""

    time: Fraction  # seconds on the source's clock
    planes: Planes  # read-only to everyone who did not make them
    origin: Any = None  # media/'s own: the decoded frame whose side data an output frame inherits
    duration: Fraction | None = None  # seconds, if the source declares it
    corrupt: bool = False  # the decoder calls it damaged: nothing is interpolated from it
    hidden: bool = False  # the user calls it missing: it is neither shown nor interpolated from
    lost: bool = False  # frames before it did not decode, so the time since the last is no pause
    spliced: bool = False  # the picture's size changed here: nothing is interpolated across
    made: Made = Made.SOURCE
    psnr_db: float | None = None  # an interpolated frame's estimated PSNR of luma, in dB
    credit: Credit | None = None  # of an interpolated frame

    def __post_init__(self) -> None:
        """Check that the time is exact. Raises TypeError."""
        if not isinstance(self.time, Fraction):
            raise TypeError(f"time {self.time!r}: give seconds as a Fraction")

    def __repr__(self) -> str:
        """Describe it without its samples."""
        shapes = ", ".join("x".join(map(str, plane.shape[::-1])) for plane in self.planes)
        marks = [name for name in ("corrupt", "hidden", "lost", "spliced") if getattr(self, name)]
        words = [f"{float(self.time):.6f} s", self.made.value, *marks]
        return f"Frame({' '.join(words)}, {shapes})"

    @property
    def nbytes(self) -> int:
        """Bytes of its samples."""
        return sum(plane.nbytes for plane in self.planes)
