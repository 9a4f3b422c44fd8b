"""Everything that is looked at in a run for its report or a live view; nothing of it without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.record.least_certain import UncertainFinder
from ltxfilter.pipeline.record.newest import NewestPair
from ltxfilter.pipeline.record.originals import Originals
from ltxfilter.pipeline.record.signs import SignFinder
from ltxfilter.pipeline.report import Record, ReportedWindow
from ltxfilter.pipeline.window_runner import Prepared, WindowRunner


class Watch:
    """Looks at the frames of one run, and says what came of its windows."""

    def __init__(
        self, record: Record | None, info: VideoInfo, runner: WindowRunner, *, live: bool
    ) -> None:
        """record: takes what is found; None: nobody does. info: what the source frames have in
        common. live: whether the newest frames are wanted.
        """
        self._originals = None if record is None else Originals()
        self._signs = SignFinder(info)
        self._newest = NewestPair(info, runner.drawn) if live else None
        self._doubts: UncertainFinder | None = None
        if record is not None and record.pictures:
            self._doubts = UncertainFinder(info, runner, record.pictures)

    def arriving(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Return the source frames as they are."""
        return frames if self._originals is None else self._originals.arriving(frames)

    def leaving(self, frame: Frame) -> None:
        """Look at a frame that was written."""
        if self._originals is not None:
            self._originals.leaving(frame)

    def reported(self, item: Prepared, frames: Sequence[Frame]) -> ReportedWindow | None:
        """Describe what became of a window; None where nobody records it.

        frames: the output frames of its slots.
        """
        if self._newest is not None:
            self._newest.offer(item, frames)
        if self._originals is None:
            return None
        doubts = () if self._doubts is None else self._doubts.find(item, frames)
        return ReportedWindow.of(item.window, frames, doubts, self._signs.look(item.window))

    def gather(self, progress: Progress) -> None:
        """Copy what was found until now into the progress."""
        if self._newest is not None:
            progress.newest = self._newest.pair
        if self._originals is not None:
            progress.originals = proof = self._originals.proof()
            progress.verified, progress.altered = proof.identical, proof.passed - proof.identical
