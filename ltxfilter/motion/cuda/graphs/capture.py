"""Capture a CUDA graph so that nothing else in the process notices, even if it fails.

- One capture at a time: while one thread captures, no other may wait for the whole device or begin
  a capture of its own, since either would make the capture fail.
- Captures have a stream of their own, of high priority. Torch hands out 32 streams of each priority
  in turn; after that two owners share one, and whatever the other launches during a capture would
  become part of the graph. Nothing else of ltxfilter has a stream of high priority.
- The thread's current stream is put back. Torch leaves the thread on the capture's stream if the
  capture cannot begin or end.
- A capture is tried twice: another thread of the program that waits for the whole device makes one
  invalid, and it is unlikely to do so again at once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

CAPTURE_LOCK = Lock()
"""Held by whatever captures a CUDA graph or waits for a whole device, of this process."""

TRIES = 2
OLDEST_TORCH = (2, 13)  # an older one believes for ever that a capture which failed goes on

T = TypeVar("T")
_streams: dict[int, Any] = {}  # by number of the device


def capture_stream() -> Any:
    """Return the stream for captures on the current device, the same one each time."""
    import torch

    number = torch.cuda.current_device()
    if number not in _streams:
        _streams[number] = torch.cuda.Stream(priority=-1)
    return _streams[number]


def unsupported() -> str | None:
    """Return why no graph can be captured with this torch, or None."""
    import torch

    if torch_version(torch.__version__) < OLDEST_TORCH:
        needed = ".".join(map(str, OLDEST_TORCH))
        return f"torch {torch.__version__} is older than {needed}: pip install -U torch"
    return None


def torch_version(text: str) -> tuple[int, int]:
    """Return major and minor number of a version such as "2.13.0+cu130"."""
    major, minor = text.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)


def capture(launches: Callable[[], T], pool: Any = None) -> tuple[Any, T]:
    """Return the CUDA graph of what `launches` launches, and what it returned.

    launches: must have run before, since a capture cannot compile or initialise anything; it may be
    called twice. pool: of device memory, as torch has it; None is one of the graph's own. The
    caller holds CAPTURE_LOCK. Raises RuntimeError if capturing fails twice.
    """
    for _ in range(TRIES - 1):
        try:
            return _capture_once(launches, pool)
        except RuntimeError as error:
            if _out_of_memory(error):
                raise
    return _capture_once(launches, pool)


def _capture_once(launches: Callable[[], T], pool: Any) -> tuple[Any, T]:
    import torch

    graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    where = {"pool": pool, "stream": capture_stream(), "capture_error_mode": "thread_local"}
    try:
        # Threads that decode and encode may go on allocating memory meanwhile: thread_local.
        with torch.cuda.graph(graph, **where):
            result = launches()
    finally:
        torch.cuda.set_stream(current)
    return graph, result


def _out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)
