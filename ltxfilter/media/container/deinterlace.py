"""Frames of two fields turned into one picture each, for streams whose header tells the order."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter

from ltxfilter.errors import InputError
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.avframe import from_planes, view

DEINTERLACER_FRAMES = 5  # bwdif looks at three, and one goes in while one comes out


def deinterlaced(
    pictures: Iterator[Planes], info: VideoInfo, *, bottom_first: bool
) -> Iterator[Planes]:
    """Yield one picture per picture, drawn by bwdif from its fields. Raises InputError."""
    graph = _bwdif(info, "bff" if bottom_first else "tff")
    for index, planes in enumerate(pictures):
        frame = from_planes(planes, info)
        frame.pts, frame.time_base = index, Fraction(1)
        graph.vpush(frame)
        yield from _ready(graph, info)
    graph.vpush(None)
    yield from _ready(graph, info)


def _bwdif(info: VideoInfo, parity: str) -> av.filter.Graph:
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
    only = graph.add("format", pix_fmts=info.pix_fmt)
    try:
        graph.link_nodes(source, bwdif, only, graph.add("buffersink")).configure()
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"cannot deinterlace {info.pix_fmt}: {error}") from error
    return graph


def _ready(graph: av.filter.Graph, info: VideoInfo) -> Iterator[Planes]:
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        yield view(frame, info.layout)
