"""A run without files and threads: source frames in, output frames out, for `api.py`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.options import Options
from ltxfilter.pipeline.assemble import assemble_engine
from ltxfilter.pipeline.stages import prepared
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.refusals import refusals_named
from ltxfilter.windows.missing import hidden
from ltxfilter.windows.segment import Segment
from ltxfilter.windows.window import Window


class FramePath:
    """Source frames in, output frames out, in this thread."""

    @refusals_named()
    def __init__(
        self,
        info: VideoInfo,
        rate: Fraction | None,
        options: Options,
        *,
        segment: Segment | None = None,
        runner: WindowRunner | None = None,
    ) -> None:
        """Open the engine for frames of a stream, output at `rate`.

        segment, runner: see `assemble_engine`.
        """
        self._redraw = options.redraw
        self._parts = assemble_engine(options, info, rate, segment=segment, runner=runner)
        self.latency = self._parts.latency.seconds

    @property
    def runner(self) -> WindowRunner:
        """The engine, as windows are given to it."""
        return self._parts.runner

    def push(self, frame: Frame, since: int = 0) -> Iterator[Frame]:
        """Yield the output frames that `frame` completes.

        since: number of an output frame. Windows that end before it are prepared, since what
        follows may depend on them, and not drawn.
        """
        windows = self._parts.rolling.push(hidden(frame, self._redraw))
        return self._drawn(windows, since)

    def finish(self) -> Iterator[Frame]:
        """Yield the rest."""
        return self._drawn(self._parts.rolling.finish(), 0)

    def _drawn(self, windows: Iterator[Window], since: int) -> Iterator[Frame]:
        runner = self._parts.runner
        with refusals_named():
            for item in prepared(windows, runner):
                if item.window.slots and item.window.slots[-1].index >= since:
                    yield from runner.draw(item)

    def close(self) -> None:
        """Release the engine."""
        self._parts.close()
