"""What libav knows of a stream and PyAV does not show: chroma location and field order.

The Matroska muxer writes both into its header, so we have it write one and read it back.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import av

from ltxfilter.media.pyav_compat import open_output

# EBML ids of Matroska's elements
TRACKS = (0x18538067, 0x1654AE6B, 0xAE, 0xE0)  # Segment, Tracks, TrackEntry, Video
FLAG_INTERLACED, COLOUR = 0x9A, 0x55B0
SITING_ACROSS, SITING_DOWN = 0x55B7, 0x55B8
LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}  # Matroska's pair -> FFmpeg's number


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What the headers of a video stream say beside what PyAV tells."""

    chroma_location: int = 0
    """Where chroma samples lie, as FFmpeg numbers it; 0 unknown."""

    interlaced: bool = False
    """True if pictures are made of two fields."""


def read_header(stream: av.VideoStream) -> StreamHeader:
    """Return what the container and the codec's header say of `stream`."""
    buffer = io.BytesIO()
    try:
        with open_output(buffer, format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.FFmpegError, ValueError):
        return StreamHeader()  # Matroska cannot hold the codec
    data = memoryview(buffer.getvalue())
    for wanted in TRACKS:
        data = next((body for key, body in _elements(data) if key == wanted), data[:0])
    video = dict(_elements(data))
    color = {key: body[0] for key, body in _elements(video.get(COLOUR, data[:0])) if len(body)}
    place = (color.get(SITING_ACROSS, 0), color.get(SITING_DOWN, 0))
    flag = video.get(FLAG_INTERLACED, b"\0")
    return StreamHeader(LOCATIONS.get(place, 0), bool(flag) and flag[0] == 1)


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (id, body) of each EBML element; one of unknown size lasts to the end.

    The leading zero bits of a first byte tell how many bytes an id or a size has (RFC 8794).
    """
    at = 0
    while at < len(data):
        width = 9 - data[at].bit_length()
        key = int.from_bytes(data[at : at + width], "big")
        at += width
        if at >= len(data):
            return
        width = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + width], "big") - (1 << 7 * width)
        at += width
        unknown = size == (1 << 7 * width) - 1
        yield key, data[at:] if unknown else data[at : at + size]
        at = len(data) if unknown else at + size
