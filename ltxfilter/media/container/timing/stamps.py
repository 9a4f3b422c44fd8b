"""Which of a frame's two time stamps is right: the one for showing, or the one for decoding.

AVI, Matroska's VFW mode and some transport streams say when frames are decoded and not when they
are shown. libav can invent the missing times (its flag genpts), in the order of decoding, which is
wrong wherever frames are reordered. So that flag is taken back here. A decoder hands frames out in
the order in which they are shown, each with the decoding time of the packet that released it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.container

from ltxfilter.media.container.timing.pulldown import Stamped

REORDER = 4  # frames that a decoder usually holds, at most, to put them in order
REORDERED = 16  # frames that one can hold
NEVER = -(1 << 63)  # the stamp of a packet that has none, as libav writes it


def keep_stamps(container: av.container.InputContainer) -> None:
    """Make `container` give packets as they are stamped, without invented times."""
    invented: Any = av.container.Flags.gen_pts
    container.flags &= ~invented.value


def shown_at(packet: av.Packet[Any], delay: int) -> int | None:
    """Return when `packet` is shown, in ticks, as far as its stamps tell; None if it has none.

    delay: frames that the decoder holds to reorder them.
    """
    if packet.pts is not None or packet.dts is None:
        return packet.pts
    return packet.dts + delay * (packet.duration or 0)


class StampGuess:
    """Tells frame by frame which stamp to believe, as libavcodec does (guess_correct_pts).

    The times of showing are believed until they went backwards more often than those of decoding.
    """

    def __init__(self) -> None:
        """Begin a stream."""
        self._faults = {"pts": 0, "dts": 0}  # how often each did not advance
        self._latest: dict[str, int | None] = {"pts": None, "dts": None}

    def guess(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the next frame, in ticks; None if it has neither stamp.

        pts: when it is shown. dts: when the packet that released it was decoded.
        """
        self._note("dts", dts, pts)
        self._note("pts", pts, dts)
        believed = self._faults["pts"] <= self._faults["dts"] or dts is None
        return pts if believed and pts is not None else dts

    def _note(self, kind: str, stamp: int | None, other: int | None) -> None:
        latest = self._latest[kind]
        if stamp is not None and latest is not None:
            self._faults[kind] += stamp <= latest
        if stamp is not None or other is not None:
            self._latest[kind] = other if stamp is None else stamp


@dataclass(frozen=True, slots=True)
class PacketTimes:
    """When the frames of a stream are shown and for how long, in ticks, as its packets say."""

    ticks: Sequence[int]
    """Strictly ascending."""

    durations: Sequence[int]
    """For each of `ticks`; 0 where it is not declared."""

    guessed: bool = False
    """True if the packets say only when they are decoded."""

    entries: Sequence[int] = ()
    """When the I-frames are shown, in the order of decoding; empty if that is guessed."""

    def stamped(self, tick: Fraction) -> Iterator[Stamped[None]]:
        """Yield them in seconds; tick: seconds per tick."""
        for time, duration in zip(self.ticks, self.durations, strict=True):
            yield Stamped(time * tick, duration * tick or None, None)


class PacketStamps:
    """Collects the stamps of packets in the order of decoding."""

    def __init__(self) -> None:
        """Begin without a packet."""
        self._pts = array("q")  # NEVER where there is none
        self._dts = array("q")
        self._durations = array("q")
        self._entries = array("q")  # pts of I-frames

    @property
    def count(self) -> int:
        """Packets that were added."""
        return len(self._pts)

    def add(self, packet: av.Packet[Any]) -> None:
        """Take the next packet that is shown."""
        self._pts.append(NEVER if packet.pts is None else packet.pts)
        self._dts.append(NEVER if packet.dts is None else packet.dts)
        self._durations.append(packet.duration or 0)
        if packet.is_keyframe and packet.pts is not None:
            self._entries.append(packet.pts)

    def times(self, delay: int, *, complete: bool) -> PacketTimes | None:
        """Return the times of the frames in the order of showing; None if no packet has a stamp.

        delay: frames that the decoder holds to reorder them. complete: False if frames that are
        still to come may be shown before the last of these.
        """
        if NEVER not in self._pts:
            shown = dict(sorted(zip(self._pts, self._durations, strict=True)))
            if not complete:
                unsure = REORDERED if len(shown) > 4 * REORDERED else REORDER
                shown = dict(islice(shown.items(), max(len(shown) - unsure, 2)))
            ticks, durations = array("q", shown.keys()), array("q", shown.values())
            return PacketTimes(ticks, durations, entries=self._entries)
        if NEVER in self._dts:
            return None
        return self._times_of_decoding(delay)

    def _times_of_decoding(self, delay: int) -> PacketTimes:
        """Return the times at which a decoder hands out frames: when it gets those after `delay`.

        What is shown when it is decoded (a B-frame) is handed out at once, anything else is held.
        """
        durations = array("q")
        held: deque[int] = deque()
        for pts, dts, duration in zip(self._pts, self._dts, self._durations, strict=True):
            held.append(duration)
            if pts == dts:
                durations.append(held.pop())
            elif len(held) > delay:
                durations.append(held.popleft())
        durations.extend(held)
        times = sorted(set(self._dts))
        step = times[-1] - times[-2] if len(times) > 1 else 1
        times = times[delay:] + [times[-1] + step * (late + 1) for late in range(delay)]
        return PacketTimes(array("q", times[-len(durations) :]), durations[: len(times)], True)
