"""Packets in a temporary file, first in, first out: those that memory has no room for."""

from __future__ import annotations

import struct
import tempfile
from collections import deque
from fractions import Fraction
from typing import IO, Any

import av
import av.stream
from av.packet import PacketSideData

from ltxfilter.errors import InputError
from ltxfilter.media.pyav_compat import time_base_of

# Of one packet: bytes, index of its stream, time base, flags, whether pts, dts are known, pts, dts,
# duration, how many pieces of side data it has.
RECORD = struct.Struct("=QIqqB??qqqI")
FLAGS = ("is_keyframe", "is_corrupt")
OBJECT_BYTES = 512  # of memory that a piece of side data takes besides its data


class PacketFile:
    """Packets on disk, in order. Side data stays in memory, since PyAV can only copy it there."""

    def __init__(self) -> None:
        self.side_bytes = 0  # of the side data of the packets in it
        self._file: IO[bytes] | None = None  # once there is a packet
        self._written = self._read = 0  # bytes from the beginning
        self._streams: dict[int, av.stream.Stream] = {}
        self._side: deque[PacketSideData] = deque()

    def __bool__(self) -> bool:
        """Return True if packets are in it."""
        return self._read < self._written

    def put(self, packet: av.Packet[Any]) -> None:
        """Append a packet. Raises InputError if the file cannot be written."""
        side = [
            PacketSideData.from_packet(packet, each.data_type)  # type: ignore[arg-type]
            for each in packet.iter_sidedata()
        ]
        base = time_base_of(packet)
        self._streams[packet.stream_index] = packet.stream
        record = RECORD.pack(
            packet.size,
            packet.stream_index,
            base.numerator,
            base.denominator,
            sum(getattr(packet, name) << bit for bit, name in enumerate(FLAGS)),
            packet.pts is not None,
            packet.dts is not None,
            packet.pts or 0,
            packet.dts or 0,
            packet.duration or 0,
            len(side),
        )
        self._append(record, packet)
        self._side.extend(side)
        self.side_bytes += sum(_held(each) for each in side)

    def take(self) -> av.Packet[Any]:
        """Return the oldest packet; there must be one. Raises InputError."""
        assert self._file is not None
        try:
            self._file.seek(self._read)
            record = RECORD.unpack(self._file.read(RECORD.size))
            packet: av.Packet[Any] = av.Packet(self._file.read(record[0]))
            self._read = self._file.tell()
            if not self:  # so that the file does not grow without end
                self._file.truncate(0)
                self._read = self._written = 0
        except (OSError, struct.error) as error:
            raise _unusable(error) from error
        index, numerator, denominator, flags, has_pts, has_dts, pts, dts, duration, pieces = record[
            1:
        ]
        packet.stream = self._streams[index]
        packet.time_base = Fraction(numerator, denominator)
        packet.pts, packet.dts = pts if has_pts else None, dts if has_dts else None
        packet.duration = duration
        for bit, name in enumerate(FLAGS):
            setattr(packet, name, bool(flags >> bit & 1))
        for _ in range(pieces):
            side = self._side.popleft()
            self.side_bytes -= _held(side)
            side.to_packet(packet, move=True)
        return packet

    def first_of(self, index: int) -> bytes | None:
        """Return the oldest packet of a stream, without taking it. Raises InputError."""
        place = self._read
        while self._file is not None and place < self._written:
            try:
                self._file.seek(place)
                size, found, *_ = RECORD.unpack(self._file.read(RECORD.size))
                if found == index:
                    return self._file.read(size)
            except (OSError, struct.error) as error:
                raise _unusable(error) from error
            place += RECORD.size + size
        return None

    def close(self) -> None:
        """Delete the file; calling it twice does nothing."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._written = self._read = 0
        self._side.clear()

    def _append(self, record: bytes, packet: av.Packet[Any]) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="ltxfilter-")  # noqa: SIM115
            self._file.seek(self._written)
            self._file.write(record)
            self._file.write(memoryview(packet))
            self._written = self._file.tell()
        except OSError as error:
            raise _unusable(error) from error


def _held(side: PacketSideData) -> int:
    return side.data_size + OBJECT_BYTES


def _unusable(error: Exception) -> InputError:
    what = getattr(error, "strerror", None) or error
    return InputError(
        "the packets that a pipe brings long before the video they belong to do not fit into a "
        f"temporary file in {tempfile.gettempdir()}: {what}; name a folder with room in TMPDIR, or "
        "read from a file with -i"
    )
