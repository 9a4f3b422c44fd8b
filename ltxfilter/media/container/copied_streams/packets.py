"""The streams that are copied into one output, their packets moved onto its clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Any, Protocol

import av
import av.container
import av.stream

from ltxfilter.media.carried.tags import lasting_tags
from ltxfilter.media.container.copied_streams.audio import PacketFilter, name_layout, without_adts
from ltxfilter.media.container.copied_streams.plan import COVER_TYPES, codec_name
from ltxfilter.media.container.demux import is_cover, packets_of
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.pyav_compat import fraction, time_base_of

log = logging.getLogger("ltxfilter.media")

LONGEST_PAUSE = 3600  # seconds between two packets of sound; a longer pause is a damaged timestamp
SPARSER = 24  # times longer may the pauses of subtitles be
EMPTY_TEXT = b"\0\0"  # of an mp4
LOOK_BACK = 2  # seconds before -ss at which reading starts: streams are loosely interleaved


class DamagedPacketError(Exception):
    """A packet has to be left out because no muxer could take it."""


class PacketReader(Protocol):
    """Where the packets of copied streams come from."""

    def packets(self, indices: list[int]) -> Iterator[av.Packet[Any]]:
        """Return those of some streams; the iterator may end for now and go on later."""
        ...

    def first_packet(self, index: int) -> bytes | None:
        """Return the first packet of a stream; None if it is not known yet."""
        ...


class CopiedStreams:
    """The streams of one output that are copied, and their packets in order of time."""

    def __init__(
        self,
        container: av.container.InputContainer,
        wanted: set[int],
        covers: dict[int, bytes],
        trim: Trim,
        reader: PacketReader,
    ) -> None:
        """Get ready to copy.

        wanted: indices of the input's streams. covers: by index, the pictures in files of their
        own. reader: where their packets come from.
        """
        self._container = container
        self._wanted = wanted
        self._covers = covers
        self._trim = trim
        self._reader = reader
        self._streams: dict[int, CopiedStream] = {}  # by index in the input
        self._damaged = 0  # packets that had to be left out
        self._next: av.Packet[Any] | None = None  # placed, but later than what was asked for
        self._packets: Iterator[av.Packet[Any]] = iter(())

    def add(self, output: av.container.OutputContainer, index: int) -> None:
        """Create in `output` the stream, or the attachment, that stream `index` becomes.

        Does nothing for a stream that is not to be copied.
        """
        stream = self._container.streams[index]
        if index not in self._wanted:
            return
        if stream.type == "attachment":
            assert isinstance(stream, av.stream.AttachmentStream)
            name = stream.name or "attachment"
            output.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
        elif is_cover(stream) and output.format.name == "matroska":
            if cover := self._covers.get(index):
                extension, mime = COVER_TYPES[codec_name(stream)]
                output.add_attachment(f"cover.{extension}", mime, cover)
        else:
            first = partial(self._reader.first_packet, index)
            self._streams[index] = _add_stream(output, stream, self._trim, first)

    def start(self) -> None:
        """Begin to read packets, once all streams are added."""
        self._packets = self._reader.packets(sorted(self._streams))

    def close(self) -> None:
        """Stop reading, and warn of what was damaged."""
        if self._damaged:
            log.warning("%d damaged packets beside the video are left out", self._damaged)
            self._damaged = 0
        if isinstance(self._packets, Generator):
            self._packets.close()

    def count_damaged(self) -> None:
        """Note that the muxer refused a packet because it is damaged."""
        self._damaged += 1

    def until(self, time: Fraction | None) -> Iterator[av.Packet[Any]]:
        """Yield packets, ready to be muxed, up to `time` seconds of output; None takes all."""
        while (packet := self._peek()) is not None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            assert stamp is not None
            if time is not None and stamp * time_base_of(packet) > time:
                return
            self._next = None
            yield packet

    def ends(self) -> Iterator[av.Packet[Any]]:
        """Yield what ends the streams; nothing may be muxed after that."""
        for stream in self._streams.values():
            if (packet := stream.end()) is not None:
                yield packet

    def _peek(self) -> av.Packet[Any] | None:
        while self._next is None:
            packet = next(self._packets, None)
            if packet is None:
                return None
            stream = self._streams.get(packet.stream_index)
            if stream is not None and packet.size and not _is_filler(packet):
                try:
                    self._next = stream.placed(packet)
                except DamagedPacketError:
                    self.count_damaged()
        return self._next


class CopiedStream:
    """One copied stream: puts its packets onto the output's clock."""

    def __init__(self, output: Any, trim: Trim, packet_filter: PacketFilter | None) -> None:
        """Begin a stream. output: PyAV's stream. packet_filter: what the packets need."""
        self._output = output
        self._trim = trim
        self._filter = packet_filter
        self._last: int | None = None  # dts of the latest packet, in ticks of the input
        self._end: tuple[int, Fraction] | None = None  # of the latest text, and seconds per tick
        self._longest_pause = LONGEST_PAUSE * (1 if output.type == "audio" else SPARSER)

    def placed(self, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        """Return the packet on the output's clock, or None if it is cut off.

        Raises DamagedPacketError.
        """
        base = time_base_of(packet)
        if self._filter is not None:
            try:
                [packet] = self._filter.filter(packet)
            except (av.error.InvalidDataError, ValueError):
                raise DamagedPacketError from None
            if self._output.codec_context.extradata and packet.has_sidedata("new_extradata"):
                packet = _bare(packet)
        if not self._move(packet, base):
            return None
        assert packet.pts is not None
        assert packet.dts is not None
        self._cut_text(packet, base)
        last = self._last
        if (packet.dts - (last or 0)) * base > self._longest_pause:  # mp4's muxer would abort
            raise DamagedPacketError
        if last is not None and packet.dts <= last:  # no muxer takes time that stands still
            output_base = fraction(self._output.time_base) or base  # it may be coarser
            packet.dts = last + ceil(output_base / base)
            packet.pts = max(packet.pts, packet.dts)
        self._last = packet.dts
        packet.stream = self._output
        return packet

    def end(self) -> av.Packet[Any] | None:
        """Return the empty text that ends the subtitles of an mp4; None for all other streams.

        Libav's muxer adds one by itself, but gives it the duration of the text before.
        """
        if self._end is None or codec_name(self._output) != "mov_text":
            return None
        packet: av.Packet[Any] = av.Packet(EMPTY_TEXT)
        packet.pts = packet.dts = self._end[0]
        packet.time_base, packet.duration = self._end[1], 0
        packet.stream = self._output
        return packet

    def _cut_text(self, packet: av.Packet[Any], base: Fraction) -> None:
        """End a text at the latest where the output ends. base: seconds per tick."""
        if self._output.type != "subtitle" or not packet.duration:
            return
        assert packet.pts is not None
        end = packet.pts + packet.duration
        if self._trim.end is not None:
            end = min(end, round((self._trim.end - self._trim.zero) / base))
        packet.duration = max(end - packet.pts, 1)
        self._end = (packet.pts + packet.duration, base)

    def _move(self, packet: av.Packet[Any], base: Fraction) -> bool:
        """Put a packet's timestamps onto the output's clock; return False if it is cut off.

        base: seconds per tick.
        """
        if packet.pts is None and packet.dts is None:
            packet.pts = packet.dts = 0  # a cover picture has no time
            return True
        shown = packet.dts if packet.pts is None else packet.pts
        assert shown is not None
        time = shown * base
        if self._trim.is_before(time) or self._trim.is_after(time):
            return False
        shift = round(self._trim.zero / base)
        packet.pts = shown - shift
        if packet.dts is not None:
            packet.dts -= shift
        elif self._last is None:
            packet.dts = packet.pts
        else:  # as early as it can be: reordered pictures wait for it
            packet.dts = min(packet.pts, self._last + 1)
        return True


def _add_stream(
    output: av.container.OutputContainer,
    stream: av.stream.Stream,
    trim: Trim,
    first_packet: Callable[[], bytes | None],
) -> CopiedStream:
    """Create in `output` a stream for the packets of `stream`."""
    added = output.add_stream_from_template(stream, opaque=True)
    added.metadata.update(lasting_tags(stream.metadata))
    added.disposition = stream.disposition
    if stream.type != "audio":
        return CopiedStream(added, trim, None)
    name_layout(added)
    fragments = output.container_options.get("hls_segment_type") == "fmp4"
    muxer = "mp4" if fragments or output.format.name == "dash" else output.format.name
    return CopiedStream(added, trim, without_adts(added, stream, muxer, first_packet))


def _bare(packet: av.Packet[Any]) -> av.Packet[Any]:
    """Return a packet without its side data.

    Matroska's muxer would write a new header over the one that it has, into what follows it.
    """
    bare: av.Packet[Any] = av.Packet(bytes(packet))
    bare.pts, bare.dts, bare.duration = packet.pts, packet.dts, packet.duration
    bare.time_base, bare.is_keyframe = packet.time_base, packet.is_keyframe
    return bare


def _is_filler(packet: av.Packet[Any]) -> bool:
    """Return True for the empty text between two subtitles of an mp4; its muxer adds its own."""
    return (
        packet.size == 2 and bytes(packet) == EMPTY_TEXT and codec_name(packet.stream) == "mov_text"
    )


def read_again(
    container: av.container.InputContainer, indices: list[int], trim: Trim
) -> Generator[av.Packet[Any]]:
    """Yield the packets of some streams of a container opened for that alone, then close it."""
    with container:
        streams = [container.streams[index] for index in indices]
        dense = {stream.index for stream in streams if stream.type != "subtitle"}
        past: set[int] = set()  # streams that have reached the end of what is kept
        if trim.start is not None:
            container.seek(int(max(trim.start - LOOK_BACK, Fraction(0)) * av.time_base))
        try:
            for packet in packets_of(container, *streams):
                if packet.pts is not None and trim.is_after(packet.pts * time_base_of(packet)):
                    past.add(packet.stream_index)
                    if dense and dense <= past:
                        return
                yield packet
        except av.FFmpegError as error:
            log.warning("the streams beside the video end early: %s", error.strerror)
