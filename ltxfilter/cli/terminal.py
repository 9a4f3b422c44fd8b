"""What surrounds a run on the command line: messages, the status line and signals.

Knows nothing of frames and never writes to standard output. Standard error is a side channel: where
it is closed, full, gone or not read, messages are lost and the run goes on.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Protocol, Self, TextIO

from ltxfilter.cli.progress_line import status_line
from ltxfilter.errors import Interrupted
from ltxfilter.media.output_file import has_room
from ltxfilter.pipeline.progress import Pace, Progress
from ltxfilter.values import LEVELS, without_secrets

STATUS_SECONDS = 0.5  # between two status lines
PATIENCE = 0.8  # seconds that a run has left after a signal for an orderly end
ENGINE_PATIENCE = 0.2  # seconds that an engine has left once the output is complete
LOOK = 0.05  # seconds between two looks at that
ABANDONING = 0.25  # further seconds for completing the output from another thread
SPEAKING = 0.1  # seconds that standard error may take for the last lines
SAME = 0.1  # seconds; timeout(1) signals a process and then its group: the second one is the first
SIGNALS = (signal.SIGINT, signal.SIGTERM)
NUDGE = getattr(signal, "SIGURG", 0)  # lets the main thread leave a system call; does no harm
PIECE = 1024  # characters, in UTF-8 at most PIPE_BUF bytes, which a pipe with room takes at once
STDERR_PATIENCE = 0.5  # seconds that a reader of standard error has to take a message
UNSAFE = re.compile(  # what a terminal obeys, what hides text, and what UTF-8 cannot write
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Cancellable(Protocol):
    """Something that a signal may end."""

    left: threading.Event
    """Set once its output is complete, though its threads may still work."""

    def cancel(self, signum: int | None = None) -> None:
        """End early and in order; safe in signal handlers."""
        ...

    def abandon(self, patience: float) -> str | None:
        """Complete the output from another thread; return what became of it.

        patience: seconds to wait for a write that is under way.
        """
        ...


def escaped(text: str) -> str:
    """Return text whose control characters, bidi marks and lone surrogates are written as escapes.

    Names of files and tags of streams come from others; a terminal must not obey them. Users and
    passwords of addresses are hidden.
    """
    shown = without_secrets(text)
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), shown)


_stderr_stalls = False  # the latest message was not taken


def write_error(text: str) -> None:
    """Write to standard error; where it is closed, full, gone or not read, the text is lost."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        for start in range(0, len(text), PIECE):
            if not _is_read(sys.stderr):
                return
            sys.stderr.write(text[start : start + PIECE])
            sys.stderr.flush()


def _is_read(stream: TextIO) -> bool:
    """Return True if a stream takes a piece of text; a reader that is slow is waited for once."""
    global _stderr_stalls
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return True  # it is not the system's
    _stderr_stalls = not has_room(descriptor, 0 if _stderr_stalls else STDERR_PATIENCE)
    return not _stderr_stalls


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

    def say_last(self, text: str) -> None:
        """End the status line and write an error."""
        self.end_status()
        self.say(text, LEVELS["error"])

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
    """SIGINT and SIGTERM while it is entered: whatever the run is doing, it ends within 2 s.

    - The first one asks the run for an early, orderly end. While a run is being opened there is
      nothing to ask, so Interrupted is raised in the main thread. Code that happens to run then may
      swallow it or turn it into another error, which is why `seen` overrules other errors.
    - At the second one, or PATIENCE seconds after the first, another thread completes the output
      without waiting for the encoder, says what is lost, and ends the process. An engine has only
      ENGINE_PATIENCE seconds, since nothing is lost with it once the output is complete.
    - The third one ends the process at once.

    Python runs handlers in the main thread only, between two steps of Python code. That thread may
    be inside libav, so where the system can do that, a thread of its own waits for the signals.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Prepare. say: shows one of the last lines; it may block."""
        self.run: Cancellable | None = None  # None while it is being opened
        self.seen: int | None = None  # number of the first signal that came
        self.last_words = threading.RLock()  # held for good by whoever says how the run ended
        self._say = say
        self._count = 0  # signals that came
        self._first = 0.0  # when the first one came, in seconds of `monotonic`
        self._raised = False
        self._over = False  # it is left
        self._stopping, self._hurried = threading.Event(), threading.Event()
        self._before: dict[int, Any] = {}
        self._mask: set[int] | None = None  # the main thread's before; None: nobody waits
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        numbers = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        for number in numbers:  # the others are ignored, which nohup and & mean
            self._before[number] = signal.signal(number, self._handle)
        waits = numbers and sys.platform != "win32"
        if waits:  # before there are further threads, which inherit it
            self._before[NUDGE] = signal.signal(NUDGE, self._nudged)
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        self._start(self._end_late)
        if waits:
            self._start(self._wait, numbers)
        return self

    def __exit__(self, *exc: object) -> None:
        self._over = True
        self._hurried.set()
        self._stopping.set()
        if self._mask is not None:
            ours = next(number for number in self._before if number != NUDGE)
            signal.pthread_kill(self._threads[-1].ident or 0, ours)
        for thread in self._threads:
            thread.join()
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="signals", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _wait(self, numbers: list[int]) -> None:
        """Wait for signals, which are blocked in all threads, until `__exit__` sends one."""
        while True:
            number = signal.sigwait(numbers)
            if self._over:
                return
            self._arrived(number)
            if self.run is None:
                signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal for which no thread waits, in the main thread."""
        self._arrived(number)
        self._nudged(number, frame)

    def _nudged(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.seen is None or self._raised:
            return
        if self.run is not None:
            self.run.cancel(self.seen)
            return
        self._raised = True
        raise Interrupted(self.seen)

    def _arrived(self, number: int) -> None:
        self._count += 1
        now = monotonic()
        if self.seen is None:
            self.seen, self._first = number, now
            self._stopping.set()
            if self.run is not None:
                self.run.cancel(number)
        elif self._count > 2:
            os._exit(128 + self.seen)
        elif now - self._first > SAME:
            self._hurried.set()

    def _end_late(self) -> None:
        """End the process once the first signal is PATIENCE seconds old, or a second one comes."""
        self._stopping.wait()
        latest = self._first + PATIENCE
        while not self._hurried.wait(LOOK) and monotonic() < latest:
            if self.run is not None and self.run.left.is_set():
                latest = min(latest, monotonic() + ENGINE_PATIENCE)
        if self._over or self.seen is None:
            return
        try:
            if self.last_words.acquire(timeout=SPEAKING):
                lines = [*self._abandoned(), str(Interrupted(self.seen))]
                _within(SPEAKING, lambda: [self._say(line) for line in lines])
        finally:
            os._exit(128 + self.seen)

    def _abandoned(self) -> list[str]:
        """Let the run complete its output; return what became of it, if that is worth a line."""
        if self.run is None:
            return []
        run, lines = self.run, list[str | None]()
        _within(2 * ABANDONING, lambda: lines.append(run.abandon(ABANDONING)))
        return [line for line in lines if line]


def _within(seconds: float, function: Callable[[], object]) -> None:
    """Call `function`; leave it alone with its work after `seconds`."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
