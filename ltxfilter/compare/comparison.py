"""The comparison itself: frames of a clip in, each with what every candidate shows in its place.

One pass over the clip serves all candidates. A frame waits until every candidate has delivered;
what waits is bounded by how far an engine looks ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from ltxfilter.compare.candidates import Attempt, Candidate
from ltxfilter.frame import Frame, Plane


@dataclass(slots=True)
class ComparedFrame:
    """One frame of the clip, and what the candidates show in its place."""

    index: int
    """Its number in the clip, from 0."""

    frame: Frame
    """The true one."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    """By the candidates' names; a file that has ended is not among them."""

    scored: bool = False
    """True if all candidates made it without seeing it, or are results of others."""

    around: tuple[Plane, Plane] | None = None
    """First planes of the true frames before and after it; None at an end of the clip."""

    @property
    def time(self) -> Fraction:
        """Seconds on the clip's clock."""
        return self.frame.time


class Comparison:
    """Runs candidates over a clip in lockstep. Use it in a `with` statement."""

    def __init__(self, candidates: Sequence[Candidate], step: int, skip_end: int = 0) -> None:
        """Take open candidates, which it closes.

        step: every so many frames one was shown to the engines, and is not scored; 1 scores all.
        skip_end: so many intervals between such frames are left out at the end.
        """
        self.candidates = candidates
        self._step, self._held_back = step, skip_end * step
        self._waiting: deque[ComparedFrame] = deque()
        self._by_index: dict[int, ComparedFrame] = {}
        self._previous: Plane | None = None  # of the frame that left last
        self._shown = -1  # index of the latest frame that engines saw
        self._pool = ThreadPoolExecutor(max(len(candidates), 1), thread_name_prefix="compare")

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for candidate in self.candidates:
            candidate.close()

    def frames(self, clip: Iterable[Frame]) -> Iterator[ComparedFrame]:
        """Yield every frame of a clip, compared. Raises LtxFilterError."""
        for index, frame in enumerate(clip):
            compared = ComparedFrame(index, frame)
            self._waiting.append(compared)
            self._by_index[index] = compared
            if index % self._step == 0:
                self._shown = index
            self._deliver(self._pool.map(partial(_pushed, compared), self.candidates))
            while self._is_complete():
                yield self._leaving()
        self._deliver(self._pool.map(lambda candidate: list(candidate.finish()), self.candidates))
        while self._waiting:
            yield self._leaving()

    def _deliver(self, batches: Iterable[list[Attempt]]) -> None:
        """File what candidates delivered; what follows the clip's end is dropped."""
        for candidate, batch in zip(self.candidates, batches, strict=True):
            for attempt in batch:
                if compared := self._by_index.get(attempt.index):
                    compared.attempts[candidate.name] = attempt

    def _is_complete(self) -> bool:
        """Return True if nothing of the frame that waits longest is still to come."""
        if not self._waiting or self._waiting[0].index >= self._shown - self._held_back:
            return False
        attempts = self._waiting[0].attempts
        return all(each.ended or each.name in attempts for each in self.candidates)

    def _leaving(self) -> ComparedFrame:
        """Take out the frame that waits longest, and decide whether it is scored."""
        found = self._waiting.popleft()
        del self._by_index[found.index]
        if self._waiting and self._previous is not None:
            self._previous, before = found.frame.planes[0], self._previous
            found.around = before, self._waiting[0].frame.planes[0]
        else:
            self._previous = found.frame.planes[0]
        drawn = self._step == 1 or (
            found.index % self._step != 0 and found.index < self._shown - self._held_back
        )
        whole = len(found.attempts) == len(self.candidates)
        found.scored = drawn and whole and not found.frame.corrupt
        return found


def _pushed(compared: ComparedFrame, candidate: Candidate) -> list[Attempt]:
    return list(candidate.push(compared.index, compared.frame))
