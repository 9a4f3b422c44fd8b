"""Everything that is looked at in a run for the sake of its report; nothing of it without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.pipeline.record.least_certain import UncertainFinder
from ltxfilter.pipeline.record.originals import Originals
from ltxfilter.pipeline.record.signs import SignFinder
from ltxfilter.pipeline.report import Record, ReportedWindow
from ltxfilter.pipeline.window_runner import Prepared, WindowRunner


class Watch:
    """Looks at the frames of one run, and gives its record what came of their windows."""

    def __init__(self, record: Record, info: VideoInfo, runner: WindowRunner) -> None:
        """info: what the source frames have in common."""
        self.originals = Originals()
        self._signs = SignFinder(info)
        self._doubts: UncertainFinder | None = None
        if record.pictures:
            self._doubts = UncertainFinder(info, runner, record.pictures)

    def arriving(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the source frames as they are."""
        return self.originals.arriving(frames)

    def leaving(self, frame: Frame) -> None:
        """Look at a frame that was written."""
        self.originals.leaving(frame)

    def reported(self, item: Prepared, frames: Sequence[Frame]) -> ReportedWindow:
        """Describe what became of a window. frames: the output frames of its slots."""
        doubts = () if self._doubts is None else self._doubts.find(item, frames)
        return ReportedWindow.of(item.window, frames, doubts, self._signs.look(item.window))
