"""Where `-progress` blocks go: a file, pipe:N, or "-"; a side channel that never ends a run."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from time import monotonic
from typing import Self

from ltxfilter.cli.progress_line import key_values
from ltxfilter.errors import OutputError
from ltxfilter.media.output_file import has_room, open_in_place
from ltxfilter.pipeline.progress import Progress

log = logging.getLogger("ltxfilter.progress")

BLOCK_SECONDS = 0.5  # between two blocks
PATIENCE = 0.2  # seconds that the last block waits for a slow reader
FIRST_WORD = b"frame="  # of a block; a file that begins with it is one of our own, or ffmpeg's


class ProgressFile:
    """Writes blocks of key=value lines while a run goes on.

    A target that cannot be written any more is warned of once, and the run goes on.
    """

    def __init__(self, target: str | None, *, stdout_taken: bool) -> None:
        """Open the target; None writes nothing.

        stdout_taken: standard output carries frames, so that "-" means standard error. Raises
        OutputError, also for a file that holds something else: it is not overwritten.
        """
        self._target = target
        self._fd = None if target is None else _open(target, stdout_taken)
        self._written = monotonic()

    def write(self, progress: Progress, *, ended: bool) -> None:
        """Append one block, not more often than every BLOCK_SECONDS until the last."""
        now = monotonic()
        if self._fd is None or not (ended or now - self._written >= BLOCK_SECONDS):
            return
        self._written = now
        try:
            self._send(key_values(progress, ended=ended).encode(), PATIENCE if ended else 0)
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _send(self, block: bytes, patience: float) -> None:
        """Write a block where that does not make the run wait. Raises OSError.

        patience: seconds to wait for a reader that is slow; the block is left out then.
        """
        assert self._fd is not None
        if has_room(self._fd, patience):  # a pipe that has room takes PIPE_BUF bytes at once
            with suppress(BlockingIOError):
                os.write(self._fd, block)

    def _give_up(self, error: OSError) -> None:
        """Write nothing any more, and say so once."""
        reason = error.strerror or error
        self._fd = None
        log.warning("-progress %s: %s; no more progress is written", self._target, reason)


def _open(target: str, stdout_taken: bool) -> int:
    """Open the target of -progress; return its descriptor. Raises OutputError."""
    descriptor = {"-": "1", "pipe:": "1"}.get(target, target.removeprefix("pipe:"))
    try:
        if target == "-" or target.startswith("pipe:"):
            return os.dup(2 if stdout_taken and descriptor == "1" else int(descriptor))
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"-progress {target}: {reason}") from None
    try:
        return open_in_place(target, FIRST_WORD)
    except OutputError as error:
        raise OutputError(f"-progress {error}") from None
