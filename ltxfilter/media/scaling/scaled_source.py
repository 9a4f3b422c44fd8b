"""A source as its sink sees it where frames are scaled on the way."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.base import FrameTimes, OtherStreams, Source, SourceCounts
from ltxfilter.media.carried.items import Item
from ltxfilter.options import OutputOptions
from ltxfilter.scaling import scaled_video

if TYPE_CHECKING:
    import av


def as_written(source: Source, options: OutputOptions) -> Source:
    """Return `source` with the size that its frames have in the output that `options` name."""
    return source if options.scale is None else ScaledSource(source, options.scale)


class ScaledSource:
    """Says of a source what is true of its frames once they are scaled; all else is the source's.

    It describes only: `frames` yields the source's own frames, and a `FrameScaler` scales them.
    """

    def __init__(self, source: Source, factor: Fraction) -> None:
        """factor: output side over source side."""
        self._source = source
        self.name = source.name
        self.info: VideoInfo = scaled_video(source.info, factor)
        self.counts: SourceCounts = source.counts
        self.first_picture: av.VideoFrame | None = source.first_picture
        self.carries: tuple[Item, ...] = source.carries

    @property
    def other_streams(self) -> OtherStreams | None:
        """The source's."""
        return self._source.other_streams

    @property
    def raw_pix_fmt(self) -> str:
        """The source's."""
        return self._source.raw_pix_fmt

    @property
    def pipe_format(self) -> str:
        """The source's."""
        return self._source.pipe_format

    @property
    def clock(self) -> Fraction:
        """The source's."""
        return self._source.clock

    @property
    def duration(self) -> Fraction | None:
        """The source's."""
        return self._source.duration

    @property
    def delay(self) -> int:
        """The source's."""
        return self._source.delay

    @property
    def held_bytes(self) -> int:
        """The source's."""
        return self._source.held_bytes

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:
        """Yield the source's frames, at their own size. Raises InputError, Stopped."""
        return self._source.frames(begin, seek=seek)

    def frame_times(self) -> FrameTimes | None:
        """Return the source's. Raises InputError."""
        return self._source.frame_times()

    def cancel(self) -> None:
        """Cancel the source."""
        self._source.cancel()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
