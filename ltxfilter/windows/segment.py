"""Segments: stretches of a stream between reset points, which can be made apart from each other.

A segment begins at the first good source frame at or after its nominal begin, which lies a multiple
of `RESET_SECONDS` after the stream's first frame. It ends where the next one begins. So what is
made of all segments, one after the other, is what is made of the whole stream, wherever good frames
happen to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from ltxfilter.frame import Frame
from ltxfilter.windows.rolling import LONGEST_RUN, RollingWindow
from ltxfilter.windows.window import WindowShape


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a stream; times in seconds on the clock of the frames as they are windowed."""

    number: int
    """From 0."""

    start: Fraction
    """When the first frame of the stream is shown."""

    begin: Fraction | None = None
    """Its nominal begin; None: it begins with the stream."""

    end: Fraction | None = None
    """Its nominal end, the next segment's begin; None: it ends with the stream."""

    seek: bool = True
    """False if everything before it has to be read to know what is shown when."""

    def source_begin(self, speed: Fraction) -> Fraction | None:
        """Return when it begins on the source's clock, which runs `speed` times as fast."""
        return None if self.begin is None else self.start + (self.begin - self.start) * speed


def segment_frames(
    frames: Iterable[Frame], segment: Segment, shape: WindowShape, rolling: RollingWindow
) -> Iterator[Frame]:
    """Yield the frames that the windows of a segment need.

    Frames before it only tell `rolling` how long damage has lasted. After its end as many good ones
    follow as the last window may look ahead.
    """
    left = shape.keyframes + shape.after * (LONGEST_RUN + 1) + LONGEST_RUN
    for frame in frames:
        if segment.begin is not None and frame.time < segment.begin:
            rolling.pass_by(frame)
            continue
        yield frame
        if segment.end is None or frame.time < segment.end:
            continue
        left -= not (frame.hidden or frame.corrupt or frame.lost)
        if left <= 0:
            return
