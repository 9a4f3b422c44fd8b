"""The order of work: which segment is given to whom, and what becomes of one that fails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from threading import Event as Flag

from ltxfilter.errors import EngineError, LtxFilterError, OutputError, Stopped
from ltxfilter.jobs.journal import Journal
from ltxfilter.jobs.segments import SegmentPlan
from ltxfilter.jobs.tally import Tally
from ltxfilter.jobs.workers.pool import Event, Pool
from ltxfilter.pipeline.run import OnProgress
from ltxfilter.values import MIB

log = logging.getLogger("ltxfilter.jobs")

MOST_TRIES = 3  # of a segment whose worker dies
AHEAD = 2  # segments for each worker that may be made, or wait, before the next one to be joined
TICK = 0.2  # seconds between two looks at what happens


class Work:
    """Lets a pool make the segments that a journal lacks, and yields them in order."""

    def __init__(self, plan: SegmentPlan, journal: Journal, tally: Tally, pool: Pool) -> None:
        """Find out what is left to be made."""
        self._plan = plan
        self._journal = journal
        self._tally = tally
        self._pool = pool
        self._left = [each.number for each in plan.segments if each.number not in journal.done]
        self._tries: Counter[int] = Counter()
        self._said: set[str] = set()
        self._next = 0  # number of the segment that is to be joined next
        for number, entry in journal.done.items():
            tally.is_stored(number, entry["counts"], None)

    def stored(self, on_progress: OnProgress | None, stop: Flag) -> Iterator[int]:
        """Yield the numbers of stored segments, in order, as they come. Raises LtxFilterError.

        on_progress: called a few times a second. stop: ends it with Stopped.
        """
        while self._next < len(self._plan.segments):
            if stop.is_set():
                raise Stopped
            if self._next in self._journal.done:
                self._next += 1
                yield self._next - 1
                self._give()
                continue
            self._give()
            for event in self._pool.events(TICK):
                self._take(event)
            if on_progress is not None:
                on_progress(self._tally.update())

    def again(self, number: int) -> None:
        """Let a segment be made again that is not whole after all; it is yielded again.

        Raises OutputError if it never is.
        """
        self._journal.forget(number)
        if self._tries[number] >= MOST_TRIES:
            raise OutputError(
                f"{self._journal.path_of(number)}: was damaged {MOST_TRIES} times after it was "
                "written; is the disk sound?"
            )
        self._lose(number)
        self._next = number

    def _give(self) -> None:
        """Give every idle worker a segment, as long as it is near the one to be joined next."""
        for worker in self._pool.idle():
            if not self._left or self._left[0] - self._next >= AHEAD * self._pool.size:
                return
            number = self._left.pop(0)
            self._tries[number] += 1
            segment = self._plan.segments[number]
            self._pool.give(worker, segment, self._journal.path_of(number))

    def _take(self, event: Event) -> None:
        """Take note of what happened. Raises LtxFilterError."""
        if event.kind == "progress":
            self._tally.is_under_way(event.number, event.values)
        elif event.kind == "stored":
            self._store(event)
        elif event.kind == "failed":
            raise event.error or LtxFilterError(f"segment {event.number} failed")
        elif event.kind == "died":
            self._died(event)
        elif event.kind == "said":
            self._say(event)
        elif event.kind == "begun":
            self._begun(event)

    def _store(self, event: Event) -> None:
        maker = f"{self._pool.name} {event.worker + 1}"
        counts = event.values["counts"]
        elapsed = round(event.values["elapsed"], 3)
        self._journal.add(event.number, counts=counts, worker=maker, elapsed=elapsed)
        self._tally.is_stored(event.number, counts, maker)

    def _died(self, event: Event) -> None:
        """Let the segment of a worker that died be made again. Raises EngineError at last."""
        number = event.number
        if number < 0:
            return
        segment = self._plan.segments[number]
        begin = 0 if segment.begin is None else float(segment.begin - segment.start)
        what = f"segment {number} (from {begin:g} s on)"
        self._journal.note("died", segment_lost=number, why=str(event.error))
        if self._tries[number] >= MOST_TRIES:
            raise EngineError(f"{what} failed {MOST_TRIES} times: {event.error}")
        log.warning("%s is made again: %s", what, event.error)
        self._lose(number)

    def _lose(self, number: int) -> None:
        self._tally.is_lost(number)
        self._left = sorted({*self._left, number})

    def _begun(self, event: Event) -> None:
        """Say once what a worker holds in memory."""
        total = sum(event.values["memory"].values())
        if not self._tally.progress.memory and total:
            size = self._pool.size
            self._tally.progress.memory = {"workers": size * total}
            log.info("memory: each of %d workers %d MB at most", size, -(-total // MIB))

    def _say(self, event: Event) -> None:
        """Pass on what a worker logs; every worker says some of it, and it is said once."""
        text = event.values["text"]
        if text not in self._said:
            self._said.add(text)
            logging.getLogger(event.values["logger"]).log(event.values["level"], "%s", text)
