"""How a run is going and how it went: the numbers, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import exp

from ltxfilter.pipeline.threads import StageStats
from ltxfilter.values import MIB

MEMORY_OF_PACE = 30.0  # seconds after which an observed speed counts 1/e


@dataclass(slots=True)
class Progress:
    """Where a run stands; updated in place by whoever drives it."""

    frames_in: int = 0  # source frames decoded
    passed: int = 0  # source frames in the output
    drawn: int = 0
    held: int = 0
    repeats: int = 0  # source frames equal to the one before
    cuts: int = 0
    pauses: int = 0  # pauses too long to draw across
    corrupt: int = 0  # damaged packets and frames in the source
    out_of_order: int = 0  # source frames dropped because their time did not advance
    redrawn: int = 0  # hidden or damaged source frames in whose place an engine drew
    covered: int = 0  # those in whose place the nearest good frame was held
    fallbacks: int = 0  # drawn frames that failed the check and were drawn again more simply
    lateness: float | None = None  # seconds that a frame left after its moment arrived, at most
    out_time: Fraction = Fraction(0)  # seconds of output written
    duration: Fraction | None = None  # seconds the output will have, when known
    rate: Fraction | None = None  # output frames per second
    elapsed: float = 0.0  # seconds since the start
    stages: tuple[StageStats, ...] = ()  # in the order frames travel, filled in at the end
    memory: Mapping[str, int] = field(default_factory=dict)  # budgeted bytes by part

    @property
    def frames_out(self) -> int:
        """Output frames written."""
        return self.passed + self.drawn + self.held

    @property
    def done(self) -> float | None:
        """The part that is written, 0..1; None when the duration is unknown."""
        return min(float(self.out_time / self.duration), 1.0) if self.duration else None


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


def status_line(progress: Progress, pace: Pace) -> str:
    """Return one line in ffmpeg's vocabulary, with percentage and time to go."""
    done, remaining = progress.done, pace.remaining(progress)
    percent = "?" if done is None else f"{100 * done:.0f}%"
    speed = "?" if pace.speed is None else f"{pace.speed:.3g}x"
    eta = "?" if remaining is None else clock(remaining, 0)
    return (
        f"frame={progress.frames_out:5d} fps={_fps(progress):.3g} "
        f"time={clock(float(progress.out_time))} speed={speed} {percent} eta={eta}"
    )


def key_values(progress: Progress, *, ended: bool) -> str:
    """Return one block of ffmpeg's -progress: key=value lines, `progress=` last.

    dup_frames are the held frames, drop_frames the source frames that were left out.
    """
    micros = int(progress.out_time * 1_000_000)
    speed = float(progress.out_time) / progress.elapsed if progress.elapsed else 0.0
    values = {
        "frame": progress.frames_out,
        "fps": f"{_fps(progress):.2f}",
        "out_time_us": micros,
        "out_time_ms": micros,  # FFmpeg's name for microseconds, kept for its readers
        "out_time": clock(float(progress.out_time), 6),
        "dup_frames": progress.held,
        "drop_frames": progress.out_of_order,
        "speed": f"{speed:.3g}x",
        "progress": "end" if ended else "continue",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def clock(seconds: float, digits: int = 2) -> str:
    """Write seconds as HH:MM:SS with `digits` decimals."""
    units = 10**digits
    whole, part = divmod(round(seconds * units), units)
    text = f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{text}.{part:0{digits}d}" if digits else text


def _fps(progress: Progress) -> float:
    return progress.frames_out / progress.elapsed if progress.elapsed else 0.0


def summary(progress: Progress) -> Iterator[str]:
    """Yield the final statistics, a line each."""
    yield (
        f"in {progress.frames_in}, out {progress.frames_out}: {progress.passed} passed through, "
        f"{progress.drawn} drawn, {progress.held} held"
    )
    noticed = {
        "repeated frames": progress.repeats,
        "cuts": progress.cuts,
        "pauses": progress.pauses,
        "corrupt": progress.corrupt,
        "redrawn": progress.redrawn,
        "held over": progress.covered,
        "dropped out of order": progress.out_of_order,
        "drawn again more simply": progress.fallbacks,
    }
    if any(noticed.values()):
        yield "noticed: " + ", ".join(f"{name} {count}" for name, count in noticed.items() if count)
    if progress.lateness is not None:
        yield f"latency: at most {1000 * progress.lateness:.0f} ms"
    if progress.stages:
        yield _stages_line(progress)


def _stages_line(progress: Progress) -> str:
    """Say what each stage worked, and which one the others waited for."""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in busy(progress).items())
    peak = sum(stage.peak_bytes for stage in progress.stages)
    return (
        f"took {progress.elapsed:.1f} s; busy: {parts} s; bottleneck: {bottleneck(progress)}; "
        f"queues held at most {megabytes(peak)} MB"
    )


def busy(progress: Progress) -> dict[str, float]:
    """Return the seconds each stage worked, waiting left out; the last one is `encode`.

    A stage that draws in several threads counts the seconds of all of them.
    """
    found: dict[str, float] = {}
    waited = 0.0  # for the stage before
    for stage in progress.stages:
        own = stage.elapsed - stage.send_wait
        found[stage.name] = max(own if stage.name == "draw" else own - waited, 0.0)
        waited = stage.receive_wait
    found["encode"] = max(progress.elapsed - waited, 0.0)
    return found


def bottleneck(progress: Progress) -> str:
    """Name the stage that the others waited for, following the waiting from the end upstream.

    Drawing threads take turns at motion, so motion holds them up only when it fills the time.
    """
    decode, motion, draw = (
        {stage.name: stage for stage in progress.stages}.get(name, StageStats(name))
        for name in ("decode", "motion", "draw")
    )
    if draw.receive_wait < progress.elapsed / 2:
        return "encode"
    if motion.elapsed < 0.8 * progress.elapsed:
        return "draw"
    return "decode" if decode.receive_wait > motion.elapsed / 2 else "motion"


def memory_line(parts: Mapping[str, int]) -> str:
    """Return "memory: decode 12 + window 75 = ~90 MB" for budgeted bytes by part."""
    terms = " + ".join(f"{name} {megabytes(size)}" for name, size in parts.items())
    return f"memory: {terms} = ~{megabytes(sum(parts.values()))} MB"


def megabytes(size: int) -> int:
    """Return bytes as whole MiB, at least 1 unless it is nothing."""
    return max(round(size / MIB), 1) if size else 0


def rate_text(rate: Fraction | None) -> str:
    """Write a frame rate for people: "25 fps", "60000/1001 fps", "variable rate"."""
    return "variable rate" if rate is None else f"{rate} fps"
