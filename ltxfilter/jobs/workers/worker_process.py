"""The program of a worker process: `python -m ltxfilter.jobs.workers.worker_process DESCRIPTOR`.

The first message that arrives is the options, each further one a segment and the file to store it
in. What is sent back is a kind, values and an error, as `pool.Event` has them.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from ltxfilter.errors import LtxFilterError
from ltxfilter.jobs.workers.segment_maker import SegmentMaker, counts_of
from ltxfilter.options import Options
from ltxfilter.pipeline.progress import Progress
from ltxfilter.windows.segment import Segment

Task = tuple[Segment, Path]

PROGRESS_SECONDS = 0.3  # between two reports of progress


class Told(Protocol):
    """The job, as whoever makes segments sees it."""

    def send(self, kind: str, values: Any = None, error: Exception | None = None) -> None:
        """Tell the job something; see `pool.Event`."""
        ...


class Talk:
    """The connection to the job; several threads may send."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def send(self, kind: str, values: Any = None, error: Exception | None = None) -> None:
        """Send a message; leave at once if nobody is there to read it."""
        try:
            with self._lock:
                self.connection.send((kind, values or {}, error))
        except OSError:
            os._exit(0)


class SentRecords(logging.Handler):
    """Sends log records to the job."""

    def __init__(self, talk: Told) -> None:
        super().__init__()
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        said = {"level": record.levelno, "logger": record.name, "text": record.getMessage()}
        self._talk.send("said", said)


def main() -> None:
    """Serve one job until it goes away."""
    talk = Talk(Connection(int(sys.argv[1])))
    options: Options = talk.connection.recv()
    logger = logging.getLogger("ltxfilter")
    logger.setLevel(logging.INFO)
    logger.addHandler(SentRecords(talk))
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(talk, tasks), daemon=True).start()
    maker = SegmentMaker(options)
    while True:
        serve(talk, maker, *tasks.get())


def _receive(talk: Talk, tasks: queue.SimpleQueue[Task]) -> None:
    """Take tasks as they come, and leave at once when the job goes away."""
    while True:
        try:
            tasks.put(talk.connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def serve(
    talk: Told,
    maker: SegmentMaker,
    segment: Segment,
    path: Path,
    *,
    target: Path | None = None,
    interval: float = PROGRESS_SECONDS,
) -> None:
    """Make one segment and say what became of it.

    target: its name once it is whole, if another than `path`. interval: seconds between two reports
    of progress.
    """
    latest = 0.0

    def report(progress: Progress) -> None:
        nonlocal latest
        now = monotonic()
        if now - latest >= interval:
            latest = now
            newest = {} if progress.newest is None else {"newest": progress.newest}
            talk.send("progress", {**counts_of(progress), **newest})

    try:
        summary = maker.make(segment, path, report, lambda told: talk.send("begun", dict(told)))
        stored = path if target is None else path.replace(target)
        talk.send("stored", {**summary, "bytes": stored.stat().st_size})
    except LtxFilterError as error:
        talk.send("failed", error=error)
    except Exception as error:
        talk.send("failed", error=LtxFilterError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
