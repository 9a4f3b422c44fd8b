"""Packets that a source met on its way, kept for the sink that will mux them."""

from __future__ import annotations

import logging
from collections import deque
from threading import Lock
from typing import Any

import av

from ltxfilter.media.container.copied_streams.packet_file import PacketFile
from ltxfilter.values import MIB

log = logging.getLogger("ltxfilter.media")

QUEUE_BYTES = 16 * MIB  # that wait in memory at most
PACKET_OBJECT = 600  # bytes of a packet besides its data, measured


class PacketQueue:
    """Packets in the order in which a source met them.

    What is over its bytes waits in a temporary file. One thread puts, another may take.
    """

    def __init__(self, most: int = QUEUE_BYTES) -> None:
        """Begin empty. most: bytes of packets that are held in memory at most."""
        self.nbytes = 0  # of memory that the waiting packets take
        self.most = most
        self._wanted: set[int] | None = None  # stream indices; None before anyone chose
        self._packets: deque[av.Packet[Any]] = deque()  # the oldest ones
        self._spilled = PacketFile()  # those after them
        self._warned = False
        self._closed = False
        self._lock = Lock()

    def want(self, indices: set[int]) -> None:
        """Keep packets of these streams only, those that came already included."""
        with self._lock:
            self._wanted = indices
            early, self._packets = self._packets, deque()
            spilled, self._spilled = self._spilled, PacketFile()
            self.nbytes = 0
        for packet in early:
            self.put(packet)
        while spilled:
            self.put(spilled.take())
        spilled.close()

    def drop_unwanted(self) -> None:
        """Keep nothing from now on if nobody has said what is wanted."""
        if self._wanted is None:
            self.want(set())

    def put(self, packet: av.Packet[Any]) -> None:
        """Keep `packet` if its stream is wanted. Raises InputError if there is no room for it."""
        if not packet.size or self._closed:
            return
        with self._lock:
            if self._wanted is not None and packet.stream_index not in self._wanted:
                return
            size = packet.size + PACKET_OBJECT
            if not self._spilled and self.nbytes + size <= self.most:
                self.nbytes += size
                self._packets.append(packet)
                return
            self._warn()
            self._spilled.put(packet)

    def close(self) -> None:
        """Forget all packets, those in the file too; calling it twice does nothing."""
        with self._lock:
            self._closed = True
            self._packets.clear()
            self._spilled.close()
            self.nbytes = 0

    def first_of(self, index: int) -> bytes | None:
        """Return the oldest packet of a stream, without taking it; None if there is none."""
        with self._lock:
            for packet in self._packets:
                if packet.stream_index == index:
                    return bytes(packet)
            return self._spilled.first_of(index)

    def __iter__(self) -> PacketQueue:
        return self

    def __next__(self) -> av.Packet[Any]:
        """Return the oldest packet; StopIteration means that there is none for now."""
        with self._lock:
            if self._packets:
                packet = self._packets.popleft()
                self.nbytes -= packet.size + PACKET_OBJECT
                return packet
            if self._spilled:
                return self._spilled.take()
        raise StopIteration

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "other streams are more than %d MB ahead of the video; "
                "they wait in a temporary file",
                self.most // MIB,
            )
