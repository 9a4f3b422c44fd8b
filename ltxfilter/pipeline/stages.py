"""The steps between decoding and encoding, as generators; no files, no threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from time import monotonic

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.pipeline.window_runner import Prepared, WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Window


def retimed(
    frames: Iterable[Frame], speed: Fraction, start: Fraction | None = None
) -> Iterator[Frame]:
    """Yield the frames with their times stretched around `start`; speed 0.5 lasts twice.

    start: seconds; None is the time of the first frame.
    """
    for frame in frames:
        start = frame.time if start is None else start
        duration = frame.duration / speed if frame.duration is not None else None
        yield replace(frame, time=start + (frame.time - start) / speed, duration=duration)


def paced(
    frames: Iterable[Frame], pace: Fraction, wait: Callable[[float], object]
) -> Iterator[Frame]:
    """Yield the frames no earlier than they would be played, `pace` times as fast as usual.

    wait: waits for seconds, or for less once the run ends.
    """
    start: tuple[float, Fraction] | None = None  # of the clock, and of the frames, in seconds
    for frame in frames:
        start = start or (monotonic(), frame.time)
        due = start[0] + float((frame.time - start[1]) / pace)
        if (early := due - monotonic()) > 0:
            wait(early)
        yield frame


def at_speed(info: VideoInfo, speed: Fraction) -> VideoInfo:
    """Return what `retimed` frames have in common: their intervals are stretched too."""
    if speed == 1 or info.interval is None:
        return info
    return replace(info, interval=info.interval / speed)


def windows(frames: Iterable[Frame], rolling: RollingWindow) -> Iterator[Window]:
    """Yield the windows of a whole stream, or of a segment; no frame beyond is asked for."""
    for frame in frames:
        yield from rolling.push(frame)
        if rolling.has_ended:
            return
    yield from rolling.finish()


def prepared(items: Iterable[Window], runner: WindowRunner) -> Generator[Prepared]:
    """Yield the windows with their motion, in order."""
    for window in items:
        yield from runner.prepare(window)


def drawn(items: Iterable[Window], runner: WindowRunner) -> Iterator[Frame]:
    """Yield the output frames of windows, made one window after another."""
    for item in prepared(items, runner):
        yield from runner.draw(item)
