"""Worker processes on this machine.

Each one is a fresh interpreter that runs `worker_process`, in a session of its own, so that a
terminal's Ctrl-C reaches the job alone. It talks over a pair of sockets. When the job goes away, in
whatever manner, its workers see the end of that and leave at once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from ltxfilter.errors import EngineError, Stopped
from ltxfilter.jobs.workers.pool import Event
from ltxfilter.options import Options
from ltxfilter.windows.segment import Segment

PATIENCE = 5.0  # seconds for a worker to leave by itself once it is told


class LocalPool:
    """Worker processes; one that dies is replaced when it is needed."""

    name, names = "process", "processes"

    def __init__(self, shares: Sequence[Options]) -> None:
        """Get ready; a process is started when it is first given something.

        shares: the job's options, with the share of each worker.
        """
        self.size = len(shares)
        self._shares = shares
        self._workers: dict[int, _Process] = {}
        self._stopping = False
        self._lock = threading.Lock()

    def idle(self) -> list[int]:
        """Return the workers that have nothing to do."""
        busy = {number for number, worker in self._workers.items() if worker.segment is not None}
        return [number for number in range(self.size) if number not in busy]

    def give(self, worker: int, segment: Segment, path: Path) -> None:
        """Let a worker that is idle store a segment in `path`. Raises Stopped."""
        with self._lock:
            if self._stopping:
                raise Stopped
            process = self._workers.get(worker)
            if process is None:
                process = self._workers[worker] = _Process(self._shares[worker])
        process.segment = segment
        with suppress(OSError):  # it died; `events` tells
            process.connection.send((segment, path))

    def events(self, timeout: float) -> list[Event]:
        """Return what happened; wait up to `timeout` seconds for something. Raises Stopped."""
        if self._stopping:
            raise Stopped
        numbers = {worker.connection: number for number, worker in self._workers.items()}
        ready = wait(list(numbers), timeout)
        if self._stopping:
            raise Stopped
        return [self._event(numbers[each]) for each in ready if isinstance(each, Connection)]

    def stop(self) -> None:
        """Kill all workers; what they were making is made again another time."""
        self._stopping = True
        with self._lock:
            for worker in self._workers.values():
                worker.kill()

    def close(self) -> None:
        """Let the workers go; calling it twice does nothing."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.leave()

    def _event(self, number: int) -> Event:
        """Return what one worker reports, or that it is gone."""
        worker = self._workers[number]
        segment = worker.segment.number if worker.segment else -1
        try:
            kind, values, error = worker.connection.recv()
        except (EOFError, OSError):
            del self._workers[number]
            worker.connection.close()
            return Event("died", number, segment, error=EngineError(worker.death()))
        if kind in ("stored", "failed"):
            worker.segment = None
        return Event(kind, number, segment, values, error)


class _Process:
    """One process, and what it works on."""

    def __init__(self, options: Options) -> None:
        self.segment: Segment | None = None
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with ours, theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ltxfilter.jobs.workers.worker_process",
                    str(theirs.fileno()),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
            self.connection = Connection(os.dup(ours.fileno()))
        with suppress(OSError):  # it died; the next `recv` tells
            self.connection.send(options)

    def kill(self) -> None:
        with suppress(OSError):
            self._process.kill()

    def leave(self) -> None:
        """Wait until it has left; it sees that nobody talks to it any more."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def death(self) -> str:
        """Return how it ended."""
        code = self._process.wait()
        if code >= 0:
            return f"its process ended with exit code {code}"
        with suppress(ValueError):
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process was killed by signal {-code}"
