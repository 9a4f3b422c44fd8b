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

BASE_BYTES = 100 * MIB  # interpreter and libraries, measured by `make bench-memory`
LEAST_QUEUE = 1 << 19  # bytes; a queue holds several groups of small frames
IN_HAND = 2  # frames that stages hold while they pass them on


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of one run's buffers."""

    decode_bytes: int  # decoded frames that wait for their window
    ahead: int  # windows that are prepared, in work, or done and not yet written
    slots: int  # of one of them; a window with more is made in parts, where the engine allows it
    parts: Mapping[str, int]  # bytes by part, for people

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Job:
    """What decides how much memory a run needs."""

    video: VideoInfo  # the frames that the engine sees
    rate: Fraction | None  # output frames per second; None keeps the source's timeline, doubled
    shape: WindowShape  # the windows that the engine asks for
    source_bytes: int  # that the source holds by itself
    sink_bytes: int  # that the sink holds by itself
    threads: int  # that interpolate
    longest_redraw: Fraction = Fraction(0)  # seconds of missing frames to interpolate in one go


def divide(memory: int, job: Job) -> Budget:
    """Return the roomiest division of `memory` bytes.

    Raises OptionError with the smallest number that would do.
    """
    threads = job.threads
    steps = [(8, threads + 2), (4, threads + 1), (2, threads), (1, 1)]
    budgets = [_division(job, frames, ahead) for frames, ahead in steps]
    for budget in budgets:
        if budget.total <= memory:
            return budget
    needed = ceil(budgets[-1].total / MIB)
    video = job.video
    raise OptionError(
        f"--memory {memory // MIB}M is too little for {video.width}x{video.height} "
        f"{video.pix_fmt}: this job needs at least {needed}M"
    )


def _division(job: Job, frames: int, ahead: int) -> Budget:
    """Return the budget with `frames` waiting decoded frames and `ahead` windows in flight."""
    video, shape = job.video, job.shape
    frame = video.frame_bytes
    queue = max(frames * frame, LEAST_QUEUE)
    advance = shape.keyframes - 1  # new keyframes per window
    per_window = shape.draw_bytes + advance * frame
    slots = _slots_of(job)
    parts = {
        "decode": job.source_bytes + queue,
        "window": (shape.before + shape.keyframes + shape.after + IN_HAND) * frame,
        "motion": shape.work_bytes + per_window,
        "interpolate": ahead * (per_window + slots * frame),
        "encode": job.sink_bytes,
        "base": BASE_BYTES,
    }
    return Budget(queue, ahead, slots, parts)


def _slots_of(job: Job) -> int:
    """Return how many slots of a window are made in one go."""
    interval = job.video.usual_interval
    usual = _slots_in((job.shape.keyframes - 1) * interval, job)
    if job.shape.slots:
        return min(usual, job.shape.slots)
    if not job.longest_redraw:
        return usual
    return max(usual, _slots_in(job.longest_redraw + 2 * interval, job))  # from good to good frame


def _slots_in(seconds: Fraction, job: Job) -> int:
    """Return how many slots there usually are in a stretch of the source."""
    return max(ceil(seconds * (job.rate or 2 / job.video.usual_interval)), 1)
