"""The proof that source frames are passed through: their samples' digests, in and out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np

from ltxfilter.frame import Frame, Made, Planes

MOST_WAITING = 4096  # digests of frames that have arrived and have not left; 32 bytes each


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of the samples of source frames."""

    decoded: int  # source frames whose samples were digested as they were decoded
    decoded_sha256: str  # of all their samples, one frame after the other, planes in order
    passed: int  # output frames that show a source frame at its own time
    identical: int  # those of them whose samples are those that were decoded


class Originals:
    """Digests source frames as they arrive, and again as they leave for the output.

    One thread iterates over `arriving`, one calls `leaving`.
    """

    def __init__(self) -> None:
        self._decoded = sha256()
        self._waiting: OrderedDict[Fraction, bytes] = OrderedDict()  # by time
        self._arrived = self._left = self._identical = 0

    def arriving(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames, as they are."""
        for frame in frames:
            own = sha256()
            _digest(frame.planes, own, self._decoded)
            self._arrived += 1
            self._waiting[frame.time] = own.digest()
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popitem(last=False)
            yield frame

    def leaving(self, frame: Frame) -> None:
        """Compare an output frame with the source frame of its time, if it is to be that."""
        if frame.made is not Made.SOURCE:
            return
        self._left += 1
        own = sha256()
        _digest(frame.planes, own)
        if self._waiting.get(frame.time) == own.digest():
            self._identical += 1

    def proof(self) -> Proof:
        """Return what was found until now."""
        return Proof(
            self._arrived,
            self._decoded.hexdigest(),
            self._left,
            self._identical,
        )


def _digest(planes: Planes, *digests: Any) -> None:
    """Add a frame's samples without padding, low byte first, to digests."""
    for plane in planes:
        samples = np.ascontiguousarray(plane)
        if samples.dtype.itemsize > 1:
            samples = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        for digest in digests:
            digest.update(samples.data)
