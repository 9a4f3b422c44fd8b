"""How late the output of a live source is at least, and engines that keep within a bound."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from time import perf_counter

from ltxfilter import engines
from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.options import InputOptions, Options
from ltxfilter.pipeline.memory import Budget
from ltxfilter.pipeline.threads import CHUNK
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.values import format_spec, parse_spec
from ltxfilter.windows.missing import longest, merged
from ltxfilter.windows.rolling import LONGEST_RUN
from ltxfilter.windows.timeline import PAUSE_FACTOR
from ltxfilter.windows.window import WindowShape

log = logging.getLogger("ltxfilter.latency")

WARM = 1  # seconds of video after which lateness counts: at first, libraries load and caches fill


@dataclass(frozen=True, slots=True)
class Latency:
    """What a slot waits for, from the arrival of the source frame before it, at most.

    A window is drawn in the time that it lasts, or the machine does not keep up and nothing helps.
    """

    ahead: int  # source frames until its window is whole
    drawing: int  # source intervals in which the window is drawn
    reading: int  # source frames that reading and decoding hold back
    interval: Fraction  # seconds from source frame to source frame, at most

    @classmethod
    def of(
        cls, shape: WindowShape, video: VideoInfo, repeats: str = "report", reading: int = 0
    ) -> Latency:
        """Return what an engine that asks for `shape` makes of a stream."""
        own = shape.keyframes - 1
        ahead = own + shape.after
        if repeats == "smooth":  # a repeat counts once it is known how many follow
            ahead *= LONGEST_RUN
        interval = video.interval or Fraction(1, 24)
        if video.rate is None:
            interval *= PAUSE_FACTOR
        return cls(ahead, own, reading, interval)

    @property
    def seconds(self) -> Fraction:
        """All of it."""
        return (self.ahead + self.drawing + self.reading) * self.interval

    def __str__(self) -> str:
        plural = "s" if self.ahead > 1 else ""
        parts = [f"{self.ahead} source frame{plural} ahead", f"{self.drawing} to draw"]
        if self.reading:
            parts.append(f"{self.reading} to read")
        return f"{milliseconds(self.seconds)} ({', '.join(parts)})"


def milliseconds(seconds: Fraction | float) -> str:
    """Write seconds as "83 ms", rounded up."""
    return f"{ceil(seconds * 1000)} ms"


class Live:
    """What `max_latency` asks of a run, and whether it is kept; without it, nothing at all."""

    def __init__(self, options: Options) -> None:
        self.bound = options.max_latency
        self.delay = 0  # source frames that reading and decoding hold back
        self.worst: float | None = None  # seconds that a frame was late
        self._options = options
        self._arrivals: deque[tuple[Fraction, float]] = deque()  # time on the clock, when
        self._start: Fraction | None = None  # of the clock
        self._warned = False

    @property
    def input(self) -> InputOptions:
        """What to read; each further thread of a decoder would hold a frame."""
        given = self._options.input
        return given if self.bound is None else replace(given, threads=given.threads or 1)

    @property
    def group(self) -> int:
        """Bytes of small items that change threads together; 1: none waits for another."""
        return CHUNK if self.bound is None else 1

    def bounds(self, budget: Budget, encoder_bytes: int) -> Budget:
        """Return shorter queues: what waits in them is late, however fast the rest is.

        encoder_bytes: what the sink holds, which is beyond our reach.
        """
        if self.bound is None:
            return budget
        if encoder_bytes:
            log.warning(
                "--max-latency: what the encoder holds back comes on top; with -tune zerolatency "
                "libx264 and libx265 hold nothing"
            )
        return replace(budget, decode_bytes=1, ahead=min(budget.ahead, self._options.threads))

    def latency(self, shape: WindowShape, video: VideoInfo) -> Latency:
        """Return what an engine that asks for `shape` makes of a stream."""
        return Latency.of(shape, video, self._options.repeats, self.delay)

    def open_worker(self, video: VideoInfo, rate: Fraction | None) -> WindowRunner:
        """Open the engine, without its look-ahead if that is what it takes.

        Raises OptionError if it cannot keep within the bound, and says which engine can.
        """
        options, spec = self._options, self._options.engine
        worker = WindowRunner(spec, video, rate, options.threads, options.models)
        if self.bound is None or self._fits(worker.shape, video):
            return worker
        worker.close()
        blind = without_lookahead(spec)
        if blind is None or not self._fits(replace(worker.shape, after=0), video):
            raise OptionError(self._refusal(worker, video))
        log.warning(
            "--max-latency %s: %s looks no frame ahead; with lookahead=1 it is late by %s",
            milliseconds(self.bound),
            worker.engine,
            self.latency(worker.shape, video),
        )
        return WindowRunner(blind, video, rate, options.threads, options.models)

    def longest_hole(self, worker: WindowRunner, video: VideoInfo) -> Fraction | None:
        """Return how many seconds of hidden frames may be waited for; None: any.

        Each frame ahead may be on the other side of a hole. Raises OptionError if the spans to
        redraw are longer.
        """
        if self.bound is None:
            return None
        found = self.latency(worker.shape, video)
        spare = (self.bound - found.seconds) / found.ahead
        if longest(merged(self._options.redraw)) > spare:
            raise OptionError(
                f"--redraw: within --max-latency {milliseconds(self.bound)}, no more than "
                f"{milliseconds(spare)} in one go can be waited for"
            )
        return spare

    def arriving(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames, noting when each came."""
        for frame in frames:
            if self.bound is not None:
                self._arrivals.append((frame.time, perf_counter()))
            yield frame

    def left(self, time: Fraction) -> None:
        """Note that the picture of a moment has left; warn, once, if that was too late."""
        if self.bound is None:
            return
        arrivals = self._arrivals
        while len(arrivals) > 1 and arrivals[1][0] <= time:
            arrivals.popleft()
        self._start = time if self._start is None else self._start
        if time < self._start + WARM:
            return
        begin, when = arrivals[0]
        late = perf_counter() - when - float(time - begin)
        self.worst = late if self.worst is None else max(self.worst, late)
        if late > self.bound and not self._warned:
            self._warned = True
            log.warning(
                "--max-latency %s is not kept: %s late at %.3f s",
                milliseconds(self.bound),
                milliseconds(late),
                float(time),
            )

    def _fits(self, shape: WindowShape, video: VideoInfo) -> bool:
        return self.bound is None or self.latency(shape, video).seconds <= self.bound

    def _refusal(self, worker: WindowRunner, video: VideoInfo) -> str:
        """Say what an engine takes, and what would do."""
        assert self.bound is not None
        found = self.latency(worker.shape, video)
        start = f"--max-latency {milliseconds(self.bound)}: engine {worker.engine} takes {found}"
        shapes = {
            spec: replace(self.latency(shape, video), ahead=shape.keyframes - 1 + shape.after)
            for name in engines.ENGINES
            for spec, shape in engines.engine_class(name).live_shapes.items()
        }
        fitting = [spec for spec, takes in shapes.items() if takes.seconds <= self.bound]
        if not fitting:
            least = milliseconds(min(takes.seconds for takes in shapes.values()))
            return f"{start}; at this frame rate no engine takes less than {least}"
        advice = f"use --engine {' or '.join(fitting)}"
        if self._options.repeats == "smooth":
            advice += ", with --repeats report"
        return f"{start}; {advice}"


def without_lookahead(spec: str) -> str | None:
    """Return an engine's spec with lookahead=0; None if it has no such choice left."""
    name, given = parse_spec(spec)
    option = engines.engine_class(name).lookahead_option
    if option is None or given.get(option) == "0":
        return None
    return format_spec(name, {**given, option: "0"})
