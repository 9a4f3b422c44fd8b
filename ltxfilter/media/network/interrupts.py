"""Ends libav's waiting for the network, from another thread.

While libav waits it asks PyAV ten times a second whether to go on. PyAV answers by a time-out: it
compares `time.monotonic()`, which it looks up in its module each time, with when the call began.
There is no other way in. So that module gets a clock of its own here, one per thread, and the clock
of an interrupted thread runs faster than any time-out.

The clock is built of iterators in C. A clock in Python would let handlers of signals run inside
libav's callback, where what they raise is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat, starmap
from operator import mul
from typing import Any, TypeVar

import av.container.core

from ltxfilter.errors import Stopped

T = TypeVar("T")

NEVER = 1e9  # seconds after which a call of PyAV is given up by itself
RUSH = 1e20  # times faster than time does the clock of an interrupted thread run
PATIENCE = 0.5  # seconds that an interrupted call has to return


class Interrupt:
    """Ends the calls of libav that are made while it is watched, now and later on."""

    def __init__(self) -> None:
        """Begin without being set."""
        self._pace = [1.0]
        times = starmap(time.monotonic, repeat(()))
        pace = map(self._pace.__getitem__, repeat(0))
        self._clock: Callable[[], float] = map(mul, times, pace).__next__

    @property
    def is_set(self) -> bool:
        """True once `set` was called."""
        return self._pace[0] != 1.0

    def set(self) -> None:
        """End waiting; safe in signal handlers and other threads. Calling it again does nothing."""
        self._pace[0] = RUSH

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Let `set` end what this thread waits for in libav, where PyAV was given NEVER.

        libav's errors become Stopped then.
        """
        CLOCKS.monotonic = self._clock
        try:
            yield
        except av.FFmpegError:
            if self.is_set:
                raise Stopped from None
            raise
        finally:
            CLOCKS.__dict__.pop("monotonic", None)


class Clocks(threading.local):
    """Stands in for the module `time` where PyAV looks for the time; each thread has its own."""

    monotonic: Callable[[], float] = staticmethod(time.monotonic)

    def __getattr__(self, name: str) -> Any:
        """Return whatever else that module has."""
        return getattr(time, name)


CLOCKS = Clocks()
if hasattr(av.container.core, "time"):
    av.container.core.time = CLOCKS


def wait_for(call: Callable[[], T], interrupt: Callable[[], None], patience: float = PATIENCE) -> T:
    """Return what `call` does in a thread of its own, and let signals end the wait for it.

    interrupt: called when something is raised here meanwhile, such as KeyboardInterrupt; `call` has
    `patience` more seconds then. Raises what `call` does, too.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def do() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=do, name="network", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        interrupt()
        thread.join(patience)
        raise
    if failed:
        raise failed[0]
    return done[0]
