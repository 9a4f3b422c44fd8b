"""Whole writes to a pipe that another thread can end while the reader takes nothing."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from time import monotonic

from ltxfilter.errors import Stopped

GRACE = 0.4  # seconds that a write has left once it is cancelled
POLL_MS = 50  # milliseconds between two looks at whether it is
PIPE_BUF = getattr(select, "PIPE_BUF", 512)  # bytes that a pipe takes whole once it is writable


class CancellableWriter:
    """Writes to a descriptor that belongs to others; `cancel` ends a write that waits.

    O_NONBLOCK would hold for every process that shares the descriptor's open file. So a pipe is
    opened a second time, for this object alone. Where the system does not allow that, Linux asks
    before each small write whether there is room. Elsewhere a waiting write cannot be cancelled.
    """

    def __init__(self, fd: int) -> None:
        """Write to `fd`, which stays open."""
        self._fd = fd
        self._own = _opened_again(fd)
        self._small = self._own is None and _can_wait(fd)
        self._deadline: float | None = None  # in seconds of `monotonic`, once cancelled
        self._wait = _waiter(fd if self._own is None else self._own)

    def write_views(self, views: list[memoryview]) -> int:
        """Write all of `views`, which are consumed; return the bytes.

        Raises OSError, Stopped.
        """
        total = sum(len(view) for view in views)
        while views:
            _drop(views, self._write_some(views))
        return total

    def cancel(self) -> None:
        """End a write that still waits GRACE seconds from now, with Stopped, and later ones.

        Safe in signal handlers and other threads; calling it again changes nothing.
        """
        if self._deadline is None:
            self._deadline = monotonic() + GRACE

    def close(self) -> None:
        """Release what was opened; the descriptor that was given stays open."""
        own, self._own = self._own, None
        if own is not None:
            os.close(own)

    def _write_some(self, views: list[memoryview]) -> int:
        """Write as much as there is room for; return the bytes, 0 after waiting for room."""
        if self._small:
            self._wait_for_room()
            return os.write(self._fd, views[0][:PIPE_BUF])
        fd = self._fd if self._own is None else self._own
        try:
            return os.writev(fd, views) if hasattr(os, "writev") else os.write(fd, views[0])
        except BlockingIOError:  # ours, or another process made the descriptor non-blocking
            self._wait_for_room()
            return 0

    def _wait_for_room(self) -> None:
        while True:
            if self._deadline is not None and monotonic() > self._deadline:
                raise Stopped
            if self._wait():
                return


def _drop(views: list[memoryview], count: int) -> None:
    """Remove the first `count` bytes of `views`."""
    while views and count >= len(views[0]):
        count -= len(views.pop(0))
    if views:
        views[0] = views[0][count:]


def _opened_again(fd: int) -> int | None:
    """Return a non-blocking descriptor of the pipe behind `fd`; None if there is none to be had."""
    if sys.platform != "linux" or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no /proc, another user's pipe, or nobody reads it any more
        return None


def _can_wait(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return sys.platform == "linux" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _waiter(fd: int) -> Callable[[], object]:
    """Return a function that waits up to POLL_MS for room; it returns something true if there is.

    An error on the descriptor counts as room: the next write tells which one it is.
    """
    if not hasattr(select, "poll"):
        return lambda: select.select([], [fd], [], POLL_MS / 1000)[1]
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return lambda: poll.poll(POLL_MS)
