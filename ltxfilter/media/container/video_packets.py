"""The packets of a container's video; those of its other streams are set aside on the way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container

from ltxfilter.errors import Stopped
from ltxfilter.media.base import SourceCounts
from ltxfilter.media.container.demux import is_cover, packets_of
from ltxfilter.media.container.timing.packet_timing import PacketScan, scan_of
from ltxfilter.media.container.timing.stamps import PacketStamps

log = logging.getLogger("ltxfilter.media")

AHEAD_FRAMES, AHEAD_BYTES = 32, 32 << 20  # what is read of a pipe to know its rate, at most


class VideoPackets:
    """Reads a container from where it stands; iterate over it once."""

    def __init__(
        self,
        container: av.container.InputContainer,
        video: av.VideoStream,
        streams: list[Any],
        set_aside: Callable[[av.Packet[Any]], None],
        *,
        ahead: Iterable[av.Packet[Any]] = (),
        counts: SourceCounts,
        name: str,
    ) -> None:
        """Get ready; nothing is read yet.

        streams: what to read; the video, and whatever else `set_aside` is to be given. ahead: what
        was read of them before. counts: where damage is counted. name: what messages call the
        input.
        """
        self.jumps = 0  # how often the container's clock started anew
        self.bytes_ahead = 0  # of the packets that `look_ahead` read
        self._video = video
        self._set_aside = set_aside
        self._counts = counts
        self._name = name
        self._stopped = False
        self._ahead: deque[av.Packet[Any]] = deque()  # read before anyone asked for a packet
        self._demuxed = chain(ahead, packets_of(container, *streams, on_jump=self._jumped))

    def look_ahead(self) -> PacketScan | None:
        """Read some packets to know the rate, since what headers declare may be wrong.

        They are yielded later all the same. Returns None if there is no packet.
        """
        stamps = PacketStamps()
        nbytes, complete = 0, True
        try:
            for packet in self._demuxed:
                nbytes += packet.size
                if packet.stream.index != self._video.index:
                    self._set_aside(packet)
                else:
                    self._ahead.append(packet)
                    self.bytes_ahead += packet.size
                    if packet.size:
                        stamps.add(packet)
                if stamps.count == AHEAD_FRAMES or nbytes > AHEAD_BYTES:
                    complete = False
                    break
        except av.FFmpegError as error:  # it is reported when reading goes on
            self._demuxed = chain((), _failing(error))
        return scan_of(stamps, self._video, complete=complete) if stamps.count else None

    def __iter__(self) -> Iterator[av.Packet[Any] | None]:
        """Yield the video's packets, and None after a failed read. Raises Stopped."""
        try:
            for packet in chain(self._taken_from_ahead(), self._demuxed):
                if self._stopped:
                    raise Stopped
                if packet.stream.index == self._video.index:
                    yield packet
                else:
                    self._set_aside(packet)
            if self._stopped:  # an interrupted read may look like the end
                raise Stopped
        except av.FFmpegError as error:
            if self._stopped:
                raise Stopped from None
            log.warning("%s: reading ends early: %s", self._name, error.strerror)
            self._counts.corrupt += 1
            yield None

    def stop(self) -> None:
        """Make the next packet raise Stopped; safe in signal handlers and other threads."""
        self._stopped = True

    def _taken_from_ahead(self) -> Iterator[av.Packet[Any]]:
        while self._ahead:
            yield self._ahead.popleft()

    def _jumped(self, time: Fraction) -> None:
        if not self.jumps:
            log.warning(
                "%s: its clock jumps at %.3f s; what follows is joined without a pause",
                self._name,
                float(time),
            )
        self.jumps += 1


def _failing(error: av.FFmpegError) -> Iterator[av.Packet[Any]]:
    """Return what raises `error` when the first packet is asked for."""

    def fail() -> av.Packet[Any]:
        raise error

    return iter(fail, None)


def streams_to_read(
    container: av.container.InputContainer, video: av.VideoStream, *, once: bool
) -> list[Any]:
    """Return the streams that have to be read with the video.

    once: True if the container cannot be opened again, so that all have to be. Else covers are
    enough, which are wanted before the output is opened.
    """
    if once:
        return list(container.streams)
    return [video, *(stream for stream in container.streams.video if is_cover(stream))]
