"""The contract of pools: workers that make segments, wherever they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ltxfilter.windows.segment import Segment


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a worker reports."""

    kind: str
    """begun: memory is known. progress: counts so far. stored: the segment is whole. failed: it
    cannot be made. died: the worker is gone, and its segment has to be made again. said: a line of
    its log."""

    worker: int
    """Number of the worker, from 0."""

    number: int = -1
    """Of the segment; -1 where none is meant."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to the kind: counts, memory, level and text."""

    error: Exception | None = None
    """Why it failed or died."""


class Pool(Protocol):
    """Workers of one job. One thread uses a pool; `stop` may be called from any."""

    size: int
    """Workers that there are, or will be."""

    name: str
    """What messages call one of its workers: process, actor."""

    names: str
    """What they call several."""

    def idle(self) -> list[int]:
        """Return the workers that have nothing to do."""
        ...

    def give(self, worker: int, segment: Segment, path: Path) -> None:
        """Let a worker that is idle store a segment in `path`."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """Return what happened; wait up to `timeout` seconds for something. Raises Stopped."""
        ...

    def stop(self) -> None:
        """End all workers at once, whatever they do; safe in signal handlers and other threads."""
        ...

    def close(self) -> None:
        """End all workers; calling it twice does nothing."""
        ...
