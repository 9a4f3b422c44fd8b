"""Windows: the keyframes of one shot that an engine sees at once, plus the slots between them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from ltxfilter.frame import Frame
from ltxfilter.windows.timeline import Slot

log = logging.getLogger("ltxfilter.window")


class Join(Enum):
    """How two neighbouring keyframes hang together; only INTERPOLATE is drawn across."""

    INTERPOLATE = "interpolate"
    CUT = "cut"  # a new shot begins
    DUPLICATE = "duplicate"  # the same picture again
    PAUSE = "pause"  # the source paused
    CORRUPT = "corrupt"  # one of the two is damaged
    SPLICE = "splice"  # the picture's size changed


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies between a keyframe and the next."""

    join: Join
    reset: bool  # nothing that earlier intervals left behind may be used from here on
    hidden: tuple[Fraction, ...] = ()  # seconds: source frames between them that are not shown
    switch_time: Fraction | None = (
        None  # where those are held over: seconds from when on the later is
    )

    @property
    def draws(self) -> bool:
        """True if an engine may draw in it, or look across it."""
        return self.join is Join.INTERPOLATE


@dataclass(frozen=True, slots=True)
class WindowShape:
    """What an engine wants to see at once, and what it costs."""

    keyframes: int = 2  # keyframes to draw between in one window, >= 2
    before: int = 0  # context: earlier keyframes
    after: int = 0  # context: later keyframes, which is latency
    slots: int = 8  # most slots in one draw; further ones are drawn apart; 0: all at once
    work_bytes: int = 0  # resident working memory, however many windows are in flight
    draw_bytes: int = 0  # memory of one window in flight beyond its own frames


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Keyframes plus the slots to produce between two of them."""

    index: int  # from 0, in order
    keyframes: tuple[Frame, ...]  # ascending time, context included
    first: int  # position of the keyframe it draws from
    last: int  # position of the keyframe it draws up to; equal to first at the stream's end
    intervals: tuple[Interval, ...]  # intervals[i] lies between keyframes[i] and keyframes[i + 1]
    slots: tuple[Slot, ...]  # keyframes[first].time <= slot.time < keyframes[last].time, or held
    start: Fraction = Fraction(0)  # seconds on the source's clock of the stream's first frame

    @property
    def reset(self) -> bool:
        """True if nothing may be carried into the first interval that it draws."""
        return self.first == self.last or self.intervals[self.first].reset

    def draws(self, slot: Slot) -> bool:
        """Return True if the engine draws this slot; else a source frame is shown."""
        return slot.tau != 0 and slot.left < len(self.intervals) and self.intervals[slot.left].draws

    def to_draw(self) -> Iterator[Slot]:
        """Yield the slots that an engine draws, in order."""
        return (slot for slot in self.slots if self.draws(slot))
