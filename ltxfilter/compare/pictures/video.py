"""A video of panels side by side, encoded as any output is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from ltxfilter.compare.pictures.panels import Panels
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media.base import FrameTimes, SourceCounts
from ltxfilter.media.carried.items import Item
from ltxfilter.media.opening import open_sink
from ltxfilter.options import OutputOptions

log = logging.getLogger("ltxfilter.compare")


class PanelsSource:
    """What a sink asks of a source, for frames that are put together here."""

    other_streams = None
    carries: tuple[Item, ...] = ()
    first_picture: Any = None
    pipe_format = "nut"
    clock = Fraction(0)
    duration: Fraction | None = None
    delay = 0
    held_bytes = 0

    def __init__(self, name: str, info: VideoInfo) -> None:
        """name: of the clip, for messages. info: of the frames."""
        self.name = name
        self.info = info
        self.counts = SourceCounts()
        self.raw_pix_fmt = info.pix_fmt

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:  # noqa: ARG002
        """Yield nothing: frames are given to the sink one by one."""
        return iter(())

    def frame_times(self) -> FrameTimes | None:
        """Return None: nobody knows."""
        return None

    def cancel(self) -> None:
        """Do nothing: nothing waits."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


class PanelsVideo:
    """Writes panels side by side as a video file. Use it in a `with` statement.

    Left without `finish`, it leaves NAME.part, and a warning says so.
    """

    def __init__(
        self, path: str, clip: str, info: VideoInfo, count: int, rate: Fraction, *, overwrite: bool
    ) -> None:
        """Claim the file. Raises OutputError, OptionError.

        clip: its name, for messages. info: of one picture. count: of panels. rate: frames per
        second.
        """
        self._panels = Panels(info, count, rate)
        self._rate = rate
        self._count = 0  # frames written
        options = OutputOptions(path=path, overwrite=overwrite)
        self._sink = open_sink(options, PanelsSource(clip, self._panels.info), rate)

    def __enter__(self) -> PanelsVideo:
        return self

    def __exit__(self, *exc: object) -> None:
        if partial := self._sink.close():
            log.warning("%s", partial)

    def write(self, pictures: Sequence[Planes | None], labels: Sequence[str]) -> None:
        """Add a frame. Raises OutputError."""
        planes = self._panels.draw(pictures, labels)
        self._sink.write(Frame(self._count / self._rate, planes))
        self._count += 1

    def finish(self) -> None:
        """Complete the file. Raises OutputError, InputError if nothing was written."""
        self._sink.finish()
