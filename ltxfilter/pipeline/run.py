"""The path, composed: source -> windows -> drawn frames -> sink. Read this first."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from fractions import Fraction
from time import perf_counter
from typing import Any, Self

from ltxfilter.errors import InputError, Interrupted, OutputError, Stopped
from ltxfilter.frame import Frame, Made
from ltxfilter.media.base import Sink, Source
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.options import Options
from ltxfilter.pipeline.latency import Live
from ltxfilter.pipeline.memory import divide
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.report import Report, ReportedWindow, plain
from ltxfilter.pipeline.stages import at_speed, prepared, retimed, windows
from ltxfilter.pipeline.threads import StageStats, buffered, ordered, timed
from ltxfilter.pipeline.window_runner import Prepared
from ltxfilter.windows.cuts import CutDetector, Note
from ltxfilter.windows.missing import LONGEST_MISSING, MissingFrames, hide, longest, merged
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.timeline import output_rate

log = logging.getLogger("ltxfilter.convert")

REPORT_SECONDS = 0.1  # between calls of on_progress
OBJECTS = 1024  # bytes of a frame besides its samples; bounds how many tiny ones travel together

OnProgress = Callable[[Progress], None]


class Run:
    """One conversion: opened, gone through, closed. `cancel` may be called from anywhere."""

    def __init__(self, options: Options) -> None:
        """Open both ends and the engine. Raises LtxFilterError before anything is decoded."""
        self.options = options
        self.partial: str | None = None  # after an early end: where the unfinished output is
        self._stop = threading.Event()
        self._signum: int | None = None
        self._span: tuple[Fraction, Fraction] | None = None  # first and latest time written
        self._rolling: RollingWindow | None = None
        self._open = ExitStack()
        self._spans = merged(options.redraw)
        self._live = Live(options)
        with ExitStack() as opening:
            own = opening.enter_context
            self._report = Report(options.report, options) if options.report else None
            if self._report is not None:  # first of all: models may take minutes to load
                opening.callback(self._report.discard)
            self.source: Source = own(closing(open_source(self._live.input)))
            self._live.delay = self.source.delay
            self.info = self.source.info
            self.rate = output_rate(options.fps, self.info.rate)
            shown = at_speed(self.info, options.speed)
            self.worker = own(closing(self._live.open_worker(shown, self.rate)))
            if options.target is not options.output:
                log.warning("--speed %s: sound, subtitles, data are left out", options.speed)
            self.sink: Sink = open_sink(options.target, self.source, self.rate)
            opening.callback(self._close_sink)
            budget = divide(
                options.memory,
                shown,
                self.rate,
                self.worker.shape,
                held=(self.source.held_bytes, self.sink.held_bytes),
                threads=options.threads,
                hole=longest(self._spans) / options.speed,
            )
            self.budget = self._live.bounds(budget, self.sink.held_bytes)
            if self.worker.shape.slots:
                self.worker.most_slots = budget.slots
            self._detector = CutDetector(self.info, cuts=options.cuts)
            self._hiding = self._make_hiding()
            self._open = opening.pop_all()
        duration = self.source.duration
        self.progress = Progress(
            rate=self.rate,
            duration=None if duration is None else duration / options.speed,
            memory=self.budget.parts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def cancel(self, signum: int | None = None) -> None:
        """Ask for an early, orderly end; `go` raises Interrupted. Safe in signal handlers."""
        self._signum = signum
        self._stop.set()
        self.source.cancel()

    def go(self, on_progress: OnProgress | None = None) -> Progress:
        """Convert everything. Raises LtxFilterError, BrokenPipeError."""
        began = perf_counter()
        try:
            self._go(began, on_progress)
        except BaseException as error:
            self._end(began, error)
            raise
        self._end(began, None)
        return self.progress

    def _go(self, began: float, on_progress: OnProgress | None) -> None:
        if self._report is not None:
            self._report.begin(self._head())
        try:
            with closing(self._frames()) as frames:  # its threads end before both ends are closed
                self._write(frames, began, on_progress)
            self._refuse_damage()
            if not self.progress.frames_out:
                raise InputError(f"{self.source.name}: no video frames")
            self.sink.finish()
        except Stopped:
            self._close_sink()
            raise Interrupted(self._signum or 2) from None

    def _end(self, began: float, error: BaseException | None) -> None:
        """Bring the numbers up to date and complete the report. Raises OutputError."""
        self._gather()
        self.progress.elapsed = perf_counter() - began
        if self._report is None:
            return
        try:
            self._report.finish(self.progress, error)
        except OutputError as failed:
            if error is None:
                raise
            log.warning("%s", failed)

    def _write(self, frames: Iterable[Frame], began: float, on_progress: OnProgress | None) -> None:
        progress, reported = self.progress, began
        for frame in frames:
            self._refuse_damage()
            self.sink.write(frame)
            self._live.left(frame.time)
            _count(progress, frame)
            self._span = (self._span or (frame.time,))[0], frame.time
            now = perf_counter()
            if on_progress and now - reported >= REPORT_SECONDS:
                reported, progress.elapsed = now, now - began
                self._gather()
                on_progress(progress)

    def _frames(self) -> Generator[Frame]:
        """Yield the output frames; decoding and drawing run ahead in threads of their own."""
        options, budget, shape = self.options, self.budget, self.worker.shape
        stages = StageStats("decode"), StageStats("motion"), StageStats("draw")
        self.progress.stages = stages
        self._rolling = rolling = RollingWindow(
            shape,
            self.rate,
            self._detector,
            at_speed(self.info, options.speed).interval,
            options.repeats,
            hiding=self._hiding,
        )
        with ExitStack() as stack:
            own = stack.enter_context
            arrived = self._live.arriving(self.source.frames())
            shown = hide(arrived, self._spans, self.source.clock)
            source = retimed(shown, options.speed)
            frames = own(closing(buffered(
                source, stats=stages[0], max_bytes=budget.decode_bytes,
                size_of=_frame_bytes, stop=self._stop, group=self._live.group,
            )))  # fmt: skip
            stack.callback(
                self.source.cancel
            )  # a silent one must let go before its thread is joined
            ready = timed(prepared(windows(frames, rolling), self.worker), stages[1])
            drawn = own(closing(ordered(
                ready, self._draw, stats=stages[2], size_of=self._drawn_bytes,
                threads=options.threads, ahead=budget.ahead, stop=self._stop,
                group=self._live.group,
            )))  # fmt: skip
            for batch, part in drawn:
                yield from batch
                if self._report is not None and part is not None:
                    self._report.add(part, _taken(self._detector.notes))

    def _draw(self, item: Prepared) -> tuple[list[Frame], ReportedWindow | None]:
        frames = self.worker.draw(item)
        return frames, ReportedWindow.of(item.window, frames) if self._report is not None else None

    def _head(self) -> dict[str, Any]:
        """Return what a report says of the run before it starts."""
        progress, rate = self.progress, self.rate
        return {
            "input": {"name": self.source.name, **plain(self.info)},
            "output": {
                "name": self.sink.name,
                "rate": None if rate is None else str(rate),
                "duration": None if progress.duration is None else float(progress.duration),
            },
            "options": plain(self.options),
            "engine": {"name": self.worker.engine, **plain(self.worker.shape)},
            "memory": dict(progress.memory),
        }

    def _make_hiding(self) -> MissingFrames:
        """Return which frames to treat as missing, within memory and latency."""
        options, shape = self.options, self.worker.shape
        longest_hole = LONGEST_MISSING
        if not shape.slots:
            usual = (shape.keyframes - 1) * (self.info.interval or Fraction(1, 24))
            longest_hole = max(usual, longest(self._spans))
        bound = self._live.longest_hole(self.worker, self.info)
        if bound is not None:
            longest_hole = min(longest_hole, bound)
        return MissingFrames(options.conceal, longest_hole / options.speed, self._detector.apart)

    def _drawn_bytes(self, item: Prepared) -> int:
        """Return the bytes of the frames that come of a prepared window."""
        return len(item.window.slots) * (self.info.frame_bytes + OBJECTS)

    def _refuse_damage(self) -> None:
        """Raise InputError when the source turned out damaged and that is not allowed."""
        if self.options.strict and self.source.counts.corrupt:
            raise InputError(f"{self.source.name}: is damaged, which -xerror makes an error")

    def _gather(self) -> None:
        """Bring the counts of the parts together."""
        if self._rolling is None:
            return
        progress, counts, rolling = self.progress, self.source.counts, self._rolling.counts
        progress.frames_in = counts.frames
        progress.corrupt, progress.out_of_order = counts.corrupt, counts.out_of_order
        progress.repeats, progress.cuts, progress.pauses = (
            rolling.repeats,
            rolling.cuts,
            rolling.pauses,
        )
        progress.redrawn, progress.covered = rolling.redrawn, rolling.covered
        progress.lateness = self._live.worst
        progress.fallbacks = self.worker.fallbacks
        if self._span is not None:
            progress.out_time = self._span[1] - self._span[0]

    def _close_sink(self) -> None:
        self.partial = self.sink.close() or self.partial


def _taken(notes: deque[Note]) -> list[Note]:
    return [notes.popleft() for _ in range(len(notes))]


def _frame_bytes(frame: Frame) -> int:
    return frame.nbytes + OBJECTS


def _count(progress: Progress, frame: Frame) -> None:
    if frame.made is Made.SOURCE:
        progress.passed += 1
    elif frame.made is Made.INTERPOLATED:
        progress.drawn += 1
    else:
        progress.held += 1


def open_run(options: Options) -> Run:
    """Open a conversion, to be used in a `with` statement. Raises LtxFilterError."""
    return Run(options)


def run(options: Options, on_progress: OnProgress | None = None) -> Progress:
    """Convert as `options` ask. Raises LtxFilterError, BrokenPipeError."""
    with Run(options) as opened:
        return opened.go(on_progress)
