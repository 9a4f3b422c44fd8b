"""Put thread scheduling back after a library has changed it for the whole process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


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
