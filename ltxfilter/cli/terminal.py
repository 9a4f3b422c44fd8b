"""What surrounds a run on the command line: messages, the status line and signals.

Knows nothing of frames and never writes to standard output. Standard error is a side channel: where
it is closed, full or gone, messages are lost and the run goes on.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Protocol, Self

from ltxfilter.cli.progress_line import Pace, status_line
from ltxfilter.errors import Interrupted
from ltxfilter.pipeline.progress import Progress
from ltxfilter.values import LEVELS

STATUS_SECONDS = 0.5  # between two status lines
GRACE = 0.5  # seconds a run that writes to a pipe has left after a signal
OPENING_GRACE = 1.5  # seconds that a run which is still being opened has left after a signal
SIGNALS = (signal.SIGINT, signal.SIGTERM)
UNSAFE = re.compile(  # what a terminal obeys, what hides text, and what UTF-8 cannot write
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Cancellable(Protocol):
    """Something that a signal may end."""

    def cancel(self, signum: int | None = None) -> None:
        """End early and in order; safe in signal handlers."""
        ...


def escaped(text: str) -> str:
    """Return text whose control characters, bidi marks and lone surrogates are written as escapes.

    Names of files and tags of streams come from others; a terminal must not obey them.
    """
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def write_error(text: str) -> None:
    """Write to standard error; where it is closed, full or gone, the text is lost."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def logging_level(level: int) -> int:
    """Return Python's number of what still passes at FFmpeg's log level `level`.

    media/ goes by it for libraries that write to standard error by themselves.
    """
    shown = [name for name in ("debug", "info", "warning", "error") if level >= LEVELS[name]]
    return logging.getLevelNamesMapping()[shown[0].upper()] if shown else logging.CRITICAL + 1


class Console(logging.Handler):
    """Standard error: whole lines, log records among them, and a status line under them."""

    def __init__(self, level: int, stats: bool | None = None) -> None:
        """Take over the log records of ltxfilter.

        level: FFmpeg's number; what is less important is left out. stats: whether the status line
        is shown; None shows it on a terminal.
        """
        super().__init__()
        self._level = level
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._stats = level >= LEVELS["info"] and self._terminal if stats is None else stats
        self._status = ""  # what stands in the current line of the terminal
        self._shown = monotonic()
        self._pace = Pace()
        self._writing = threading.Lock()
        logger = logging.getLogger("ltxfilter")
        logger.handlers = [self]
        logger.setLevel(logging_level(level))
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
            self._write(f"{erased}ltxfilter: {escaped(text)}\n{self._status}")

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
        write_error(text)


class StopSignals:
    """SIGINT and SIGTERM while it is entered: the first ends the run in order, the second at once.

    While a run is being opened there is nothing to cancel, so the handler raises Interrupted. Code
    that happens to run then may swallow it or turn it into another error, which is why the process
    ends OPENING_GRACE seconds later in any case, and why `seen` overrules other errors.
    """

    def __init__(self, *, exit_at_once: bool) -> None:
        """Prepare. exit_at_once: leave GRACE seconds later; a stalled reader may block the end."""
        self.run: Cancellable | None = None  # None while it is being opened or closed
        self.seen: int | None = None  # number of the first signal that came
        self._grace = GRACE if exit_at_once else None
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
        if self.seen is not None:
            os._exit(128 + number)
        self.seen = number
        grace = OPENING_GRACE if self.run is None else self._grace
        if grace is not None:
            timer = threading.Timer(grace, os._exit, (128 + number,))
            timer.daemon = True
            timer.start()
        if self.run is None:
            raise Interrupted(number)
        self.run.cancel(number)
