"""Closed captions (EIA-608 and CTA-708) at another frame rate, and in the packets of encoders.

Captions arrive as triplets of cc_data (CTA-708-E, 4.3): a byte that says what follows, and two of
data. A stream has 9,600 bits of them per second, so a frame carries as many as its rate leaves room
for: 600 triplets per second, of which those of EIA-608 are at most one per field of 60 per second.
FFmpeg's `ccfifo` divides them in the same way.

Encoders write captions from their frames' side data, which PyAV cannot make, and some do not write
them at all. So they are put into the encoded packets: as an SEI message (H.264, HEVC) or user data
(MPEG-2), with the content of ATSC A/53 Part 4. AV1 has a place for them too, but decoders lose
those of frames that are shown later than they are coded (half of them where this was tried).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TRIPLETS_PER_SECOND = 600
PAIRS_PER_SECOND = 60  # of EIA-608, both fields together
MOST_TRIPLETS = 31  # of one frame: their number has five bits
EMPTY = bytes((0xFA, 0, 0))  # a triplet without data
TEXT_608 = (0xFC, 0xFD)  # first bytes of a valid pair of the first and the second field
NULL_PAIR = bytes((0x80, 0x80))  # a pair of EIA-608 without data, with its parity bits
ATSC = b"\xb5\x00\x31GA94\x03"  # country, provider, identifier, type: cc_data
REGISTERED = 4  # payload type: registered user data (ITU-T T.35)
SEI_UNITS = {  # codec -> header of a unit of messages, types of slices, shift of the type in bits
    "h264": (b"\x06", range(1, 6), 0),
    "hevc": (b"\x4e\x01", range(32), 1),
}
MOST_WAITING = 4096  # triplets, 7 s; more were lost by the source


class CaptionQueue:
    """Captions on their way from a source to a sink; one thread puts, another may take."""

    def __init__(self) -> None:
        self.wanted = False  # a sink writes them
        self.seen = False
        self._waiting: deque[tuple[Fraction, bytes]] = deque()
        self._lock = Lock()

    def put(self, time: Fraction, triplets: bytes) -> None:
        """Keep what the frame shown at `time`, seconds, carries."""
        self.seen = True
        if self.wanted:
            with self._lock:
                self._waiting.append((time, triplets))

    def until(self, time: Fraction) -> bytes:
        """Return what the frames up to `time` carried and nobody took yet."""
        return self._taken(lambda shown: shown <= time)

    def before(self, time: Fraction) -> bytes:
        """Return what the frames before `time` carried and nobody took yet."""
        return self._taken(lambda shown: shown < time)

    def _taken(self, is_due: Callable[[Fraction], bool]) -> bytes:
        found = b""
        with self._lock:
            while self._waiting and is_due(self._waiting[0][0]):
                found += self._waiting.popleft()[1]
        return found


class CaptionWriter:
    """Gives each output frame its share of the captions, and puts them into its packet."""

    def __init__(self, codec: str, rate: Fraction) -> None:
        """codec: FFmpeg's name, one of CAPTION_CODECS. rate: frames per second of the output."""
        self._codec = codec
        self._count = min(max(round(TRIPLETS_PER_SECOND / rate), 1), MOST_TRIPLETS)
        self._pairs = min(ceil(PAIRS_PER_SECOND / (rate * Fraction(1001, 1000))), self._count)
        self._text: deque[bytes] = deque()  # pairs of EIA-608
        self._other: deque[bytes] = deque()  # CTA-708
        self._frames: dict[int, bytes] = {}  # tick -> triplets of a frame that is being encoded
        self._begun = False

    def add(self, tick: int, triplets: bytes) -> None:
        """Take what has come up to the frame at `tick`, and give the frame its share."""
        self.keep(triplets)
        if self._begun:
            self._frames[tick] = b"".join(self._share())

    def keep(self, triplets: bytes) -> None:
        """Take what has come since the latest frame, for those to follow."""
        self._sort(triplets)
        self._begun = self._begun or bool(triplets)

    def into(self, tick: int | None, packet: ReadableBuffer) -> bytes | None:
        """Return the packet of the frame at `tick` with its captions; None without any."""
        triplets = self._frames.pop(tick, None) if tick is not None else None
        if triplets is None:
            return None
        return INSERT[self._codec](bytes(packet), triplets)

    def _sort(self, triplets: bytes) -> None:
        for start in range(0, len(triplets) - 2, 3):
            triplet = triplets[start : start + 3]
            if triplet[0] in TEXT_608:
                self._text.append(triplet)
            elif triplet[0] & 4:  # valid
                self._other.append(triplet)
        while len(self._text) > 2 * self._pairs and self._drop_null():
            pass
        for waiting in (self._text, self._other):
            while len(waiting) > MOST_WAITING:
                waiting.popleft()

    def _drop_null(self) -> bool:
        """Take one pair without data out of those that wait; return False if there is none."""
        for position, triplet in enumerate(self._text):
            if triplet[1:] == NULL_PAIR:
                del self._text[position]
                return True
        return False

    def _share(self) -> Iterator[bytes]:
        pairs = [self._text.popleft() for _ in range(min(self._pairs, len(self._text)))]
        yield from pairs
        left = self._count - len(pairs)
        others = [self._other.popleft() for _ in range(min(left, len(self._other)))]
        yield from others
        yield from [EMPTY] * (left - len(others))


def _cc_data(triplets: bytes) -> bytes:
    """Return the message of ATSC A/53 Part 4 around some triplets."""
    return ATSC + bytes((0x40 | len(triplets) // 3, 0xFF)) + triplets + b"\xff"


def with_sei(codec: str, data: bytes, kind: int, message: bytes) -> bytes:
    """Put a supplemental message before the first slice of a packet with start codes.

    codec: h264 or hevc. kind: the payload's type, as H.264 and HEVC number them. message: less
    than 255 bytes.
    """
    header, is_picture, shift = SEI_UNITS[codec]
    body = bytes((kind, len(message))) + message + b"\x80"
    unit = b"\0\0\0\1" + header + _escaped(body)
    for start, first in _units(data):
        if data[first] >> shift & (0x1F if shift == 0 else 0x3F) in is_picture:
            return data[:start] + unit + data[start:]
    return data


def _escaped(body: bytes) -> bytes:
    """Return the body of a unit with the bytes that keep it free of start codes."""
    out = bytearray()
    zeros = 0
    for byte in body:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _units(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each start code begins, and where what follows it does."""
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        start = at - 1 if at and data[at - 1] == 0 else at
        yield start, at + 3
        at = data.find(b"\0\0\1", at + 3)


def parameters(codec: str, header: bytes) -> bytes:
    """Return the header of an encoder without its messages, such as how it was built.

    codec: FFmpeg's name.
    """
    messages = {"h264": (0x1F, 0, {6}), "hevc": (0x3F, 1, {39, 40})}.get(codec)
    if messages is None:
        return header
    mask, shift, kinds = messages
    units = list(_units(header))
    ends = [start for start, _ in units[1:]] + [len(header)]
    return b"".join(
        header[start:end]
        for (start, first), end in zip(units, ends, strict=True)
        if header[first] >> shift & mask not in kinds
    )


def _h264(data: bytes, triplets: bytes) -> bytes:
    return with_sei("h264", data, REGISTERED, _cc_data(triplets))


def _hevc(data: bytes, triplets: bytes) -> bytes:
    return with_sei("hevc", data, REGISTERED, _cc_data(triplets))


def _mpeg2(data: bytes, triplets: bytes) -> bytes:
    """Put user data after the headers of a picture (ISO/IEC 13818-2, 6.2.2.2)."""
    user = b"\0\0\1\xb2" + _cc_data(triplets)[3:]  # which has no country and provider
    for start, first in _units(data):
        if 1 <= data[first] <= 0xAF:  # a slice
            return data[:start] + user + data[start:]
    return data


INSERT = {"h264": _h264, "hevc": _hevc, "mpeg2video": _mpeg2}
MARKS = {"h264": b"GA94", "hevc": b"GA94", "mpeg2video": b"\0\0\1\xb2"}  # no captions without
CAPTION_CODECS = frozenset(INSERT)  # FFmpeg's names of the codecs whose packets can carry captions
