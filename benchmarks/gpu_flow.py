"""How fast `flow` is on CUDA: output frames per second, memory, and the time of each kernel.

Frames are in host memory before and after; decoding and encoding are not measured. --tiny runs the
same code on small pictures, also without a GPU if TRITON_INTERPRET=1.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from itertools import cycle, islice
from time import perf_counter
from typing import Any

import cv2
import numpy as np

try:
    import torch
except ImportError:  # `main` says so
    torch = None  # type: ignore[assignment]

from benchmarks import record
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.flow_options import PRESETS
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.motion.cuda import device
from ltxfilter.options import available_threads
from ltxfilter.pipeline.stages import prepared, windows
from ltxfilter.pipeline.threads import StageStats, ordered
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, WindowShape

SIZES = {"1080p": (1920, 1080, "yuv420p"), "4k": (3840, 2160, "yuv420p10le")}
TINY = {"tiny": (64, 48, "yuv420p")}
RATE = Fraction(25)  # keyframes per second; the output rate is twice that
DIFFERENT = 12  # keyframes, repeated forwards and backwards
WARM, TIMED = 30, 300  # windows before the measurement, and during it
MOST_THREADS = 4  # that interpolate at once
REPEATS = 20  # of one kernel in a graph
GOAL = 500  # output frames per second at 1080p on one H200
Row = dict[str, Any]


class NoCuts:
    """A scene-cut detector that never finds a cut."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:  # noqa: ARG002
        """Return INTERPOLATE for any two frames."""
        return Join.INTERPOLATE


def moving(video: VideoInfo, count: int) -> list[Planes]:
    """Return frames of a soft random pattern that moves by 6 pixels along x and 2 along y."""
    rng = np.random.default_rng(1)
    room = 6 * count
    noise = rng.integers(0, 256, (video.height + room, video.width + room), dtype=np.uint8)
    soft = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    pictures = []
    for k in range(count):
        seen = soft[2 * k :, 6 * k :][: video.height, : video.width]
        pictures.append(
            tuple(
                np.ascontiguousarray(
                    cv2.resize(seen, (part.width, part.height), interpolation=cv2.INTER_AREA)
                ).astype(part.dtype)
                << part.dtype.type(part.depth - 8)
                for part in video.layout
            )
        )
    return pictures


def make_video(width: int, height: int, pix_fmt: str) -> VideoInfo:
    """Describe a stream of a size and format."""
    return VideoInfo(width, height, pix_fmt, plane_shapes(pix_fmt, width, height), RATE, 1 / RATE)


def endless(video: VideoInfo) -> Iterator[Frame]:
    """Yield keyframes without end."""
    pictures = moving(video, DIFFERENT)
    shown = cycle([*pictures, *pictures[-2:0:-1]])
    return (Frame(k / RATE, planes) for k, planes in enumerate(shown))


def windows_of(video: VideoInfo, shape: WindowShape) -> RollingWindow:
    """Return the rolling window for an output rate of twice the keyframes' rate."""
    return RollingWindow(shape, 2 * RATE, NoCuts(), video.interval)


def frame_counts(video: VideoInfo, engine: str, threads: int) -> Generator[int]:
    """Yield the number of output frames of each window of an endless stream."""
    worker = WindowRunner(engine, video, 2 * RATE, threads)
    stage = ordered(
        prepared(windows(endless(video), windows_of(video, worker.shape)), worker),
        worker.draw,
        stats=StageStats("draw"),
        size_of=lambda _: 2 * video.frame_bytes,
        threads=threads,
        ahead=threads + 1,
        stop=threading.Event(),
        group=1,
    )
    try:
        yield from map(len, stage)
    finally:
        stage.close()
        worker.close()


def per_second(video: VideoInfo, engine: str, threads: int, counts: tuple[int, int]) -> float:
    """Return output frames per second of wall time, after kernels are compiled and warm.

    counts: windows before the measurement, and during it.
    """
    warm, timed = counts
    stream = frame_counts(video, engine, threads)
    for _ in islice(stream, warm):
        pass
    began = perf_counter()
    made = sum(islice(stream, timed))
    seconds = perf_counter() - began
    stream.close()
    return made / seconds


def steps(video: VideoInfo, preset: str, counts: tuple[int, int]) -> Row:
    """Return the milliseconds per window of `prepare` and of `draw`, one after the other."""
    engine = Flow(preset=preset, device="cuda")
    rolling = windows_of(video, engine.open(video, 2 * RATE))
    warm, timed = counts
    spent = [0.0, 0.0]
    for number, window in enumerate(islice(windows(endless(video), rolling), warm + timed)):
        began = perf_counter()
        motion = engine.prepare(window)
        device.synchronize()
        found = perf_counter()
        list(engine.draw(window, motion))
        if number >= warm:
            spent = [spent[0] + found - began, spent[1] + perf_counter() - found]
    engine.close()
    return {"upload and motion ms": 1000 * spent[0] / timed, "draw ms": 1000 * spent[1] / timed}


def kernels(video: VideoInfo, preset: str) -> Row:
    """Return the microseconds on the device per pair of each kernel, and launches per pair."""
    recorded: list[tuple[str, Callable[[], None]]] = []
    plain = device.launch, device.launch_patches

    def recording(launch: Callable[..., None]) -> Callable[..., None]:
        def call(kernel: Any, *args: Any, **flags: Any) -> None:
            launch(kernel, *args, **flags)
            if not capturing():
                again = partial(launch, kernel, *args, **flags)
                recorded.append((kernel.fn.__name__, again))

        return call

    engine = Flow(preset=preset, device="cuda")
    rolling = windows_of(video, engine.open(video, 2 * RATE))
    device.launch, device.launch_patches = map(recording, plain)
    try:
        window = next(iter(windows(endless(video), rolling)))
        list(engine.draw(window, engine.prepare(window)))
    finally:
        device.launch, device.launch_patches = plain
    spent: dict[str, float] = defaultdict(float)
    for name, again in recorded:
        spent[name] += 1e6 * seconds_of(again)
    engine.close()
    row = {name.removesuffix("_kernel"): round(us, 1) for name, us in spent.items()}
    return {**row, "all": round(sum(spent.values()), 1), "launches": len(recorded)}


def capturing() -> bool:
    """Return True while a CUDA graph is captured; its launches have run before."""
    return not device.INTERPRETED and torch.cuda.is_current_stream_capturing()


def seconds_of(launch: Callable[[], None]) -> float:
    """Return the seconds on the device of one launch."""
    if device.INTERPRETED:
        began = perf_counter()
        launch()
        return perf_counter() - began
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(REPEATS):
            launch()
    graph.replay()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / REPEATS


def rows(only: str = "", *, tiny: bool = False) -> Iterator[Row]:
    """Yield a row per size and preset whose name contains `only`; tiny: few and small frames."""
    counts = (3, 3) if tiny else (WARM, TIMED)
    threads = 1 if tiny else min(available_threads(), MOST_THREADS)
    for name, size in (TINY if tiny else SIZES).items():
        video = make_video(*size)
        for preset in ["fast"] if tiny else PRESETS:
            row = {"row": f"flow {name} {preset}", "threads": threads}
            if only in row["row"]:
                yield row | measure(video, preset, threads, counts)


def measure(video: VideoInfo, preset: str, threads: int, counts: tuple[int, int]) -> Row:
    """Return how fast one preset is, and its memory."""
    if not device.INTERPRETED:
        torch.cuda.reset_peak_memory_stats()
    fps = per_second(video, f"flow:device=cuda:preset={preset}", threads, counts)
    peak = 0 if device.INTERPRETED else torch.cuda.max_memory_allocated()
    return {
        "output fps": fps,
        "interpolated fps": fps / 2,
        "ms per interpolated frame": 2000 / fps,
        **steps(video, preset, counts),
        "peak MB": peak / 1e6,
        "device us": kernels(video, preset),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write results/gpu_flow.json on a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="few and small frames")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    asked, _ = parser.parse_known_args(argv)  # the others are of benchmarks.gpu
    if reason := device.missing():
        print(f"nothing is measured: {reason}")
        return 0
    results = []
    for row in rows(asked.only, tiny=asked.tiny):
        results.append(row)
        print(", ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)
    print(f"goal: {GOAL} output frames per second at 1080p on one H200")
    if not device.INTERPRETED and not asked.tiny:
        print(record.write("gpu_flow", results, device=torch.cuda.get_device_name()))
    return 0


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
