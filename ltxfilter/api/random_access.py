"""Output frames by their numbers, in any order, for hosts that seek."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from threading import Lock

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.options import Options
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.values import MIB, RESET_SECONDS, round_half_up
from ltxfilter.windows.segment import Segment

DISORDER = 32  # frames by which hosts that ask in several threads may be out of order
KEPT_BYTES = 256 * MIB  # of output frames that were made lately, since hosts ask out of order


class RandomAccess:
    """The output of a source whose frames are had by number, at a constant rate.

    A frame is the same whatever was asked for before: whoever seeks makes the way from the reset
    point before it, as a segment of a long job does. Frames that are asked for in order are made in
    order. It may be asked from any thread, and makes one frame at a time.
    """

    def __init__(
        self,
        source: Callable[[int], Frame],
        frames: int,
        info: VideoInfo,
        rate: Fraction,
        options: Options,
    ) -> None:
        """Open the engine.

        source: returns the source frame of a number, from 0, whose time is number / `info.rate`.
        frames: how many it has, at least one. rate: output frames per second. Raises OptionError,
        EngineError.
        """
        if info.rate is None:
            raise ValueError("random access needs a constant rate")
        self.count = max(round_half_up(frames / info.rate * rate), 1)  # output frames
        self._source, self._frames, self._info = source, frames, info
        self._rate_in, self._rate, self._options = info.rate, rate, options
        self._lock = Lock()
        self._first = FramePath(info, rate, options)  # whose engine serves the others
        self._path: FramePath | None = self._first
        self._pushed = 0  # number of the source frame that the path takes next
        self._made = 0  # number of the output frame that it makes next
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._kept_bytes = 0

    def frame(self, number: int) -> Frame:
        """Return the output frame of a number, from 0 to `count` - 1. Raises LtxFilterError."""
        if not 0 <= number < self.count:
            raise IndexError(f"frame {number}; there are 0 to {self.count - 1}")
        with self._lock:
            if number not in self._kept:
                self._approach(number)
                while number not in self._kept:
                    self._advance(number - DISORDER)
            return self._kept[number]

    def close(self) -> None:
        """Release the engine; calling it twice does nothing."""
        with self._lock:
            self._first.close()

    def _approach(self, number: int) -> None:
        """Begin anew at the reset point before a frame, unless the path leads there sooner."""
        keyframe = floor(number / self._rate * self._rate_in)
        segment = floor(keyframe / self._rate_in / RESET_SECONDS)
        begin = ceil(segment * RESET_SECONDS * self._rate_in)
        first = ceil(begin / self._rate_in * self._rate)
        if self._path is not None and first <= self._made <= number:
            return
        start = Fraction(0)
        self._path = FramePath(
            self._info,
            self._rate,
            self._options,
            segment=Segment(segment, start, start + segment * RESET_SECONDS) if segment else None,
            runner=self._first.runner,
        )
        self._pushed, self._made = begin, first

    def _advance(self, since: int) -> None:
        """Let the path take the next source frame, or the end, and keep what it makes.

        since: number of the first output frame that has to be made; the others may be left out.
        """
        path = self._path
        assert path is not None
        self._path = None  # if anything is raised, the next call begins anew
        if self._pushed < self._frames:
            frames = path.push(self._source(self._pushed), since)
            ended = False
        else:
            frames = path.finish()
            ended = True
        for frame in frames:
            self._keep(frame)
        self._pushed += 1
        self._path = None if ended else path

    def _keep(self, frame: Frame) -> None:
        """Keep an output frame, and let the oldest ones go."""
        number = int(frame.time * self._rate)  # exact: it begins at 0
        if before := self._kept.pop(number, None):
            self._kept_bytes -= before.nbytes
        self._kept[number] = frame
        self._kept_bytes += frame.nbytes
        self._made = number + 1
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.nbytes
