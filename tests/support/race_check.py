"""Run flow's CUDA path and the LTX engines' on `queued_device`; print what it finds as JSON.

Run by test_queued_work.py in a process of its own, since Triton is replaced by an empty module:
kernels do not run here. With the word "mutants" every call that orders work is left out once.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # which looks for Triton itself, so that it comes before what follows


class Language(ModuleType):
    """Triton as far as importing kernels needs it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda value=None, **_: value

    @staticmethod
    def jit(function: Any = None, **_: Any) -> Any:
        return function or (lambda inner: inner)


for name in ("triton", "triton.language"):
    sys.modules[name] = Language(name)
    sys.modules[name].__spec__ = ModuleSpec(name, None)
sys.modules["triton"].language = sys.modules["triton.language"]  # type: ignore[attr-defined]

from ltxfilter.device_plane import DevicePlane
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx.models.cuda_graphs import CudaCapture, GraphCache
from ltxfilter.engines.ltx.models.offload import OffloadedBlocks
from ltxfilter.frame import Frame
from support.flow import info, windows
from support.queued_device import QueuedDevice, mutants

import_module("ltxfilter.motion.cuda.flow")  # with all kernels, while Triton seems to be there
del sys.modules["triton"], sys.modules["triton.language"]

CPU = torch.device("cpu")
waits: dict[str, int] = {}  # of the host, in the latest window and in its pictures
VIDEO = info(10, width=64, height=48)


def frames(count: int) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [
        Frame(
            Fraction(k, 25),
            tuple(
                rng.integers(0, 1023, (part.height, part.width)).astype(part.dtype)
                for part in VIDEO.layout
            ),
        )
        for k in range(count)
    ]


def on_device(frame: Frame) -> Frame:
    """Return a frame whose planes are still being made, on the default stream."""
    host = (torch.from_numpy(plane.astype(np.int32)) for plane in frame.planes)
    planes: Any = tuple(DevicePlane(plane.to(CPU).add_(1)) for plane in host)
    return Frame(frame.time, planes)


def read(drawn: Drawn) -> None:
    """Read planes that stay on the device, and let go of them at once."""
    for plane in drawn.planes:
        if isinstance(plane, DevicePlane):
            plane.codes.add(1)


def flow(queued: QueuedDevice) -> None:
    """Prepare ahead, draw in two workspaces at once, estimate, and close with work queued."""
    for preset, given in (("fast", frames(7)), ("best", frames(7)), ("fast", None)):
        engine = Flow(preset=preset, device="cuda")
        engine.open(VIDEO, Fraction(50))
        shown = given or [on_device(frame) for frame in frames(7)]
        made = windows(shown, resets=(3,), taus=(Fraction(1, 3), Fraction(2, 3)))
        del shown
        waiting: list[Any] = []
        for number, window in enumerate(made):
            before = queued.waits
            motion = engine.prepare(window)
            waits["prepare"] = queued.waits - before
            waiting.append((window, motion))
            if number == 2:
                engine.estimate(motion, 0.5)
            if len(waiting) == 2:
                before = queued.waits
                drawings = [engine.draw(*one) for one in waiting]
                for _ in range(2):
                    for drawing in drawings:
                        read(next(drawing))
                for drawing in drawings:
                    drawing.close()
                waits["draw"] = queued.waits - before
                waiting = []
                del drawings, motion
                torch.empty(1)
        for one in [*made[:1], *made[:1]]:
            assert not list(engine._opened.draw(engine.prepare(one), []))
            torch.empty(1)
        engine.prepare(made[0])
        engine.close()
        del waiting, made, window, one
        gc.collect()
        torch.empty(1)


def offload(_: QueuedDevice) -> None:
    """Run blocks in turn, fail once in between, and drop them while one is copied."""
    blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(5)).requires_grad_(False)
    offloaded = OffloadedBlocks(blocks, CPU)
    value = torch.ones(2, 8)
    for attempt in range(4):
        found = value
        for number, block in enumerate(blocks):
            if attempt == 1 and number == 3:
                with pytest.raises(RuntimeError):
                    block(torch.ones(1, 3))
                break
            found = block(found)
    del offloaded, blocks, block
    gc.collect()
    torch.empty(1)


def graphs(_: QueuedDevice) -> None:
    """Capture steps at two sizes with constants, replay them, and compute with the results."""
    weight = torch.randn(8, 8)

    def function(inputs: Any, constants: Any) -> torch.Tensor:
        return (inputs[0] @ weight + constants[0]) @ weight

    capture = CudaCapture(CPU)
    cache = GraphCache(capture, finish=capture.finish)
    for rows in (2, 4):
        for number in range(4):
            inputs, constants = [torch.full((rows, 8), float(number))], [torch.randn(1, 8)]
            cache.run("step", function, inputs, constants, number // 2).add_(1)
    assert len(cache) == 2

    calls = []

    def failing(inputs: Any, constants: Any) -> torch.Tensor:
        calls.append(function(inputs, constants) is not None)
        if len(calls) > 1:
            raise torch.OutOfMemoryError("no memory. And more")
        return inputs[0]

    cache.run("fails", failing, [torch.randn(1, 8)], [torch.randn(1, 8)])
    with pytest.raises(torch.OutOfMemoryError):
        cache.run("fails", failing, [torch.randn(1, 8)], [torch.randn(1, 8)])
    torch.empty(1)
    cache.drop()
    del cache
    torch.empty(1)


RUNS: dict[str, Callable[[QueuedDevice], None]] = {
    "flow": flow,
    "offload": offload,
    "graphs": graphs,
}


def check(name: str, queued: QueuedDevice) -> None:
    with pytest.MonkeyPatch.context() as patch, queued.installed(patch), torch.no_grad():
        RUNS[name](queued)
    gc.collect()


def main(name: str, *words: str) -> None:
    torch.set_num_threads(1)
    queued = QueuedDevice()
    check(name, queued)
    result = {
        "hazards": sorted(set(queued.hazards)),
        "sites": [" ".join(site) for site in queued.sites],
        "captures": queued.captures,
        "waits": dict(waits),
        "not noticed": [],
    }
    if words:
        left = mutants(lambda mutant: check(name, mutant), queued)
        result["not noticed"] = [" ".join(site) for site in left]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
