"""Opens what a run is asked to show: reports as JSON and as pages, and the live view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ltxfilter.errors import OutputError

if TYPE_CHECKING:
    from ltxfilter.options import Options
    from ltxfilter.pipeline.progress import Progress
    from ltxfilter.pipeline.report import Record, ReportedWindow
    from ltxfilter.pipeline.run import OnProgress
    from ltxfilter.windows.cuts import Note


def open_record(options: Options) -> Record | None:
    """Open the reports that `options` name; None if they name none.

    What is known of a run while it goes on is only gathered for them. Raises OptionError,
    OutputError.
    """
    if not options.report:
        return None
    from ltxfilter.pipeline.report import Report, is_page
    from ltxfilter.view.report_page import PageRecord

    opened: list[Record] = []
    with ExitStack() as opening:
        for path in options.report:
            opened.append((PageRecord if is_page(path) else Report)(path, options))
            opening.callback(opened[-1].discard)
        opening.pop_all()
    return Records(opened)


@contextmanager
def watched(options: Options, on_progress: OnProgress | None) -> Iterator[OnProgress | None]:
    """Show how a run goes, if `options` ask for a live view, while the context is entered.

    Yields what the run is to call: `on_progress` too, if there is one. Raises OutputError.
    """
    if options.live_view is None:
        yield on_progress
        return
    from ltxfilter.view.live import LiveView

    with LiveView(options.live_view, options.output.shown) as view:

        def report(progress: Progress) -> None:
            view.show(progress)
            if on_progress is not None:
                on_progress(progress)

        yield report


class Records:
    """Passes on what happens in a run to several records, with the warnings that it gave."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Begin to keep warnings."""
        from ltxfilter.pipeline.record.messages import Messages

        self._records = records
        self._messages = Messages()
        self._messages.__enter__()
        self.pictures = max(record.pictures for record in records)

    def begin(self, head: Mapping[str, Any]) -> None:
        """Take what is known before work starts."""
        for record in self._records:
            record.begin(head)

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take a window, or a part of its slots."""
        kept = tuple(notes)
        for record in self._records:
            record.add(part, kept)

    def finish(self, progress: Progress, error: BaseException | None = None) -> None:
        """Complete all of them, though one fails. Raises OutputError."""
        self._messages.__exit__()
        progress.warnings = self._messages.texts
        failed: OutputError | None = None
        for record in self._records:
            try:
                record.finish(progress, error)
            except OutputError as problem:
                failed = problem
        if failed is not None:
            raise failed

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished."""
        self._messages.__exit__()
        for record in self._records:
            record.discard()
