"""Threads and memory bounds, nothing else: run a generator ahead, map a function in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

POLL = 0.05  # seconds between looks at the stop event


class ChannelClosed(Exception):
    """The receiver has left; the sender should stop producing."""


class EndOfChannel(Exception):
    """The sender has finished and everything it sent was received."""


class Stopped(Exception):
    """The stop event was set while waiting."""


@dataclass(slots=True)
class StageStats:
    """What a stage did; `busy` is what its thread worked, waiting left out."""

    name: str
    items: int = 0
    bytes: int = 0  # queued now
    peak_bytes: int = 0
    peak_items: int = 0
    elapsed: float = 0.0  # seconds from its first item asked for to its last one sent
    send_wait: float = 0.0  # seconds the stage waited for room downstream
    receive_wait: float = 0.0  # seconds the reader of this stage waited for it


class Channel(Generic[T]):
    """A first-in first-out hand-over between two threads, bounded in bytes.

    One item always fits, so that no bound can deadlock. Closing rules are those of trio's memory
    channels: `finish` ends the receiver after the last item, `close` ends the sender at once.
    """

    def __init__(
        self,
        stats: StageStats,
        max_bytes: int,
        size_of: Callable[[T], int],
        stop: threading.Event | None = None,
    ) -> None:
        self.stats = stats
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._stop = stop
        self._items: deque[tuple[T, int]] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._left = False
        self._error: BaseException | None = None

    def send(self, item: T) -> None:
        """Hand over `item`, waiting for room. Raises ChannelClosed, Stopped."""
        size = self._size_of(item)
        with self._changed:
            if self._full(size):
                self.stats.send_wait += self._wait(lambda: self._left or not self._full(size))
            if self._left:
                raise ChannelClosed
            self._items.append((item, size))
            self.stats.items += 1
            self.stats.bytes += size
            self.stats.peak_bytes = max(self.stats.peak_bytes, self.stats.bytes)
            self.stats.peak_items = max(self.stats.peak_items, len(self._items))
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Send no more; `error` is raised at the receiver after the last item."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def receive(self) -> T:
        """Return the next item, waiting for it. Raises EndOfChannel, Stopped, the sender's."""
        with self._changed:
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            if not self._items and not self._finished:
                self.stats.receive_wait += self._wait(lambda: self._items or self._finished)
            if self._items:
                item, size = self._items.popleft()
                self.stats.bytes -= size
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise EndOfChannel

    def close(self) -> None:
        """Leave as the receiver: drop what is queued and wake the sender."""
        with self._changed:
            self._left = True
            self._items.clear()
            self.stats.bytes = 0
            self._changed.notify_all()

    def _full(self, size: int) -> bool:
        return bool(self._items) and self.stats.bytes + size > self._max_bytes

    def _wait(self, ready: Callable[[], object]) -> float:
        """Wait until `ready`; return the seconds it took. Raises Stopped."""
        began = perf_counter()
        while not self._changed.wait_for(ready, POLL):
            if self._stop is not None and self._stop.is_set():
                raise Stopped
        return perf_counter() - began


def buffered(
    items: Iterable[T],
    *,
    stats: StageStats,
    max_bytes: int,
    size_of: Callable[[T], int],
    stop: threading.Event,
) -> Generator[T]:
    """Iterate `items` in a thread of its own, at most `max_bytes` ahead of the reader.

    An error in `items` surfaces here, after the good items. Whoever iterates closes: closing ends
    the thread and waits for it, and an abnormal end sets `stop` first, so that a source which
    waits for a silent producer lets go. Raises Stopped once `stop` is set.
    """
    channel: Channel[T] = Channel(stats, max_bytes, size_of, stop)
    thread = threading.Thread(target=_produce, args=(items, channel), name=stats.name)
    thread.start()
    try:
        while True:
            try:
                item = channel.receive()
            except EndOfChannel:
                return
            yield item
            del item
    except BaseException:
        stop.set()
        raise
    finally:
        channel.close()
        thread.join()


def _produce(items: Iterable[T], channel: Channel[T]) -> None:
    """Send all of `items` and close them; never raises."""
    began = perf_counter()
    error: BaseException | None = None
    try:
        with closing(items) if isinstance(items, Generator) else nullcontext():
            for item in items:
                channel.send(item)
                del item
    except ChannelClosed:
        pass
    except BaseException as caught:  # it is raised again at the receiver
        error = caught
    channel.stats.elapsed = perf_counter() - began
    channel.finish(error)


def ordered(
    items: Iterator[T],
    function: Callable[[T], R],
    *,
    stats: StageStats,
    threads: int,
    ahead: int,
) -> Generator[R]:
    """Yield `function(item)` for each item, in order, running up to `threads` at once.

    ahead: how many items may be in flight or done but not yet yielded, at least 1. In `stats`
    elapsed is the seconds spent in `function`, summed over the threads.
    """
    pending: deque[Future[tuple[R, float]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=stats.name)

    def timed(item: T) -> tuple[R, float]:
        began = perf_counter()
        return function(item), perf_counter() - began

    def take() -> R:
        began = perf_counter()
        result, seconds = pending.popleft().result()
        stats.receive_wait += perf_counter() - began
        stats.elapsed += seconds
        stats.items += 1
        return result

    try:
        for item in items:
            pending.append(pool.submit(timed, item))
            del item
            stats.peak_items = max(stats.peak_items, len(pending))
            if len(pending) >= ahead:
                yield take()
        while pending:
            yield take()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)
