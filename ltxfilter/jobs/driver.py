"""One job, composed: plan the segments, let workers make them, join them in order. READ THIS FIRST.

- `segments.plan_segments` cuts the stream at reset points, from the times of its packets;
- `journal.Journal` keeps what is done, so that a job that is killed can be carried on;
- a pool (`workers/`) has workers, each of which makes one segment after another (`SegmentMaker`): a
  plain run, of a part of the stream, that stores what it encodes;
- `Sink.join` writes a stored segment into the output, in order; what is copied beside the video is
  copied here, once.

A segment is given out only while it is less than a few segments away from the one that is to be
joined next, so what waits on the disk stays bounded even where one segment takes long.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from ltxfilter import engines
from ltxfilter.errors import InputError, Interrupted, LtxFilterError, OutputError, Stopped
from ltxfilter.frame import Frame
from ltxfilter.jobs.index import known_job, note_job, written_file
from ltxfilter.jobs.journal import (
    Journal,
    discard_folder,
    job_key,
    remove_part,
    work_folder,
)
from ltxfilter.jobs.ray_cluster.ray_pool import RayPool
from ltxfilter.jobs.segments import SegmentPlan, plan_segments
from ltxfilter.jobs.spool import discard_stdin, stdin_as_file
from ltxfilter.jobs.tally import Tally
from ltxfilter.jobs.work import Work
from ltxfilter.jobs.workers.local import LocalPool
from ltxfilter.jobs.workers.pool import Pool
from ltxfilter.jobs.workers.segment_maker import recorded
from ltxfilter.jobs.workers.shares import shared_out, worker_count
from ltxfilter.media.format_names import STDIN_NAMES
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.media.scaling.frame_scaler import scaling_line
from ltxfilter.media.scaling.scaled_source import as_written
from ltxfilter.media.segments.segment_file import SegmentReader
from ltxfilter.media.segments.segment_sink import refuse_whole, segment_output
from ltxfilter.options import Options, OutputOptions
from ltxfilter.pipeline.assemble import input_of
from ltxfilter.pipeline.memory import BASE_BYTES
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.record.provenance import with_provenance
from ltxfilter.pipeline.report import open_report, plain
from ltxfilter.pipeline.run import OnProgress, Opening, OpenRecord
from ltxfilter.pipeline.run_files import check_files, model_files_of
from ltxfilter.values import MIB
from ltxfilter.windows.timeline import output_rate

log = logging.getLogger("ltxfilter.jobs")

READING = 32 * MIB  # bytes of packets and records in hand while segments are joined
LITTLE = 0.02  # of the input; what is decoded twice beyond that is said
UNCUT = "when its frames are shown is not known beforehand, so it cannot be cut into segments"


class Job:
    """A conversion in segments. Open it in a `with` statement and call `go`, like a `Run`."""

    def __init__(self, options: Options, open_record: OpenRecord = open_report) -> None:
        """Open both ends, plan the segments, and find out what is done already.

        open_record: opens the reports that `options` name. Raises LtxFilterError.
        """
        self._open_record = open_record
        check_files(options)
        asked = options.engine, options.models, options.output.scale
        self._engine = engines.build(*asked)  # a misspelt one is found first
        self._stop = threading.Event()
        self._signum: int | None = None
        self.left = threading.Event()  # see `Run`
        self.partial: str | None = None  # where the unfinished output is, after an early end
        self.progress = Progress()
        self._complete = False  # the output has its name
        self._windows = self._frames = 0  # of the segments that are joined
        self._pool: Pool | None = None
        with ExitStack() as opening:
            options = _with_file(options, opening)
            self.finished = _is_finished(options)  # True if an earlier run did all of it
            if self.finished:  # it may have been killed before it tidied up
                discard_folder(work_folder(options))
            else:
                self._open_all(options, opening)
            self._open = opening.pop_all()

    def _open_all(self, options: Options, opening: ExitStack) -> None:
        """Open source, work folder, sink and workers, in this order."""
        own = opening.enter_context
        self._source = own(closing(open_source(input_of(options))))
        self.options = replace(options, output=segment_output(options.output, self._source))
        self._rate = output_rate(options.fps, self._source.info.rate)
        self._first = _first_frame(self._source.frames(), self._source.name)
        self.plan = self._planned()
        self._journal = own(Journal(work_folder(options), key_of(options), options.job.resume))
        opening.callback(self._leave_folder)
        self._report = self._open_record(options)
        if self._report is not None:
            opening.callback(self._report.discard)
        remove_part(self._journal.folder)
        self._written = as_written(self._source, options.output)
        self._sink = open_sink(self._target(), self._written, self._rate)
        opening.callback(self._close_sink)
        refuse_whole(self._sink)
        others = self._source.other_streams
        self._own_bytes = BASE_BYTES + READING + (others.held_bytes if others else 0)
        self._pool = own(closing(self._make_pool()))
        self._tally = Tally(self.plan, self._rate, self._source.info.usual_interval)
        self.progress = self._tally.progress
        duration = self._source.duration
        self.progress.duration = None if duration is None else duration / options.speed
        self._journal.begin(self._details())
        self._journal.note("begun", part=self._sink.place)
        if options.job.resume != "no":
            note_job(options.output.path, self._journal.folder, self._details())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    @property
    def opening(self) -> Opening:
        """What is known before it starts."""
        assert self._pool is not None
        return Opening(
            self._source.name,
            self._sink.name,
            self._source.info,
            self._rate,
            self.options.engine,
            {},
            self._lines(self._pool),
        )

    def cancel(self, signum: int | None = None) -> None:
        """End all workers, and ask for an early end; `go` raises Interrupted."""
        self._signum = signum
        self._stop.set()
        if self._pool is not None:
            self._pool.stop()
            self._sink.cancel()

    def abandon(self, patience: float) -> str | None:
        """Complete what is joined though `go` does not return; see `Run.abandon`."""
        done: list[str | None] = []
        ending = threading.Thread(target=lambda: done.append(self._sink.abandon()), daemon=True)
        ending.start()
        ending.join(patience)
        where = done[0] if done else f"{self._sink.place} is not complete"
        return self._how_to_go_on(where)

    def go(self, on_progress: OnProgress | None = None) -> Progress:
        """Make and join all segments. Raises LtxFilterError, BrokenPipeError.

        on_progress: called with the running counts, a few times a second.
        """
        if self.finished:
            return self.progress
        error: BaseException | None = None
        try:
            self._make(on_progress)
        except Stopped:
            error = Interrupted(self._signum or 2)
            raise error from None
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._end(error)
        return self.progress

    def _make(self, on_progress: OnProgress | None) -> None:
        assert self._pool is not None
        if self._report is not None:
            self._report.begin(self._head())
        work = Work(self.plan, self._journal, self._tally, self._pool)
        for number in work.stored(on_progress, self._stop):
            if self._stop.is_set():
                raise Stopped
            try:
                self._join(number)
            except DamagedSegment:
                work.again(number)
        self._sink.finish()
        self._complete = True

    def _join(self, number: int) -> None:
        """Write a stored segment into the output. Raises DamagedSegment if it is not whole."""
        path = self._journal.path_of(number)
        try:
            reader = SegmentReader(path)
        except OutputError as error:
            log.warning("%s; it is made again", error)
            raise DamagedSegment from error
        self._check_place(number, reader)
        self._sink.join(reader, self._first)
        if self._report is not None:
            for part, notes in recorded(reader.summary.get("windows", ())):
                part = replace(part, window=part.window + self._windows)
                self._report.add(part, notes)
                last = part.window
            self._windows = last + 1 if reader.summary.get("windows") else self._windows
        if self.options.job.resume == "no":
            path.unlink(missing_ok=True)

    def _check_place(self, number: int, segment: SegmentReader) -> None:
        """Raise LtxFilterError unless a segment begins where the one before has ended."""
        first, count = segment.summary["first"], segment.summary["frames"]
        if first is not None and self._rate is not None:
            place = (Fraction(first) - self._first.time) * self._rate
            if place != self._frames:
                raise LtxFilterError(
                    f"segment {number} begins at output frame {float(place):g}, and {self._frames} "
                    "frames come before it: the input cannot be cut there; leave out --workers and "
                    "--resume, or choose other --segment-seconds"
                )
        self._frames += count

    def _planned(self) -> SegmentPlan:
        """Return the segments. Raises InputError where the source cannot be cut."""
        times = self._source.frame_times()
        if times is None:
            raise InputError(f"{self._source.name}: {UNCUT}")
        job = self.options.job
        return plan_segments(times, self._first.time, job.segment_seconds, self.options.speed)

    def _target(self) -> OutputOptions:
        """Return the output, which may replace what the same job wrote just before a crash."""
        target = with_provenance(self.options, self._engine)
        whole = len(self._journal.done) == len(self.plan.segments)
        return replace(target, overwrite=True) if whole else target

    def _make_pool(self) -> Pool:
        left = max(len(self.plan.segments) - len(self._journal.done), 1)
        if self.options.job.ray is not None:
            return RayPool(self.options, left, self._journal.folder, self._own_bytes)
        count = worker_count(self.options, len(self.plan.segments))
        return LocalPool(shared_out(self.options, count, self._own_bytes))

    def _details(self) -> dict[str, Any]:
        job = self.options.job
        return {
            "input": str(Path(self.options.input.path).absolute()),
            "output": str(Path(self.options.output.path).absolute()),
            "planned": len(self.plan.segments),
            "command": list(job.command),
            "directory": os.getcwd(),  # noqa: PTH109
        }

    def _lines(self, pool: Pool) -> tuple[str, ...]:
        """Return what is to be said before work: the plan, and what it costs."""
        count, done = len(self.plan.segments), len(self._journal.done)
        seconds = self.options.job.segment_seconds
        many = f"{pool.size} {pool.name if pool.size == 1 else pool.names}"
        lines = []
        if self.options.output.scale is not None:
            engine = self._engine.name if self._engine.scale > 1 else None
            lines.append(scaling_line(self._source.info, self._written.info, engine))
        lines += [f"{count} segments of {seconds} s, {done} of them done, {many}"]
        kept = self.options.job.resume != "no"
        until = "until the output is complete" if kept else "while they wait to be joined"
        lines.append(f"segments are kept in {self._journal.folder} {until}")
        if not self.plan.segments[-1].seek and count > 1:
            lines.append(
                "each segment is decoded from the beginning of the input, since its times depend "
                "on what comes before; remuxing it as .mkv may help"
            )
        elif self.plan.again > LITTLE:
            lines.append(
                f"{100 * self.plan.again:.0f} % of the input is decoded twice, from the I-frame "
                "before each segment"
            )
        if "b" in self.options.output.encoder:
            lines.append("-b: the encoder's rate control begins anew in each segment")
        return tuple(lines)

    def _head(self) -> dict[str, Any]:
        """Return what a report says of the job before it starts."""
        return {
            "input": {"name": self._source.name, **plain(self._source.info)},
            "output": {
                "name": self._sink.name,
                "width": self._written.info.width,
                "height": self._written.info.height,
                "rate": None if self._rate is None else str(self._rate),
                "duration": float(self.progress.duration) if self.progress.duration else None,
            },
            "options": plain(self.options),
            "engine": {"name": self.options.engine},
            "memory": {"joining": self._own_bytes},
            "streams": [plain(each) for each in self._sink.plan],
        }

    def _end(self, error: BaseException | None) -> None:
        """Complete the report, and what the user is told to do next."""
        self._tally.update()
        if error is None:
            self._note_finished()
        elif not self._complete:
            self._close_sink()
        if self._report is not None:
            self._report.finish(self.progress, error)

    def _note_finished(self) -> None:
        """Write into the index that the output is complete, and remove the segments."""
        job = self.options
        if job.job.resume != "no":
            written = written_file(job.output.path)
            details = {**self._details(), "key": self._journal.key, "written": written}
            note_job(job.output.path, self._journal.folder, details)
        self._journal.remove()

    def _close_sink(self) -> None:
        """Complete what is joined as a playable file, at an early end."""
        if not self._complete:
            self.partial = self._how_to_go_on(self._sink.close()) or self.partial

    def _how_to_go_on(self, where: str | None) -> str | None:
        """Return where the output is, and what to type to carry on."""
        if self.options.job.resume == "no":
            return where
        count = len(self._journal.done)
        done = f"{count} of {len(self.plan.segments)} segments are done"
        return "; ".join(filter(None, [where, f"{done}: the same command again carries on"]))

    def _leave_folder(self) -> None:
        """Keep the segments for another time, or remove them if nobody can use them."""
        if self.options.job.resume == "no" or not self._journal.details:
            self._journal.remove()


class DamagedSegment(Exception):
    """A stored segment is not whole."""


def _with_file(options: Options, opening: ExitStack) -> Options:
    """Return options whose input can be read by several processes. Raises LtxFilterError."""
    if options.input.path not in STDIN_NAMES:
        return options
    folder = work_folder(options)
    path = stdin_as_file(folder)
    opening.callback(discard_stdin, folder)
    return replace(options, input=replace(options.input, path=str(path)))


def _is_finished(options: Options) -> bool:
    """Return True if the output is there, as an earlier run of the same job has left it."""
    if options.job.resume != "yes":
        return False
    known = known_job(options.output.path)
    if known is None or not known.is_finished:
        return False
    key = json.loads(json.dumps(key_of(options), default=str))
    return bool(known.details.get("key") == key)


def key_of(options: Options) -> dict[str, Any]:
    """Return what a job is known by; see `job_key`. Raises InputError."""
    files = {"input": options.input.path}
    for path in map(Path, model_files_of(options.models)):
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files |= {f"model {each.name}": str(each) for each in inside if each.is_file()}
    try:
        return job_key(options, files)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error


def _first_frame(frames: Iterator[Frame], name: str) -> Frame:
    first = next(frames, None)
    if first is None:
        raise InputError(f"{name}: no video frames")
    return first
