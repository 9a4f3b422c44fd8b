"""What encoders change for the whole process, and what they need of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from ltxfilter.values import OWN_PROCESS

M_PERTURB = -6  # glibc's mallopt: its complement is what memory is filled with when it is given out
READ_BLANK = {"libx264"}  # encoders that read memory which they have not written
FILLING = 100  # packets after which an encoder has the memory that it works with


class BlankHeap:
    """Has the heap give out zeros while an encoder takes the memory that it works with.

    libx264 (164 and 165) reads a little that it never wrote: in mb-tree, with B-frames, where rows
    are no multiple of 64 pixels. The same pictures then give other packets on every run. Memory
    that comes from the system is zero anyway. Only glibc can do this; elsewhere nothing happens,
    and nothing if MALLOC_PERTURB_ is set.

    glibc then fills what is freed with 255, which libx265 takes for time stamps if it gets that
    later. So this works in processes of the command line alone, which encode with one encoder.
    """

    _lock = Lock()
    _users = 0

    def __init__(self, codec: str) -> None:
        """Begin, if the encoder `codec` needs it: before it is opened."""
        self._packets = 0
        self._end: weakref.finalize[[int], BlankHeap] | None = None
        ours = OWN_PROCESS in os.environ and not os.environ.get("MALLOC_PERTURB_")
        if codec in READ_BLANK and ours:
            self._count(1)
            self._end = weakref.finalize(self, self._count, -1)

    def packet(self) -> None:
        """Count a packet that came out of the encoder."""
        self._packets += 1
        if self._packets == FILLING:
            self.end()

    def end(self) -> None:
        """Leave the heap as it was; calling it again does nothing."""
        if self._end is not None:
            self._end()

    @classmethod
    def _count(cls, step: int) -> None:
        with cls._lock, contextlib.suppress(AttributeError, OSError, TypeError):
            cls._users += step
            ctypes.CDLL(None).mallopt(M_PERTURB, 255 if cls._users else 0)


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Leave every thread of this process scheduled as the calling one was before.

    SVT-AV1, opened by root, makes the thread that opens it real-time. Its own threads, every later
    thread and every child process inherit that, and together they starve the whole machine.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended
                if os.sched_getscheduler(int(task.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(int(task.name), policy, parameters)
