"""How numbers are written for people and programs: status line, -progress blocks, closing lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from ltxfilter.pipeline.progress import Pace, Progress, bottleneck, busy
from ltxfilter.values import MIB


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
    yield from _outcome_lines(progress)
    if progress.lateness is not None:
        yield f"latency: at most {1000 * progress.lateness:.0f} ms"
    if progress.segments:
        yield _segments_line(progress)
    if progress.stages:
        yield _stages_line(progress)


def _outcome_lines(progress: Progress) -> Iterator[str]:
    """Say whether the engine for what is hard was asked and taken, and who made what failed."""
    outcome = progress.outcome
    if outcome.partner is not None and not outcome.asked:
        yield f"{outcome.partner}: not asked, as no interval was hard enough"
    elif outcome.partner is not None:
        area = 100 * outcome.area / outcome.taken if outcome.taken else 0
        parts = [f"taken in {outcome.taken}" + (f" ({area:.0f} % of their area)" if area else "")]
        parts += [f"not taken in {count} ({why})" for why, count in outcome.refused.items()]
        yield (
            f"{outcome.partner}: asked for {outcome.asked} of {progress.interpolated} interpolated "
            f"frames: {', '.join(parts)}"
        )
    if outcome.fallbacks:
        made = [f"{count} by {why}" for why, count in outcome.fallbacks.items()]
        yield f"fallbacks: {'; '.join(made)}"


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


def memory_line(parts: Mapping[str, int], on_device: int = 0) -> str:
    """Return "memory: decode 12 + window 75 = ~90 MB" for budgeted bytes by part.

    on_device: bytes of a GPU's memory that models take.
    """
    terms = " + ".join(f"{name} {megabytes(size)}" for name, size in parts.items())
    line = f"memory: {terms} = ~{megabytes(sum(parts.values()))} MB"
    return f"{line}; models on the GPU: {megabytes(on_device)} MB" if on_device else line


def megabytes(size: int) -> int:
    """Return bytes as whole MiB, at least 1 unless it is nothing."""
    return max(round(size / MIB), 1) if size else 0


def rate_text(rate: Fraction | None) -> str:
    """Write a frame rate for people: "25 fps", "60000/1001 fps", "variable rate"."""
    return "variable rate" if rate is None else f"{rate} fps"
