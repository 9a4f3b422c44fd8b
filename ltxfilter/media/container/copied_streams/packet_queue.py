"""Packets that a source met on its way, kept for the sink that will mux them."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

import av


class PacketQueue:
    """Packets in the order in which a source met them; counts their bytes.

    One thread puts, another may take.
    """

    def __init__(self) -> None:
        self.nbytes = 0  # of the packets that wait
        self._wanted: set[int] | None = None  # stream indices; None before anyone chose
        self._packets: deque[av.Packet[Any]] = deque()
        self._lock = Lock()  # guards nbytes

    def want(self, indices: set[int]) -> None:
        """Keep packets of these streams only, those that came already included."""
        self._wanted = indices
        early, self._packets = self._packets, deque()
        self.nbytes = 0
        for packet in early:
            self.put(packet)

    def drop_unwanted(self) -> None:
        """Keep nothing from now on if nobody has said what is wanted."""
        if self._wanted is None:
            self.want(set())

    def put(self, packet: av.Packet[Any]) -> None:
        """Keep `packet` if its stream is wanted."""
        if packet.size and (self._wanted is None or packet.stream_index in self._wanted):
            with self._lock:
                self.nbytes += packet.size
            self._packets.append(packet)

    def first_of(self, index: int) -> bytes | None:
        """Return the oldest packet of a stream, without taking it; None if there is none."""
        for packet in tuple(self._packets):
            if packet.stream_index == index:
                return bytes(packet)
        return None

    def __iter__(self) -> PacketQueue:
        return self

    def __next__(self) -> av.Packet[Any]:
        """Return the oldest packet; StopIteration means that there is none for now."""
        if not self._packets:
            raise StopIteration
        packet = self._packets.popleft()
        with self._lock:
            self.nbytes -= packet.size
        return packet
