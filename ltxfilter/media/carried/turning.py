"""Turn pictures as their display matrix says, for outputs that cannot say it themselves."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import atan2, degrees, hypot

import av
import av.filter

from ltxfilter.media.avframe import buffer_filter, side_data_of

DISPLAY_MATRIX = 6  # FFmpeg's number of that side data

Matrix = tuple[int, ...]


def display_matrix_of(frame: av.VideoFrame) -> Matrix | None:
    """Return the nine numbers that say how to turn or flip the picture for display."""
    data = side_data_of(frame, "DISPLAYMATRIX")
    return None if data is None else struct.unpack("=9i", data[:36])


def angle_of(matrix: Matrix) -> float:
    """Return the degrees, 0 to 360, by which a picture is turned clockwise for display.

    After `av_display_rotation_get` and `get_rotation` of FFmpeg.
    """
    wide, high = hypot(matrix[0], matrix[3]), hypot(matrix[1], matrix[4])
    if not wide or not high:
        return 0.0
    return degrees(atan2(matrix[1] / high, matrix[0] / wide)) % 360


def turning_filters(matrix: Matrix) -> list[tuple[str, str]] | None:
    """Return the filters, each with its argument, that turn a picture as a matrix says.

    None for an angle that is no multiple of 90 degrees. ffmpeg's own `-autorotate` takes the same.
    """
    angle = angle_of(matrix)
    quarter = round(angle / 90) % 4
    if min(angle % 90, 90 - angle % 90) > 1:
        return None
    if quarter == 1:
        return [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
    if quarter == 3:
        return [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
    flips = [("hflip", "")] if matrix[0] < 0 else []
    return [*flips, ("vflip", "")] if matrix[4] < 0 else flips


class Turner:
    """Turns the frames of a stream; the first one's matrix holds for all."""

    def __init__(self, *, wanted: bool) -> None:
        """wanted: False leaves frames as they are."""
        self._wanted = wanted
        self._filters: Sequence[tuple[str, str]] | None = None  # None until a frame was seen
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None  # of the frames that the graph takes

    @property
    def turns(self) -> bool:
        """True if frames are changed."""
        return bool(self._filters)

    @property
    def transposes(self) -> bool:
        """True if width and height change places."""
        return any(name == "transpose" for name, _ in self._filters or ())

    def turn(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the frame as it is to be seen, without its matrix."""
        if self._filters is None:
            matrix = display_matrix_of(frame) if self._wanted else None
            self._filters = (turning_filters(matrix) or ()) if matrix else ()
        if not self._filters:
            return frame
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _graph(frame, self._filters), shape
        self._graph.vpush(frame)
        turned = self._graph.vpull()
        turned.time_base = frame.time_base
        return turned


def _graph(frame: av.VideoFrame, filters: Sequence[tuple[str, str]]) -> av.filter.Graph:
    graph = av.filter.Graph()
    nodes = [graph.add(name, argument) for name, argument in filters]
    untagged = graph.add("sidedata", mode="delete", type=str(DISPLAY_MATRIX))
    graph.link_nodes(
        buffer_filter(graph, frame, str(frame.time_base)),
        *nodes,
        untagged,
        graph.add("buffersink"),
    ).configure()
    return graph
