"""What runs on the nodes: an actor that makes segments with an engine that stays open.

A thread of its own makes them. Ray's threads answer the job, which waits in `events` for what there
is to tell.
"""

from __future__ import annotations

import logging
import os
import platform
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltxfilter import __version__
from ltxfilter.jobs.journal import identity
from ltxfilter.jobs.ray_cluster.node_folder import NodeFolder
from ltxfilter.jobs.workers.segment_maker import SegmentMaker
from ltxfilter.jobs.workers.worker_process import SentRecords, serve
from ltxfilter.options import Options
from ltxfilter.windows.segment import Segment

CALLS = 3  # that Ray may answer at a time: events, a transfer, and what is short

Told = tuple[str, Any, Exception | None]  # kind, values, error, as `pool.Event` has them


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an actor is told of the job when it starts; all names of files are absolute."""

    options: Options
    """The job's, with the share of one actor."""

    files: Mapping[str, Mapping[str, Any]]
    """What the input and the model files are known by (see `identity`); empty for a folder."""

    token: tuple[str, str]
    """A file in the work folder, and what it says: whoever sees that sees the folder."""

    interval: float
    """Seconds between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What an actor sees from its node."""

    node: str
    """Ray's identifier of the node."""

    name: str
    """The node's name, for messages."""

    version: str
    """Of ltxfilter and of Python."""

    sees_input: bool

    sees_folder: bool
    """True if segments can be written into the work folder."""

    lacking: tuple[str, ...]
    """Model files that are missing, or differ."""

    free: int
    """Bytes of disk for a copy of the input."""


def version() -> str:
    """Return the versions that have to be alike everywhere."""
    return f"ltxfilter {__version__}, Python {'.'.join(platform.python_version_tuple()[:2])}"


class SegmentActor:
    """Makes segments; the job calls its methods from afar."""

    def __init__(self, assignment: Assignment) -> None:
        """Look around, and wait for work."""
        self._assignment = assignment
        self._options = assignment.options
        self._folder = NodeFolder()
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[tuple[Segment, str | None, str]] = queue.SimpleQueue()
        logger = logging.getLogger("ltxfilter")
        logger.setLevel(logging.INFO)
        logger.addHandler(SentRecords(self))
        threading.Thread(target=self._work, daemon=True).start()

    def send(self, kind: str, values: Any = None, error: Exception | None = None) -> None:
        """Keep something that the job is told at its next call of `events`."""
        self._told.put((kind, values or {}, error))

    def look(self) -> Sight:
        """Return what is seen from here."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        given = self._assignment
        input_path = self._options.input.path
        models = {path: known for path, known in given.files.items() if path != input_path}
        path, text = given.token
        sees_folder = False
        with suppress(OSError):
            sees_folder = Path(path).read_text() == text and os.access(Path(path).parent, os.W_OK)
        return Sight(
            node,
            f"{platform.node()} ({node[:8]})",
            version(),
            _is_same(input_path, given.files[input_path]),
            sees_folder,
            tuple(path for path, known in models.items() if not _is_same(path, known)),
            self._folder.free,
        )

    def put_input(self, offset: int, data: bytes, ended: bool) -> str | None:
        """Take a part of the input; return where it is once it is whole. Raises OSError."""
        name = Path(self._assignment.options.input.path).name
        path = self._folder.put(name, offset, data)
        return self._use(path) if ended else None

    def share_input(self, path: str) -> str | None:
        """Use the input that another actor of this node has; None if that is gone."""
        shared = self._folder.share(path)
        return None if shared is None else self._use(shared)

    def give(self, segment: Segment, path: str | None, tag: str) -> None:
        """Make a segment, when the one before is done.

        path: where to store it; None: in the node's folder, for `read`. tag: is added to its name
        until it is whole, for an actor that is believed dead may still write.
        """
        self._tasks.put((segment, path, tag))

    def events(self, timeout: float) -> list[Told]:
        """Return what happened; wait up to `timeout` seconds for something."""
        found: list[Told] = []
        with suppress(queue.Empty):
            found.append(self._told.get(timeout=timeout))
            while True:
                found.append(self._told.get_nowait())
        return found

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Return a part of a stored segment. Raises OSError."""
        with self._stored(number).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def drop(self, number: int) -> None:
        """Remove a segment that the job has got."""
        self._stored(number).unlink(missing_ok=True)

    def _use(self, path: Path) -> str:
        self._options = replace(self._options, input=replace(self._options.input, path=str(path)))
        return str(path)

    def _stored(self, number: int) -> Path:
        return self._folder.path / f"{number:06d}.segment"

    def _work(self) -> None:
        """Make one segment after another; an error that nobody expects ends the process."""
        try:
            maker: SegmentMaker | None = None
            while True:
                segment, path, tag = self._tasks.get()
                if maker is None:
                    maker = SegmentMaker(self._options)
                self._make(maker, segment, path, tag)
        finally:
            os._exit(1)

    def _make(self, maker: SegmentMaker, segment: Segment, path: str | None, tag: str) -> None:
        target = self._stored(segment.number) if path is None else Path(path)
        own = target.with_name(f"{target.name}-{tag}")
        interval = self._assignment.interval
        serve(self, maker, segment, own, target=target, interval=interval)


def _is_same(path: str, known: Mapping[str, Any]) -> bool:
    """Return True if a file here is the one that the job knows; any folder of that name is."""
    try:
        return identity(path) == known if known else Path(path).is_dir()
    except OSError:
        return False
