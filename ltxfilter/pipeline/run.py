"""One run, composed: source -> windows -> window runner -> sink. READ THIS FIRST.

The path of a frame, each step with where it is defined:

- `source.frames()` (media/) decodes a frame and stamps it with an exact time;
- `paced`, `arriving`, `hide` and `retimed` run only where -re, --max-latency, --redraw and --speed
  ask for them;
- `buffered` (threads.py) carries frames over from the decoding thread;
- `RollingWindow` (windows/) makes windows: keyframes and the slots between them;
- `WindowRunner.prepare` (window_runner.py) lets the engine find motion, serially and in order;
- `ordered` (threads.py) makes output frames in several threads, in order;
- `FrameScaler` (media/scaling/) makes frames larger where --scale asks for that;
- `sink.write` (media/) encodes or writes, in the thread that calls `go`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from ltxfilter.errors import InputError, Interrupted, LtxFilterError, OutputError, Stopped
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.scaling.frame_scaler import scaling_line
from ltxfilter.options import Options
from ltxfilter.pipeline import resident
from ltxfilter.pipeline.assemble import Assembly
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.report import Record, ReportedWindow, open_report, plain
from ltxfilter.pipeline.run_files import check_files
from ltxfilter.pipeline.stages import paced, prepared, retimed, windows
from ltxfilter.pipeline.threads import StageStats, buffered, ordered, timed
from ltxfilter.pipeline.window_runner import Prepared
from ltxfilter.refusals import refusals_named
from ltxfilter.windows.cuts import Note
from ltxfilter.windows.missing import hide
from ltxfilter.windows.segment import segment_frames

if TYPE_CHECKING:
    from ltxfilter.pipeline.record.watch import Watch

log = logging.getLogger("ltxfilter.convert")

REPORT_SECONDS = 0.1  # between calls of on_progress
FRAME_OBJECTS = 1024  # bytes of a frame besides its samples; bounds how many tiny ones are queued

OnProgress = Callable[[Progress], None]
OpenRecord = Callable[[Options], Record | None]  # what takes what happens; None: nothing does


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of a run before it starts, for people."""

    source: str
    sink: str
    info: VideoInfo
    rate: Fraction | None  # frames per second of the output; None halves every interval
    engine: str
    memory: Mapping[str, int]  # bytes by part; empty where workers tell it later
    lines: tuple[str, ...] = ()  # whatever else is to be said
    on_device: int = 0  # bytes of a GPU's memory that models take


class Run:
    """One conversion. Open it in a `with` statement and call `go`."""

    finished = False  # True of a job whose output is there already

    @refusals_named()
    def __init__(
        self,
        options: Options,
        assemble: Callable[[Options], Assembly] = Assembly,
        open_record: OpenRecord = open_report,
    ) -> None:
        """Open both ends and the engine. Raises LtxFilterError.

        Only the first frame is decoded by then. assemble: opens them. open_record: opens the
        reports that `options` name.
        """
        check_files(options)
        self.options = options
        self._stop = threading.Event()
        self._signum: int | None = None
        self._began = perf_counter()
        self.left = threading.Event()  # the output is complete, early; an engine may still work
        with ExitStack() as opening:
            self._report = open_record(options)
            if self._report is not None:  # first of all: models may take minutes to load
                opening.callback(self._report.discard)
            before = resident.resident_bytes()
            self.assembly = opening.enter_context(assemble(options))
            self._open = opening.pop_all()
        self._lateness = self.assembly.lateness()
        self._memory = resident.MemoryWatch(self.assembly.budget.total, options.memory, before)
        self._notes = self.assembly.engine.detector.notes
        self._watch: Watch | None = None  # None: nobody has to look
        live = options.live_view is not None
        if self._report is not None or live:
            from ltxfilter.pipeline.record.watch import Watch

            parts = self.assembly.info, self.assembly.runner
            self._watch = Watch(self._report, *parts, live=live)
        self._first_time: Fraction | None = None  # seconds: time of the first output frame
        self._latest_time: Fraction | None = None  # of the latest one
        self.progress = Progress(
            rate=self.assembly.rate,
            duration=self.assembly.duration,
            memory=self.assembly.budget.parts,
        )
        self.progress.outcome.partner = self.assembly.runner.partner

    @property
    def opening(self) -> Opening:
        """What is known before it starts."""
        assembly = self.assembly
        return Opening(
            assembly.source.name,
            assembly.sink.name,
            assembly.info,
            assembly.rate,
            assembly.runner.engine,
            self.progress.memory,
            self._scaling_lines(),
            assembly.runner.shape.device_bytes,
        )

    def _scaling_lines(self) -> tuple[str, ...]:
        """Say that frames are scaled, if they are, and by whom."""
        assembly = self.assembly
        if assembly.scaler is None:
            return ()
        runner = assembly.runner
        engine = runner.asked.name if runner.enlarges else None
        return (scaling_line(assembly.info, assembly.written, engine),)

    @property
    def partial(self) -> str | None:
        """Where the unfinished output is, after an early end."""
        return self.assembly.partial

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def cancel(self, signum: int | None = None) -> None:
        """Ask for an early, orderly end; `go` raises Interrupted. Safe in signal handlers.

        It takes about a second, unless an encoder or an engine stays longer inside one call.
        """
        self._signum = signum
        self._stop.set()
        self.assembly.source.cancel()
        self.assembly.runner.cancel()
        self.assembly.sink.cancel()

    def abandon(self, patience: float) -> str | None:
        """Complete output and report though `go` does not return; return what became of the output.

        For a process that exits right afterwards. Call `cancel` first. patience: seconds to wait
        for a write that is under way.
        """
        done: list[str | None] = []
        ending = threading.Thread(
            target=lambda: done.append(self.assembly.abandon_sink()), name="abandon", daemon=True
        )
        ending.start()
        ending.join(patience)
        with suppress(LtxFilterError):
            self._end(Interrupted(self._signum or 2))
        if done:
            return done[0]
        sink = self.assembly.sink
        return f"{sink.place} is not complete: writing to it does not return"

    @refusals_named()
    def go(self, on_progress: OnProgress | None = None) -> Progress:
        """Convert everything. Raises LtxFilterError, BrokenPipeError.

        on_progress: called with the running counts, at most ten times a second.
        """
        self._began = perf_counter()
        try:
            self._convert(on_progress)
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)
        return self.progress

    def _convert(self, on_progress: OnProgress | None) -> None:
        if self._report is not None:
            self._report.begin(self._head())
        try:
            with closing(self._frames()) as frames:  # its threads end before both ends are closed
                self._write(islice(frames, self.options.output.frames), on_progress)
                self._refuse_damage()
                if not self.progress.frames_out and self.assembly.segment is None:
                    raise InputError(f"{self.assembly.source.name}: no video frames")
                self.assembly.sink.finish()
        except Stopped:
            self.assembly.close_sink()
            raise Interrupted(self._signum or 2) from None

    def _leave(self) -> None:
        """Complete the output at an abnormal end; the engine may take minutes for its window."""
        self.assembly.runner.cancel()
        self.assembly.source.cancel()
        self.assembly.close_sink()
        self.left.set()

    def _end(self, error: BaseException | None) -> None:
        """Bring the numbers up to date and complete the report. Raises OutputError."""
        self._memory.measure()
        self._gather()
        self.progress.elapsed = perf_counter() - self._began
        if self._report is None:
            return
        try:
            self._report.finish(self.progress, error)
        except OutputError as failed:
            if error is None:
                raise
            log.warning("%s", failed)

    def _write(self, frames: Iterable[Frame], on_progress: OnProgress | None) -> None:
        progress, sink, reported = self.progress, self.assembly.sink, self._began
        scaler = self.assembly.scaler
        for frame in frames:
            if self._stop.is_set():
                raise Stopped
            self._refuse_damage()
            sink.write(frame if scaler is None else scaler.scaled(frame))
            if self._lateness is not None:
                self._lateness.leaving(frame.time)
            _count(progress, frame)
            if self._watch is not None:
                self._watch.leaving(frame)
            if self._first_time is None:
                self._first_time = frame.time
            self._latest_time = frame.time
            now = perf_counter()
            self._memory.look(now)
            if on_progress and now - reported >= REPORT_SECONDS:
                reported, progress.elapsed = now, now - self._began
                self._gather()
                on_progress(progress)

    def _frames(self) -> Generator[Frame]:
        """Yield the output frames; decoding and interpolating run ahead in threads of their own."""
        assembly, budget = self.assembly, self.assembly.budget
        stages = StageStats("decode"), StageStats("motion"), StageStats("interpolate")
        self.progress.stages = stages
        with ExitStack() as stack:
            own = stack.enter_context
            frames = own(closing(buffered(
                self._source_frames(), stats=stages[0], max_bytes=budget.decode_bytes,
                size_of=_frame_bytes, stop=self._stop, group=assembly.group_bytes,
            )))  # fmt: skip
            stack.callback(assembly.source.cancel)  # it stops waiting, so that its thread can end
            ready = prepared(windows(frames, assembly.engine.rolling), assembly.runner)
            results = own(closing(ordered(
                timed(ready, stages[1]), self._draw, stats=stages[2], size_of=self._result_bytes,
                threads=self.options.threads, ahead=budget.ahead, stop=self._stop,
                group=assembly.group_bytes, leaving=self._leave,
            )))  # fmt: skip
            for batch, reported in results:
                yield from batch
                if self._report is not None and reported is not None:
                    self._report.add(reported, _taken(self._notes))

    def _source_frames(self) -> Iterator[Frame]:
        """Return the source's frames, through the stages that options ask for."""
        options, source, segment = self.options, self.assembly.source, self.assembly.segment
        begin = None if segment is None else segment.source_begin(options.speed)
        frames = source.frames(begin, seek=segment.seek) if segment else source.frames()
        if options.input.pace is not None:
            frames = paced(frames, options.input.pace, self._stop.wait)
        if self._lateness is not None:
            frames = self._lateness.arriving(frames)
        if options.redraw:
            frames = hide(frames, options.redraw, source.clock)
        if options.speed != 1:
            frames = retimed(frames, options.speed, None if segment is None else segment.start)
        if segment is not None:
            parts = self.assembly.engine
            frames = segment_frames(frames, segment, parts.runner.shape, parts.rolling)
        return frames if self._watch is None else self._watch.arriving(frames)

    def _draw(self, item: Prepared) -> tuple[list[Frame], ReportedWindow | None]:
        if self._stop.is_set():
            raise Stopped
        frames = self.assembly.runner.draw(item)
        if self._watch is None:
            return frames, None
        return frames, self._watch.reported(item, frames)

    def _head(self) -> dict[str, Any]:
        """Return what a report says of the run before it starts."""
        assembly, progress = self.assembly, self.progress
        return {
            "input": {"name": assembly.source.name, **plain(assembly.info)},
            "output": {
                "name": assembly.sink.name,
                "width": assembly.written.width,
                "height": assembly.written.height,
                "rate": None if assembly.rate is None else str(assembly.rate),
                "duration": None if progress.duration is None else float(progress.duration),
            },
            "options": plain(self.options.shareable),
            "engine": {"name": assembly.runner.engine, **plain(assembly.runner.shape)},
            "memory": dict(progress.memory),
            "streams": [plain(each) for each in assembly.sink.plan],
        }

    def _result_bytes(self, item: Prepared) -> int:
        """Return the bytes of the frames that come of a prepared window."""
        largest = max(self.assembly.info.frame_bytes, self.assembly.runner.drawn.frame_bytes)
        return len(item.window.slots) * (largest + FRAME_OBJECTS)

    def _refuse_damage(self) -> None:
        """Raise InputError if the source is damaged and `strict` makes that an error."""
        source = self.assembly.source
        if self.options.strict and source.counts.corrupt:
            raise InputError(f"{source.name}: is damaged, which -xerror makes an error")

    def _gather(self) -> None:
        """Copy the counts of the parts into the progress."""
        progress, assembly = self.progress, self.assembly
        source = assembly.source.counts
        progress.frames_in = source.frames
        progress.corrupt, progress.out_of_order = source.corrupt, source.out_of_order
        rolling = assembly.engine.rolling
        for name, value in asdict(rolling.counts).items():
            setattr(progress, name, value)
        if assembly.segment is not None:  # the source has read more than the segment
            progress.frames_in, progress.corrupt = rolling.frames, rolling.damaged
        progress.fallbacks = assembly.runner.fallbacks
        progress.memory_peak = self._memory.peak
        progress.memory_exceeded = self._memory.exceeded
        if self._first_time is not None and self._latest_time is not None:
            progress.out_time = self._latest_time - self._first_time
        if self._lateness is not None:
            progress.lateness = self._lateness.worst
        if self._watch is not None:
            self._watch.gather(progress)


def _taken(notes: deque[Note]) -> list[Note]:
    return [notes.popleft() for _ in range(len(notes))]


def _frame_bytes(frame: Frame) -> int:
    return frame.nbytes + FRAME_OBJECTS


def _count(progress: Progress, frame: Frame) -> None:
    if frame.made is Made.SOURCE:
        progress.passed += 1
    elif frame.made is Made.INTERPOLATED:
        progress.interpolated += 1
        progress.outcome.add(frame)
    else:
        progress.repeated += 1


def run(options: Options, on_progress: OnProgress | None = None) -> Progress:
    """Convert as `options` ask. Raises LtxFilterError, BrokenPipeError."""
    with Run(options) as opened:
        return opened.go(on_progress)
