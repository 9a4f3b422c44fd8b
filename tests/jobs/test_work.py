"""The order of work, with a pool that answers at once: what is tried again, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction as F
from pathlib import Path

import pytest

from ltxfilter.errors import EngineError, InputError, OutputError
from ltxfilter.jobs.journal import Journal
from ltxfilter.jobs.segments import SegmentPlan
from ltxfilter.jobs.tally import Tally
from ltxfilter.jobs.work import AHEAD, MOST_TRIES, Work
from ltxfilter.jobs.workers.pool import Event
from ltxfilter.jobs.workers.segment_maker import COUNTS
from ltxfilter.windows.segment import Segment

SEGMENTS = 8


class ScriptedPool:
    """Two workers; what becomes of each segment is written down."""

    size, name, names = 2, "process", "processes"

    def __init__(self, script: dict[int, str]) -> None:
        self.given: list[int] = []
        self._script = script
        self._ready: list[tuple[int, int, Path]] = []

    def idle(self) -> list[int]:
        busy = {worker for worker, _, _ in self._ready}
        return [worker for worker in range(self.size) if worker not in busy]

    def give(self, worker: int, segment: Segment, path: Path) -> None:
        self.given.append(segment.number)
        self._ready.append((worker, segment.number, path))

    def events(self, timeout: float) -> list[Event]:
        del timeout
        worker, number, path = self._ready.pop()  # the latest is the first to be done
        kind = self._script.get(number, "stored")
        if kind == "stored":
            path.write_bytes(b"x")
            counts = dict.fromkeys(COUNTS, 1)
            return [Event(kind, worker, number, {"counts": counts, "elapsed": 0.1})]
        error = EngineError("gone") if kind == "died" else InputError("in.mkv: is damaged")
        return [Event(kind, worker, number, error=error)]

    def stop(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "work", {}, "yes") as opened:
        yield opened


def work_of(journal: Journal, pool: ScriptedPool) -> tuple[Work, Tally]:
    bounds = [None, *(F(10 * n) for n in range(1, SEGMENTS)), None]
    segments = tuple(
        Segment(number, F(0), bounds[number], bounds[number + 1]) for number in range(SEGMENTS)
    )
    plan = SegmentPlan(segments, F(0), F(10 * SEGMENTS))
    tally = Tally(plan, F(50), F(1, 25))
    return Work(plan, journal, tally, pool), tally


def test_segments_come_in_order_and_no_worker_runs_far_ahead(journal: Journal) -> None:
    pool = ScriptedPool({})
    work, tally = work_of(journal, pool)
    came = []
    for number in work.stored(None, threading.Event()):
        assert max(pool.given) - number <= AHEAD * pool.size
        came.append(number)
    assert came == list(range(SEGMENTS))
    assert tally.update().frames_out == 3 * SEGMENTS  # each count of a segment is 1
    assert sum(tally.progress.workers.values()) == SEGMENTS


def test_a_segment_that_ends_its_worker_is_tried_a_few_times(journal: Journal) -> None:
    pool = ScriptedPool({1: "died"})
    work, _ = work_of(journal, pool)
    with pytest.raises(EngineError, match=r"segment 1 \(from 10 s on\) failed 3 times: gone"):
        list(work.stored(None, threading.Event()))
    assert pool.given.count(1) == MOST_TRIES


def test_an_error_that_would_happen_again_ends_the_job(journal: Journal) -> None:
    pool = ScriptedPool({2: "failed"})
    work, _ = work_of(journal, pool)
    with pytest.raises(InputError, match="is damaged"):
        list(work.stored(None, threading.Event()))
    assert pool.given.count(2) == 1


def test_a_segment_that_is_damaged_on_disk_is_not_made_for_ever(journal: Journal) -> None:
    pool = ScriptedPool({})
    work, tally = work_of(journal, pool)

    def take_all() -> None:
        for number in work.stored(None, threading.Event()):
            if number == 3:
                work.again(number)

    with pytest.raises(OutputError, match="is the disk sound"):
        take_all()
    assert pool.given.count(3) == MOST_TRIES
    assert tally.redone == MOST_TRIES - 1


def test_what_an_earlier_run_stored_is_used_unless_it_is_damaged(journal: Journal) -> None:
    for number in (0, 2):
        journal.path_of(number).write_bytes(b"x")
        journal.add(number, counts=dict.fromkeys(COUNTS, 1))
    pool = ScriptedPool({})
    work, tally = work_of(journal, pool)
    damaged = [2]
    for number in work.stored(None, threading.Event()):
        if number in damaged:
            damaged.remove(number)
            work.again(number)
    assert 0 not in pool.given
    assert pool.given.count(2) == 1
    assert tally.update().segments == {"planned": SEGMENTS, "reused": 1, "redone": 1}
