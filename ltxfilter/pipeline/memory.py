"""How a run's memory is divided: every buffer in bytes, stated before work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from ltxfilter.errors import OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.values import MIB
from ltxfilter.windows.window import WindowShape

BASE_BYTES = 100 * MIB  # interpreter and libraries, measured by benchmarks/memory.py
LEAST_WAITING = 1 << 19  # bytes; several groups of thumbnails
IN_HAND = 2  # frames that stages hold while they pass them on


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of one run's buffers."""

    decode_bytes: int  # decoded frames waiting for a window
    ahead: int  # windows prepared, being drawn or drawn but not yet written
    slots: int  # of one of them; what has more is drawn in parts, where the engine lets itself
    parts: Mapping[str, int]  # bytes by part, for people

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


def divide(
    memory: int,
    video: VideoInfo,
    rate: Fraction | None,
    shape: WindowShape,
    *,
    held: tuple[int, int],
    threads: int,
    hole: Fraction = Fraction(0),
) -> Budget:
    """Return the roomiest division that fits in `memory` bytes.

    held: bytes that the source and the sink hold by themselves. hole: seconds of the longest
    stretch of source frames that are to be redrawn. Raises OptionError with the smallest number
    that would do.
    """
    steps = [(8, threads + 2), (4, threads + 1), (2, threads), (1, 1)]
    budgets = [_division(step, video, rate, shape, held=held, hole=hole) for step in steps]
    for budget in budgets:
        if budget.total <= memory:
            return budget
    needed = ceil(budgets[-1].total / MIB)
    raise OptionError(
        f"--memory {memory // MIB}M is too little for {video.width}x{video.height} "
        f"{video.pix_fmt}: this job needs at least {needed}M"
    )


def _division(
    step: tuple[int, int],
    video: VideoInfo,
    rate: Fraction | None,
    shape: WindowShape,
    *,
    held: tuple[int, int],
    hole: Fraction,
) -> Budget:
    frames, ahead = step
    frame = video.frame_bytes
    waiting = max(frames * frame, LEAST_WAITING)
    advance = shape.keyframes - 1  # new keyframes per window
    per_window = shape.draw_bytes + advance * frame
    interval = video.interval or Fraction(1, 24)
    usual = _slots(advance * interval, video, rate)
    drawn = min(usual, shape.slots)
    if not shape.slots:  # all at once: what is hidden, from the frame before to the frame after
        drawn = max(usual, _slots(hole + 2 * interval, video, rate)) if hole else usual
    parts = {
        "decode": held[0] + waiting,
        "window": (shape.before + shape.keyframes + shape.after + IN_HAND) * frame,
        "motion": shape.work_bytes + per_window,
        "draw": ahead * (per_window + drawn * frame),
        "encode": held[1],
        "base": BASE_BYTES,
    }
    return Budget(waiting, ahead, drawn, parts)


def _slots(seconds: Fraction, video: VideoInfo, rate: Fraction | None) -> int:
    """Return how many slots there usually are in a stretch of the source."""
    return max(ceil(seconds * (rate or 2 / (video.interval or Fraction(1, 24)))), 1)
