"""`ltxfilter probe`: the plan of a run, worked out without decoding everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from ltxfilter.cli.ffmpeg_style import FfmpegStyle
from ltxfilter.cli.parse import Arguments
from ltxfilter.cli.terminal import Console, StopSignals
from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import OutputError
from ltxfilter.values import round_half_up

if TYPE_CHECKING:
    from ltxfilter.frame import VideoInfo
    from ltxfilter.media.base import Sink, Source, StreamPlan
    from ltxfilter.options import Options, OutputOptions
    from ltxfilter.pipeline.latency import Latency

HELP = "Print the plan of a run, given as for a run, without decoding everything."
ACTIONS = {
    "interpolate": "interpolated",
    "copy": "copied",
    "drop": "dropped",
}


@click.command("probe", cls=FfmpegStyle, help=HELP)
def probe_command(arguments: Arguments) -> int:
    """Print the plan of a run."""
    console = Console(arguments.level)
    with StopSignals(console.say_last):
        for line in describe(plan(arguments.options)):
            write_text(line)
    return 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    name: str  # of the input
    info: VideoInfo
    written: VideoInfo  # what the output's frames have in common
    rate: Fraction | None  # output frames per second; None halves every interval
    duration: Fraction | None  # seconds of output; None when unknown before the end
    frames_in: int | None  # source frames; None when unknown before the end
    frames_out: int | None  # output frames; None when unknown before the end
    passed: int | None  # source frames that fall on an output time
    streams: tuple[StreamPlan, ...]
    memory: Mapping[str, int]  # bytes by part
    on_device: int  # bytes of a GPU's memory that models take
    engine: str
    latency: Latency


def plan(options: Options) -> Plan:
    """Work out a run without decoding more than its first frame. Raises LtxFilterError.

    Without a named output, the streams are planned for a file of the input's kind.
    """
    from ltxfilter.pipeline.assemble import Assembly

    def open_trial(output: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
        return _open_trial(output, source, rate, options.input.path)

    with Assembly(options, open_trial) as assembly:
        times, duration = _times(assembly.source)
        rate, speed = assembly.rate, options.speed
        out, passed = _output_counts(times, duration, rate, speed)
        return Plan(
            name=assembly.source.name,
            info=assembly.info,
            written=assembly.written,
            rate=rate,
            duration=None if duration is None else duration / speed,
            frames_in=len(times) if times else None,
            frames_out=out,
            passed=passed,
            streams=assembly.sink.plan,
            memory=assembly.budget.parts,
            on_device=assembly.runner.shape.device_bytes,
            engine=assembly.runner.engine,
            latency=assembly.engine.latency,
        )


def _open_trial(output: OutputOptions, source: Source, rate: Fraction | None, like: str) -> Sink:
    """Open an output that leaves nothing behind. like: the input's name."""
    from ltxfilter.media.opening import open_trial

    if output.path != "-" or output.format or like == "-":
        return open_trial(output, source, rate)
    try:
        return open_trial(replace(output, path=like), source, rate)
    except OutputError:  # the input's name or kind is none that can be written
        return open_trial(replace(output, format="matroska"), source, rate)


def _times(source: Source) -> tuple[Sequence[Fraction], Fraction | None]:
    """Return each source frame's seconds from the first, and the stream's duration, if known."""
    found = source.frame_times()
    return ((), source.duration) if found is None else (found.times, found.duration)


def _output_counts(
    times: Sequence[Fraction], duration: Fraction | None, rate: Fraction | None, speed: Fraction
) -> tuple[int | None, int | None]:
    """Return the number of output frames, and of source frames among them."""
    if not times or duration is None:
        return None, None
    if rate is None:
        return 2 * len(times), len(times)
    count = max(round_half_up(duration / speed * rate), 1)
    places = [time / speed * rate for time in times]
    return count, sum(place.denominator == 1 and place < count for place in places)


def describe(found: Plan) -> Iterator[str]:
    """Yield a plan as lines of `ltxfilter probe`."""
    from ltxfilter.cli.progress_line import memory_line, rate_text

    info = found.info
    yield (
        f"input: {found.name}, {info.width}x{info.height} {info.pix_fmt}, {rate_text(info.rate)}, "
        + ("length unknown" if found.frames_in is None else f"{found.frames_in} frames")
    )
    rate = "every interval halved" if found.rate is None else rate_text(found.rate)
    if found.written.layout != info.layout:
        rate = f"{found.written.width}x{found.written.height}, {rate}"
    if found.frames_out is None or found.duration is None:
        yield f"output: {rate}"
    else:
        yield f"output: {rate}, {found.frames_out} frames in {float(found.duration):.3f} s"
        yield _instants(found)
        yield (
            f"passed through: {found.passed} of {found.frames_in} source frames; "
            f"to interpolate or repeat: {found.frames_out - (found.passed or 0)}"
        )
    yield f"engine: {found.engine}"
    yield f"if live, late by at most: {found.latency}"
    for stream in found.streams:
        reason = f": {stream.reason}" if stream.reason else ""
        action = ACTIONS[stream.action]
        yield f"stream {stream.index}: {stream.kind} {stream.codec}, {action}{reason}"
    yield memory_line(found.memory, found.on_device)


def _instants(found: Plan) -> str:
    """Say at which times the output shows a frame, in exact seconds from the first."""
    if found.rate is None or not found.frames_out:
        return "output times: every source frame's, and halfway to the next"
    last = (found.frames_out - 1) / found.rate
    return f"output times: 0, {1 / found.rate}, {2 / found.rate}, ... {last} s"
