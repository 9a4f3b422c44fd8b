"""A container as a source: the frames of one video stream, with exact times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from itertools import chain
from math import ceil

import av
from av.video.frame import PictureType

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.avframe import color_of, view
from ltxfilter.media.base import FrameTimes, SourceCounts
from ltxfilter.media.carried.captions import CAPTION_CODECS
from ltxfilter.media.carried.frame_items import DOVI_PROFILE_5, CaptionReader, is_dovi_profile_5
from ltxfilter.media.carried.items import RULES, Kind
from ltxfilter.media.carried.source_items import source_items
from ltxfilter.media.carried.turning import Turner
from ltxfilter.media.container.copied_streams.other_streams import ContainerStreams
from ltxfilter.media.container.decode import DecodedFrame, TimedFrame, VideoDecoder, ascending
from ltxfilter.media.container.demux import (
    display_name,
    open_container,
    seek_before,
)
from ltxfilter.media.container.open_video import OpenVideo, index_bytes
from ltxfilter.media.container.timing.frame_clock import FrameClock, StreamTiming
from ltxfilter.media.container.timing.packet_timing import SHORT_SCAN, scan
from ltxfilter.media.container.video_packets import VideoPackets, streams_to_read
from ltxfilter.media.deinterlace import DEINTERLACER_FRAMES
from ltxfilter.media.format_names import IMAGES
from ltxfilter.media.network.interrupts import Interrupt
from ltxfilter.media.network.protocols import can_seek, read_once
from ltxfilter.media.pipe.libav_io import InputStream
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.pyav_compat import fraction
from ltxfilter.options import InputOptions

log = logging.getLogger("ltxfilter.media")

TOLERATED_LOSS = Fraction(1, 2)  # seconds by which headers and frames may disagree
PREDICTED = (PictureType.P, PictureType.B, PictureType.S, PictureType.BI)
HASTE = Fraction(1, 300)  # seconds; frames that follow each other faster have doubtful timestamps


class ContainerSource:
    """Frames of a video stream of a file, or of a pipe that carries a container."""

    pipe_format = "nut"

    def __init__(
        self,
        options: InputOptions,
        file: InputStream | None = None,
        format: str | None = None,  # noqa: A002
        interrupt: Interrupt | None = None,
    ) -> None:
        """Open the container and decode its first frame.

        file: a pipe to read in place of the path, which `close` closes. format: FFmpeg's name; None
        goes by `options` or by what libav finds. interrupt: ends a read that waits for the network.
        Raises InputError, Stopped.
        """
        self.name = display_name(options)
        self.counts = SourceCounts()
        self._options, self._file, self._given_format = options, file, format
        self._once = file is not None or read_once(options)
        self._interrupt = interrupt or Interrupt()
        self._frames: Iterator[DecodedFrame] = iter(())
        self.first_picture: av.VideoFrame | None = None
        at_once = not self._once and options.format != IMAGES  # to scan pictures is to read them
        scanned = scan(options, SHORT_SCAN) if at_once else None
        self._open = OpenVideo.open(options, file, format or options.format)
        self.other_streams = self._other_streams()
        with ExitStack() as opening:
            opening.callback(self.close)
            self._packets = self._video_packets()
            self._go_to_start()
            if self._once:
                scanned = self._packets.look_ahead()
            self._timing = StreamTiming.of(self._open.stream, scanned, options.rate)
            codec = self._open.stream.codec_context.codec.canonical_name
            self._captions = CaptionReader(codec) if codec in CAPTION_CODECS else None
            first = self._begin_decoding()
            if first is None:
                raise InputError(f"{self.name}: no video frames{self._why_none()}")
            self._open.device.say(options.hwaccel, self._decoder.context)
            self.first_picture = first.picture
            self.info = _video_info(first, self._open, self._timing, self._decoder.turner)
            self.carries = source_items(first.picture, self._open.container, self._open.stream)
            if is_dovi_profile_5(first.picture):
                raise InputError(f"{self.name}: {DOVI_PROFILE_5}")
            opening.pop_all()
        self.raw_pix_fmt = self.info.pix_fmt
        self.held_bytes = self._bytes_held()
        self._warn_of_haste()

    @property
    def clock(self) -> Fraction:
        """Seconds on the container's clock that -ss calls 0."""
        return self._open.trim.clock

    @property
    def duration(self) -> Fraction | None:
        """Seconds of video to come, as far as the headers tell."""
        return self._open.declared_duration

    @property
    def delay(self) -> int:
        """Later frames that libav and the clock want before they let one go."""
        return self._decoder.delay + self._clock.delay

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:
        """Yield every frame once, times ascending. Raises InputError, Stopped.

        begin: seconds; frames shown earlier may be left out. seek: False reads from the beginning.
        """
        if begin is not None and seek and not self._once:
            self._go_to(begin)
        self.first_picture = None
        self.other_streams.queue.drop_unwanted()
        trim = self._open.trim
        last: Fraction | None = None
        with self._interrupt.watched():
            for frame in ascending(self._clock.timed(self._frames), self.counts):
                last = frame.time
                if trim.is_before(last):
                    continue
                if trim.is_after(last):
                    break
                yield self._frame(frame)
                self.counts.frames += 1
        if not self.counts.frames:
            raise InputError(f"{self.name}: no video frames between -ss and the end asked for")
        self._warn_of_damage(last)

    def frame_times(self) -> FrameTimes | None:
        """Return when its frames are shown, from a second reading; None of what is read once."""
        if self._once:
            return None
        scanned = scan(self._options)
        if scanned is None:
            return None
        return scanned.frame_times(self._clock.cadence, self._open.trim)

    def cancel(self) -> None:
        """Make a waiting read end soon; safe in signal handlers and other threads."""
        self._packets.stop()
        self._interrupt.set()
        if self._file is not None:
            self._file.cancel()

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        self._frames = iter(())
        self.other_streams.queue.close()
        self._open.close()
        if self._file is not None:
            self._file.close()

    def _begin_decoding(self) -> DecodedFrame | None:
        """Decode from where the container stands; return the first frame, if any."""
        self._decoder = VideoDecoder(self._open, self._options, self.counts, self.name)
        self._clock = FrameClock(self._timing, self._open.trim.zero)
        packets = self._captions.watched(self._packets) if self._captions else self._packets
        self._frames = self._decoder.frames(packets)
        first = next(self._frames, None)
        if first is not None:
            self._frames = chain([first], self._frames)
        return first

    def _go_to(self, begin: Fraction) -> None:
        """Decode from an I-frame before `begin` on, or from the beginning if none is found."""
        early = begin - DEINTERLACER_FRAMES * self.info.usual_interval
        for time in (early if self._decoder.deinterlaces else begin, self._open.trim.start):
            self._frames = iter(())
            self._open.close()
            self._open = OpenVideo.open(
                self._options, None, self._options.format or self._given_format
            )
            self._packets = self._video_packets()
            if time is not None:
                seek_before(self._open.container, self._open.stream, time)
            first = self._begin_decoding()
            if first is not None and self._is_entry(first.picture, begin):
                return

    def _is_entry(self, picture: av.VideoFrame, begin: Fraction) -> bool:
        """Return True if decoding from here gives the frames at and after `begin` as they are."""
        if picture.pts is None or picture.pts * self._timing.tick > begin:
            return False
        return picture.pict_type not in PREDICTED and not self._decoder.is_damaged(picture)

    def _go_to_start(self) -> None:
        """Begin to read at -ss where that can be done."""
        start = self._open.trim.start
        if start is not None and (not self._once or can_seek(self._options)):
            seek_before(self._open.container, self._open.stream, start)

    def _why_none(self) -> str:
        """Say what a server lacks that sends an mp4, whose index may come last."""
        if not can_seek(self._options) or "mov" not in self._open.container.format.name:
            return ""
        return (
            "; if its index comes last, the server has to let ranges be read: download the file, "
            "or write it with -movflags +faststart"
        )

    def _bytes_held(self) -> int:
        """Return the bytes of frames in the decoder, packets ahead of it, and libav's index."""
        frames = self._decoder.held_frames * self.info.frame_bytes
        return ceil(frames + self._packets.bytes_ahead + index_bytes(self._open))

    def _other_streams(self) -> ContainerStreams:
        opened, options, reopen = self._open, self._options, None
        if not self._once:
            reopen = partial(open_container, options, None, options.format)
        return ContainerStreams(opened.container, opened.choice, opened.trim, reopen)

    def _video_packets(self) -> VideoPackets:
        container, stream = self._open.container, self._open.stream
        return VideoPackets(
            container,
            stream,
            streams_to_read(container, stream, once=self._once),
            self.other_streams.set_aside,
            ahead=self._open.choice.ahead,
            counts=self.counts,
            name=self.name,
        )

    def _frame(self, frame: TimedFrame) -> Frame:
        if self._captions is not None and (found := self._captions.read(frame.picture)):
            self._keep_captions(frame.time, found)
        corrupt = self._decoder.is_damaged(frame.picture)
        self.counts.corrupt += corrupt
        return Frame(
            time=frame.time,
            planes=view(frame.picture, self.info.layout),
            origin=frame.picture,
            duration=self._clock.duration_of(frame.picture),
            corrupt=corrupt,
            lost=self._decoder.lost_before(frame.time),
            spliced=frame.spliced,
        )

    def _keep_captions(self, time: Fraction, triplets: bytes) -> None:
        queue = self.other_streams.captions
        listed = any(item.kind is Kind.CAPTIONS for item in self.carries)
        if not (queue.seen or queue.wanted or listed):
            way = RULES[Kind.CAPTIONS].way
            log.warning(
                "%s: captions begin at %.3f s and are left out; %s", self.name, float(time), way
            )
        queue.put(time, triplets)

    def _warn_of_haste(self) -> None:
        if self.info.interval is not None and self.info.interval < HASTE:
            log.warning(
                "%s: its frames are stamped %.1f ms apart; if that is wrong, give their rate "
                "before -i: -r 25 stamps them anew",
                self.name,
                float(1000 * self.info.interval),
            )

    def _warn_of_damage(self, last: Fraction | None) -> None:
        """Warn of damage, and of an end well before the declared one.

        last: seconds at which the last frame is shown.
        """
        declared = self._open.declared
        whole = self._open.trim.end is None and not self._packets.jumps
        if declared is not None and last is not None and whole:
            missing = declared[1] - last - (self.info.interval or 0)
            if missing > TOLERATED_LOSS:
                log.warning(
                    "%s: the video ends %.3f s before its declared end", self.name, float(missing)
                )
        if self.counts.corrupt:
            log.warning("%s: %d damaged packets or frames", self.name, self.counts.corrupt)
        if self.counts.out_of_order:
            log.warning(
                "%s: %d frames are dropped because their time did not advance",
                self.name,
                self.counts.out_of_order,
            )


def _video_info(
    first: DecodedFrame, opened: OpenVideo, timing: StreamTiming, turner: Turner
) -> VideoInfo:
    """Describe a stream by its first frame and by its header."""
    picture = first.picture
    aspect = fraction(opened.stream.sample_aspect_ratio) or Fraction(1)
    return VideoInfo(
        width=picture.width,
        height=picture.height,
        pix_fmt=picture.format.name,
        layout=plane_shapes(picture.format.name, picture.width, picture.height),
        rate=timing.cadence.rate,
        interval=timing.cadence.interval,
        color=color_of(picture, opened.header.chroma_location),
        sample_aspect=1 / aspect if turner.transposes else aspect,
    )
