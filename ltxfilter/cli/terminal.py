"""What surrounds a run on the command line: messages, the status line, progress blocks, signals.

Knows nothing of frames; standard output is never written to unless `-progress -` asks for it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from time import monotonic
from types import FrameType
from typing import IO, Any, Protocol, Self

from ltxfilter.cli.progress_line import Pace, key_values, status_line
from ltxfilter.errors import Interrupted, OutputError
from ltxfilter.pipeline.progress import Progress
from ltxfilter.values import LEVELS

STATUS_SECONDS = 0.5  # between two status lines
GRACE = 0.5  # seconds a run that writes to a pipe has left after a signal
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Cancellable(Protocol):
    """Something that a signal may end."""

    def cancel(self, signum: int | None = None) -> None:
        """End early and in order; safe in signal handlers."""
        ...


class Console(logging.Handler):
    """Standard error: whole lines, log records among them, and a status line under them.

    level: FFmpeg's number; what is less important is left out.
    """

    def __init__(self, level: int, stats: bool | None = None) -> None:
        super().__init__()
        self._level = level
        self._terminal = sys.stderr.isatty()
        self._stats = level >= LEVELS["info"] and self._terminal if stats is None else stats
        self._status = ""  # what stands in the current line of the terminal
        self._shown = monotonic()
        self._pace = Pace()
        self._writing = threading.Lock()
        logger = logging.getLogger("ltxfilter")
        logger.handlers = [self]
        logger.setLevel(logging.DEBUG)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record as a message."""
        name = {"critical": "error"}.get(record.levelname.lower(), record.levelname.lower())
        label = "" if name == "info" else f"{name}: "
        self.say(label + record.getMessage(), LEVELS[name])

    def say(self, text: str, level: int = LEVELS["info"]) -> None:
        """Write one line if it matters at this level."""
        if level > self._level:
            return
        with self._writing:
            erased = "\r" + " " * len(self._status) + "\r" if self._status else ""
            self._write(f"{erased}ltxfilter: {text}\n{self._status}")

    def show(self, progress: Progress) -> None:
        """Write the status line, not more often than every STATUS_SECONDS."""
        now = monotonic()
        if not self._stats or now - self._shown < STATUS_SECONDS:
            return
        self._shown = now
        self._pace.observe(progress)
        line = status_line(progress, self._pace)
        with self._writing:
            if self._terminal:
                self._write("\r" + line.ljust(len(self._status)))
                self._status = line
            else:
                self._write(line + "\n")

    def end_status(self) -> None:
        """Leave the status line as it is and begin a new one."""
        if self._status:
            self._write("\n")
        self._status = ""

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class ProgressFile:
    """Where -progress blocks go: nowhere, a file, pipe:N, or "-".

    "-" is standard output, or standard error when standard output carries frames.
    """

    def __init__(self, target: str | None, stdout_taken: bool) -> None:
        self._file = None if target is None else _open_blocks(target, stdout_taken)
        self._written = monotonic()

    def write(self, progress: Progress, *, ended: bool) -> None:
        """Append one block, not more often than every STATUS_SECONDS until the last."""
        now = monotonic()
        if self._file is None or not (ended or now - self._written >= STATUS_SECONDS):
            return
        self._written = now
        self._file.write(key_values(progress, ended=ended))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _open_blocks(target: str, stdout_taken: bool) -> IO[str]:
    """Open the target of -progress. Raises OutputError."""
    descriptor = {"-": "1", "pipe:": "1"}.get(target, target.removeprefix("pipe:"))
    try:
        if target in ("-", "pipe:") or target.startswith("pipe:"):
            number = 2 if stdout_taken and descriptor == "1" else int(descriptor)
            return os.fdopen(os.dup(number), "w", encoding="utf-8")
        return open(target, "w", encoding="utf-8")  # noqa: PTH123  (closed by its owner)
    except (OSError, ValueError) as error:
        raise OutputError(f"-progress {target}: {error}") from None


class StopSignals:
    """SIGINT and SIGTERM while it is entered: the first ends the run in order, the second at once.

    exit_at_once: a reader that stalls must not keep us, so leave after GRACE seconds.
    """

    def __init__(self, *, exit_at_once: bool) -> None:
        self.run: Cancellable | None = None  # None while it is being opened or closed
        self._grace = GRACE if exit_at_once else None
        self._seen: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and & mean it
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._seen is not None:
            os._exit(128 + number)
        self._seen = number
        if self._grace is not None:
            timer = threading.Timer(self._grace, os._exit, (128 + number,))
            timer.daemon = True
            timer.start()
        if self.run is None:
            raise Interrupted(number)
        self.run.cancel(number)
