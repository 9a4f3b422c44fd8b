"""The report as a page: gathered while a run goes on, in bounded memory, and written at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ltxfilter.errors import OutputError
from ltxfilter.media.output_file import OutputFile
from ltxfilter.pipeline.progress import bottleneck
from ltxfilter.pipeline.record.least_certain import MOST, UncertainFrame, WorstApart
from ltxfilter.pipeline.report import check_name, ending_of, statistics, versions
from ltxfilter.view import sections
from ltxfilter.view.document import marker, page
from ltxfilter.view.plots import timeline_section
from ltxfilter.view.timeline import RunTimeline
from ltxfilter.view.verdict import findings

if TYPE_CHECKING:
    from ltxfilter.options import Options
    from ltxfilter.pipeline.progress import Progress
    from ltxfilter.pipeline.report import ReportedWindow
    from ltxfilter.windows.cuts import Note

KIND = "report"


class PageRecord:
    """Gathers what a page shows, and writes it when the run ends, however that is.

    It holds as much for a film as for a clip: at most 600 stretches of time, 300 events of a kind,
    and a dozen small pictures.
    """

    pictures = MOST

    def __init__(self, path: str, options: Options) -> None:
        """Claim the file. Raises OutputError if it may not be written, OptionError."""
        check_name(path)
        self._file = OutputFile(path, options.output.overwrite, ours=marker(KIND).encode())
        self._head: Mapping[str, Any] = {}
        self._timeline = RunTimeline()
        self._doubts: WorstApart[UncertainFrame] = WorstApart(MOST)
        self._ended = False

    def begin(self, head: Mapping[str, Any]) -> None:
        """Take what is known before work starts."""
        self._head = head

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take a window, or a part of its slots. notes: what was seen meanwhile."""
        if self._ended:  # by a thread that gave up on this one
            return
        self._timeline.add(part, notes)
        for doubt in part.doubts:
            self._doubts.add(doubt.score, doubt.time, doubt)

    def finish(self, progress: Progress, error: BaseException | None = None) -> None:
        """Write the page and give the file its name. Raises OutputError."""
        if self._ended:
            return
        self._ended = True
        try:
            self._file.write_all([self._page(progress, error).encode()])
            self._file.complete()
        except (OutputError, BrokenPipeError) as failed:
            self._file.discard()
            raise OutputError(f"the report is not written: {failed}") from failed

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished."""
        if not self._ended:
            self._file.discard()

    def _page(self, progress: Progress, error: BaseException | None) -> str:
        found = sections.Found(
            head={"versions": versions(), **self._head},
            statistics=statistics(progress),
            ended=ending_of(error),
            error=None if error is None else str(error) or type(error).__name__,
            elapsed=progress.elapsed,
            bottleneck=bottleneck(progress) if progress.stages else None,
            timeline=self._timeline,
            doubts=tuple(self._doubts),
        )
        looks = findings(found.statistics, self._timeline, found.ended, found.error)
        parts = [
            sections.what(found),
            timeline_section(self._timeline),
            sections.least_certain(found),
            sections.proof(found),
            sections.engines(found),
            sections.time_and_memory(found),
            sections.messages(found),
            sections.settings(found),
        ]
        return page(
            f"Report: {sections.short_name(found)}",
            [part for part in parts if part is not None],
            opening=sections.verdict(looks) + sections.embedded(found, looks),
            scripts=("uPlot.iife.min.js", "report.js"),
            styles=("uPlot.min.css",),
            kind=KIND,
        )
