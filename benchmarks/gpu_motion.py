"""How fast `ltx-motion` draws with models of the published size: its guides, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ltx_sizes as sizes
from benchmarks.gpu_models import Bench, per_call, randomize
from ltxfilter.engines.ltx import tinyvae
from ltxfilter.engines.ltx.context import Contexts, Prompt
from ltxfilter.engines.ltx.guides import Clip
from ltxfilter.engines.ltx.models import Models
from ltxfilter.engines.ltx.sources import LtxSource, choose_grid, choose_sigmas

HD, RDVFI = (1920, 1080), (1024, 576)
SMALLEST = "64x32"  # guides of --tiny


@dataclass(frozen=True, slots=True)
class Case:
    """One way to draw guides for pictures of a size."""

    source: str
    steps: int = 4
    vae: str = "full"
    size: tuple[int, int] = HD
    pace: int = 2  # output frames per keyframe
    gaps: int = 0  # of a clip; 0 as usual

    @property
    def name(self) -> str:
        """How it is called in the table."""
        width, height = self.size
        steps = f", {self.steps}" if self.denoised else ""
        return f"ltx-motion x{self.pace} {width}x{height}, {self.source}{steps}, vae {self.vae}"

    @property
    def upsampled(self) -> bool:
        """True if it begins from latents upsampled in time."""
        return "latent" in self.source

    @property
    def denoised(self) -> bool:
        """True if the transformer has a part in it."""
        return "dit" in self.source

    @property
    def parts(self) -> list[str]:
        """The models that it needs."""
        more = ["temporal"] * self.upsampled + ["transformer"] * self.denoised
        return ["encoder", "decoder", *more]


def _cases(vae: str) -> Iterator[Case]:
    yield Case("latent", vae=vae)
    yield from (Case("dit", steps, vae) for steps in (1, 2, 3, 4, 8))
    yield from (Case("latent+dit", steps, vae) for steps in (1, 2, 3, 4))
    yield from (Case("dit", steps, vae, RDVFI, 24, 1) for steps in (1, 4))
    yield Case("latent", 0, vae, RDVFI, 24)


CASES = (*_cases("full"), *_cases("tiny"))  # the tiny autoencoder takes the large one's place


def measure(bench: Bench, mode: str, pattern: str, *, tiny: bool) -> Iterator[dict[str, Any]]:
    """Yield a line of the table per case whose name holds `pattern`.

    mode: how the transformer of `bench` is kept. tiny: its models are, and guides shall be small.
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
        return _timed(source_of(models, case, tiny), models, case)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}


def _timed(source: LtxSource, models: Models, case: Case) -> dict[str, Any]:
    """Return what the guides of a clip cost per output frame, and in memory."""
    clip = clip_for(source)
    cuda = source.device.type == "cuda"
    before = torch.cuda.memory_allocated(source.device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(source.device)
    seconds = per_call(lambda: source.draw([clip]), source.device)
    peak = torch.cuda.max_memory_allocated(source.device) if cuda else 0
    with FlopCounterMode(display=False) as counter:
        source.draw([clip])
    out = case.pace * source.gaps
    held = sum(value.nbytes for part in case.parts for value in models._module(part).parameters())
    return {
        "guides": source.gaps * source.parts + 1,
        "ms per frame": 1000 * seconds / out,
        "TFLOP per frame": counter.get_total_flops() / sizes.TERA / out,
        "models GB": held / 1e9,
        "peak GB": (held + peak - before) / 1e9,
    }


def source_of(models: Models, case: Case, tiny: bool) -> LtxSource:
    """Return a case's source, drawing with models that are there; tiny: small guides."""
    size = SMALLEST if tiny else ""
    options = {"source": case.source, "size": size, "parts": 0, "gaps": case.gaps, "batch": 1}
    sigmas = choose_sigmas(case.steps, upsampled=case.upsampled) if case.denoised else ()
    grid = choose_grid(options, case.size, Fraction(case.pace))
    return LtxSource(models, grid, upsampled=case.upsampled, sigmas=sigmas, seed=0)


def _adopt_tiny_vae(models: Models) -> None:
    for part in tinyvae.PARTS:
        module = tinyvae.blueprint(part)
        randomize(module, models.device)
        models.adopt(part, module.to(models.dtype))


def clip_for(source: LtxSource) -> Clip:
    """Return a clip of random pictures."""
    count = source.gaps + 1
    times = tuple(Fraction(number, 25) for number in range(count))
    pictures = torch.rand(3, count, source.height, source.width, device=source.device)
    return Clip(pictures * 2 - 1, times, 25.0)
