"""Threads: order is kept, bounds hold, errors surface, nothing outlives the loop that reads it."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tools import TIMEOUT

from ltxfilter.errors import Stopped
from ltxfilter.pipeline.threads import CHUNK, Channel, StageStats, buffered, ordered


def ahead(items, max_bytes=100, stop=None, stats=None, size_of=lambda item: item):
    return buffered(
        items,
        stats=stats or StageStats("test"),
        max_bytes=max_bytes,
        size_of=size_of,
        stop=stop or threading.Event(),
    )


@given(
    items=st.lists(st.integers(1, 100), max_size=50),
    max_bytes=st.integers(1, 150),
    leave=st.integers(0, 60),
)
def test_buffered_is_identity_bounded_and_leaves_no_thread(items, max_bytes, leave):
    threads = threading.active_count()
    stats = StageStats("test")
    stage = ahead(items, max_bytes, stats=stats)
    got = []
    for item in stage:
        if len(got) == leave:
            break
        got.append(item)
    stage.close()
    assert got == items[:leave]
    assert threading.active_count() == threads
    assert stats.peak_bytes <= max_bytes + max(items, default=0)


def test_an_item_above_the_bound_passes():
    assert list(ahead([10**6, 10**6], max_bytes=1)) == [10**6, 10**6]


def test_an_error_arrives_after_the_good_items_and_the_source_is_closed():
    closed = []

    def source():
        try:
            yield 1
            yield 2
            raise OSError("broken")
        finally:
            closed.append(True)

    got = []
    with pytest.raises(OSError, match="broken"):
        got.extend(ahead(source()))
    assert closed == [True]

    stage = ahead(source())
    assert [next(stage), next(stage)] == [1, 2]
    with pytest.raises(OSError, match="broken"):
        next(stage)


def test_closing_the_last_stage_closes_the_first():
    closed = []

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.append("source")

    first = ahead(source(), size_of=lambda _: 1)
    second = ahead((item + 1 for item in first), size_of=lambda _: 1)
    assert next(second) == 1
    second.close()
    first.close()
    assert closed == ["source"]


def test_stop_frees_a_reader_of_a_silent_source(monkeypatch: pytest.MonkeyPatch):
    stop, left, close = threading.Event(), threading.Event(), Channel.close

    def leave(channel):
        close(channel)
        left.set()

    def silent():
        assert left.wait(TIMEOUT)  # nothing comes while there is a reader
        yield 1

    monkeypatch.setattr(Channel, "close", leave)
    stage = ahead(silent(), stop=stop)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        next(stage)


def test_stop_frees_a_sender_without_a_reader():
    stop = threading.Event()
    stage = ahead(iter(range(1, 10)), max_bytes=1, stop=stop)
    assert next(stage) == 1
    stop.set()
    with pytest.raises(Stopped):
        list(stage)


def test_small_items_travel_together_and_large_ones_alone():
    stats = StageStats("small")
    assert list(ahead(range(1000), 10**9, stats=stats, size_of=lambda _: 700)) == [*range(1000)]
    assert stats.items == 6  # groups of at least 128 KiB
    stats = StageStats("large")
    assert list(ahead(range(20), 10**9, stats=stats, size_of=lambda _: CHUNK)) == [*range(20)]
    assert stats.items == 20


def work(items, function, threads=2, limit=3, stats=None):
    return ordered(
        iter(items),
        function,
        stats=stats or StageStats("draw"),
        size_of=lambda _: CHUNK,
        threads=threads,
        ahead=limit,
        stop=threading.Event(),
    )


@given(items=st.lists(st.integers()), threads=st.integers(1, 4), limit=st.integers(1, 6))
@settings(max_examples=50)
def test_ordered_keeps_the_order(items, threads, limit):
    assert list(work(items, lambda item: item * 2, threads, limit)) == [2 * x for x in items]


def test_ordered_takes_no_more_than_it_may():
    taken = []

    def source():
        for number in range(20):
            taken.append(number)
            yield number

    threads = threading.active_count()
    stage = work(source(), lambda number: number)
    assert next(stage) == 0
    time.sleep(0.05)  # lets it take more, if it would
    assert len(taken) <= 4
    stage.close()
    assert threading.active_count() == threads


def test_ordered_raises_where_the_error_belongs():
    def fails(number):
        if number == 2:
            raise ValueError("two")
        return number

    stage = work(range(5), fails)
    assert [next(stage), next(stage)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(stage)


def test_a_stop_frees_the_reader_before_the_work_that_is_under_way_ends():
    stop, working, go_on = threading.Event(), threading.Event(), threading.Event()
    order = []

    def slow(number):
        working.set()
        assert go_on.wait(TIMEOUT)
        order.append("worked")
        return number

    def leave():
        order.append("left")
        go_on.set()

    def stop_it():
        assert working.wait(TIMEOUT)
        stop.set()

    stopper = threading.Thread(target=stop_it)
    stopper.start()
    stage = ordered(
        range(9), slow, stats=StageStats("draw"), size_of=lambda _: CHUNK, threads=1, ahead=1,
        stop=stop, leaving=leave,
    )  # fmt: skip
    with pytest.raises(Stopped):
        next(stage)
    stopper.join()
    assert order == ["left", "worked"]


def test_a_stop_is_seen_inside_a_group():
    stop = threading.Event()
    stage = ahead(range(1000), 10**9, stop=stop, size_of=lambda _: 1)
    assert next(stage) == 0
    stop.set()
    with pytest.raises(Stopped):
        next(stage)


def test_statistics_tell_work_from_waiting(monkeypatch: pytest.MonkeyPatch):
    """By a clock that moves on only while the source works and its reader waits."""
    now, reader, waits = [0.0], threading.current_thread(), threading.Event()

    def clock():
        seconds = now[0]
        if threading.current_thread() is reader:
            waits.set()
        return seconds

    def slow():
        assert waits.wait(TIMEOUT)
        for _ in range(5):
            now[0] += 2
            yield 1

    monkeypatch.setattr("ltxfilter.pipeline.threads.perf_counter", clock)
    stats = StageStats("source")
    assert sum(ahead(slow(), stats=stats)) == 5
    assert stats.items == 1
    assert stats.elapsed == 10
    assert stats.receive_wait == 10


def test_a_system_without_room_for_threads_ends_it(monkeypatch: pytest.MonkeyPatch):
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "draw-2":
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    results = ordered(
        range(100), str, stats=StageStats("draw"), size_of=lambda _: 1, threads=4, ahead=9,
        stop=threading.Event(),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="new thread"):
        list(results)
