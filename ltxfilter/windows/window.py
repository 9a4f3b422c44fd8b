"""Windows: neighbouring keyframes that an engine sees at once, and slots between some of them.

Everything here is a value. `rolling.py` makes windows of source frames, `engines/base.py` says what
an engine does with one, `pipeline/window_runner.py` turns one into output frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from ltxfilter.frame import Frame


class Join(Enum):
    """How two neighbouring keyframes are related; frames are interpolated in INTERPOLATE alone."""

    INTERPOLATE = "interpolate"  # both belong to one shot
    CUT = "cut"  # a new shot begins at the second
    DUPLICATE = "duplicate"  # the second shows the same picture again
    PAUSE = "pause"  # the source showed nothing new for much longer than usual
    CORRUPT = "corrupt"  # one of the two is damaged, or too much between them is missing
    SPLICE = "splice"  # the picture's size changes at the second


@dataclass(frozen=True, slots=True)
class Slot:
    """An output frame to be produced."""

    index: int  # position in the output, from 0
    time: Fraction  # seconds on the source's clock
    left: int  # position in the window of the keyframe before it
    tau: Fraction
    """Where it lies between that keyframe (0) and the next (1).

    Exactly 0 passes the keyframe through. A value from 0 to 1 is interpolated, where the interval
    allows it. Below 0 the keyframe is shown before its own time, since what came before is missing.
    """

    def __post_init__(self) -> None:
        """Check the positions. Raises ValueError."""
        if self.index < 0 or self.left < 0:
            raise ValueError(f"slot {self.index} after keyframe {self.left}: neither is below 0")


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies between a keyframe and the next."""

    join: Join
    reset: bool  # True: nothing that earlier intervals left behind may be used from here on
    missing: tuple[Fraction, ...] = ()  # seconds, ascending: source frames between them not shown
    switch_time: Fraction | None = None
    """Seconds; with `missing` frames that are not interpolated, the earlier keyframe is repeated
    before this time and the later one is shown from it on. None where no frame is missing."""

    @property
    def draws(self) -> bool:
        """True if an engine may interpolate in it, or look across it."""
        return self.join is Join.INTERPOLATE


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Which windows an engine wants, and what it holds in memory."""

    keyframes: int = 2  # keyframes to interpolate between in one window, >= 2
    before: int = 0  # context: further keyframes before those, at most
    after: int = 0  # context: further keyframes after those, at most; this is latency
    slots: int = 8  # most slots in one call of `draw`; 0: all slots of a window at once
    work_bytes: int = 0  # bytes held all the time, however many windows are in flight
    model_bytes: int = 0  # of work_bytes, what models take, whatever the size of frames
    device_bytes: int = 0  # of a GPU's memory, what models take; no part of work_bytes
    draw_bytes: int = 0  # bytes held per window in flight, beyond its frames and pictures

    def __post_init__(self) -> None:
        """Check the numbers. Raises ValueError."""
        rest = (self.before, self.after, self.slots, self.work_bytes, self.draw_bytes)
        if self.keyframes < 2 or min(*rest, self.device_bytes) < 0:
            raise ValueError(f"{self}: two keyframes are the least, and nothing is below 0")
        if not 0 <= self.model_bytes <= self.work_bytes:
            raise ValueError(f"{self}: model_bytes are a part of work_bytes")


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Keyframes plus the slots to produce between two of them."""

    index: int  # position in the stream, from 0
    keyframes: tuple[Frame, ...]  # ascending in time, context included
    first: int  # position of the keyframe that its slots begin at
    last: int  # position of the keyframe that its slots end before; `first` at the stream's end
    intervals: tuple[Interval, ...]  # intervals[i] lies between keyframes[i] and keyframes[i + 1]
    slots: tuple[Slot, ...]  # ascending in time
    start: Fraction = Fraction(0)  # seconds on the source's clock: time of the stream's first frame

    def __post_init__(self) -> None:
        """Check that the positions and numbers agree. Raises ValueError."""
        if not 0 <= self.first <= self.last < len(self.keyframes) == len(self.intervals) + 1:
            raise ValueError(
                f"window {self.index}: keyframes {self.first} to {self.last} of "
                f"{len(self.keyframes)}, with {len(self.intervals)} intervals between them"
            )

    @property
    def reset(self) -> bool:
        """True if nothing may be carried into the first interval that its slots lie in."""
        return self.first == self.last or self.intervals[self.first].reset

    def draws(self, slot: Slot) -> bool:
        """Return True if the engine makes the frame of `slot`; else a source frame is shown."""
        inside = slot.tau != 0 and slot.left < len(self.intervals)
        return inside and self.intervals[slot.left].draws

    def to_draw(self) -> Iterator[Slot]:
        """Yield the slots whose frames the engine makes, in order."""
        return (slot for slot in self.slots if self.draws(slot))
