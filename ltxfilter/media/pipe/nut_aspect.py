"""The sample aspect of NUT: written into the header, which PyAV does not let libav do."""

from __future__ import annotations

import logging
from fractions import Fraction

from ltxfilter.media.pipe.libav_io import Seekable, SeekableWriter, Writable, Writer

log = logging.getLogger("ltxfilter.media")

FILE_ID = b"nut/multimedia container\0"
STREAM = b"NS\x11\x40\x5b\xf2\xf9\xdb"  # start codes of header packets (nut.txt, "startcodes")
HEADERS = frozenset({STREAM, b"NM\x7a\x56\x1f\x5f\x04\xad", b"NI\xab\x68\xb5\x96\xba\x78"})
VIDEO = 0  # stream class
HEADER_CHECKSUM_FROM = 4096  # longer packets carry a checksum of their own header too


class AspectWriter:
    """Passes a NUT stream on, and puts a sample aspect into its first video header."""

    def __init__(self, output: Writable, aspect: Fraction) -> None:
        self._output = output
        self._aspect = aspect
        self._head: bytes | None = b""  # what was written so far; None once the headers are

    def write(self, data: bytes) -> int:
        """Take all of `data`; return its size. Raises BrokenPipeError, OutputError."""
        if self._head is None:
            return self._output.write(data)
        self._head += data
        complete = with_aspect(self._head, self._aspect)
        if complete is not None:
            self._head = None
            self._output.write(complete)
        return len(data)

    def cancel(self) -> None:
        """Make a waiting write end soon with Stopped."""
        self._output.cancel()

    def close(self) -> None:
        """Release the pipe; calling it twice does nothing."""
        self._output.close()


class AspectFile:
    """The same for a file, in which nothing may move: an index says where everything is."""

    def __init__(self, output: Seekable, aspect: Fraction) -> None:
        self._output = output
        self._aspect = aspect
        self._begun = False
        self.seek = output.seek
        self.tell = output.tell
        self.cancel = output.cancel
        self.close = output.close

    def write(self, data: bytes) -> int:
        """Take all of `data`; return its size. Raises OSError."""
        if not self._begun:
            self._begun = True
            complete = with_aspect(data, self._aspect)
            if complete is not None and len(complete) == len(data):
                data = complete
            else:
                log.warning(
                    "this nut file cannot say that pixels are %s wide; another format can",
                    self._aspect,
                )
        return self._output.write(data)


def telling_aspect(target: Writer, aspect: Fraction) -> Writer:
    """Return what libav writes a NUT stream to, so that its header tells the sample aspect."""
    if isinstance(target, SeekableWriter):
        return SeekableWriter(AspectFile(target.stream, aspect), target.name)
    return Writer(AspectWriter(target.stream, aspect), target.name)


def with_aspect(head: bytes, aspect: Fraction) -> bytes | None:
    """Return the beginning of a NUT stream with `aspect` in its first video header.

    head: the stream as far as it is known. aspect: width of a pixel over its height. Returns None
    if that header is not whole yet, and `head` itself if there is nothing to complete.
    """
    at = len(FILE_ID)
    while True:
        code, start = head[at : at + 8], at
        if len(code) < 8:
            return None
        if code not in HEADERS or not head.startswith(FILE_ID):
            return head
        try:
            size, at = _number(head, at + 8)
        except IndexError:
            return None
        if at + size > len(head):
            return None
        body, checksum = head[at : at + size - 4], head[at + size - 4 : at + size]
        at += size
        if code == STREAM and size <= HEADER_CHECKSUM_FROM and checksum == _checksum(body):
            place = _aspect_place(body)
            if place is not None:
                ratio = _encoded(aspect.numerator) + _encoded(aspect.denominator)
                body = body[: place[0]] + ratio + body[place[1] :]
                packet = code + _encoded(len(body) + 4) + body + _checksum(body)
                return head[:start] + packet + head[at:]


def _aspect_place(body: bytes) -> tuple[int, int] | None:
    """Return from where to where a video stream's header has its aspect; None for other streams."""
    at = 0
    _, at = _number(body, at)  # stream id
    kind, at = _number(body, at)
    if kind != VIDEO:
        return None
    size, at = _number(body, at)  # fourcc
    at += size
    for _ in ("time_base_id", "msb_pts_shift", "max_pts_distance", "decode_delay"):
        _, at = _number(body, at)
    at += 1  # flags
    size, at = _number(body, at)  # codec specific data
    at += size
    for _ in ("width", "height"):
        _, at = _number(body, at)
    start = at
    for _ in ("sample_width", "sample_height"):
        _, at = _number(body, at)
    return start, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, high ones first; return it and the place after it."""
    value = 0
    while data[at] & 0x80:
        value = value << 7 | data[at] & 0x7F
        at += 1
    return value << 7 | data[at], at + 1


def _encoded(value: int) -> bytes:
    """Write what `_number` reads."""
    result = [value & 0x7F]
    while value := value >> 7:
        result.insert(0, value & 0x7F | 0x80)
    return bytes(result)


def _checksum(data: bytes) -> bytes:
    """Return the CRC-32 of NUT: generator 0x04C11DB7, high bits first, beginning at 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1
            crc &= 0xFFFFFFFF
    return crc.to_bytes(4, "big")
