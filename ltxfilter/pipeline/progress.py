"""How a run is going and how it went: the numbers. `cli/progress_line.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ltxfilter.pipeline.threads import StageStats


@dataclass(slots=True)
class Progress:
    """Where a run stands; updated in place by whoever drives it."""

    frames_in: int = 0  # source frames decoded
    passed: int = 0  # source frames in the output, untouched
    interpolated: int = 0  # output frames made by an engine
    repeated: int = 0  # output frames that show a source frame again
    duplicates: int = 0  # source frames that show the same picture as the one before
    cuts: int = 0  # scene cuts
    pauses: int = 0  # of the source, too long to interpolate across
    corrupt: int = 0  # damaged packets and frames in the source
    out_of_order: int = 0  # source frames dropped because their time did not advance
    missing_interpolated: int = 0  # missing source frames in whose place frames are interpolated
    missing_repeated: int = 0  # missing source frames in whose place the nearest one is repeated
    fallbacks: int = 0  # interpolated frames that failed the check and come from a fallback
    remarks: tuple[str, ...] = ()  # which engines were not taken, how often and why
    lateness: float | None = None  # seconds by which a live frame left late, at most
    out_time: Fraction = Fraction(0)  # seconds of output written
    duration: Fraction | None = None  # seconds that the output will have, when known
    rate: Fraction | None = None  # output frames per second
    elapsed: float = 0.0  # seconds since the start
    stages: tuple[StageStats, ...] = ()  # in the order that frames travel
    memory: Mapping[str, int] = field(default_factory=dict)  # budgeted bytes by part
    memory_peak: int | None = None  # bytes in use at most, file mappings left out; None: unknown
    memory_exceeded: bool = False  # True if more was in use than was budgeted
    segments: Mapping[str, int] = field(default_factory=dict)  # planned, reused, redone; of a job
    workers: Mapping[str, int] = field(default_factory=dict)  # segments that each worker stored

    @property
    def frames_out(self) -> int:
        """Output frames written."""
        return self.passed + self.interpolated + self.repeated

    @property
    def done(self) -> float | None:
        """The part that is written, 0..1; None when the duration is unknown."""
        return min(float(self.out_time / self.duration), 1.0) if self.duration else None


def busy(progress: Progress) -> dict[str, float]:
    """Return the seconds each stage worked, waiting left out; the last one is `encode`.

    The stage that interpolates in several threads counts the seconds of all of them.
    """
    found: dict[str, float] = {}
    waited = 0.0  # for the stage before
    for stage in progress.stages:
        own = stage.elapsed - stage.send_wait
        found[stage.name] = max(own if stage.name == "interpolate" else own - waited, 0.0)
        waited = stage.receive_wait
    found["encode"] = max(progress.elapsed - waited, 0.0)
    return found


def bottleneck(progress: Progress) -> str:
    """Name the stage that the others waited for, following the waiting from the end upstream.

    The interpolating threads take turns at motion, so it holds them up only if it fills the time.
    """
    decode, motion, interpolate = (
        {stage.name: stage for stage in progress.stages}.get(name, StageStats(name))
        for name in ("decode", "motion", "interpolate")
    )
    if interpolate.receive_wait < progress.elapsed / 2:
        return "encode"
    if motion.elapsed < 0.8 * progress.elapsed:
        return "interpolate"
    return "decode" if decode.receive_wait > motion.elapsed / 2 else "motion"
