"""The programs of an MPEG transport stream, which PyAV does not show: PAT and PMT, read by us.

The tables are those of ISO/IEC 13818-1, sections 2.4.4.3 (program association) and 2.4.4.8 (program
map). A stream's id in FFmpeg is its PID.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av.container

SEARCHED = 16 << 20  # bytes of a file in which its tables are looked for
PACKET_SIZES = (188, 192, 204)  # bytes: plain, with a time code (M2TS), with Reed-Solomon bytes
SYNC = 0x47  # first byte of a packet
HEAD = 8  # bytes of a section before its table's entries
CHECKSUM = 4  # bytes after them


def programs_of(container: av.container.InputContainer) -> dict[int, set[int]] | None:
    """Return the PIDs of each program, by its number; None if the input has none, or is a pipe."""
    if container.format.name != "mpegts":
        return None
    with suppress(OSError, ValueError), Path(container.name.removeprefix("file:")).open("rb") as ts:
        return read_programs(ts.read(SEARCHED))
    return None


def read_programs(data: bytes) -> dict[int, set[int]]:
    """Return the PIDs of each program that the tables at the start of a transport stream name."""
    maps: dict[int, int] = {}  # PID of a program map -> number of the program
    programs: dict[int, set[int]] = {}
    pending: dict[int, bytearray] = {}  # PID -> a section that is not complete
    for pid, starts, payload in _packets(data):
        if pid != 0 and pid not in maps:
            continue
        if starts:  # the first byte says where the section begins
            pending[pid] = bytearray(payload[1 + payload[0] :] if payload else b"")
        elif pid in pending:
            pending[pid] += payload
        section = _complete(pending.get(pid, b""))
        if section is None:
            continue
        if pid == 0 and section[0] == 0:
            maps |= _associations(section)
        elif pid in maps and section[0] == 2:
            programs[maps[pid]] = set(_members(section))
        if maps and len(programs) == len(maps):
            return programs
    return programs


def _packets(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Yield PID, whether a section starts in it, and payload of each packet."""
    size, at = _layout(data)
    while size and at + 188 <= len(data):
        packet = data[at : at + 188]
        at += size
        if packet[0] != SYNC:
            continue
        control = packet[3] >> 4 & 3
        skipped = 4 + (1 + packet[4] if control & 2 else 0)  # the adaptation field
        if control & 1:
            pid = (packet[1] & 0x1F) << 8 | packet[2]
            yield pid, bool(packet[1] & 0x40), packet[skipped:]


def _layout(data: bytes) -> tuple[int, int]:
    """Return the bytes from packet to packet, and where the first one begins; zeros if unclear."""
    for first in range(min(max(PACKET_SIZES), len(data))):
        for size in PACKET_SIZES:
            heads = data[first : first + 5 * size : size]
            if heads and set(heads) == {SYNC}:
                return size, first
    return 0, 0


def _complete(section: bytes | bytearray) -> bytes | None:
    """Return a section without its checksum once all of it is there."""
    if len(section) < HEAD:
        return None
    length = 3 + ((section[1] & 0x0F) << 8 | section[2])
    return bytes(section[: length - CHECKSUM]) if HEAD <= length <= len(section) else None


def _associations(section: bytes) -> dict[int, int]:
    """Return {PID of the program map: number of the program} of a program association."""
    entries = (section[at : at + 4] for at in range(HEAD, len(section) - 3, 4))
    found = {(e[2] & 0x1F) << 8 | e[3]: e[0] << 8 | e[1] for e in entries}
    return {pid: number for pid, number in found.items() if number}  # 0 names the network


def _members(section: bytes) -> Iterator[int]:
    """Yield the PIDs of the streams of a program map."""
    at = HEAD + 4 + ((section[10] & 0x0F) << 8 | section[11]) if len(section) > 11 else len(section)
    while at + 5 <= len(section):
        yield (section[at + 1] & 0x1F) << 8 | section[at + 2]
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
