"""Turn pictures made of two fields into progressive ones, one for one, with FFmpeg's bwdif."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter

from ltxfilter.errors import InputError
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.avframe import buffer_filter, from_planes, view
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.media.pyav_compat import fraction
from ltxfilter.windows.telecine import TelecineWatch

log = logging.getLogger("ltxfilter.media")

DEINTERLACER_FRAMES = 5  # frames in bwdif: it looks at three, one goes in and one comes out


class Deinterlacer:
    """Deinterlaces decoded frames, from the first interlaced one on.

    mode: "on" takes every frame for interlaced, "auto" goes by what the decoder says of each, "off"
    passes them on. expected: True if the stream's header says that it is interlaced.
    """

    def __init__(self, mode: str, expected: bool) -> None:
        self._mode = mode
        self._expected = expected
        self._graph: av.filter.Graph | None = None
        self._shape = (0, 0, "")  # of the frames that the graph takes
        self._latest: Planes | None = None  # before it was deinterlaced
        self._telecine: TelecineWatch | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield the frames that are ready once `frame` is known."""
        if self._graph is None and not self._needed(frame):
            yield frame
            return
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            if self._graph is None:
                log.warning(
                    "the video is interlaced and is deinterlaced; --deinterlace off leaves it as "
                    "it is"
                )
            yield from self.drain()
            self._graph, self._shape = self._build(frame), shape
        self._look(frame)
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from _ready(self._graph)

    def drain(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are left at the end of the stream."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from _ready(self._graph)

    def _look(self, frame: av.VideoFrame) -> None:
        """Look whether fields repeat as those of film in video do."""
        name = frame.format.name
        if planar_name(name) != name:
            return
        layout = plane_shapes(name, frame.width, frame.height)
        if self._telecine is None:
            self._telecine = TelecineWatch(None, layout[0].depth)
        before, self._latest = self._latest, view(frame, layout)
        if before is not None and before[0].shape == self._latest[0].shape:
            time = (frame.pts or 0) * (fraction(frame.time_base) or Fraction(0))
            self._telecine.add(before[0], self._latest[0], time)

    def _needed(self, frame: av.VideoFrame) -> bool:
        if self._mode == "auto":
            return frame.interlaced_frame or self._expected
        return self._mode == "on"

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        which = "all" if self._mode == "on" else "interlaced"
        graph.link_nodes(
            buffer_filter(graph, frame, str(frame.time_base)),
            graph.add("bwdif", mode="send_frame", deint=which),
            graph.add("buffersink"),
        ).configure()
        return graph


def deinterlaced(
    pictures: Iterator[Planes], info: VideoInfo, *, bottom_first: bool
) -> Iterator[Planes]:
    """Yield one progressive picture for each picture of a stream that is known to be interlaced.

    bottom_first: which field comes first in time. Raises InputError for a format that bwdif does
    not take.
    """
    graph = _bwdif_of_known_order(info, "bff" if bottom_first else "tff")
    for index, planes in enumerate(pictures):
        frame = from_planes(planes, info)
        frame.pts, frame.time_base = index, Fraction(1)
        graph.vpush(frame)
        yield from (view(ready, info.layout) for ready in _ready(graph))
    graph.vpush(None)
    yield from (view(ready, info.layout) for ready in _ready(graph))


def _bwdif_of_known_order(info: VideoInfo, parity: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        video_size=f"{info.width}x{info.height}",
        pix_fmt=info.pix_fmt,
        time_base="1/1",
        pixel_aspect="1/1",
        colorspace=str(info.color.matrix),
        range=str(info.color.range),
    )
    bwdif = graph.add("bwdif", mode="send_frame", deint="all", parity=parity)
    same_format = graph.add("format", pix_fmts=info.pix_fmt)
    try:
        graph.link_nodes(source, bwdif, same_format, graph.add("buffersink")).configure()
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"cannot deinterlace {info.pix_fmt}: {error}") from error
    return graph


def _ready(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return
