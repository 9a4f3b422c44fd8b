"""How a job is going: the counts of its segments, stored and under way, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from time import perf_counter
from typing import Any

from ltxfilter.jobs.segments import SegmentPlan
from ltxfilter.jobs.workers.segment_maker import COUNTS
from ltxfilter.pipeline.progress import Outcome, Progress


class Tally:
    """Adds up what workers report."""

    def __init__(self, plan: SegmentPlan, rate: Fraction | None, interval: Fraction) -> None:
        """Begin with nothing done.

        rate: output frames per second; None halves every interval. interval: usual seconds between
        source frames.
        """
        self._began = perf_counter()
        self._rate = rate or 2 / interval
        self._stored: dict[int, Mapping[str, Any]] = {}
        self._under_way: dict[int, Mapping[str, Any]] = {}
        self._makers: Counter[str] = Counter()
        self.redone = 0  # segments that were begun again
        self._reused: set[int] = set()  # segments that an earlier run stored
        self.progress = Progress(rate=rate, segments={"planned": len(plan.segments)})

    def is_under_way(self, number: int, counts: Mapping[str, Any]) -> None:
        """Take the counts of a segment that is being made."""
        self._under_way[number] = counts
        self.progress.newest = counts.get("newest", self.progress.newest)

    def is_stored(self, number: int, counts: Mapping[str, Any], maker: str | None) -> None:
        """Take the counts of a segment that is stored. maker: the worker; None: an earlier run."""
        self._under_way.pop(number, None)
        self._stored[number] = counts
        if maker is None:
            self._reused.add(number)
        else:
            self._makers[maker] += 1

    def is_lost(self, number: int) -> None:
        """Forget a segment that has to be made again."""
        self._under_way.pop(number, None)
        self._stored.pop(number, None)
        self._reused.discard(number)
        self.redone += 1

    def update(self) -> Progress:
        """Bring the progress up to date and return it."""
        progress = self.progress
        parts = [*self._stored.values(), *self._under_way.values()]
        for name in COUNTS:
            setattr(progress, name, sum(counts.get(name, 0) for counts in parts))
        progress.outcome = Outcome()
        for counts in parts:
            if "outcome" in counts:
                progress.outcome.merge(counts["outcome"])
        worked: Counter[str] = Counter()
        for counts in parts:
            for name, seconds in counts.get("worked", {}).items():
                worked[name] += seconds
        progress.worked = worked
        progress.elapsed = perf_counter() - self._began
        progress.out_time = progress.frames_out / self._rate
        progress.segments = {
            "planned": progress.segments["planned"],
            "reused": len(self._reused),
            "redone": self.redone,
        }
        progress.workers = dict(sorted(self._makers.items()))
        return progress
