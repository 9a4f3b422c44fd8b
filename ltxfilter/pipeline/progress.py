"""How a run is going and how it went: the numbers. `cli/progress_line.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import exp
from typing import TYPE_CHECKING, Any

from ltxfilter.pipeline.threads import StageStats

if TYPE_CHECKING:
    from ltxfilter.frame import Frame
    from ltxfilter.pipeline.record.newest import FramePair
    from ltxfilter.pipeline.record.originals import Proof


@dataclass(slots=True)
class Outcome:
    """Which engines made the interpolated frames, and why those; adds up over segments."""

    engines: dict[str, int] = field(default_factory=dict)  # engine -> frames that it made
    fallbacks: dict[str, int] = field(default_factory=dict)  # "engine: why it was needed" -> frames
    partner: str | None = None  # the engine that is asked for what is hard
    asked: int = 0  # frames for which it was asked
    taken: int = 0  # of these, frames of which a part is its picture
    area: float = 0.0  # of the frames `taken`, how much is its picture, 1 for a whole frame
    refused: dict[str, int] = field(default_factory=dict)  # why nothing was taken -> frames

    def add(self, frame: Frame) -> None:
        """Count an interpolated frame."""
        credit = frame.credit
        if credit is None:
            return
        choice = credit.choice
        _count_in(self.engines, choice.engine if choice else credit.engine)
        if credit.rejected:
            _count_in(self.fallbacks, f"{credit.engine}: {credit.rejected}")
        if choice and choice.tried:
            self.asked += 1
            if choice.share:
                self.taken, self.area = self.taken + 1, self.area + choice.share
            else:
                _count_in(self.refused, choice.reason or "its picture was not better")

    def merge(self, found: Mapping[str, Any]) -> None:
        """Add another one, as `asdict` gives it."""
        for name in ("engines", "fallbacks", "refused"):
            own = getattr(self, name)
            for key, count in found[name].items():
                own[key] = own.get(key, 0) + count
        for name in ("asked", "taken", "area"):
            setattr(self, name, getattr(self, name) + found[name])
        self.partner = self.partner or found["partner"]


def _count_in(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


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
    outcome: Outcome = field(default_factory=Outcome)  # of the interpolated frames
    fallbacks: int = 0  # interpolated frames that failed the check and come from a fallback
    verified: int = 0  # of `passed`, those compared with what was decoded: the samples are the same
    altered: int = 0  # of `passed`, those whose samples are not the same
    lateness: float | None = None  # seconds by which a live frame left late, at most
    out_time: Fraction = Fraction(0)  # seconds of output written
    duration: Fraction | None = None  # seconds that the output will have, when known
    rate: Fraction | None = None  # output frames per second
    elapsed: float = 0.0  # seconds since the start
    stages: tuple[StageStats, ...] = ()  # in the order that frames travel
    memory: Mapping[str, int] = field(default_factory=dict)  # budgeted bytes by part
    memory_peak: int | None = None  # bytes in use at most, file mappings left out; None: unknown
    memory_exceeded: bool = False  # True if more was in use than was budgeted
    originals: Proof | None = None  # that source frames are passed through; None without a report
    segments: Mapping[str, int] = field(default_factory=dict)  # planned, reused, redone; of a job
    workers: Mapping[str, int] = field(default_factory=dict)  # segments that each worker stored
    worked: Mapping[str, float] = field(default_factory=dict)  # seconds by stage, of all workers
    newest: FramePair | None = None  # interpolated of late; None unless a live view is asked for
    warnings: tuple[str, ...] = ()  # what the run warned of; none are kept without a report

    @property
    def frames_out(self) -> int:
        """Output frames written."""
        return self.passed + self.interpolated + self.repeated

    @property
    def done(self) -> float | None:
        """The part that is written, 0..1; None when the duration is unknown."""
        return min(float(self.out_time / self.duration), 1.0) if self.duration else None


MEMORY_OF_PACE = 30.0  # seconds after which an observed speed counts 1/e


class Pace:
    """How fast a run goes now: seconds of output per second, recent ones weighing more."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._out_time = 0.0
        self._speed: float | None = None

    def observe(self, progress: Progress) -> None:
        """Take a look at where the run stands."""
        step = progress.elapsed - self._elapsed
        if step <= 0:
            return
        speed = (float(progress.out_time) - self._out_time) / step
        weight = 1.0 if self._speed is None else 1 - exp(-step / MEMORY_OF_PACE)
        self._speed = speed * weight + (self._speed or 0.0) * (1 - weight)
        self._elapsed, self._out_time = progress.elapsed, float(progress.out_time)

    @property
    def speed(self) -> float | None:
        """Seconds of output per second; None before anything was observed."""
        return self._speed

    def remaining(self, progress: Progress) -> float | None:
        """Return the seconds still to go; None when nobody can know."""
        if not progress.duration or not self._speed:
            return None
        return max(float(progress.duration - progress.out_time), 0.0) / self._speed


def busy(progress: Progress) -> dict[str, float]:
    """Return the seconds each stage worked, waiting left out; the last one is `encode`.

    The stage that interpolates in several threads counts the seconds of all of them, and of a job
    each stage those of all workers.
    """
    if not progress.stages:
        return dict(progress.worked)
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
