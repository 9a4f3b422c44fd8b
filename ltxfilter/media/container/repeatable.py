"""Decoding that gives the same frames on every run, for damaged streams too.

libav's decoder threads conceal damage in a race: a thread may copy from a frame before or after
another one has mended it. So the decoder with many threads is made strict, such that it stops at
the first fault. What follows is decoded by one with a single thread, from the last I-frame on: what
depends on the fault has not come out at that moment. Once both make the same picture of a later
I-frame, the threads go on from there.

Parts of a frame that no slice covers show what the memory held before. Which memory that is must
not depend on when others let go of frames, so damaged frames are copied at once. Decoders in
`SILENT` do not even say that parts are missing, so all of their frames are copied, and one thread
is the rule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import av
import av.codec.codec
import numpy as np

from ltxfilter.media.avframe import FrameCopier
from ltxfilter.media.container.timing.stamps import REORDERED
from ltxfilter.media.pixfmt import MAX_PIXELS
from ltxfilter.media.pyav_compat import reorder_depth, set_reorder_depth
from ltxfilter.refusals import refusal_of

HISTORY_BYTES = 64 << 20  # of packets since the last I-frame; of a longer stretch none are kept
REMEMBERED = 64  # packets before those, whose frames may still come out
MAX_THREADS = 8  # of a decoder: each one holds a frame
TRIAL = 48  # packets after which many threads, their delay included, are trusted again
LONGEST_WAIT = 64  # I-frames between two attempts to go back to many threads

SILENT = {"hevc", "vvc"}  # codecs whose decoders leave parts of a frame undecoded without a word

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
OnLost = Callable[[int | None], None]


def usual_threads(context: av.VideoCodecContext, available: int) -> int:
    """Return the threads that decode what `context` is for alike on every run.

    available: threads that the machine has for it.
    """
    silent = context.codec.canonical_name in SILENT and not context.is_hwaccel
    return 1 if silent else min(MAX_THREADS, available)


class RepeatableDecoder:
    """Decodes the packets of one stream.

    A packet that it was given has a number in place of its `pts`, by which frames are told apart.
    """

    def __init__(
        self,
        context: av.VideoCodecContext,
        threads: int,
        on_lost: OnLost,
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> None:
        """Get ready to decode what `context` is for, which is not open yet.

        on_lost: called with the stamp of each packet that does not decode; None if it has none.
        options: what libav is told, where the decoder has such options.
        """
        self._options = options
        self._depth = reorder_depth(context)
        self._fast = context
        self._codec = context.codec  # which a context forgets that failed to open
        self._careful: av.VideoCodecContext | None = None  # None while nothing is wrong
        self._trial: Trial | None = None  # None while `_fast` decodes alone, or not at all
        self._wait = self._patience = 0  # I-frames before the next trial, and after it fails
        self._strict = not context.is_hwaccel
        self._waits = threads > 1  # one alone gives the same frames again anyway
        self._copier = FrameCopier()
        self._silent = context.codec.canonical_name in SILENT and self._strict
        self._history = History()
        self._held: deque[av.VideoFrame] = deque()  # whole, but later ones may not be
        self._on_lost = on_lost
        _configure(context, threads, options, strict=self._strict)

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """Return the frames that `packet` completes; an empty packet, or None, drains.

        Raises ResourceError.
        """
        if packet is not None and not packet.size:
            packet = None
        if packet is not None:
            self._history.add(packet)
        if self._careful is None:
            return self._decode_fast(packet)
        found = self._decode_careful(packet)
        if packet is None:
            return found
        if self._trial is None and packet.is_keyframe:
            self._begin_trial(packet)
        return found if self._trial is None else [*found, *self._continue_trial(packet)]

    def _decode_fast(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """Decode with many threads, or go over to one where something is wrong."""
        damaged = packet is not None and packet.is_corrupt and self._strict
        frames, sound = ([], False) if damaged else _decode(self._fast, packet)
        if self._silent:
            frames = [self._copier.own(frame) for frame in frames]
        if not self._strict:
            if not sound:
                self._lose(packet)
            return list(self._history.released(frames))
        whole = list(takewhile(lambda frame: not frame.is_corrupt, frames))
        if (
            sound
            and len(whole) == len(frames)
            and (packet or self._history.are_out([*self._held, *whole]))
        ):
            return self._let_go(whole, ends=packet is None)
        self._held.clear()
        return self._start_over(packet)

    def _let_go(self, frames: Iterable[av.VideoFrame], *, ends: bool) -> list[av.VideoFrame]:
        """Release whole frames, but for those that may have been made from a damaged one.

        What is reordered can be shown before frames that were decoded earlier.
        """
        if not self._waits:
            return list(self._history.released(frames))
        self._held.extend(frames)
        if self._held:
            self._history.pass_over(self._held[-1])
        ready: list[av.VideoFrame] = []
        while self._held and (
            ends or len(self._held) > REORDERED or not self._history.waits(self._held)
        ):
            ready += self._history.released([self._held.popleft()])
        return ready

    def _start_over(self, latest: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """Decode anew from the last I-frame on, with one thread; latest: what was given last."""
        if not self._history.packets:  # that was too long ago
            self._lose(latest)
            return []
        self._careful = _another(self._codec, self._fast, self._depth, self._options)
        packets: list[av.Packet[Any] | None] = list(self._history.packets)
        if latest is None:
            packets.append(None)
        return [frame for packet in packets for frame in self._decode_careful(packet)]

    def _decode_careful(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        assert self._careful is not None
        frames, sound = _decode(self._careful, packet)
        if not sound:
            self._lose(packet)
        frames = [self._copier.own(frame) for frame in frames]
        if self._trial is not None:
            self._trial.note(frames)
        return list(self._history.released(frames))

    def _begin_trial(self, packet: av.Packet[Any]) -> None:
        """Let many threads begin at an I-frame, beside the one; now and then, if that fails."""
        self._wait -= 1
        if self._wait < 0 and packet.pts is not None:
            self._fast.flush_buffers()
            set_reorder_depth(self._fast, self._depth)
            self._trial = Trial(packet.pts)

    def _continue_trial(self, packet: av.Packet[Any]) -> list[av.VideoFrame]:
        """Decode beside the one thread, and go on alone once that went well for long enough."""
        assert self._trial is not None
        frames, sound = _decode(self._fast, packet)
        if self._silent:
            frames = [self._copier.own(frame) for frame in frames]
        if sound and not packet.is_corrupt and self._trial.goes_on(frames):
            if (packet.pts or 0) - self._trial.number < TRIAL:
                return []  # the one thread was first to give these frames
            self._wait = self._patience = 0
            self._careful = self._trial = None
            return self._let_go(frames, ends=False)
        self._patience = min(2 * self._patience + 1, LONGEST_WAIT)
        self._wait, self._trial = self._patience, None
        return []

    def _lose(self, packet: av.Packet[Any] | None) -> None:
        self._on_lost(None if packet is None else self._history.stamp_of(packet))


class Trial:
    """Two decoders side by side, of which one began at an I-frame that both have to show alike."""

    def __init__(self, number: int) -> None:
        """Begin at the packet with this number."""
        self.number = number
        self._picture: av.VideoFrame | None = None  # the I-frame as the old decoder shows it
        self._is_past = False  # the I-frame, as the new one shows it, was the same

    def note(self, frames: Iterable[av.VideoFrame]) -> None:
        """Take what the old decoder makes."""
        for frame in frames:
            if frame.pts == self.number:
                self._picture = frame

    def goes_on(self, frames: Iterable[av.VideoFrame]) -> bool:
        """Take what the new decoder makes, and return False if it is damaged or another picture."""
        for frame in frames:
            if not self._is_past and frame.pts != self.number:
                continue  # shown before the I-frame, made from what this decoder has not seen
            if frame.is_corrupt or not (self._is_past or self._is_same(frame)):
                return False
            self._is_past, self._picture = True, None
        return True

    def _is_same(self, frame: av.VideoFrame) -> bool:
        if self._picture is None:
            return False
        try:
            return np.array_equal(frame.to_ndarray(), self._picture.to_ndarray())
        except ValueError:  # a pixel format that PyAV does not know as an array
            return False


class History:
    """The packets since the last I-frame that came out, and which frames of them are out."""

    def __init__(self) -> None:
        """Begin a stream."""
        self.packets: deque[av.Packet[Any]] = deque()
        self._nbytes = 0
        self._count = 0  # packets of the stream
        self._stamps: dict[int, int | None] = {}  # number -> pts, as the container has it
        self._out: set[int] = set()  # numbers of packets whose frames are out
        self._due: set[int] = set()  # numbers of packets whose frames are still to come
        self._begun: set[int] = set()  # numbers of I-frames at which packets can begin

    def are_out(self, last: Iterable[av.VideoFrame]) -> bool:
        """Return True if a frame came out for every packet once those in `last` have."""
        out = self._out.union(frame.pts for frame in last)
        return all(packet.pts in out or packet.is_discard for packet in self.packets)

    def add(self, packet: av.Packet[Any]) -> None:
        """Take the next packet, and give it its number."""
        number, self._count = self._count, self._count + 1
        self._stamps[number], packet.pts = packet.pts, number
        if not packet.is_discard:
            self._due.add(number)
        if packet.is_keyframe:
            self._begun.add(number)
        elif not self.packets and number:
            return  # too much was dropped; an I-frame comes later
        self.packets.append(packet)
        self._nbytes += packet.size
        if self._nbytes > HISTORY_BYTES:
            self._drop_before(self._count)

    def pass_over(self, latest: av.VideoFrame) -> None:
        """Expect no frames any more that would be shown before the latest one that came out."""
        stamp = self._stamps.get(latest.pts) if latest.pts is not None else None
        if stamp is not None:
            self._due = {n for n in self._due if (self._stamps[n] or stamp) >= stamp}

    def waits(self, held: Sequence[av.VideoFrame]) -> bool:
        """Return True if a frame decoded before the first of `held` is still to come out whole."""
        first = held[0].pts
        came = {frame.pts for frame in held}
        return first is not None and any(n < first and n not in came for n in self._due)

    def stamp_of(self, packet: av.Packet[Any]) -> int | None:
        """Return when a packet is shown, or else decoded, as its container says."""
        stamp = None if packet.pts is None else self._stamps.get(packet.pts)
        return packet.dts if stamp is None else stamp

    def released(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Yield those of `frames` that are not out yet, with their own stamps."""
        for frame in frames:
            number = frame.pts
            if number is None or number not in self._stamps:
                yield frame
                continue
            if number in self._out:
                continue
            self._out.add(number)
            self._due.discard(number)
            frame.pts = self._stamps[number]
            if number in self._begun:
                self._drop_before(number)
            yield frame

    def _drop_before(self, number: int) -> None:
        """Forget the packets before a number, and after a while their stamps."""
        while self.packets and (self.packets[0].pts or 0) < number:
            self._nbytes -= self.packets.popleft().size
        oldest = number - REMEMBERED
        self._stamps = {key: pts for key, pts in self._stamps.items() if key >= oldest}
        self._out = {key for key in self._out if key >= oldest}
        self._due = {key for key in self._due if key >= oldest}
        self._begun = {key for key in self._begun if key >= oldest}


def _configure(
    context: av.VideoCodecContext, threads: int, options: Mapping[str, str], *, strict: bool
) -> None:
    context.thread_count = threads
    context.thread_type = "AUTO"
    context.options = {**options, "max_pixels": str(MAX_PIXELS)}
    if strict:
        context.options = {**context.options, "err_detect": "explode"}


def _another(
    codec: av.codec.codec.Codec, like: av.VideoCodecContext, depth: int, options: Mapping[str, str]
) -> av.VideoCodecContext:
    """Return a decoder for the same stream, with one thread, which conceals what is damaged."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = like.width, like.height
    context.codec_tag = like.codec_tag
    if like.extradata:
        context.extradata = like.extradata
    set_reorder_depth(context, depth)
    _configure(context, 1, options, strict=False)
    return context


def _decode(
    context: av.VideoCodecContext, packet: av.Packet[Any] | None
) -> tuple[list[av.VideoFrame], bool]:
    """Return the frames that `packet` completes, and False if it did not decode; None drains.

    Raises ResourceError.
    """
    try:
        return context.decode(packet), True
    except EOFError:
        return [], True
    except (av.FFmpegError, ValueError) as error:
        if refusal := refusal_of(error):
            raise refusal from error
        return [], False
