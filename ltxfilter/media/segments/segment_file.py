"""A stored segment: what its frames became, in a file that shows whether it is whole.

The file is a sequence of records, each with its kind, its size and its fields, and ends with a
record that holds a JSON object and the checksum of everything before it. It is written under a
provisional name, flushed to the disk and renamed, so a file with its own name is whole.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from ltxfilter.errors import OutputError
from ltxfilter.media.carried.captions import CaptionWriter

MAGIC = b"ltxfilter segment 1\n"
HEAD = struct.Struct("<BQ")  # kind, bytes of what follows
TIMES = struct.Struct("<qqqB")  # pts, dts, duration in ticks, flags
TICK = struct.Struct("<q")
CHECK = struct.Struct("<I")
PACKET, CAPTIONS, END = range(3)
IS_KEYFRAME, HAS_DTS = 1, 2
PART = ".part"
READ_SIZE = 1 << 20  # bytes that are checked at a time


@dataclass(frozen=True, slots=True)
class StoredPacket:
    """An encoded packet, or a frame that is not encoded; ticks count from the segment's begin."""

    pts: int
    dts: int | None
    duration: int
    is_keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredCaptions:
    """The captions that have come up to the output frame at `tick`."""

    tick: int
    triplets: bytes


class SegmentWriter:
    """Writes one segment; `finish` gives the file its name."""

    def __init__(self, path: Path) -> None:
        """Create the provisional file; one that an earlier try left is replaced.

        Raises OutputError.
        """
        self.path = path
        self._part = path.with_name(path.name + PART)
        self._check = 0
        self._ended = False
        self.packets = 0  # that were stored
        with _naming(self._part):
            self._file: IO[bytes] = self._part.open("wb")
        self._write([MAGIC])

    def put_packet(self, packet: StoredPacket) -> None:
        """Store a packet. Raises OutputError."""
        self.put_frame(
            TIMES.pack(
                packet.pts,
                packet.pts if packet.dts is None else packet.dts,
                packet.duration,
                IS_KEYFRAME * packet.is_keyframe | HAS_DTS * (packet.dts is not None),
            ),
            [packet.data],
        )

    def put_frame(self, times: bytes, buffers: Sequence[Any]) -> None:
        """Store a packet whose data lies in several contiguous buffers. Raises OutputError."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        size = len(times) + sum(map(len, views))
        self._write([HEAD.pack(PACKET, size), times, *views])
        self.packets += 1

    def put_captions(self, captions: StoredCaptions) -> None:
        """Store captions. Raises OutputError."""
        body = TICK.pack(captions.tick) + captions.triplets
        self._write([HEAD.pack(CAPTIONS, len(body)), body])

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the end, flush everything to the disk, and give the file its name.

        summary: what JSON can hold. Raises OutputError.
        """
        body = json.dumps(summary).encode()
        self._write([HEAD.pack(END, len(body) + CHECK.size), body])
        with _naming(self._part):
            self._file.write(CHECK.pack(self._check))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self.path)
        self._ended = True

    def discard(self) -> None:
        """Leave nothing behind, unless it was finished; calling it twice does nothing."""
        if not self._ended:
            self._ended = True
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)

    def _write(self, buffers: Sequence[Any]) -> None:
        with _naming(self._part):
            for buffer in buffers:
                self._check = crc32(buffer, self._check)
                self._file.write(buffer)


class SegmentReader:
    """Reads a stored segment, a record at a time."""

    def __init__(self, path: Path) -> None:
        """Read its end. Raises OutputError if the file is missing, cut short or damaged."""
        self.path = path
        self.summary: dict[str, Any] = {}
        with _naming(path), path.open("rb") as file:
            self._records_end = self._read_end(file)

    def __iter__(self) -> Iterator[StoredPacket | StoredCaptions]:
        """Yield what was stored, in order. Raises OutputError."""
        with _naming(self.path), self.path.open("rb") as file:
            file.seek(len(MAGIC))
            while file.tell() < self._records_end:
                kind, size = HEAD.unpack(file.read(HEAD.size))
                body = file.read(size)
                yield _packet(body) if kind == PACKET else _captions(body)

    def packets(self) -> Iterator[StoredPacket]:
        """Yield the packets alone, in order. Raises OutputError."""
        return (stored for stored in self if isinstance(stored, StoredPacket))

    def give_captions(self, writer: CaptionWriter, shift: int) -> None:
        """Give a writer of captions the frames of the segment. shift: ticks to add to theirs."""
        ticks: list[int] = []
        arrived: dict[int, bytes] = {}
        for stored in self:
            if isinstance(stored, StoredPacket):
                ticks.append(stored.pts + shift)
            else:
                arrived[stored.tick + shift] = stored.triplets
        for tick in sorted(ticks):
            writer.add(tick, arrived.pop(tick, b""))
        for triplets in arrived.values():
            writer.keep(triplets)

    def _read_end(self, file: IO[bytes]) -> int:
        """Find the last record and compare the checksum; return where that record begins."""
        size = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC:
            raise OutputError(f"{self.path}: is not a stored segment")
        position = len(MAGIC)
        while True:
            head = file.read(HEAD.size)
            if len(head) < HEAD.size:
                raise OutputError(f"{self.path}: is cut short")
            kind, length = HEAD.unpack(head)
            if position + HEAD.size + length > size:
                raise OutputError(f"{self.path}: is cut short")
            if kind == END:
                break
            position += HEAD.size + length
            file.seek(position)
        body = file.read(length)
        self.summary = json.loads(body[: -CHECK.size])
        if CHECK.unpack(body[-CHECK.size :])[0] != _checksum(file, size - CHECK.size):
            raise OutputError(f"{self.path}: is damaged")
        return position


def _checksum(file: IO[bytes], size: int) -> int:
    """Return the checksum of the first `size` bytes of a file."""
    file.seek(0)
    found = 0
    while size > 0:
        data = file.read(min(READ_SIZE, size))
        if not data:
            break
        found = crc32(data, found)
        size -= len(data)
    return found


def _packet(body: bytes) -> StoredPacket:
    pts, dts, duration, flags = TIMES.unpack_from(body)
    return StoredPacket(
        pts,
        dts if flags & HAS_DTS else None,
        duration,
        bool(flags & IS_KEYFRAME),
        body[TIMES.size :],
    )


def _captions(body: bytes) -> StoredCaptions:
    return StoredCaptions(TICK.unpack_from(body)[0], body[TICK.size :])


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an error of the system into an OutputError that names the file."""
    try:
        yield
    except (OSError, ValueError, struct.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: {reason}") from error
