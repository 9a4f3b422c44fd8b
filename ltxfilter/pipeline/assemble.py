"""Everything that a run needs, opened in one place: source, engine, sink, memory, in this order.

`Assembly` serves conversions and `ltxfilter probe`; `assemble_engine` is its middle part, which
also serves programs that push frames (`api.Interpolator`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd
from typing import Self

from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import Sink, Source
from ltxfilter.media.opening import open_sink, open_source, says_rotation
from ltxfilter.media.scaling.frame_scaler import FrameScaler, scaler_of
from ltxfilter.media.scaling.scaled_source import as_written
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.latency import Latency, LatencyBound, Lateness
from ltxfilter.pipeline.memory import UNKNOWN_HOURS, Budget, Needs, divide
from ltxfilter.pipeline.record.provenance import with_provenance
from ltxfilter.pipeline.resident import resident_bytes
from ltxfilter.pipeline.stages import at_speed
from ltxfilter.pipeline.threads import CHUNK
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.values import LONGEST_REDRAW, MIB
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.missing import MissingFrames
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.segment import Segment
from ltxfilter.windows.timeline import output_rate

log = logging.getLogger("ltxfilter.convert")

SLOW = 10  # times the video's length: what takes longer is said before it starts
FEW_BYTES = 64 * MIB  # that opening an engine may take, within what the interpreter is given

OpenOutput = Callable[[OutputOptions, Source, Fraction | None], Sink]


@dataclass(slots=True)
class EngineParts:
    """An open engine, and the objects that make windows for it."""

    runner: WindowRunner
    rolling: RollingWindow
    detector: CutDetector
    latency: Latency  # of the stream with this engine
    bound: LatencyBound | None  # None unless `--max-latency` asks for one
    lent: bool = False  # True if somebody else closes the engine

    def close(self) -> None:
        """Release the engine, unless it is lent; calling it twice does nothing."""
        if not self.lent:
            self.runner.close()


def assemble_engine(
    options: Options,
    video: VideoInfo,
    rate: Fraction | None,
    *,
    shown: VideoInfo | None = None,
    reading: int = 0,
    segment: Segment | None = None,
    runner: WindowRunner | None = None,
    scale: Fraction | None = None,
) -> EngineParts:
    """Open the engine that `options` name for frames of `video`, output at `rate`.

    shown: the frames at the speed that they are shown at; None means as they are. reading: source
    frames that reading and decoding hold back. segment: the part of the stream that is made; None
    is all of it. runner: an engine that is open for such frames; whoever opened it closes it.
    scale: how many times larger frames are made afterwards, which an engine may do itself.
    Raises OptionError, EngineError.
    """
    seen = shown or video
    bound = None
    if options.max_latency is not None:
        bound = LatencyBound(options.max_latency, options, seen, reading)
    lent = runner is not None
    runner = runner or _open_runner(options, seen, rate, bound, scale)
    try:
        detector = CutDetector(video, cuts=options.cuts)
        rolling = RollingWindow(
            runner.shape,
            rate,
            detector,
            seen.interval,
            options.repeats,
            missing=MissingFrames(
                options.conceal,
                _longest_missing(options, video, runner, bound),
                detector.is_cut,
            ),
            start=None if segment is None or segment.begin is None else segment.start,
            end=None if segment is None else segment.end,
        )
    except BaseException:
        if not lent:
            runner.close()
        raise
    latency = Latency.of(runner.shape, video, options.repeats, reading)
    return EngineParts(runner, rolling, detector, latency, bound, lent=lent)


def _open_runner(
    options: Options,
    video: VideoInfo,
    rate: Fraction | None,
    bound: LatencyBound | None,
    scale: Fraction | None,
) -> WindowRunner:
    """Open the engine, without look-ahead if the bound needs that."""
    given = video, rate, options.threads, options.models
    runner = WindowRunner(options.engine, *given, scale=scale)
    if bound is None or bound.keeps(runner.shape):
        return runner
    runner.close()
    spec = bound.spec_without_lookahead(runner)
    return WindowRunner(spec, *given, scale=scale)


def _longest_missing(
    options: Options, video: VideoInfo, runner: WindowRunner, bound: LatencyBound | None
) -> Fraction:
    """Return the seconds of missing frames that are interpolated, within memory and latency."""
    longest = LONGEST_REDRAW
    if not runner.shape.slots:  # all slots of a window are made at once: more would not fit
        usual = (runner.shape.keyframes - 1) * video.usual_interval
        longest = max(usual, options.longest_redraw)
    if bound is not None:
        longest = min(longest, bound.longest_missing(runner))
    return longest / options.speed


class Assembly:
    """What one run is made of, open. Use it in a `with` statement."""

    def __init__(
        self,
        options: Options,
        open_output: OpenOutput = open_sink,
        *,
        segment: Segment | None = None,
        runner: WindowRunner | None = None,
    ) -> None:
        """Open the source, the engine and the sink, and divide the memory.

        open_output: opens the sink; `ltxfilter probe` opens one that leaves nothing behind.
        segment, runner: see `assemble_engine`. Raises LtxFilterError before anything but the first
        frame is decoded.
        """
        self.options = options
        self.segment = segment
        self.partial: str | None = None  # after an early end: where the unfinished output is
        with ExitStack() as opening:
            own = opening.enter_context
            self.source: Source = own(closing(open_source(input_of(options))))
            self.info = self.source.info
            self.rate = output_rate(options.fps, self.info.rate)
            shown = at_speed(self.info, options.speed)
            self.scaler: FrameScaler | None = scaler_of(options.output, self.info)
            before = resident_bytes()
            self.engine = own(closing(self._assembled(shown, runner)))
            self._engine_extra = self._grown_since(before)
            if segment is None:
                self._warn(shown)
            target = with_provenance(options, self.runner.asked)
            self.sink: Sink = open_output(target, as_written(self.source, target), self.rate)
            opening.callback(self.close_sink)
            self.budget = self._budget(shown)
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    @property
    def runner(self) -> WindowRunner:
        """The engine, as windows are given to it."""
        return self.engine.runner

    @property
    def written(self) -> VideoInfo:
        """What the frames have in common that are given to the sink."""
        return self.info if self.scaler is None else self.scaler.info

    @property
    def duration(self) -> Fraction | None:
        """Seconds of output, if known before decoding."""
        duration = self.source.duration
        return None if duration is None else duration / self.options.speed

    @property
    def group_bytes(self) -> int:
        """Bytes of small frames that change threads together; 1 where each frame travels alone."""
        return CHUNK if self.engine.bound is None else 1

    def lateness(self) -> Lateness | None:
        """Return what measures how late frames leave; None where no bound was asked for."""
        bound = self.engine.bound
        return None if bound is None else Lateness(bound.seconds)

    def _assembled(self, shown: VideoInfo, runner: WindowRunner | None) -> EngineParts:
        """Open the engine for the source's frames; see `assemble_engine`."""
        return assemble_engine(
            self.options,
            self.info,
            self.rate,
            shown=shown,
            reading=self.source.delay,
            segment=self.segment,
            runner=runner,
            scale=self.options.output.scale,
        )

    def close_sink(self) -> None:
        """Complete what was written as a playable file, if the run did not reach its end."""
        self.partial = self.sink.close() or self.partial

    def abandon_sink(self) -> str | None:
        """Complete what was written though the thread that writes does not; see `Sink.abandon`."""
        return self.sink.abandon() or self.partial

    def _warn(self, shown: VideoInfo) -> None:
        """Say what is left out, and what takes long. shown: the frames as they are shown."""
        if self.options.target is not self.options.output:
            log.warning("--speed %s: sound, subtitles and data are left out", self.options.speed)
        self._say_if_slow(shown)

    def _say_if_slow(self, shown: VideoInfo) -> None:
        """Warn of an engine that takes many times as long as the video lasts."""
        seconds = self.runner.seconds_per_picture
        source = 1 / shown.usual_interval
        rate = self.rate or 2 * source
        both = Fraction(
            gcd(rate.numerator * source.denominator, source.numerator * rate.denominator),
            rate.denominator * source.denominator,
        )  # source frames per second that fall on an output time
        if seconds is None or (times := seconds * float(rate - both)) <= SLOW:
            return
        whole = ""
        if self.duration is not None:
            hours, minutes = divmod(round(float(self.duration) * times / 60), 60)
            whole = f", about {hours} h {minutes:02} min in all"
        log.warning(
            "engine %s takes about %.2g s for an interpolated frame on this device: %d times as "
            "long as the video lasts%s; --engine flow takes a fraction of that",
            self.runner.engine,
            seconds,
            round(times),
            whole,
        )

    def _grown_since(self, before: int | None) -> int:
        """Return the bytes that opening the engine took beyond what it states; 0 if few."""
        now = resident_bytes()
        if before is None or now is None:
            return 0
        extra = now - before - self.runner.shape.work_bytes
        return extra if extra > FEW_BYTES else 0

    def _budget(self, shown: VideoInfo) -> Budget:
        """Divide the memory. Raises OptionError if it is too little."""
        options, runner, others = self.options, self.runner, self.source.other_streams
        needs = Needs(
            shown,
            self.rate,
            runner.shape,
            drawn_bytes=max(shown.frame_bytes, runner.drawn.frame_bytes),
            source_bytes=self.source.held_bytes,
            sink_bytes=self.sink.held_bytes,
            engine_extra=self._engine_extra,
            scale_bytes=0 if self.scaler is None else self.scaler.held_bytes,
            copied_bytes=others.held_bytes if others else 0,
            index_bytes=self.sink.index_bytes,
            duration=self.duration,
            threads=options.threads,
            longest_redraw=options.longest_redraw / options.speed,
        )
        budget = divide(options.memory, needs)
        if needs.duration is None and needs.index_bytes:
            log.info(
                "memory: the length is not known; the index of %s is counted for %d hours, and "
                "takes %d MB more for each further one",
                self.sink.name,
                UNKNOWN_HOURS,
                -(-needs.index_per_hour // MIB),
            )
        if runner.shape.slots:
            runner.most_slots = budget.slots
        if self.engine.bound is not None:
            budget = self.engine.bound.shorten_queues(budget, self.sink.held_bytes)
        return budget


def _copies_sound(output: OutputOptions) -> bool:
    """Return True if an output asks for sound, as far as that is known before an input is open."""
    chosen = [spec for spec in output.maps if not spec.startswith("-")]
    return output.audio and (not chosen or any(":v" not in spec.lower() for spec in chosen))


def input_of(options: Options) -> InputOptions:
    """Return what to read, and how, as far as the output and the latency decide that.

    -map stands with the output, and says which video is read as well. Each further decoder
    thread delays live video by one frame.
    """
    given = options.input
    given = replace(given, maps=given.maps or options.output.maps)
    if given.autorotate is None:
        given = replace(given, autorotate=not says_rotation(options.output))
    if options.output.shortest and _copies_sound(options.target):
        given = replace(given, shortest=True)
    if options.max_latency is None:
        return given
    return replace(given, threads=given.threads or 1)
