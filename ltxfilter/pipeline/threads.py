"""Threads and memory bounds: run a generator ahead of its reader, map a function in order.

A stage is a generator; it can be tested with lists and no threads. `buffered` runs one in a thread
of its own behind a `Channel` that is bounded in bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Generic, NoReturn, TypeVar

from ltxfilter.errors import Stopped

T = TypeVar("T")
R = TypeVar("R")

POLL = 0.05  # seconds between two looks at the stop event
CHUNK = 1 << 17  # bytes; smaller items change threads together, since waking a thread costs more


class ChannelClosed(Exception):
    """The receiver has left; the sender should stop producing."""


class EndOfChannel(Exception):
    """The sender has finished and everything it sent was received."""


@dataclass(slots=True)
class StageStats:
    """What a stage did, and for how long it waited."""

    name: str
    items: int = 0  # items that left it; a group of small ones counts as one
    bytes: int = 0  # bytes that are queued behind it now
    peak_bytes: int = 0  # bytes that were queued at most
    peak_items: int = 0  # items that were queued, or in work, at most
    elapsed: float = 0.0  # seconds from asking for its first item to sending its last one
    send_wait: float = 0.0  # seconds that the stage waited for room behind it
    receive_wait: float = 0.0  # seconds that its reader waited for it


class Channel(Generic[T]):
    """A first-in first-out queue between two threads, bounded in bytes.

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
        lock = threading.Lock()
        self._arrival = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._finished = False
        self._left = False
        self._error: BaseException | None = None

    def send(self, item: T) -> None:
        """Hand over `item`, waiting for room. Raises ChannelClosed, Stopped."""
        size = self._size_of(item)
        with self._room:
            if self._full(size):
                self.stats.send_wait += self._wait(
                    self._room, lambda: self._left or not self._full(size)
                )
            if self._left:
                raise ChannelClosed
            self._items.append((item, size))
            self.stats.items += 1
            self.stats.bytes += size
            self.stats.peak_bytes = max(self.stats.peak_bytes, self.stats.bytes)
            self.stats.peak_items = max(self.stats.peak_items, len(self._items))
            self._arrival.notify()

    def finish(self, error: BaseException | None = None) -> None:
        """Send no more; `error` is raised at the receiver after the last item."""
        with self._arrival:
            self._finished, self._error = True, error
            self._arrival.notify()

    def receive(self) -> T:
        """Return the next item, waiting for it. Raises EndOfChannel, Stopped, the sender's."""
        with self._arrival:
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            if not self._items and not self._finished:
                self.stats.receive_wait += self._wait(
                    self._arrival, lambda: self._items or self._finished
                )
            if self._items:
                item, size = self._items.popleft()
                self.stats.bytes -= size
                if self.stats.bytes <= self._max_bytes // 2:  # else the two would wake in turns
                    self._room.notify()
                return item
            if self._error is not None:
                raise self._error
            raise EndOfChannel

    def close(self) -> None:
        """Leave as the receiver: drop what is queued and wake the sender."""
        with self._room:
            self._left = True
            self._items.clear()
            self.stats.bytes = 0
            self._room.notify()

    def _full(self, size: int) -> bool:
        return bool(self._items) and self.stats.bytes + size > self._max_bytes

    def _wait(self, changed: threading.Condition, ready: Callable[[], object]) -> float:
        """Wait until `ready`; return the seconds it took. Raises Stopped."""
        began = perf_counter()
        while not changed.wait_for(ready, POLL):
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
    group: int = CHUNK,
) -> Generator[T]:
    """Yield `items`, which are iterated in a thread of their own, at most `max_bytes` ahead.

    Items smaller than `group` bytes are handed over several at a time; with 1, no item waits for
    another. An error in `items` is raised here, after the items before it. Whoever iterates must
    close: closing ends the thread and waits for it. An abnormal end sets `stop` first, so that a
    source that waits for a silent producer lets go. Raises Stopped once `stop` is set.
    """
    channel: Channel[Chunk[T]] = Channel(stats, max_bytes, lambda chunk: chunk[1], stop)
    source = chunked(items, size_of, min(group, max_bytes))
    thread = threading.Thread(target=_produce, args=(source, channel), name=stats.name)
    thread.start()
    try:
        while True:
            try:
                chunk, _ = channel.receive()
            except EndOfChannel:
                return
            while chunk:
                if stop.is_set():
                    raise Stopped
                yield chunk.popleft()
    except BaseException:
        stop.set()
        raise
    finally:
        channel.close()
        thread.join()


Chunk = tuple[deque[T], int]  # items and their bytes


def chunked(
    items: Iterable[T], size_of: Callable[[T], int], least: int = CHUNK
) -> Generator[Chunk[T]]:
    """Yield items in groups of at least `least` bytes, and the rest; closes `items`.

    What came before an error in `items` is yielded before it is raised.
    """
    chunk: deque[T] = deque()
    size = 0
    failure: Exception | None = None
    with closing(items) if isinstance(items, Generator) else nullcontext():
        try:
            for item in items:
                chunk.append(item)
                size += size_of(item)
                del item
                if size >= least:
                    yield chunk, size
                    chunk, size = deque(), 0
        except Exception as error:
            failure = error
        if chunk:
            yield chunk, size
        if failure is not None:
            raise failure


def _produce(source: Generator[Chunk[T]], channel: Channel[Chunk[T]]) -> None:
    """Send everything from `source` and close it; never raises."""
    began = perf_counter()
    error: BaseException | None = None
    try:
        with closing(source):
            for chunk in source:
                channel.send(chunk)
                del chunk
    except ChannelClosed:
        pass
    except BaseException as caught:  # it is raised again at the receiver
        error = caught
    channel.stats.elapsed = perf_counter() - began
    channel.finish(error)


def timed(items: Iterable[T], stats: StageStats) -> Generator[T]:
    """Yield `items`, adding to `stats` the seconds that each took to come."""
    source = iter(items)
    while True:
        began = perf_counter()
        try:
            item = next(source)
        except StopIteration:
            return
        finally:
            stats.elapsed += perf_counter() - began
        stats.items += 1
        yield item


def ordered(
    items: Iterable[T],
    function: Callable[[T], R],
    *,
    stats: StageStats,
    size_of: Callable[[T], int],
    threads: int,
    ahead: int,
    stop: threading.Event,
    group: int = CHUNK,
    leaving: Callable[[], object] = lambda: None,
) -> Generator[R]:
    """Yield `function(item)` for each item, in order, running up to `threads` at once.

    The threads take the items in turn, so that preparing an item overlaps with the work on those
    before it. ahead: how many items (or groups of small ones, see `buffered`) may be in work, or
    done and not yet yielded, at least 1. An error is raised in place of its item's result; closing
    rules are those of `buffered`. leaving: called at an abnormal end, before the threads are waited
    for, which takes as long as `function` does. In `stats`, `elapsed` is the seconds spent in
    `function`, summed over the threads.
    """
    source = chunked(items, size_of, group)
    pool = _OrderedPool(source, lambda chunk: [function(item) for item in chunk[0]], stats, ahead)
    workers: list[threading.Thread] = []
    try:
        for number in range(threads):
            worker = threading.Thread(target=pool.work, name=f"{stats.name}-{number}")
            worker.start()  # the system may refuse one
            workers.append(worker)
        for results in pool.results(stop):
            yield from results
    except BaseException:
        stop.set()
        leaving()
        raise
    finally:
        pool.leave()
        for worker in workers:
            worker.join()
        source.close()


class _OrderedPool(Generic[T, R]):
    """Threads that take items in turn, and a reader that receives the results in order."""

    def __init__(
        self, items: Iterator[T], function: Callable[[T], R], stats: StageStats, ahead: int
    ) -> None:
        self._items = items
        self._function = function
        self._stats = stats
        self._ahead = ahead
        self._turn = threading.Lock()  # whoever holds it takes the next item
        self._changed = threading.Condition()
        self._done: dict[int, Callable[[], R]] = {}  # by number; called by the reader
        self._taken = 0
        self._given = 0
        self._over = False  # no item is left, or the reader has gone

    def work(self) -> None:
        """Take items and work on them until there are none; never raises."""
        while (taken := self._take()) is not None:
            number, item = taken
            began = perf_counter()
            result: Callable[[], R]
            try:
                result = partial(_give, self._function(item))
            except BaseException as error:  # it is raised again at the reader
                result = partial(_fail, error)
            del item, taken
            self._put(number, result, perf_counter() - began)

    def results(self, stop: threading.Event) -> Generator[R]:
        """Yield the results in order, waiting for each. Raises Stopped once `stop` is set."""
        while True:
            with self._changed:
                began = perf_counter()
                while not self._changed.wait_for(self._has_result, POLL):
                    if stop.is_set():
                        raise Stopped
                self._stats.receive_wait += perf_counter() - began
                if self._given not in self._done:
                    return
                result = self._done.pop(self._given)
                self._given += 1
                self._changed.notify_all()
            yield result()
            del result

    def leave(self) -> None:
        """Take no more items."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _take(self) -> tuple[int, T] | None:
        with self._turn:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._over or self._taken - self._given < self._ahead
                )
                if self._over:
                    return None
            try:
                item = next(self._items)
            except StopIteration:
                self.leave()
                return None
            except BaseException as error:  # it is raised again at the reader
                self._over = True
                self._put(self._taken, partial(_fail, error), 0.0)
                self._taken += 1
                return None
            self._taken += 1
            self._stats.peak_items = max(self._stats.peak_items, self._taken - self._given)
            return self._taken - 1, item

    def _put(self, number: int, result: Callable[[], R], seconds: float) -> None:
        with self._changed:
            self._done[number] = result
            self._stats.elapsed += seconds
            self._stats.items += 1
            if number == self._given:
                self._changed.notify_all()

    def _has_result(self) -> bool:
        return self._given in self._done or self._finished()

    def _finished(self) -> bool:
        return self._over and self._given == self._taken


def _give(result: R) -> R:
    return result


def _fail(error: BaseException) -> NoReturn:
    raise error
