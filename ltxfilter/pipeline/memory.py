"""How a run's memory is divided: every buffer in bytes, stated before work starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

from ltxfilter.errors import OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.values import MIB
from ltxfilter.windows.window import WindowShape

USUAL_MEMORY = 2 << 30  # bytes; what is divided unless `--memory` says otherwise
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
UNKNOWN_HOURS = 4  # of output that are counted where nobody knows how long it gets
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
class Needs:
    """What decides how much memory a run needs."""

    video: VideoInfo  # the frames that the engine sees
    rate: Fraction | None  # output frames per second; None keeps the source's timeline, doubled
    shape: WindowShape  # the windows that the engine asks for
    source_bytes: int  # that the source holds by itself
    sink_bytes: int  # that the sink holds by itself
    threads: int  # that interpolate
    engine_extra: int = 0  # bytes that the engine's libraries and models take beside its work
    copied_bytes: int = 0  # that the streams hold that are copied beside the video
    drawn_bytes: int | None = None  # of a frame of the engine's; None: as a source frame
    scale_bytes: int = 0  # that making frames larger takes
    index_bytes: int = 0  # by which the sink grows with each frame
    duration: Fraction | None = None  # seconds of output, if known
    longest_redraw: Fraction = Fraction(0)  # seconds of missing frames to interpolate in one go

    @property
    def index_per_hour(self) -> int:
        """Bytes by which the sink grows in an hour of output."""
        return ceil(self.index_bytes * 3600 * (self.rate or 2 / self.video.usual_interval))

    @property
    def index_at_end(self) -> int:
        """Bytes by which the sink has grown at the end, or after `UNKNOWN_HOURS`."""
        hours = UNKNOWN_HOURS if self.duration is None else self.duration / 3600
        return ceil(self.index_per_hour * hours)


def divide(memory: int | None, needs: Needs) -> Budget:
    """Return the roomiest division of `memory` bytes.

    memory: None takes `USUAL_MEMORY`, and where no division fits into that, as much as the smallest
    one needs, up to half of the machine's. Raises OptionError with the number that would do.
    """
    threads = needs.threads
    steps = [(8, threads + 2), (4, threads + 1), (2, threads), (1, 1)]
    budgets = [_division(needs, frames, ahead) for frames, ahead in steps]
    for budget in budgets:
        if budget.total <= (USUAL_MEMORY if memory is None else memory):
            return budget
    least = budgets[-1]
    half = machine_memory() // 2
    if memory is None and least.total <= half:
        return least
    given = "half of this machine's memory," if memory is None else "--memory"
    size = f"{(half if memory is None else memory) // MIB}M"
    needed = f"{ceil(least.total / MIB)}M"
    advice = f"; --memory {needed} allows it" if memory is None else ""
    if models := needs.shape.model_bytes:
        needed += f", of which models take {ceil(models / MIB)}M"
    video = needs.video
    raise OptionError(
        f"{given} {size} is too little for {video.width}x{video.height} "
        f"{video.pix_fmt}: this job needs at least {needed}{advice}"
    )


def machine_memory() -> int:
    """Return the bytes of memory that this process may use; `USUAL_MEMORY` twice if unknown."""
    found = []
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max" means that there is no limit
            found.append(int(Path(path).read_text()))
    return min(found, default=2 * USUAL_MEMORY)


def _division(needs: Needs, frames: int, ahead: int) -> Budget:
    """Return the budget with `frames` waiting decoded frames and `ahead` windows in flight."""
    video, shape = needs.video, needs.shape
    frame = video.frame_bytes
    queue = max(frames * frame, LEAST_QUEUE)
    advance = shape.keyframes - 1  # new keyframes per window
    per_window = shape.draw_bytes + advance * frame
    slots = _slots_of(needs)
    parts = {
        "decode": needs.source_bytes + queue,
        "window": (shape.before + shape.keyframes + shape.after + IN_HAND) * frame,
        **({"models": shape.model_bytes} if shape.model_bytes else {}),
        "motion": shape.work_bytes - shape.model_bytes + per_window,
        "interpolate": ahead * (per_window + slots * (needs.drawn_bytes or frame)),
        **({"scale": needs.scale_bytes} if needs.scale_bytes else {}),
        "copied": needs.copied_bytes,
        "encode": needs.sink_bytes,
        "index": needs.index_at_end,
        "base": BASE_BYTES + needs.engine_extra,
    }
    return Budget(queue, ahead, slots, parts)


def _slots_of(needs: Needs) -> int:
    """Return how many slots of a window are made in one go."""
    interval = needs.video.usual_interval
    usual = _slots_in((needs.shape.keyframes - 1) * interval, needs)
    if needs.shape.slots:
        return min(usual, needs.shape.slots)
    if not needs.longest_redraw:
        return usual
    return max(
        usual, _slots_in(needs.longest_redraw + 2 * interval, needs)
    )  # from good to good frame


def _slots_in(seconds: Fraction, needs: Needs) -> int:
    """Return how many slots there usually are in a stretch of the source."""
    return max(ceil(seconds * (needs.rate or 2 / needs.video.usual_interval)), 1)
