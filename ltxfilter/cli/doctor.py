"""What this machine can run, and what a given job would take."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ltxfilter.errors import OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import Source, StreamPlan
from ltxfilter.options import ModelOptions, Options, available_threads
from ltxfilter.pipeline.latency import Latency, Live
from ltxfilter.pipeline.progress import memory_line, rate_text
from ltxfilter.values import round_half_up
from ltxfilter.windows.timeline import output_rate

if TYPE_CHECKING:
    from ltxfilter.media.base import Sink

ENCODERS = (
    "libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1",
    "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_amf",
)  # fmt: skip
LTX = 'pip install "ltxfilter[ltx]"'
PACKAGES = {  # import name -> distributions that bring it, what lacks without it, how to get it
    "numpy": (("numpy",), "everything", "pip install numpy"),
    "cv2": (
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
        "engine flow",
        "pip install opencv-python-headless",
    ),
    "torch": (("torch",), "drawing on a GPU, the ltx engines", LTX),
    "triton": (("triton",), "flow:device=cuda", "it comes with torch for CUDA, on Linux"),
    "ltx_core": (("ltx-core",), "the ltx engines", LTX),
    "ltx_pipelines": (("ltx-pipelines",), "engine ltx-reference", LTX),
    "safetensors": (("safetensors",), "the ltx engines", LTX),
    "transformers": (("transformers",), "text prompts for the ltx engines", LTX),
    "ray": (("ray",), "more than one machine", 'pip install "ltxfilter[ray]"'),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    found: str  # "" when it is missing
    missing: str = ""  # what lacks without it, and how to get it

    def line(self) -> str:
        """Return it as a line of `ltxfilter doctor`."""
        return f"{self.name:19} {self.found or 'missing: ' + self.missing}"


def examine(models: ModelOptions | None = None) -> Iterator[Finding]:
    """Yield what this machine has and lacks; imports torch if it is there.

    models: files to look at, beside those that the environment and the settings file name.
    """
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("cores", str(available_threads()))
    yield Finding("memory", _memory(), "this system does not say")
    yield _libraries()
    for name, (distributions, lacks, install) in PACKAGES.items():
        yield Finding(name, _version(name, distributions), f"needed for {lacks}; {install}")
    yield _kernels()
    yield Finding("cuda", _cuda(), "no NVIDIA GPU that torch can use; engines draw on the CPU")
    yield Finding("ffmpeg", shutil.which("ffmpeg") or "", "only needed around pipes; ffmpeg.org")
    yield from _engines(models or ModelOptions())
    yield from _model_files(models or ModelOptions())


def _libraries() -> Finding:
    from ltxfilter.media.encoding.ffmpeg_build import encoders, library_versions

    return Finding("av", f"{library_versions()}; encoders {', '.join(encoders(ENCODERS))}")


def _kernels() -> Finding:
    from ltxfilter.motion.kernels import compiled

    slow = "engine flow draws the same frames with NumPy, slower; install again with a C compiler"
    return Finding("kernels", "" if compiled is None else "compiled", slow)


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.1f} GiB"
    except (AttributeError, ValueError, OSError):  # Windows
        return ""


def _version(name: str, distributions: tuple[str, ...]) -> str:
    if find_spec(name) is None:
        return ""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "installed, version unknown"


def _cuda() -> str:
    if find_spec("torch") is None:
        return ""
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{torch.version.cuda}: " + ", ".join(map(_gpu, range(torch.cuda.device_count())))


def _gpu(number: int) -> str:
    """Describe a GPU: its memory, and whether it multiplies in 8 bits."""
    import torch

    free, total = torch.cuda.mem_get_info(number)
    eight = "with" if torch.cuda.get_device_capability(number) >= (8, 9) else "without"
    memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return f"{torch.cuda.get_device_name(number)} ({memory}, {eight} FP8)"


def _engines(models: ModelOptions) -> Iterator[Finding]:
    from ltxfilter.engines import build, engine_class, engine_names

    for name in engine_names():
        missing = engine_class(name).unavailable() or ""
        ready = "ready"
        if partners := () if missing else build(name, models).partners:
            ready += ", with the files named: " + ", ".join(each.name for each in partners)
        yield Finding(f"engine {name}", "" if missing else ready, missing)


def _model_files(models: ModelOptions) -> Iterator[Finding]:
    from ltxfilter.engines import engine_class, engine_names, model_files
    from ltxfilter.engines.ltx.weights.describe_files import survey

    needed = {name: engine_class(name).files for name in engine_names()}
    for name, found, missing in survey(model_files.complete(models), needed):
        yield Finding(name.replace("_", " "), found, missing)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    name: str  # of the input
    info: VideoInfo
    rate: Fraction | None  # output frames per second; None doubles every interval
    duration: Fraction | None  # seconds of output; None when unknown before the end
    frames_in: int | None
    frames_out: int | None
    passed: int | None  # source frames that fall on an output time
    streams: tuple[StreamPlan, ...]
    memory: Mapping[str, int]  # bytes by part
    engine: str
    latency: Latency


def plan(options: Options) -> Plan:
    """Work out a run without decoding more than its first frame. Raises LtxFilterError.

    Without a named output, the streams are planned for a file of the input's kind.
    """
    from ltxfilter.media.opening import open_source
    from ltxfilter.pipeline.memory import divide
    from ltxfilter.pipeline.stages import at_speed
    from ltxfilter.windows.missing import longest, merged

    hole = longest(merged(options.redraw)) / options.speed
    live = Live(options)
    with closing(open_source(live.input)) as source:
        live.delay = source.delay
        info = source.info
        rate = output_rate(options.fps, info.rate)
        shown = at_speed(info, options.speed)
        with (
            closing(live.open_worker(shown, rate)) as worker,
            _trial(options, source, rate) as sink,
        ):
            held = (source.held_bytes, sink.held_bytes)
            budget = divide(
                options.memory,
                shown,
                rate,
                worker.shape,
                held=held,
                threads=options.threads,
                hole=hole,
            )
            engine, streams = worker.engine, sink.plan
            latency = live.latency(worker.shape, info)
        times, duration = _times(source)
    out, passed = _output_counts(times, duration, rate, options.speed)
    return Plan(
        name=source.name,
        info=info,
        rate=rate,
        duration=None if duration is None else duration / options.speed,
        frames_in=len(times) if times else None,
        frames_out=out,
        passed=passed,
        streams=streams,
        memory=budget.parts,
        engine=engine,
        latency=latency,
    )


def _trial(options: Options, source: Source, rate: Fraction | None) -> Sink:
    """Open an output that leaves nothing behind."""
    from ltxfilter.media.opening import open_trial

    output = options.target
    if output.path != "-" or output.format or options.input.path == "-":
        return open_trial(output, source, rate)
    try:
        return open_trial(replace(output, path=options.input.path), source, rate)
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
    info = found.info
    yield (
        f"input: {found.name}, {info.width}x{info.height} {info.pix_fmt}, {rate_text(info.rate)}, "
        + ("length unknown" if found.frames_in is None else f"{found.frames_in} frames")
    )
    rate = "every interval halved" if found.rate is None else rate_text(found.rate)
    if found.frames_out is None or found.duration is None:
        yield f"output: {rate}"
    else:
        yield f"output: {rate}, {found.frames_out} frames in {float(found.duration):.3f} s"
        yield _instants(found)
        yield (
            f"passed through: {found.passed} of {found.frames_in} source frames; "
            f"to draw or hold: {found.frames_out - (found.passed or 0)}"
        )
    yield f"engine: {found.engine}"
    yield f"if live, late by at most: {found.latency}"
    for stream in found.streams:
        action = {"interpolate": "drawn anew", "copy": "copied", "drop": "dropped"}[stream.action]
        reason = f": {stream.reason}" if stream.reason else ""
        yield f"stream {stream.index}: {stream.kind} {stream.codec}, {action}{reason}"
    yield memory_line(found.memory)


def _instants(found: Plan) -> str:
    """Say at which times the output shows a frame, in exact seconds from the first."""
    if found.rate is None or not found.frames_out:
        return "output times: every source frame's, and halfway to the next"
    last = (found.frames_out - 1) / found.rate
    return f"output times: 0, {1 / found.rate}, {2 / found.rate}, ... {last} s"
