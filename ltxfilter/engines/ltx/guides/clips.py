"""Which stretches of keyframes a window is drawn in, by a source that wants a fixed number."""

from __future__ import annotations

from dataclasses import dataclass

from ltxfilter.engines.ltx.diffusion.grids import shot
from ltxfilter.engines.ltx.temporal import reflected
from ltxfilter.windows.window import Slot, Window


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """One clip of a window, as positions of keyframes, and what it is drawn for."""

    keyframes: tuple[int, ...]  # time turns round where the shot gives out
    own: int  # position of the keyframe that its own intervals begin with
    slots: tuple[Slot, ...]  # of its own intervals


def stretches(window: Window, intervals: int, before: int, after: int) -> tuple[ClipSpan, ...]:
    """Return the clips that the slots of a window take, each of so many intervals.

    They lie one after the other from the window's first keyframe on, so that a clip is the same
    whichever of its slots are asked for; those that draw nothing are left out.
    """
    slots = list(window.to_draw())
    low, high = shot(window) if slots else (0, 0)
    found = []
    for own in range(window.first, window.last, intervals):
        taken = tuple(slot for slot in slots if own <= slot.left < own + intervals)
        places = range(own - before, own + intervals + after + 1)
        if taken:
            keyframes = tuple(reflected(number, low, high) for number in places)
            found.append(ClipSpan(keyframes, own, taken))
    return tuple(found)
