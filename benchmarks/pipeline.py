"""Costs of the pipeline itself: peak memory, overlap of its stages, overhead per frame.

python -m benchmarks.pipeline [memory] [overlap] [sleep] [overhead]; results/pipeline.json
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import table, write
from ltxfilter import engines
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.blend import Blend
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run, run
from ltxfilter.values import MIB
from ltxfilter.windows.window import Window

Row = dict[str, Any]


def memory() -> Iterator[Row]:
    """Measure the peak memory of 1080p y4m in and out: constant, and within what is stated."""
    peaks = {}
    for frames in (500, 5000):
        peaks[frames], stated = _peak(frames, 1920, 1080)
        yield {
            "what": f"peak RSS, 1080p, {frames} frames",
            "value": peaks[frames] / MIB,
            "unit": "MiB",
            "bound": stated / MIB,
        }
    yield {
        "what": "peak RSS, 5000 frames over 500",
        "value": peaks[5000] / peaks[500],
        "unit": "ratio",
        "bound": 1.05,
    }


def overlap() -> Iterator[Row]:
    """Divide the wall time of a 1080p file by its busiest stage alone, or CPU / cores if larger."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.y4m"
        _write_y4m(clip, 250, 1920, 1080)
        source = Path(folder) / "in.mp4"
        _convert(clip, source, "hold", fps="25")
        alone = max(_decode_alone(source), _encode_alone(source, Path(folder) / "alone.mp4"))
        for preset in ("medium", "ultrafast"):  # the default, and the fastest
            wall, cpu = _in_child(source, Path(folder) / "out.mp4", preset)
            bound = max(alone, cpu / len(os.sched_getaffinity(0)))
            yield {
                "what": f"wall over max(busiest stage alone, CPU / cores), 1080p, x264 {preset}",
                "value": wall / bound,
                "unit": "ratio",
                "bound": 1.08,
            }


def sleep() -> Iterator[Row]:
    """Divide the wall time with an engine that only sleeps by the time it slept."""
    engines.ENGINES["sleep"] = f"{Sleep.__module__}:Sleep"
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.y4m"
        _write_y4m(clip, 400, 1280, 720)
        _convert(clip, Path(folder) / "warm.mp4", "hold")  # so that imports are not measured
        Sleep.slept = 0.0
        began = time.perf_counter()
        _convert(clip, Path(folder) / "out.mp4", "sleep", threads=2)
        wall = time.perf_counter() - began
    yield {
        "what": "wall over an engine's own time (30 ms a frame), 720p y4m to mp4",
        "value": wall / Sleep.slept,
        "unit": "ratio",
        "bound": 1.03,
    }


def overhead() -> Iterator[Row]:
    """Measure seconds per output frame of 64x48 pixels, y4m to y4m, blend, no cuts."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.y4m"
        _write_y4m(clip, 5000, 64, 48)
        options = _options(clip, Path("/dev/null"), "blend", cuts=False)
        best = min(_timed(lambda: run(options)) for _ in range(3))
    yield {
        "what": "per output frame, 64x48 y4m to y4m, blend, no cuts (best of 3)",
        "value": best / 10000 * 1e6,
        "unit": "us",
        "bound": 60,
    }


class Sleep(Blend):
    """Repeats the earlier keyframe after 30 ms of sleep."""

    name = "sleep"
    slept = 0.0
    device = threading.Lock()  # one window at a time, like an engine on one GPU

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Sleep, then repeat the earlier keyframe."""
        for slot in window.to_draw():
            with Sleep.device:
                began = time.perf_counter()
                time.sleep(0.03)
                Sleep.slept += time.perf_counter() - began
            yield Drawn(window.keyframes[slot.left].planes)


def _options(source: Path, target: Path, engine: str, **more: Any) -> Options:
    raw = target.suffix != ".mp4"
    encoder = {} if raw else {"preset": "ultrafast"}
    output = OutputOptions(
        path=str(target),
        overwrite=True,
        format="yuv4mpegpipe" if raw else None,
        encoder=encoder,
    )
    return Options(input=InputOptions(path=str(source)), output=output, engine=engine, **more)


def _convert(source: Path, target: Path, engine: str, **more: Any) -> None:
    run(_options(source, target, engine, **more))


def _decode_alone(path: Path) -> float:
    def decode() -> None:
        source = open_source(InputOptions(path=str(path)))
        for _ in source.frames():
            pass
        source.close()

    return _timed(decode)


def _encode_alone(path: Path, target: Path) -> float:
    """Encode every source frame twice, as many frames as the whole run writes."""
    options = _options(path, target, "hold")
    source = open_source(options.input)
    frames = list(source.frames())
    rate = Fraction(50)
    with open_sink(options.output, source, rate) as sink:
        began = time.perf_counter()
        for frame in frames:
            sink.write(frame)
            sink.write(frame)
        sink.finish()
        took = time.perf_counter() - began
    source.close()
    return took


def _timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _in_child(source: Path, target: Path, preset: str) -> tuple[float, float]:
    """Convert with the command line; return its wall and its CPU seconds."""
    words = ["-i", source, "-v", "error", "-preset", preset, "-y", target]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "ltxfilter", *map(str, words)])
    usage = _wait(process)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def _wait(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Return the resource use of a process, which must succeed."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise RuntimeError("the measured process failed")
    return usage


def _peak(frames: int, width: int, height: int) -> tuple[int, int]:
    """Pipe y4m through the command line; return its peak RSS and the memory it stated, bytes."""
    command = [sys.executable, "-m", "ltxfilter", "--fps", "50", "-v", "error", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    with process.stdin as stream:
        for chunk in _y4m(frames, width, height):
            stream.write(chunk)
    usage = _wait(process)
    return usage.ru_maxrss * 1024, _stated(width, height)


def _stated(width: int, height: int) -> int:
    """Return the budget, bytes, that the command line states for such a stream."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.y4m"
        _write_y4m(clip, 2, width, height)
        with Run(_options(clip, Path("/dev/null"), "flow")) as opened:
            return opened.assembly.budget.total


def _write_y4m(path: Path, frames: int, width: int, height: int) -> None:
    with path.open("wb") as stream:
        for chunk in _y4m(frames, width, height):
            stream.write(chunk)


def _y4m(frames: int, width: int, height: int) -> Iterator[bytes]:
    """Yield a y4m stream of a textured picture that pans to and fro, 25 frames per second."""
    noise = np.random.default_rng(0).integers(0, 255, (height // 8 + 2, width // 8 + 16), np.uint8)
    wide = np.kron(noise, np.ones((8, 8), np.uint8))
    chroma = np.full(((height + 1) // 2) * ((width + 1) // 2) * 2, 128, np.uint8).tobytes()
    pictures = [
        b"FRAME\n" + wide[:height, 4 * n : 4 * n + width].tobytes() + chroma for n in range(16)
    ]
    yield f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420mpeg2\n".encode()
    for number in range(frames):
        step = number % 30
        yield pictures[step if step < 16 else 30 - step]


def main() -> None:
    """Run the measurements named on the command line, or all."""
    known = {"memory": memory, "overlap": overlap, "sleep": sleep, "overhead": overhead}
    rows = []
    for name in sys.argv[1:] or known:
        for row in known[name]():
            row["holds"] = "yes" if row["value"] <= row["bound"] else "NO"
            rows.append(row)
            print({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()})
    print(table(rows))
    if not sys.argv[1:]:
        print(write("pipeline", rows))


if __name__ == "__main__":
    main()
