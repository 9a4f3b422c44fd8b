"""What a worker does: it makes one segment after another, with one engine that stays open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from ltxfilter.media.base import Sink, Source
from ltxfilter.media.segments.segment_file import SegmentWriter
from ltxfilter.media.segments.segment_sink import SegmentOutput, SegmentSink
from ltxfilter.options import Options, OutputOptions
from ltxfilter.pipeline.assemble import Assembly
from ltxfilter.pipeline.progress import Progress, busy
from ltxfilter.pipeline.record.least_certain import MOST_OF_SEGMENT, UncertainFrame, WorstApart
from ltxfilter.pipeline.record.signs import Sign
from ltxfilter.pipeline.report import ReportedWindow, is_page
from ltxfilter.pipeline.run import OnProgress, Run
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.cuts import Note
from ltxfilter.windows.segment import Segment

COUNTS = tuple(  # fields of Progress that add up over segments
    field.name for field in fields(Progress) if field.type == "int"
)


def counts_of(progress: Progress) -> dict[str, Any]:
    """Return what adds up over segments, as JSON takes it."""
    counts = {name: getattr(progress, name) for name in COUNTS}
    return {**counts, "outcome": asdict(progress.outcome), "worked": busy(progress)}


class SegmentMaker:
    """Makes segments of one job. The engine is opened with the first one and stays open."""

    def __init__(self, options: Options) -> None:
        """Take the job's options, with this worker's share of memory, threads and devices."""
        self._options = replace(options, report=())
        self._records = bool(options.report)
        self._pictures = MOST_OF_SEGMENT if any(map(is_page, options.report)) else 0
        self._runner: WindowRunner | None = None
        self._output: SegmentOutput | None = None

    def make(
        self,
        segment: Segment,
        path: Path,
        on_progress: OnProgress | None = None,
        on_begun: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Store a segment in `path`; return the summary that stands in it.

        on_begun: called with the budgeted memory and the engine once everything is open. Raises
        LtxFilterError; nothing is left behind then.
        """
        if self._runner is not None:
            self._runner.fallbacks = 0
        opened: list[SegmentSink] = []
        record = SegmentRecord(segment, self._pictures) if self._records else None
        assemble = partial(self._assemble, segment, path, opened)
        with Run(self._options, assemble, lambda _: record) as run:
            if on_begun is not None:
                on_begun({"memory": dict(run.opening.memory), "engine": run.opening.engine})
            progress = run.go(on_progress)
            summary: dict[str, Any] = {
                "number": segment.number,
                "counts": counts_of(progress),
                "memory": dict(progress.memory),
                "elapsed": progress.elapsed,
            }
            if record is not None:
                summary["windows"] = record.windows
            opened[0].complete(summary)
        return {key: value for key, value in summary.items() if key != "windows"}

    def close(self) -> None:
        """Release the engine; calling it twice does nothing."""
        if self._runner is not None:
            self._runner.close()

    def _assemble(
        self, segment: Segment, path: Path, opened: list[SegmentSink], options: Options
    ) -> Assembly:
        """Open what a segment needs. opened: takes the sink."""

        def open_output(output: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
            if self._output is None:
                self._output = SegmentOutput(output, source, rate)
            sink = self._output.sink(source, segment, SegmentWriter(path))
            opened.append(sink)
            return sink

        assembly = Assembly(options, open_output, segment=segment, runner=self._runner)
        assembly.engine.lent = True
        self._runner = assembly.runner
        return assembly


class SegmentRecord:
    """Keeps what happens in a segment, for the report of the whole job."""

    def __init__(self, segment: Segment, pictures: int = 0) -> None:
        """Begin a segment. pictures: how many of uncertain frames are kept."""
        self.pictures = pictures
        self._windows: list[dict[str, Any]] = []
        self._doubts: WorstApart[tuple[int, UncertainFrame]] = WorstApart(max(pictures, 1))
        self._end = segment.end

    @property
    def windows(self) -> list[dict[str, Any]]:
        """What happened to each window, as `recorded` reads it."""
        found = [dict(window) for window in self._windows]
        for at, doubt in self._doubts:
            found[at]["doubts"] = [doubt.as_json()]
        return found

    def begin(self, head: Mapping[str, Any]) -> None:
        """Do nothing: the job says it."""

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take a window, or a part of its slots."""
        for doubt in part.doubts:
            self._doubts.add(doubt.score, doubt.time, (len(self._windows), doubt))
        self._windows.append(
            {
                "window": part.window,
                "outline": dict(part.outline),
                "frames": [dict(frame) for frame in part.frames],
                "signs": [asdict(sign) for sign in part.signs],
                "notes": [
                    [str(note.time), note.kind]
                    for note in notes
                    if self._end is None or note.time < self._end
                ],
            }
        )

    def finish(self, progress: Progress, error: BaseException | None = None) -> None:
        """Do nothing: the job says it."""

    def discard(self) -> None:
        """Do nothing: nothing is on disk."""


def recorded(windows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[ReportedWindow, list[Note]]]:
    """Yield what a `SegmentRecord` kept, as a report takes it."""
    for window in windows:
        notes = [Note(Fraction(time), kind) for time, kind in window["notes"]]
        yield (
            ReportedWindow(
                window["window"],
                window["outline"],
                tuple(window["frames"]),
                tuple(map(UncertainFrame.from_json, window.get("doubts", ()))),
                tuple(Sign(**sign) for sign in window.get("signs", ())),
            ),
            notes,
        )
