"""The CUDA device: whether there is one, its streams, launches and graphs of launches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from threading import Lock
from typing import Any

from ltxfilter.motion.flow import MotionError

log = logging.getLogger("ltxfilter.motion")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # kernels run in NumPy: slow, for tests
NAME = "cpu" if INTERPRETED else "cuda"  # torch's name of the device
LANES = 128  # cells or samples per program
PATCHES = 2  # per program, which is one warp: their 64 samples are added up without barriers

CAPTURE_LOCK = Lock()
"""Held by whatever captures a CUDA graph, of this process.

While one thread captures, no other may wait for the whole device or begin a capture of its own:
either would make the capture fail.
"""


def missing() -> str | None:
    """Return why the kernels cannot run here, or None if they can."""
    for package in ("torch", "triton"):
        if find_spec(package) is None:
            return f"{package} is missing: pip install {package}"
    import torch

    if not INTERPRETED and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    return None


@contextmanager
def enough_memory() -> Iterator[None]:
    """Turn the device's running out of memory into a MotionError."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MotionError(str(error).partition(". ")[0]) from None


def launch(kernel: Any, count: int, *args: Any, beside: int = 1, **constants: Any) -> None:
    """Run a kernel over `count` cells or samples, `beside` times side by side.

    Floats are computed as written: no multiplication is fused with an addition.
    """
    block = _block(LANES, count)
    grid = (-(-count // block), beside)
    kernel[grid](*args, block=block, enable_fp_fusion=False, **constants)


def launch_patches(kernel: Any, count: int, *args: Any, **constants: Any) -> None:
    """Run a kernel over `count` patches."""
    block = _block(PATCHES, count)
    grid = (-(-count // block),)
    kernel[grid](*args, block=block, num_warps=1, enable_fp_fusion=False, **constants)


def _block(usual: int, count: int) -> int:
    """Return how much one program does; NumPy wants few programs."""
    return min(1 << (count - 1).bit_length(), 512 * usual) if INTERPRETED else usual


def synchronize() -> None:
    """Wait for all work on the device; for buffers made on a stream other than their user's."""
    if not INTERPRETED:
        import torch

        with CAPTURE_LOCK:
            torch.cuda.synchronize()


class Stream:
    """An order of work on the device; no more than a name where kernels are interpreted."""

    def __init__(self) -> None:
        import torch

        self._stream: Any = None if INTERPRETED else torch.cuda.Stream()

    def used(self) -> AbstractContextManager[Any]:
        """Return a context in which this thread's work goes to this stream."""
        import torch

        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> Any:
        """Return an event that happens once all work so far is done."""
        return None if self._stream is None else self._stream.record_event()

    def follow(self, event: Any) -> None:
        """Let the work from here on wait for an event."""
        if self._stream is not None:
            self._stream.wait_event(event)

    def finish(self) -> None:
        """Wait until all work is done."""
        if self._stream is not None:
            self._stream.synchronize()


class ReplayedLaunches:
    """Launches that always work on the same buffers: run once, then replayed as a CUDA graph."""

    def __init__(self, launches: Callable[[], None]) -> None:
        self._launches = launches
        self._graph: Any = None
        self._one_by_one = False  # a graph was tried, and none can be captured

    def __call__(self) -> None:
        """Do the work, on this thread's stream; the buffers must not move."""
        if self._graph is not None:
            self._graph.replay()
        elif self._one_by_one:
            self._launches()
        else:
            with CAPTURE_LOCK:  # Triton's interpreter takes one thread at a time, too
                self._launches()  # compiles what is new; a capture cannot
                if not INTERPRETED:
                    self._capture()

    def _capture(self) -> None:
        import torch

        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._launches()
            self._graph = graph
        except RuntimeError as error:
            self._one_by_one = True
            reason = str(error).partition("\n")[0]
            log.warning("no CUDA graph of flow (%s): its kernels are launched one by one", reason)
