"""Decoded frames: views of their samples, copies that keep their tags, frames made from planes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import av
import av.filter
import numpy as np
from av.filter.context import FilterContext
from av.sidedata.sidedata import Type as SideDataType

from ltxfilter.frame import ColorInfo, Plane, Planes, PlaneShape, VideoInfo
from ltxfilter.media import pyav_compat
from ltxfilter.media.pixfmt import DETOURS

# The side data that holds for the whole stream, by PyAV's names; all other describes one frame.
STREAM_SIDE_DATA = frozenset(
    int(SideDataType[name].value)  # type: ignore[call-overload]
    for name in (
        "AMBIENT_VIEWING_ENVIRONMENT",
        "CONTENT_LIGHT_LEVEL",
        "DISPLAYMATRIX",
        "ICC_PROFILE",
        "MASTERING_DISPLAY_METADATA",
        "SPHERICAL",
        "STEREO3D",
    )
)
SIDE_DATA_TYPES = range(48)  # FFmpeg's numbers, with room for those that it does not have yet
ALL_BUT_CAPTIONS = frozenset(SIDE_DATA_TYPES) - {1}
LIMITED, FULL = 1, 2  # code ranges, as FFmpeg numbers them


def view(frame: av.VideoFrame, layout: Sequence[PlaneShape]) -> Planes:
    """Return the samples of a planar frame as [H, W] arrays that share its memory.

    They keep the frame alive and are read-only: the decoder may still refer to them.
    """
    return tuple(_rows(plane, shape) for plane, shape in zip(frame.planes, layout, strict=True))


def _rows(plane: Any, shape: PlaneShape, writable: bool = False) -> Plane:
    """Return one plane without its row padding; a negative line size means bottom row first."""
    rows = np.frombuffer(plane, np.uint8).reshape(shape.height, abs(plane.line_size))
    if plane.line_size < 0:
        rows = rows[::-1]
    rows.flags.writeable = writable
    return rows[:, : shape.width * shape.dtype.itemsize].view(shape.dtype)


def color_of(frame: av.VideoFrame, chroma_location: int = 0) -> ColorInfo:
    """Return how the samples of `frame` stand for colour.

    chroma_location: FFmpeg's number, which frames of PyAV do not tell.
    """
    return ColorInfo(
        matrix=int(frame.colorspace),
        range=int(frame.color_range),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        chroma_location=chroma_location,
    )


def from_planes(planes: Planes, info: VideoInfo) -> av.VideoFrame:
    """Build a frame of the stream `info` around copies of `planes`."""
    frame = av.VideoFrame(info.width, info.height, info.pix_fmt)
    fill(frame, planes, info.layout)
    frame.colorspace = info.color.matrix
    frame.color_range = info.color.range
    frame.color_primaries = info.color.primaries
    frame.color_trc = info.color.transfer
    return frame


def fill(frame: av.VideoFrame, planes: Planes, layout: Sequence[PlaneShape]) -> None:
    """Copy `planes` into a frame that nobody else refers to."""
    for target, source, shape in zip(frame.planes, planes, layout, strict=True):
        np.copyto(_rows(target, shape, writable=True), source)


def reshape(frame: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    """Return `frame` at a size and in a format, its colour tags and code range unchanged.

    width, height: pixels. The frame itself is touched by swscale, so nobody else may use it.
    """
    full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
    formats = (frame.format, av.VideoFormat(pix_fmt, width, height))
    gray = any(len(fmt.components) < 3 for fmt in formats)  # full range to swscale in any case
    code_range = FULL if full or gray else LIMITED
    tag = FULL if full else int(frame.color_range)
    for name in (*DETOURS.get(frame.format.name, ()), pix_fmt):
        frame = frame.reformat(
            width,
            height,
            name,
            src_color_range=code_range,
            dst_color_range=code_range,
            interpolation="BICUBIC",
            threads=1,  # with more, swscale leaves out parts of p010 now and then
        )
    frame.color_range = tag
    return frame


def buffer_filter(graph: av.filter.Graph, frame: av.VideoFrame, time_base: str) -> FilterContext:
    """Add to `graph` the filter that takes frames like `frame`; time_base: such as "1/25"."""
    return graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=time_base,
        pixel_aspect="1/1",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )


def side_data_graph(
    frame: av.VideoFrame,
    kept: Collection[int],
    then: Sequence[tuple[str, Mapping[str, str]]] = (),
) -> av.filter.Graph:
    """Build a graph that returns frames like `frame` with some types of side data only.

    kept: FFmpeg's numbers of the types. then: further filters with their arguments. All other types
    are taken away, present or not, which costs nothing measurable. To list a frame's side data
    instead frees what is not ours where that has metadata (PyAV 18 and 19), such as an ICC profile,
    and makes a reference cycle, so that the samples wait for the garbage collector.
    """
    graph = av.filter.Graph()
    graph.threads = 1  # more take longer to start than there is to do
    nodes = [
        graph.add("sidedata", mode="delete", type=str(number))
        for number in SIDE_DATA_TYPES
        if number not in kept
    ]
    nodes += [graph.add(name, **arguments) for name, arguments in then]
    graph.link_nodes(buffer_filter(graph, frame, "1/1"), *nodes, graph.add("buffersink"))
    graph.configure()
    return graph


def types_of(frame: av.VideoFrame, numbers: Iterable[int]) -> list[int]:
    """Return which types of side data a frame has, of those asked for, by FFmpeg's numbers."""
    wanted = list(numbers)
    graph = av.filter.Graph()
    graph.threads = 1  # to start more takes longer than all the rest
    source, split = buffer_filter(graph, frame, "1/1"), graph.add("split", str(len(wanted)))
    source.link_to(split)
    sinks = {}
    for output, number in enumerate(wanted):
        select = graph.add("sidedata", mode="select", type=str(number))
        split.link_to(select, output)
        sinks[number] = graph.add("buffersink")
        select.link_to(sinks[number])
    graph.configure()
    source.push(frame)
    return [number for number in wanted if _arrived(sinks[number])]


def _arrived(sink: FilterContext) -> bool:
    """Return True if a frame has come to the end of a graph."""
    try:
        sink.pull()
    except (BlockingIOError, EOFError):
        return False
    return True


def side_data_of(frame: av.VideoFrame, kind: str) -> bytes | None:
    """Return the side data of a frame that has the name `kind` in PyAV; None if it has none.

    Not for every frame of a stream: it takes milliseconds. PyAV itself refuses to list side data
    of types that it does not know, which is why only the wanted type is left to it.
    """
    number: Any = SideDataType[kind].value
    if not types_of(frame, [number]):
        return None
    graph = side_data_graph(frame, {number})
    graph.vpush(frame)
    return pyav_compat.side_data_of(graph.vpull(), kind)


class FrameCopier:
    """Makes new frames from decoded ones; they keep tags and the side data of the whole stream.

    PyAV cannot copy a frame. A filter graph hands out a new reference to the same samples, and
    drops side data on the way. Use it from one thread.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple[Any, ...], av.filter.Graph] = {}  # by what a graph depends on

    def share(self, frame: av.VideoFrame, kept: frozenset[int] = STREAM_SIDE_DATA) -> av.VideoFrame:
        """Return another frame over the same samples. kept: FFmpeg's numbers of its side data."""
        key = (
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.colorspace),
            int(frame.color_range),
            kept,
        )
        if key not in self._graphs:
            self._graphs[key] = side_data_graph(frame, kept)
        graph = self._graphs[key]
        graph.vpush(frame)
        return graph.vpull()

    def own(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame with the same content in memory of its own, with all its side data.

        Its time base is that of `frame` only if that has one.
        """
        key = (frame.width, frame.height, frame.format.name, "own")
        if key not in self._graphs:
            graph = av.filter.Graph()
            graph.threads = 1
            graph.link_nodes(
                buffer_filter(graph, frame, "1/1"), graph.add("buffersink")
            ).configure()
            self._graphs[key] = graph
        self._graphs[key].vpush(frame)
        copy = self._graphs[key].vpull()
        copy.make_writable()
        copy.pts, copy.dts, copy.duration = frame.pts, frame.dts, frame.duration
        if frame.time_base:
            copy.time_base = frame.time_base
        return copy

    def with_planes(
        self, frame: av.VideoFrame, planes: Planes, layout: Sequence[PlaneShape]
    ) -> av.VideoFrame:
        """Return a frame that is like `frame` but shows `planes`."""
        copy = self.share(frame)
        copy.make_writable()
        fill(copy, planes, layout)
        return copy
