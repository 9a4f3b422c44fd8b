"""The CUDA device: whether there is one, its streams, launches and graphs of launches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from ltxfilter.motion.cuda.graphs.capture import CAPTURE_LOCK, capture, torch_version, unsupported
from ltxfilter.motion.flow import MotionError

log = logging.getLogger("ltxfilter.motion")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # kernels run in NumPy: slow, for tests
NAME = "cpu" if INTERPRETED else "cuda"  # torch's name of the device
STREAMS = not INTERPRETED  # work is queued on streams and replayed as graphs
OLDEST_TORCH = (2, 10)
LANES = 128  # cells or samples per program
PATCHES = 2  # per program, which is one warp: their 64 samples are added up without barriers


def missing() -> str | None:
    """Return why the kernels cannot run here, or None if they can."""
    for package in ("torch", "triton"):
        if find_spec(package) is None:
            return f"{package} is missing: pip install {package}"
    import torch

    if INTERPRETED:
        return None
    if torch_version(torch.__version__) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        return f"torch {torch.__version__} is older than {oldest}: pip install -U torch"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    return _compiler_missing()


def _compiler_missing() -> str | None:
    """Return why Triton cannot compile and launch a kernel, which is tried with a small one."""
    import torch

    try:
        from ltxfilter.motion.cuda.picture_kernels import company_kernel

        one = torch.zeros(3, 1, dtype=torch.uint8, device=NAME)
        launch(company_kernel, 1, *one, 1, 1)
    except Exception as error:  # of Triton's compiler, of the C compiler, of the driver
        reason = str(error).partition("\n")[0]
        return (
            f"Triton cannot compile a kernel ({reason}); it needs gcc or clang and the headers of "
            "Python: apt install gcc python3-dev"
        )
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


def pinned(*shape: int, dtype: Any) -> Any:
    """Return a tensor in host memory that the device reads and writes while the host goes on."""
    import torch

    return torch.empty(shape, dtype=dtype, pin_memory=NAME != "cpu")


def synchronize() -> None:
    """Wait for all work on the device; for buffers made on a stream other than their user's."""
    if STREAMS:
        import torch

        with CAPTURE_LOCK:
            torch.cuda.synchronize()


class Stream:
    """An order of work on the device; no more than a name where kernels are interpreted."""

    def __init__(self) -> None:
        import torch

        self._stream: Any = torch.cuda.Stream() if STREAMS else None
        # The thread that waits sleeps instead of asking again and again.
        self._done: Any = torch.cuda.Event(blocking=True) if STREAMS else None

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
            self._done.record(self._stream)
            self._done.synchronize()


def wait(event: Any) -> None:
    """Wait in this thread for an event of `Stream.mark`."""
    if event is not None:
        event.synchronize()


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
                if STREAMS:
                    self._capture()

    def _capture(self) -> None:
        reason = unsupported()
        if reason is None:
            try:
                self._graph, _ = capture(self._launches)
                return
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
        self._one_by_one = True
        log.warning("no CUDA graph of flow (%s): its kernels are launched one by one", reason)
