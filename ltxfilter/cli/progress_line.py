"""How numbers are written for people and programs: status line, -progress blocks, closing lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import exp

from ltxfilter.pipeline.progress import Progress, bottleneck, busy
from ltxfilter.values import MIB

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

    dup_frames are the repeated frames, drop_frames the source frames that were left out.
    """
    micros = int(progress.out_time * 1_000_000)
    speed = float(progress.out_time) / progress.elapsed if progress.elapsed else 0.0
    values = {
        "frame": progress.frames_out,
        "fps": f"{_fps(progress):.2f}",
        "out_time_us": micros,
        "out_time_ms": micros,  # FFmpeg's name for microseconds, kept for its readers
        "out_time": clock(float(progress.out_time), 6),
        "dup_frames": progress.repeated,
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
        f"{progress.interpolated} interpolated, {progress.repeated} repeated"
    )
    noticed = {
        "duplicates": progress.duplicates,
        "scene cuts": progress.cuts,
        "pauses": progress.pauses,
        "damaged": progress.corrupt,
        "missing and interpolated": progress.missing_interpolated,
        "missing and repeated": progress.missing_repeated,
        "dropped out of order": progress.out_of_order,
        "taken from a fallback": progress.fallbacks,
    }
    if any(noticed.values()):
        yield "noticed: " + ", ".join(f"{name} {count}" for name, count in noticed.items() if count)
    yield from progress.remarks
    if progress.lateness is not None:
        yield f"latency: at most {1000 * progress.lateness:.0f} ms"
    if progress.segments:
        yield _segments_line(progress)
    if progress.stages:
        yield _stages_line(progress)


def _stages_line(progress: Progress) -> str:
    """Say what each stage worked, and which one the others waited for."""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in busy(progress).items())
    peak = sum(stage.peak_bytes for stage in progress.stages)
    return (
        f"took {progress.elapsed:.1f} s; busy: {parts} s; bottleneck: {bottleneck(progress)}; "
        f"queues took at most {megabytes(peak)} MB"
    )


def _segments_line(progress: Progress) -> str:
    """Say how many segments there were, what became of them, and who made them."""
    counts = ", ".join(f"{count} {what}" for what, count in progress.segments.items())
    makers = ", ".join(f"{name} made {count}" for name, count in progress.workers.items())
    return f"segments: {counts}" + (f"; {makers}" if makers else "")


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
