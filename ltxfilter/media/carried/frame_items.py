"""What a decoded frame carries beside its samples.

PyAV's list of a frame's side data fails at a type that PyAV does not know, and ties the frame into
a reference cycle. Libav's `sidedata` filter can do all that is needed: say whether a frame has a
type, and take types away; see `avframe`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import av
import av.filter

from ltxfilter.media import pyav_compat
from ltxfilter.media.avframe import side_data_graph, side_data_of, types_of
from ltxfilter.media.carried.captions import MARKS
from ltxfilter.media.carried.items import Item, Kind

Packet: TypeAlias = "av.Packet[Any]"

# FFmpeg's numbers of frame side data (libavutil/frame.h)
CAPTIONS, MASTERING, GOP_TIMECODE, LIGHT_LEVEL, DOVI = 1, 11, 12, 14, 24
NO_TIME = 1 << 24 | 1 << 12  # bits of a GOP's time code beside its numbers (ISO/IEC 13818-2, 6.3.8)
HDR10 = "the HDR10 metadata (mastering display, light level)"
KINDS = {
    CAPTIONS: (Kind.CAPTIONS, "captions (EIA-608/708)"),
    2: (Kind.STEREO, "the layout of stereoscopic views"),
    7: (Kind.FRAMING, "the active format description"),
    MASTERING: (Kind.HDR_STATIC, HDR10),
    GOP_TIMECODE: (Kind.PICTURE_TIMECODE, "the time codes of GOPs"),
    13: (Kind.SPHERICAL, "the projection of spherical video"),
    LIGHT_LEVEL: (Kind.HDR_STATIC, HDR10),
    15: (Kind.ICC, "the ICC profile"),
    16: (Kind.PICTURE_TIMECODE, "the time codes in pictures"),
    17: (Kind.HDR_DYNAMIC, "dynamic metadata (HDR10+)"),
    DOVI: (Kind.HDR_DYNAMIC, "Dolby Vision metadata"),
    25: (Kind.HDR_DYNAMIC, "dynamic metadata (HDR Vivid)"),
    26: (Kind.HDR_DYNAMIC, "the ambient viewing environment"),
    28: (Kind.ENHANCEMENT, "the enhancement layer (LCEVC)"),
    31: (Kind.EXIF, "Exif data"),
    32: (Kind.HDR_DYNAMIC, "dynamic metadata (SMPTE 2094-50)"),
}
DOVI_PROFILE_5 = (
    "is Dolby Vision of profile 5, whose samples are in a colour space of its own; convert it "
    "first, such as by ffmpeg's -vf libplacebo=colorspace=bt2020nc:color_primaries=bt2020:"
    "color_trc=smpte2084:format=yuv420p10le"
)


def frame_items(frame: av.VideoFrame) -> tuple[Item, ...]:
    """List what a frame carries that a user would miss, beside the way to turn it."""
    present = types_of(frame, KINDS)
    if GOP_TIMECODE in present and not _says_time(frame):
        present.remove(GOP_TIMECODE)
    return tuple(Item(kind, what) for kind, what in dict.fromkeys(KINDS[n] for n in present))


def _says_time(frame: av.VideoFrame) -> bool:
    """Return False if the time code of a GOP is 0, as encoders write it that are given none."""
    (code,) = struct.unpack("q", side_data_of(frame, "GOP_TIMECODE") or bytes(8))
    return bool(code & ~NO_TIME)


class CaptionReader:
    """Reads the captions of frames, from the first packet on that may hold any."""

    def __init__(self, codec: str) -> None:
        """codec: FFmpeg's name; every frame is looked at where its packets have no mark."""
        self._mark = MARKS.get(codec, b"")
        self._marked = False
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None  # of the frames that the graph takes

    def watched(self, packets: Iterable[Packet | None]) -> Iterator[Packet | None]:
        """Yield the stream's packets, which show whether there are captions: 0.5 ms per MB."""
        for packet in packets:
            if packet is not None and not self._marked:
                self._marked = self._mark in bytes(packet)
            yield packet

    def read(self, frame: av.VideoFrame) -> bytes:
        """Return the triplets of cc_data that a frame carries, none if it carries no captions."""
        if not self._marked:
            return b""
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _caption_graph(frame), shape
        self._graph.vpush(frame)
        try:
            found = self._graph.vpull()
        except (BlockingIOError, EOFError):
            return b""
        return pyav_compat.side_data_of(found, "A53_CC") or b""


def _caption_graph(frame: av.VideoFrame) -> av.filter.Graph:
    """Return a graph that lets frames with captions pass, as tiny ones.

    PyAV keeps a frame whose side data was looked at until the garbage collector comes.
    """
    select = ("sidedata", {"mode": "select", "type": str(CAPTIONS)})
    shrink = ("scale", {"w": "16", "h": "16", "flags": "neighbor"})
    return side_data_graph(frame, {CAPTIONS}, (select, shrink))


def is_dovi_profile_5(frame: av.VideoFrame) -> bool:
    """Return True if a frame is coded in the colour space that is Dolby's own (IPT-PQ-C2).

    FFmpeg tells the profile in the same way (libavcodec/dovi_rpu.c): profile 0 of the display
    management data, with a base layer of full range.
    """
    if not types_of(frame, [DOVI]):
        return False
    data = side_data_of(frame, "DOVI_METADATA")
    return data is not None and _is_profile_5(data)


def _is_profile_5(data: bytes) -> bool:
    """Return what the bytes of an AVDOVIMetadata say."""
    (header,) = struct.unpack_from("@N", data)  # where its AVDOVIRpuDataHeader begins
    # uint8 rpu_type; uint16 rpu_format; uint8 vdr_rpu_profile, vdr_rpu_level,
    # chroma_resampling_explicit_filter_flag, coef_data_type, coef_log2_denom,
    # vdr_rpu_normalized_idc, bl_video_full_range_flag
    return bool(data[header + 4] == 0 and data[header + 10] == 1)
