"""Where `-progress` blocks go: a file, pipe:N, or "-"; a side channel that never ends a run."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import IO, Self

from ltxfilter.cli.progress_line import key_values
from ltxfilter.errors import OutputError
from ltxfilter.pipeline.progress import Progress

log = logging.getLogger("ltxfilter.progress")

BLOCK_SECONDS = 0.5  # between two blocks
FIRST_WORD = b"frame="  # of a block; a file that begins with it is one of our own, or ffmpeg's


class ProgressFile:
    """Writes blocks of key=value lines while a run goes on.

    A target that cannot be written any more is warned of once, and the run goes on.
    """

    def __init__(self, target: str | None, *, stdout_taken: bool, taken: Iterable[str]) -> None:
        """Open the target; None writes nothing.

        stdout_taken: standard output carries frames, so that "-" means standard error. taken: names
        of the run's other files. Raises OutputError, also for a file that holds something else: it
        is not overwritten.
        """
        self._target = target
        self._file = None if target is None else _open(target, stdout_taken, taken)
        self._written = monotonic()

    def write(self, progress: Progress, *, ended: bool) -> None:
        """Append one block, not more often than every BLOCK_SECONDS until the last."""
        now = monotonic()
        if self._file is None or not (ended or now - self._written >= BLOCK_SECONDS):
            return
        self._written = now
        try:
            self._file.write(key_values(progress, ended=ended))
            self._file.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Write nothing any more, and say so once."""
        self._file = None
        reason = getattr(error, "strerror", None) or error
        log.warning("-progress %s: %s; no more progress is written", self._target, reason)


def _open(target: str, stdout_taken: bool, taken: Iterable[str]) -> IO[str]:
    """Open the target of -progress. Raises OutputError."""
    descriptor = {"-": "1", "pipe:": "1"}.get(target, target.removeprefix("pipe:"))
    try:
        if target == "-" or target.startswith("pipe:"):
            number = 2 if stdout_taken and descriptor == "1" else int(descriptor)
            return os.fdopen(os.dup(number), "w", encoding="utf-8")
        return _open_file(Path(target), taken)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"-progress {target}: {reason}") from None


def _open_file(path: Path, taken: Iterable[str]) -> IO[str]:
    """Open a file for writing and empty it, after everything that speaks against it was checked."""
    for name in taken:
        if _is_same(path, Path(name)):
            raise OutputError(f"-progress {path}: is {name} itself; name another file")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOCTTY", 0), 0o666)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            start = os.read(fd, len(FIRST_WORD))
            if start and start != FIRST_WORD:
                raise OutputError(
                    f"-progress {path}: exists and is no progress file; name another file"
                )
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        return os.fdopen(fd, "w", encoding="utf-8")
    except BaseException:
        os.close(fd)
        raise


def _is_same(path: Path, other: Path) -> bool:
    """Return True if two names mean one file, whether it exists or not."""
    try:
        return path.samefile(other)
    except OSError:
        return path.resolve() == other.resolve()
