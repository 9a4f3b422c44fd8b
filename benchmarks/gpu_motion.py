"""How fast `ltx-motion` is with models of the published size: its guides and its windows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ltx_sizes as sizes
from benchmarks.gpu_models import Bench, per_call, randomize
from ltxfilter.engines.ltx.guides.contract import GuideClip
from ltxfilter.engines.ltx.guides.ltx_source import LtxSource, choose_grid, choose_sigmas
from ltxfilter.engines.ltx.memory_check import SingleShot
from ltxfilter.engines.ltx.models import tiny_vae
from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.motion import LtxMotion
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import available_threads
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Window, WindowShape

HD, RDVFI = (1920, 1080), (1024, 576)  # width and height; the paper's test size
SMALL = (128, 64)  # of frames with --tiny
SMALLEST = "64x32"  # size of guides with --tiny
RATE = Fraction(25)  # keyframes per second


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make guides for a video of a size."""

    source: str
    steps: int = 4
    vae: str = "full"
    size: tuple[int, int] = HD
    pace: int = 2  # output frames per interval
    intervals: int = 0  # of a clip; 0 chooses by the source

    @property
    def name(self) -> str:
        """Its name in the table."""
        width, height = self.size
        steps = f", {self.steps}" if self.denoised else ""
        return f"ltx-motion x{self.pace} {width}x{height}, {self.source}{steps}, vae {self.vae}"

    @property
    def upsampled(self) -> bool:
        """True if it starts from upsampled latents."""
        return "latent" in self.source

    @property
    def denoised(self) -> bool:
        """True if it uses the transformer."""
        return "dit" in self.source

    @property
    def models(self) -> list[str]:
        """The names of the models that it needs."""
        more = ["temporal"] * self.upsampled + ["transformer"] * self.denoised
        return ["encoder", "decoder", *more]


def _cases(vae: str) -> Iterator[Case]:
    yield Case("latent", vae=vae)
    yield from (Case("dit", steps, vae) for steps in (1, 2, 3, 4, 8))
    yield from (Case("latent+dit", steps, vae) for steps in (1, 2, 3, 4))
    yield from (Case("dit", steps, vae, RDVFI, 24, 1) for steps in (1, 4))
    yield Case("latent", 0, vae, RDVFI, 24)


CASES = (*_cases("full"), *_cases("tiny"))  # in this order: the tiny autoencoder stays loaded


def measure(bench: Bench, mode: str, pattern: str, *, tiny: bool) -> Iterator[dict[str, Any]]:
    """Yield a line of the table per case whose name contains `pattern`.

    mode: how the transformer of `bench` is stored. tiny: its models are tiny; make guides small.
    """
    models = bench.models
    models.adopt("context", Contexts((Prompt(Fraction(0), ""),), bench.context, None))
    for case in CASES:
        if pattern in case.name:
            if case.vae == "tiny":
                _adopt_tiny_vae(models)
            precision = "bf16" if mode == "off" else "fp8"
            yield {"row": case.name, "precision": precision} | _line(models, case, tiny)


def _line(models: Models, case: Case, tiny: bool) -> dict[str, Any]:
    try:
        return _measured(source_of(models, case, tiny), models, case, tiny)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}


def _measured(source: LtxSource, models: Models, case: Case, tiny: bool) -> dict[str, Any]:
    """Return the time and operations of a case per output frame, and its memory."""
    clip, out = clip_for(source), case.pace * source.intervals
    cuda = source.device.type == "cuda"
    before = torch.cuda.memory_allocated(source.device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(source.device)
    # Operations are counted first: they cannot be counted once steps are replayed as graphs.
    with FlopCounterMode(display=False) as counter:
        source.draw([clip])
    guides = per_call(lambda: source.draw([clip]), source.device)
    frame = _seconds_per_frame(source, SMALL if tiny else case.size, case.pace)
    peak = torch.cuda.max_memory_allocated(source.device) if cuda else 0
    weights = sum(
        value.nbytes for name in case.models for value in models._module(name).parameters()
    )
    return {
        "guides": source.intervals * source.parts + 1,
        "ms per frame": 1000 * frame,
        "of that guides": 1000 * guides / out,
        "TFLOP per frame": counter.get_total_flops() / sizes.TERA / out,
        "models GB": weights / 1e9,
        "peak GB": (weights + peak - before) / 1e9,
    }


def _seconds_per_frame(source: LtxSource, size: tuple[int, int], pace: int) -> float:
    """Return the seconds per output frame of windows, in as many threads as a run has."""

    class WithSource(LtxMotion):
        def open_source(self, *_: object) -> LtxSource:
            return source

    engine = WithSource(source="dit")
    video = VideoInfo(*size, "yuv420p", plane_shapes("yuv420p", *size), RATE, 1 / RATE)
    threads = available_threads()
    shape = engine.open(video, RATE * pace, threads)
    windows = _windows(video, shape, RATE * pace, threads + 1)
    work = [(window, engine.prepare(window)) for window in windows]

    def draw(item: tuple[Window, Any]) -> int:
        return sum(len(picture.planes) > 0 for picture in engine.draw(*item))

    draw(work[0])
    begin = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        drawn = sum(pool.map(draw, work))
    seconds = perf_counter() - begin
    assert drawn == sum(len(list(window.to_draw())) for window in windows), "NaN among guides"
    return seconds / sum(len(window.slots) for window in windows)


def _windows(video: VideoInfo, shape: WindowShape, rate: Fraction, count: int) -> list[Window]:
    """Return `count` windows of a texture that moves by three pixels a frame."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.random((video.height, video.width)), (0, 0), 2)
    codes = cv2.normalize(texture, None, 16, 235, cv2.NORM_MINMAX).astype(np.uint8)
    chroma = [np.full((plane.height, plane.width), 128, np.uint8) for plane in video.layout[1:]]
    rolling = RollingWindow(shape, rate, SingleShot(), video.interval)
    windows: list[Window] = []
    for number in range((shape.keyframes - 1) * count + shape.after + 1):
        planes = (np.ascontiguousarray(np.roll(codes, 3 * number, 1)), *chroma)
        windows += rolling.push(Frame(number / RATE, planes))
    return windows[:count]


def source_of(models: Models, case: Case, tiny: bool) -> LtxSource:
    """Return the source of a case with models that are loaded. tiny: make small guides."""
    size = SMALLEST if tiny else ""
    options = {
        "source": case.source,
        "size": size,
        "parts": 0,
        "intervals": case.intervals,
        "batch": 1,
    }
    sigmas = choose_sigmas(case.steps, upsampled=case.upsampled) if case.denoised else ()
    grid = choose_grid(options, case.size, Fraction(case.pace))
    return LtxSource(models, grid, upsampled=case.upsampled, sigmas=sigmas, seed=0)


def _adopt_tiny_vae(models: Models) -> None:
    for name in tiny_vae.MODULES:
        module = tiny_vae.meta_module(name)
        randomize(module, models.device)
        models.adopt(name, module.to(models.dtype))


def clip_for(source: LtxSource) -> GuideClip:
    """Return a clip of random pictures."""
    count = source.intervals + 1
    times = tuple(Fraction(number, 25) for number in range(count))
    pictures = torch.rand(3, count, source.height, source.width, device=source.device)
    return GuideClip(pictures * 2 - 1, times, 25.0)
