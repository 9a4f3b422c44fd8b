"""Copied audio: what muxers want to know of a stream before its first packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import av
import av.stream
from av.bitstream import BitStreamFilterContext

from ltxfilter.media.carried.items import MATROSKA, MOV_FAMILY

USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
ADTS_HEADER, CRC = 7, 2  # bytes; a CRC follows where bit 0 of the second byte is not set


def name_layout(added: Any) -> None:
    """Name the channels of a stream whose layout is not known, as ffmpeg guesses them.

    added: PyAV's stream of an output. Without a name, the muxer of mp4 takes no PCM.
    """
    layout = added.codec_context.layout
    usual = USUAL_LAYOUTS.get(layout.nb_channels)
    if usual and any(word in layout.name for word in ("channel", "unspec", "unknown")):
        added.codec_context.layout = usual


def is_adts(stream: av.stream.Stream) -> bool:
    """Return True for AAC whose packets carry their own headers, as in a transport stream."""
    context: Any = stream.codec_context
    return context is not None and context.name == "aac" and not context.extradata


class PacketFilter(Protocol):
    """What changes packets on their way into an output."""

    def filter(self, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Return what becomes of a packet. Raises ValueError, av.error.InvalidDataError."""
        ...


class AdtsCutter:
    """Cuts the ADTS header off each packet, for a muxer that was told what it says.

    Libav's own filter tells that once more, with the first packet. Matroska's muxer then writes it
    into the header of the file, where it has left no room, and damages what follows.
    """

    def filter(self, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Return the packet without its header. Raises ValueError if it has none."""
        data = bytes(packet)
        if not _has_adts(data):
            raise ValueError("no ADTS header")
        cut: av.Packet[Any] = av.Packet(data[ADTS_HEADER if data[1] & 1 else ADTS_HEADER + CRC :])
        cut.pts, cut.dts, cut.duration = packet.pts, packet.dts, packet.duration
        cut.time_base, cut.is_keyframe = packet.time_base, packet.is_keyframe
        return [cut]


def without_adts(
    added: Any, stream: av.stream.Stream, muxer: str, first_packet: Callable[[], bytes | None]
) -> PacketFilter | None:
    """Return the filter that takes ADTS headers away for a container that has none; else None.

    added: PyAV's stream of the output, which is told what the headers say. muxer: FFmpeg's name.
    Libav's muxers remove the headers themselves, but not while mp4 delays its index, and Matroska
    not on a pipe.
    """
    if not is_adts(stream) or muxer not in MOV_FAMILY | MATROSKA:
        return None
    if muxer in MATROSKA:
        config = audio_specific_config(first_packet() or b"")
        if config is None:
            return None
        added.codec_context.extradata = config
        return AdtsCutter()
    return BitStreamFilterContext("aac_adtstoasc", stream)


def audio_specific_config(packet: bytes) -> bytes | None:
    """Return the AudioSpecificConfig (ISO/IEC 14496-3) that an ADTS header stands for, if one does.

    None as well where the channels are described within the packet.
    """
    if not _has_adts(packet):
        return None
    object_type = (packet[2] >> 6) + 1
    frequency = packet[2] >> 2 & 0xF
    channels = (packet[2] & 1) << 2 | packet[3] >> 6
    if not channels or frequency > 12:
        return None
    return (object_type << 11 | frequency << 7 | channels << 3).to_bytes(2, "big")


def _has_adts(packet: bytes) -> bool:
    """Return True if a packet begins with an ADTS header."""
    return len(packet) >= ADTS_HEADER and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0
