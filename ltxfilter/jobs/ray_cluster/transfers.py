"""Files on their way between the job and nodes that do not see its folders.

They travel in parts, and few at a time, so what is in hand stays bounded.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from ltxfilter.errors import InputError, OutputError
from ltxfilter.jobs.ray_cluster.calls import Calls
from ltxfilter.jobs.ray_cluster.member import Member
from ltxfilter.media.output_name import PART
from ltxfilter.values import MIB

PART_BYTES = 8 * MIB  # of a file that are sent at a time
AT_A_TIME = 4  # transfers


class Transfers:
    """Sends the input to nodes, and fetches segments from them."""

    def __init__(self, calls: Calls, source: Path) -> None:
        """source: the input."""
        self._calls = calls
        self._source = source
        self._size = source.stat().st_size
        self._running: dict[Member, Fetch | None] = {}
        self._waiting: deque[tuple[Member, Callable[[], None]]] = deque()

    def fetch(self, member: Member, size: int, done: Callable[[], None]) -> None:
        """Fetch the segment that a member has stored on its node, of `size` bytes."""
        self._queue(member, partial(self._begin_fetch, member, size, done))

    def send(self, member: Member, done: Callable[[str], None]) -> None:
        """Send the input to the node of a member. done: takes where it is there."""
        self._queue(member, partial(self._send_part, member, done, 0, None))

    def forget(self, member: Member) -> None:
        """Give up what is on its way from or to a member."""
        self._waiting = deque(each for each in self._waiting if each[0] is not member)
        if member in self._running:
            fetch = self._running[member]
            if fetch is not None:
                fetch.discard()
            self._end(member)

    def close(self) -> None:
        """Leave no part of a file behind; calling it twice does nothing."""
        self._waiting.clear()
        for member in list(self._running):
            self.forget(member)

    def _queue(self, member: Member, begin: Callable[[], None]) -> None:
        self._waiting.append((member, begin))
        self._begin_next()

    def _begin_next(self) -> None:
        while self._waiting and len(self._running) < AT_A_TIME:
            member, begin = self._waiting.popleft()
            self._running[member] = None
            begin()

    def _end(self, member: Member) -> None:
        del self._running[member]
        self._begin_next()

    def _begin_fetch(self, member: Member, size: int, done: Callable[[], None]) -> None:
        assert member.path is not None
        fetch = self._running[member] = Fetch(member.path, size)
        self._fetch_part(member, fetch, done, b"")

    def _fetch_part(
        self, member: Member, fetch: Fetch, done: Callable[[], None], data: bytes
    ) -> None:
        """Write a part of a segment and ask for the next one."""
        assert member.segment is not None
        number = member.segment.number
        if not fetch.put(data):
            call = member.actor.read.remote(number, fetch.offset, PART_BYTES)
            self._calls.ask(member, call, partial(self._fetch_part, member, fetch, done))
            return
        self._calls.ask(member, member.actor.drop.remote(number))
        self._end(member)
        done()

    def _send_part(
        self, member: Member, done: Callable[[str], None], offset: int, where: str | None
    ) -> None:
        """Send a part of the input, until the node says where the whole is."""
        if where is not None:
            self._end(member)
            done(where)
            return
        try:
            with self._source.open("rb") as file:
                file.seek(offset)
                data = file.read(PART_BYTES)
        except OSError as error:
            raise InputError(f"{self._source}: {error.strerror}") from error
        end = offset + len(data)
        call = member.actor.put_input.remote(offset, data, end >= self._size or not data)
        self._calls.ask(member, call, partial(self._send_part, member, done, end))


class Fetch:
    """A segment that comes in parts, under a provisional name until it is whole."""

    def __init__(self, path: Path, size: int) -> None:
        """Create the provisional file. Raises OutputError."""
        self.offset = 0
        self._path, self._size = path, size
        self._part = path.with_name(path.name + PART)
        try:
            self._file: IO[bytes] = self._part.open("wb")
        except OSError as error:
            raise OutputError(f"{self._part}: {error.strerror}") from error

    def put(self, data: bytes) -> bool:
        """Write a part; return True once the file is whole and has its name. Raises OutputError."""
        try:
            self._file.write(data)
            self.offset += len(data)
            if self.offset < self._size:
                return False
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise OutputError(f"{self._part}: {error.strerror}") from error
        return True

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)
