"""Transport streams whose clock starts anew within the file, since parts were joined end to end."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import av.container

from ltxfilter.media.pyav_compat import time_base_of

JUMPING_FORMATS = {"mpegts", "mpeg"}  # whose timestamps may jump, as FFmpeg sees it
FORWARD = 10  # seconds; a longer jump is another clock (FFmpeg's dts_delta_threshold)
BACKWARD = Fraction(1, 10)  # seconds; decoding times never go back within one clock


class ClockJumps:
    """Moves the packets that follow a jump of the clock so that they go on where it stopped.

    All streams move together. It must see every packet of the container, in order.
    """

    def __init__(self, on_jump: Callable[[Fraction], None] | None = None) -> None:
        """Begin a container. on_jump: called with the seconds at which the clock jumps."""
        self._on_jump = on_jump
        self._offset = Fraction(0)  # seconds added to what the file says
        self._latest: dict[int, Fraction] = {}  # decoding time per stream, as moved
        self._step: dict[int, Fraction] = {}  # seconds from packet to packet

    def place(self, packet: av.Packet[Any]) -> None:
        """Move `packet` onto the clock that began the file."""
        if packet.stream.type not in ("video", "audio") or packet.dts is None:
            self._shift(packet)
            return
        index, base = packet.stream_index, time_base_of(packet)
        time = packet.dts * base + self._offset
        latest = self._latest.get(index)
        if latest is not None:
            expected = latest + self._step.get(index, Fraction(0))
            if time > expected + FORWARD or time < latest - BACKWARD:
                self._jump(expected - time, expected)
                time = expected
            self._step[index] = max(time - latest, Fraction(0))
        self._latest[index] = time
        self._shift(packet)

    def _jump(self, by: Fraction, at: Fraction) -> None:
        self._offset += by
        if self._on_jump is not None:
            self._on_jump(at)

    def _shift(self, packet: av.Packet[Any]) -> None:
        if not self._offset or not packet.time_base:
            return
        ticks = round(self._offset / time_base_of(packet))
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
