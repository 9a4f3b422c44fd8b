"""A window interpolated by `ltx-keyframe` and by the official pipeline.

Both read one checkpoint of the published size. The official pipeline loads its models at every
call. Denoising is timed apart in both.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks import gpu_files, record
from benchmarks import ltx_sizes as sizes
from benchmarks.gpu_models import sizes_of, small_upsampler
from ltxfilter import engines
from ltxfilter.engines.base import Engine
from ltxfilter.engines.ltx.diffusion.two_stage import TwoStageDiffusion
from ltxfilter.engines.ltx.memory_check import grey_window
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import ModelOptions
from ltxfilter.windows.window import Window

NEEDED = 44_000_000_000  # bytes of free disk
OFFICIAL = "ltx-reference:steps={steps}"
GUIDED = "ltx-keyframe:mode=guided:steps={steps}"
OURS = {  # name -> engine: the same work in several precisions, then fewer steps
    "as many guided steps": GUIDED + ":fp8=off:graphs=off:text_memory=0",
    "with cached text and graphs": GUIDED + ":fp8=off:graphs=on",
    "in fp8": GUIDED + ":fp8=rowwise:graphs=on",
    "distilled": "ltx-keyframe:fp8=off:graphs=on",
    "distilled, in fp8": "ltx-keyframe:fp8=rowwise:graphs=on",
}
GOAL = 20  # times as fast as the official pipeline, per window, models resident


@dataclass(slots=True)
class Clock:
    """Adds up the time that calls take on a device."""

    device: torch.device
    seconds: float = 0.0

    def now(self) -> float:
        """Return the time in seconds once the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes a call and adds its time to `seconds`."""

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = self.now()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds += self.now() - begin

        return timed


def compare(
    files: ModelOptions, device: torch.device, size: tuple[int, int], steps: int
) -> Iterator[dict[str, Any]]:
    """Yield a line for the official pipeline, and one for each of OURS.

    size: width and height in pixels. steps: of the first stage, where it is guided.
    """
    official = measure_engine(OFFICIAL.format(steps=steps), files, device, size, warm=False)
    yield {"way": "the official pipeline", **official}
    for way, spec in OURS.items():
        if device.type != "cuda":
            spec = spec.replace("graphs=on", "graphs=off")
        measured = measure_engine(spec.format(steps=steps), files, device, size, warm=True)
        yield {
            "way": way,
            **measured,
            "times the official window": official["seconds"] / measured["seconds"],
            "times its denoising": official["of that denoising"] / measured["of that denoising"],
        }


def measure_engine(
    spec: str, files: ModelOptions, device: torch.device, size: tuple[int, int], *, warm: bool
) -> dict[str, Any]:
    """Return how long an engine takes to open and for a window, from 25 to 50 frames per second.

    warm: interpolate windows before, until text is cached and graphs are captured.
    """
    clock = Clock(device)
    engine = engines.build(spec, files)
    begin = clock.now()
    info = video(*size)
    shape = engine.open(info, Fraction(50))
    opened = clock.now() - begin
    window = noisy(grey_window(info, Fraction(50), shape))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(3 if warm else 0):
        draw(engine, window)
    with timed_denoising(clock):
        begin = clock.now()
        count = draw(engine, window)
        seconds = clock.now() - begin
    engine.close()
    return {
        "engine": spec,
        "interpolated frames": count,
        "opening": opened,
        "seconds": seconds,
        "of that denoising": clock.seconds,
        "ms per interpolated frame": 1000 * seconds / count,
        "peak GB": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0,
    }


def draw(engine: Engine, window: Window) -> int:
    """Interpolate a window; return the number of frames."""
    return len(list(engine.draw(window, engine.prepare(window))))


@contextmanager
def timed_denoising(clock: Clock) -> Iterator[None]:
    """Time upstream's denoising loops and ours within a `with` block."""
    upstream.stub_torchaudio()
    name = "ltx_pipelines.keyframe_interpolation"
    if find_spec("ltx_pipelines.utils.blocks") is not None:  # ltx_pipelines 1.2
        name = "ltx_pipelines.utils.blocks"
    pipelines = import_module(name)
    ours, theirs = TwoStageDiffusion._denoise, pipelines.euler_denoising_loop
    try:
        TwoStageDiffusion._denoise = clock.timing(ours)  # type: ignore[method-assign]
        pipelines.euler_denoising_loop = clock.timing(theirs)
        yield
    finally:
        TwoStageDiffusion._denoise = ours  # type: ignore[method-assign]
        pipelines.euler_denoising_loop = theirs


def video(width: int, height: int) -> VideoInfo:
    """Describe a stream of 25 frames per second."""
    layout = plane_shapes("yuv420p", width, height)
    return VideoInfo(width, height, "yuv420p", layout, Fraction(25), Fraction(1, 25))


def noisy(window: Window) -> Window:
    """Return a window with random keyframes."""
    random = np.random.default_rng(0)
    keyframes = tuple(
        Frame(
            key.time,
            tuple(random.integers(16, 235, plane.shape, np.uint8) for plane in key.planes),
        )
        for key in window.keyframes
    )
    return Window(0, keyframes, window.first, window.last, window.intervals, window.slots)


def run(device: torch.device, *, tiny: bool, folder: str | None, steps: int) -> int:
    """Write the files, measure, print, and write results/gpu-official.json on a GPU.

    folder: where 42 GB of files are written for the time of the run. steps: of the guided first
    stage.
    """
    with TemporaryDirectory(prefix="ltx-", dir=folder) as name:
        place = Path(name)
        free = shutil.disk_usage(place).free
        if not tiny and free < NEEDED:
            print(f"{place} has {free / 1e9:.0f} GB free, {NEEDED / 1e9:.0f} are needed; --folder")
            return 1
        config, spatial = sizes_of(tiny), sizes.SPATIAL | small_upsampler(tiny)
        written = gpu_files.write_models(place, sizes.with_audio(config), spatial)
        size = (128, 64) if tiny else (1920, 1080)
        lines = []
        for line in compare(gpu_files.options(place, device), device, size, steps):
            lines.append(line)
            print(", ".join(f"{key} {record.text(value)}" for key, value in line.items()))
    print(f"goal: a window {GOAL} times as fast as the official pipeline's")
    if device.type == "cuda" and not tiny:
        name = torch.cuda.get_device_name(device)
        goals = {"times the official window": GOAL}
        print(record.write("gpu-official", lines, device=name, goals=goals, bytes=written))
    return 0
