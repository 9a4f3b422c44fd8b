"""From packets to frames of one size and format: decode, deinterlace, rearrange, count damage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from ltxfilter.media.avframe import reshape
from ltxfilter.media.base import SourceCounts
from ltxfilter.media.carried.turning import Turner
from ltxfilter.media.container.open_video import OpenVideo
from ltxfilter.media.container.repeatable import NO_OPTIONS, RepeatableDecoder, usual_threads
from ltxfilter.media.container.timing.stamps import REORDER, StampGuess
from ltxfilter.media.decoder_memory import held_frames
from ltxfilter.media.deinterlace import DEINTERLACER_FRAMES, Deinterlacer
from ltxfilter.media.pipe.nut_pix_fmt import settle_pix_fmt
from ltxfilter.media.pixfmt import keeps_samples, planar_name
from ltxfilter.media.pyav_compat import level_of, time_base_of
from ltxfilter.options import InputOptions, available_threads

log = logging.getLogger("ltxfilter.media")

PARSED = 2  # frames until demuxer and parser know that one has ended, measured with mpegts
SHAPED = 2  # frames that a turn, and a change of size or format, make anew
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
LEAP = 10  # seconds; a frame this far from the one before may have a damaged timestamp


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame in the stream's first size and planar format."""

    picture: av.VideoFrame
    spliced: bool  # True if size or format of the stream changed just before it


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded frame and when it is shown."""

    time: Fraction  # seconds on the container's clock
    picture: av.VideoFrame
    spliced: bool  # as in DecodedFrame


class VideoDecoder:
    """Turns the packets of a video stream into frames of one size and planar format."""

    def __init__(
        self,
        opened: OpenVideo,
        options: InputOptions,
        counts: SourceCounts,
        name: str,
    ) -> None:
        """Get ready to decode. counts: where damage is counted. name: for messages."""
        threads = options.threads or usual_threads(opened.stream.codec_context, available_threads())
        self._threads = threads
        self._name = name
        self._packets = PacketDecoder(opened.stream, threads, counts, options.demuxer)
        self._context = self._packets.context
        self._is_raw = self._context.name == "rawvideo"  # not to be asked once opening has failed
        self._deinterlacer = Deinterlacer(options.deinterlace, opened.header.interlaced)
        self._always_deinterlaces = options.deinterlace == "on"
        self._interlaced = opened.header.interlaced and options.deinterlace == "auto"
        self.turner = Turner(wanted=bool(options.autorotate))
        self._shaper = Shaper(name)

    @property
    def context(self) -> av.VideoCodecContext:
        """What decodes."""
        return self._context

    @property
    def held_frames(self) -> float:
        """Frames that it holds at most."""
        context = self._context
        size = (context.width, context.height)
        own = context.name not in ALPHA_DECODERS.values()  # the others decode a second picture
        codec = context.codec.canonical_name if own else context.name
        level = level_of(context)
        frames = held_frames(codec, self._threads, level, size)
        frames += held_frames(codec, 1, level, size)  # where data is damaged
        return frames + SHAPED + self.deinterlaces * DEINTERLACER_FRAMES

    @property
    def deinterlaces(self) -> bool:
        """True if frames are made from those before and after them as well."""
        return self._always_deinterlaces or self._interlaced

    @property
    def delay(self) -> int:
        """Later frames that it wants before it lets one go; none where nothing is coded."""
        own = int(self._always_deinterlaces)
        if self._context.name == "rawvideo":
            return own
        reordered = REORDER if self._context.has_b_frames else 0
        if self._threads > 1:
            reordered *= 2  # until what they are made from is known to be sound
        return own + PARSED + self._threads - 1 + reordered

    def frames(self, packets: Iterable[av.Packet[Any] | None]) -> Iterator[DecodedFrame]:
        """Yield the frames of `packets`; an empty packet, or None, drains the decoder.

        Raises InputError if their pixel format cannot be told.
        """
        for packet in packets:
            if packet is not None and self._is_raw and not self._context.is_open:
                settle_pix_fmt(self._context, packet, self._name)
            for decoded in self._packets.decode(packet):
                for frame in self._deinterlacer.push(decoded):
                    yield self._shaper.shape(self.turner.turn(frame))
        for frame in self._deinterlacer.drain():
            yield self._shaper.shape(self.turner.turn(frame))

    def is_damaged(self, picture: av.VideoFrame) -> bool:
        """Return True if a frame was decoded from damaged data."""
        return picture.is_corrupt or picture.pts in self._packets.damaged

    def lost_before(self, time: Fraction) -> bool:
        """Return True if packets shown before `time`, seconds, did not decode; once for each."""
        return self._packets.lost_before(time)


class PacketDecoder:
    """Decodes the packets of one stream, and goes on past those that do not decode."""

    def __init__(
        self,
        stream: av.VideoStream,
        threads: int,
        counts: SourceCounts,
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> None:
        """Get ready to decode. options: what libav is told, where the decoder has such options."""
        self.damaged: set[int | None] = set()  # pts of frames whose packets arrived damaged
        self._lost: list[int] = []  # stamps of packets that did not decode
        self._stamps = StampGuess()
        self._counts = counts
        self._stream = stream
        self.context = _decoder_of(stream)
        self._decoder = RepeatableDecoder(self.context, threads, self._lose, options)

    def decode(self, packet: av.Packet[av.VideoStream] | None) -> list[av.VideoFrame]:
        """Return the frames that `packet` completes; None drains the decoder.

        Raises ResourceError.
        """
        if packet is not None and packet.size and packet.is_corrupt:
            self.damaged.add(packet.pts)
        frames = self._decoder.decode(packet)
        for frame in frames:
            self._stamp(frame)
        return frames

    def _lose(self, stamp: int | None) -> None:
        """Count a packet that does not decode."""
        self._counts.corrupt += 1
        if stamp is not None:
            self._lost.append(stamp)

    def _stamp(self, frame: av.VideoFrame) -> None:
        """Give a frame the stamp that is to be believed, and its time base."""
        frame.time_base = time_base_of(self._stream)  # PyAV forgets it when draining
        stamped, frame.pts = frame.pts, self._stamps.guess(frame.pts, frame.dts)
        if stamped in self.damaged:
            self.damaged.add(frame.pts)

    def lost_before(self, time: Fraction) -> bool:
        """Return True if packets shown before `time`, seconds, were lost; each counts once."""
        base = time_base_of(self._stream)
        later = [pts for pts in self._lost if pts * base > time]
        lost, self._lost = len(later) < len(self._lost), later
        return lost


def _decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return what decodes a stream: its own context, or one that decodes alpha as well.

    libav's own decoders of VP8 and VP9 pass over the alpha that WebM keeps beside each packet.
    """
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name is None or tags.get("alpha_mode") != "1":
        return stream.codec_context
    try:
        context = av.CodecContext.create(name, "r")
    except (ValueError, av.FFmpegError):
        log.warning("this FFmpeg has no %s, so the alpha of the video is lost", name)
        return stream.codec_context
    assert isinstance(context, av.VideoCodecContext)
    return context


class Shaper:
    """Gives every frame the size of the first one, and the planar format of its samples."""

    def __init__(self, name: str) -> None:
        """Begin a stream. name: what messages call it."""
        self._name = name
        self._shape: tuple[int, int, str] | None = None  # of every frame that it returns
        self._previous: tuple[int, int, str] | None = None  # of the latest frame, as decoded
        self._warned = False

    def shape(self, frame: av.VideoFrame) -> DecodedFrame:
        """Return the frame in the stream's shape. Nobody else may hold it: it may be converted."""
        decoded = (frame.width, frame.height, frame.format.name)
        if self._shape is None:
            self._shape = (frame.width, frame.height, planar_name(frame.format.name))
            if not keeps_samples(frame.format.name):
                log.warning(
                    "%s: %s is converted to %s, since nothing interpolates or encodes it as it is",
                    self._name,
                    frame.format.name,
                    self._shape[2],
                )
        spliced = self._previous is not None and decoded != self._previous
        self._previous = decoded
        if spliced and not self._warned:
            self._warned = True
            log.warning(
                "%s: the picture changes from %dx%d %s to %dx%d %s; scaled to the first size",
                self._name,
                *self._shape,
                *decoded,
            )
        if decoded == self._shape:
            return DecodedFrame(frame, spliced)
        width, height, pix_fmt = self._shape
        return DecodedFrame(reshape(frame, width, height, pix_fmt), spliced)


def ascending(frames: Iterable[TimedFrame], counts: SourceCounts) -> Iterator[TimedFrame]:
    """Yield the frames whose time advances; drop the others and count them in `counts`.

    A leap that the next frame takes back was a damaged timestamp: then the frame that leapt is
    dropped, and not everything after it. The mark of a splice moves on to the next frame.
    """
    last: Fraction | None = None
    leap: TimedFrame | None = None  # a frame that is held until the next one shows what it was
    spliced_before = False
    for frame in frames:
        time = frame.time
        spliced_before |= frame.spliced
        if leap is not None:
            if last is None or not last < time < leap.time:
                yield leap
                last, spliced_before = leap.time, frame.spliced
            else:
                counts.out_of_order += 1
                spliced_before |= leap.spliced
            leap = None
        if last is not None and time <= last:
            counts.out_of_order += 1
        elif last is not None and time - last > LEAP:
            leap, spliced_before = replace(frame, spliced=spliced_before), False
        else:
            yield replace(frame, spliced=spliced_before) if spliced_before else frame
            last, spliced_before = time, False
    if leap is not None:
        yield leap
