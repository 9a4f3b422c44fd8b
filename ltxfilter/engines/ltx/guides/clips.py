"""Which clips of keyframes a window is divided into, for a source of guides with a fixed length."""

from __future__ import annotations

from dataclasses import dataclass

from ltxfilter.engines.ltx.diffusion.shots import reflected, shot_bounds
from ltxfilter.windows.window import Slot, Window


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """One clip of a window, and the slots that it serves."""

    keyframes: tuple[int, ...]  # positions in window.keyframes; reflected at the shot's ends
    first: int  # position in window.keyframes of the keyframe that its own intervals begin with
    slots: tuple[Slot, ...]  # that lie in its own intervals


def clip_spans(window: Window, intervals: int, before: int, after: int) -> tuple[ClipSpan, ...]:
    """Return the clips that serve the slots of a window.

    intervals: of each clip. before, after: keyframes of context on its two sides. Clips follow one
    another from the window's first keyframe on, so that a clip is the same whichever of its slots
    are asked for. Clips without slots are left out.
    """
    slots = list(window.to_draw())
    low, high = shot_bounds(window) if slots else (0, 0)
    spans = []
    for first in range(window.first, window.last, intervals):
        own_slots = tuple(slot for slot in slots if first <= slot.left < first + intervals)
        if own_slots:
            numbers = range(first - before, first + intervals + after + 1)
            keyframes = tuple(reflected(number, low, high) for number in numbers)
            spans.append(ClipSpan(keyframes, first, own_slots))
    return tuple(spans)
