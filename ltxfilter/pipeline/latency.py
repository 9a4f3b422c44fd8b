"""How late the output of a live source is, which engines keep a bound, and whether it is kept.

A run without `--max-latency` uses nothing of this file but `Latency`, which `probe` shows.
"""

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
from ltxfilter.options import Options
from ltxfilter.pipeline.memory import Budget
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.values import format_spec, parse_spec
from ltxfilter.windows.rolling import LONGEST_RUN
from ltxfilter.windows.timeline import PAUSE_FACTOR
from ltxfilter.windows.window import WindowShape

log = logging.getLogger("ltxfilter.latency")

WARM_UP = 1  # seconds of video that do not count: at first libraries load and caches fill


@dataclass(frozen=True, slots=True)
class Latency:
    """What a slot waits for, at most, from the arrival of the source frame before it.

    A window is made in the time that it lasts, or the machine does not keep up and nothing helps.
    """

    ahead: int  # source frames until its window is whole
    working: int  # source intervals in which the window is made
    reading: int  # source frames that reading and decoding hold back
    interval: Fraction  # seconds from source frame to source frame, at most

    @classmethod
    def of(
        cls, shape: WindowShape, video: VideoInfo, repeats: str = "report", reading: int = 0
    ) -> Latency:
        """Return the latency of an engine that asks for `shape`, on a stream.

        reading: source frames that reading and decoding hold back.
        """
        own = shape.keyframes - 1
        ahead = own + shape.after
        if repeats == "smooth":  # a duplicate counts once it is known how many follow it
            ahead *= LONGEST_RUN
        interval = video.usual_interval
        if video.rate is None:
            interval *= PAUSE_FACTOR
        return cls(ahead, own, reading, interval)

    @property
    def seconds(self) -> Fraction:
        """All of it."""
        return (self.ahead + self.working + self.reading) * self.interval

    def __str__(self) -> str:
        plural = "s" if self.ahead > 1 else ""
        parts = [f"{self.ahead} source frame{plural} ahead", f"{self.working} to interpolate"]
        if self.reading:
            parts.append(f"{self.reading} to read")
        return f"{milliseconds(self.seconds)} ({', '.join(parts)})"


def milliseconds(seconds: Fraction | float) -> str:
    """Write seconds as "83 ms", rounded up."""
    return f"{ceil(seconds * 1000)} ms"


@dataclass(frozen=True, slots=True)
class LatencyBound:
    """The `--max-latency` of one run, and how an engine is brought to keep it."""

    seconds: Fraction  # > 0
    options: Options
    video: VideoInfo  # the frames that the engine sees
    reading: int  # source frames that reading and decoding hold back

    def latency(self, shape: WindowShape) -> Latency:
        """Return the latency of an engine that asks for `shape`."""
        return Latency.of(shape, self.video, self.options.repeats, self.reading)

    def keeps(self, shape: WindowShape) -> bool:
        """Return True if an engine that asks for `shape` keeps the bound."""
        return self.latency(shape).seconds <= self.seconds

    def spec_without_lookahead(self, runner: WindowRunner) -> str:
        """Return the spec that makes a runner's engine keep the bound, by looking no frame ahead.

        Raises OptionError if it cannot keep the bound, and names the engines that can.
        """
        spec = without_lookahead(self.options.engine)
        if spec is None or not self.keeps(replace(runner.shape, after=0)):
            raise OptionError(self._refusal(runner))
        log.warning(
            "--max-latency %s: %s looks no frame ahead; with lookahead=1 it is late by %s",
            milliseconds(self.seconds),
            runner.engine,
            self.latency(runner.shape),
        )
        return spec

    def longest_missing(self, runner: WindowRunner) -> Fraction:
        """Return how many seconds of missing frames may be waited for.

        Each frame ahead may be on the other side of them. Raises OptionError if the spans to
        interpolate anew are longer.
        """
        latency = self.latency(runner.shape)
        spare = (self.seconds - latency.seconds) / latency.ahead
        if self.options.longest_redraw > spare:
            raise OptionError(
                f"--redraw: within --max-latency {milliseconds(self.seconds)}, no more than "
                f"{milliseconds(spare)} in one go can be waited for"
            )
        return spare

    def shorten_queues(self, budget: Budget, encoder_bytes: int) -> Budget:
        """Return a budget whose queues hold next to nothing: what waits in them is late.

        encoder_bytes: what the sink holds, which cannot be shortened from here.
        """
        if encoder_bytes:
            log.warning(
                "--max-latency: what the encoder holds back comes on top; with -tune zerolatency "
                "libx264 and libx265 hold nothing"
            )
        return replace(budget, decode_bytes=1, ahead=min(budget.ahead, self.options.threads))

    def _refusal(self, runner: WindowRunner) -> str:
        """Say how late an engine is, and which ones keep the bound."""
        bound = milliseconds(self.seconds)
        start = f"--max-latency {bound}: engine {runner.engine} takes {self.latency(runner.shape)}"
        plain = {  # with duplicates reported, which is what the advice below asks for
            spec: Latency.of(shape, self.video, reading=self.reading)
            for name in engines.engine_names()
            for spec, shape in engines.engine_class(name).live_shapes.items()
        }
        fitting = [spec for spec, late in plain.items() if late.seconds <= self.seconds]
        if not fitting:
            least = milliseconds(min(late.seconds for late in plain.values()))
            return f"{start}; at this frame rate no engine takes less than {least}"
        advice = f"use --engine {' or '.join(fitting)}"
        if self.options.repeats == "smooth":
            advice += ", with --repeats report"
        return f"{start}; {advice}"


class Lateness:
    """Measures how late output frames leave, and warns once if that is beyond the bound."""

    def __init__(self, bound: Fraction) -> None:
        """Begin a run. bound: seconds."""
        self.worst: float | None = None  # seconds that a frame was late, at most; None: unknown yet
        self._bound = bound
        self._arrivals: deque[tuple[Fraction, float]] = deque()  # a frame's time, when it came
        self._start: Fraction | None = None  # time of the first frame that left
        self._warned = False

    def arriving(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames and note when each came."""
        for frame in frames:
            self._arrivals.append((frame.time, perf_counter()))
            yield frame

    def leaving(self, time: Fraction) -> None:
        """Note that the frame of a time leaves now."""
        arrivals = self._arrivals
        while len(arrivals) > 1 and arrivals[1][0] <= time:
            arrivals.popleft()
        self._start = time if self._start is None else self._start
        if time < self._start + WARM_UP:
            return
        begin, when = arrivals[0]
        late = perf_counter() - when - float(time - begin)
        self.worst = late if self.worst is None else max(self.worst, late)
        if late > self._bound and not self._warned:
            self._warned = True
            log.warning(
                "--max-latency %s is not kept: %s late at %.3f s",
                milliseconds(self._bound),
                milliseconds(late),
                float(time),
            )


def without_lookahead(spec: str) -> str | None:
    """Return an engine's spec without look-ahead; None if it has no such choice left."""
    name, given = parse_spec(spec)
    option = engines.engine_class(name).lookahead_option
    if option is None or given.get(option) == "0":
        return None
    return format_spec(name, {**given, option: "0"})
