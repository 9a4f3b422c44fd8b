"""Sinks that store one segment of an output, each frame as the whole output would hold it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import av
from av.codec.context import Flags

from ltxfilter.errors import OptionError, OutputError, Stopped
from ltxfilter.frame import Frame
from ltxfilter.media.base import Sink, Source
from ltxfilter.media.container.mux import ALPHA_ENCODERS, MuxPlan
from ltxfilter.media.container.sink import ContainerSink
from ltxfilter.media.encoding.conversion import EncoderStamps, Pictures, wanted_captions
from ltxfilter.media.encoding.process_state import BlankHeap, ordinary_priority
from ltxfilter.media.encoding.settings import configure
from ltxfilter.media.opening import encodes, open_trial
from ltxfilter.media.raw.base import RawSink
from ltxfilter.media.segments.segment_file import (
    TIMES,
    SegmentReader,
    SegmentWriter,
    StoredCaptions,
    StoredPacket,
)
from ltxfilter.options import OutputOptions
from ltxfilter.windows.segment import Segment

if TYPE_CHECKING:
    from typing import Self

ENCODER_THREADS = 4  # of every segment, since some encoders' packets depend on their number
GLOBAL_HEADER = 0x40  # AVFMT_GLOBALHEADER: the format keeps encoders' headers apart from packets
WHOLE_ONLY = {"gif", "apng", "libwebp_anim", "libwebp"}  # encoders whose pictures build on others
TWO_PASS = ("pass", "passlogfile")
BUFFERED = ("maxrate", "bufsize", "minrate")
BUFFERED_PARAMS = ("vbv", "nal-hrd", "hrd")


def segment_output(options: OutputOptions, source: Source) -> OutputOptions:
    """Return the options by which segments of an output are encoded alike on every machine.

    Raises OptionError for options that need the whole video, before any file is made.
    """
    _refuse_whole_options(options)
    if not encodes(options, source):
        return options
    return replace(options, encoder={"threads": str(ENCODER_THREADS), **options.encoder})


def _refuse_whole_options(options: OutputOptions) -> None:
    if options.frames is not None:
        raise OptionError("-frames:v counts over all segments; end the input with -t instead")
    given = options.encoder
    params = "".join(value for name, value in given.items() if name.endswith("-params"))
    if any(name in given for name in TWO_PASS) or "pass=" in params:
        raise OptionError("-pass: two passes need the whole video; use -crf, or leave out segments")
    if any(name in given for name in BUFFERED) or any(name in params for name in BUFFERED_PARAMS):
        raise OptionError(
            "-maxrate and -bufsize: a buffer model runs on from segment to segment; use -crf, or a "
            "single run, without --resume, --workers and --ray"
        )


def refuse_whole(sink: Sink) -> None:
    """Raise OptionError for an output whose encoder cannot make it in segments.

    sink: the output, open.
    """
    encoder = sink.output_format.encoder
    alpha = (
        isinstance(sink, ContainerSink)
        and encoder in ALPHA_ENCODERS
        and sink.mux_plan.settings.pix_fmt.startswith("yuva")
    )
    if encoder in WHOLE_ONLY or alpha:
        what = f"{encoder} with alpha" if alpha else encoder
        raise OptionError(
            f"{sink.name}: {what} cannot make it in segments; leave out --resume, --workers and "
            "--ray"
        )


class SegmentOutput:
    """What the segments of one output have in common, found out once."""

    def __init__(self, options: OutputOptions, source: Source, rate: Fraction | None) -> None:
        """Check the output for frames of `source`. rate: frames per second; see `open_sink`.

        Raises OutputError, OptionError.
        """
        self.like = open_trial(options, source, rate)
        self._clock = Fraction(1)  # seconds per tick of the encoder, while this source is open
        if isinstance(self.like, ContainerSink):
            self._clock = self.like.mux_plan.encoder_clock

    def sink(self, source: Source, segment: Segment, writer: SegmentWriter) -> SegmentSink:
        """Return what stores `segment`, whose frames `source` will yield."""
        encoder: SegmentEncoder
        if isinstance(self.like, ContainerSink):
            if self.like.writes_captions and source.other_streams is not None:
                source.other_streams.captions.wanted = True
            encoder = EncodedSegment(self.like.mux_plan, self._clock, source, segment, writer)
        else:
            encoder = RawSegment(self.like, writer)
        return SegmentSink(self.like, encoder, writer)


class SegmentEncoder(Protocol):
    """Turns the frames of a segment into what is stored of them."""

    def write(self, frame: Frame) -> None:
        """Store a frame. Raises av.FFmpegError, OutputError."""
        ...

    def finish(self) -> None:
        """Store what is left."""
        ...

    @property
    def summary(self) -> dict[str, Any]:
        """What the joining of segments has to know."""
        ...


class SegmentSink:
    """Stores the frames of one segment. Nothing of it remains unless `complete` is called."""

    def __init__(self, like: Sink, encoder: SegmentEncoder, writer: SegmentWriter) -> None:
        """like: a sink for the whole output. encoder: what stores a frame."""
        self.name, self.plan, self.output_format = like.name, like.plan, like.output_format
        self.held_bytes, self.index_bytes = like.held_bytes, 0
        self._encoder = encoder
        self._writer = writer
        self._cancelled = False
        self._first: Fraction | None = None  # time of the first frame
        self._frames = 0

    @property
    def place(self) -> str:
        """The stored segment."""
        return str(self._writer.path)

    def write(self, frame: Frame) -> None:
        """Store one frame. Raises OutputError, Stopped."""
        if self._cancelled:
            raise Stopped
        with self._failing():
            self._encoder.write(frame)
        if self._first is None:
            self._first = frame.time
        self._frames += 1

    def join(self, segment: SegmentReader, first: Frame) -> None:
        """Raise NotImplementedError: a segment is not made of others."""
        raise NotImplementedError

    def finish(self) -> None:
        """Store what the encoder still holds; `complete` makes the file whole."""
        with self._failing():
            self._encoder.finish()

    def complete(self, summary: dict[str, Any]) -> None:
        """Give the file its name. summary: what else it says. Raises OutputError."""
        first = None if self._first is None else str(self._first)
        placed = {"first": first, "frames": self._frames}
        self._writer.finish({**self._encoder.summary, **placed, **summary})

    def close(self) -> str | None:
        """Leave nothing behind that is not complete."""
        self._writer.discard()
        return None

    def cancel(self) -> None:
        """Raise Stopped at the next frame."""
        self._cancelled = True

    def abandon(self) -> str | None:
        """Do nothing: what is not complete is made again."""
        return None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn an error of libav into an OutputError."""
        try:
            yield
        except av.FFmpegError as error:
            raise OutputError(f"{self.name}: cannot be encoded: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class RawSegment:
    """Stores samples as a raw output holds them."""

    def __init__(self, like: Sink, writer: SegmentWriter) -> None:
        """like: a sink of that output."""
        assert isinstance(like, RawSink)
        self._like = like
        self._writer = writer

    def write(self, frame: Frame) -> None:
        """Store a frame. Raises OutputError."""
        times = TIMES.pack(self._writer.packets, 0, 1, 0)
        self._writer.put_frame(times, self._like.laid_out(frame))

    def finish(self) -> None:
        """Do nothing: no frame is held."""

    @property
    def summary(self) -> dict[str, Any]:
        """Nothing: frames follow each other."""
        return {}


class EncodedSegment:
    """Stores packets of an encoder, which begins anew, stamped from the segment's first frame."""

    def __init__(
        self,
        plan: MuxPlan,
        clock: Fraction,
        source: Source,
        segment: Segment,
        writer: SegmentWriter,
    ) -> None:
        """Open the encoder as the whole output's would be. clock: seconds per tick of it."""
        self._plan = plan
        self._clock = clock
        self._writer = writer
        self._segment = segment
        self._captions = wanted_captions(source)
        first = source.first_picture
        self._settings = plan.settings if first is None else plan.settings.with_hdr(first)
        self._pictures = Pictures(source.info, self._settings.video, self._captions)
        self._stamps = EncoderStamps(clock)
        self._stamps.begin(segment.start)
        self._marks = plan.frame_marks()
        self._tick: int | None = None  # of the segment's first frame, from the stream's first
        self._heap = BlankHeap(self._settings.codec)
        self._encoder = self._open()
        self._header = bytes(self._encoder.extradata or b"")

    def write(self, frame: Frame) -> None:
        """Encode a frame. Raises av.FFmpegError, OutputError."""
        picture = self._pictures.picture(frame)
        self._stamps.stamp(picture, frame.time)
        if self._tick is None:
            self._tick = self._stamps.ticks
            if self._captions is not None and self._segment.begin is not None:
                self._captions.before(self._segment.begin)
        tick = self._stamps.ticks - self._tick
        if self._captions is not None and (arrived := self._captions.until(frame.time)):
            self._writer.put_captions(StoredCaptions(tick, arrived))
        if self._marks is not None:
            self._marks.add(tick, frame)
        picture.pts = tick
        picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
        self._store(picture)

    def finish(self) -> None:
        """Drain the encoder. Raises av.FFmpegError, OutputError."""
        if self._tick is None:
            return
        self._store(None)
        self._heap.end()
        end = self._segment.end
        if self._captions is not None and end is not None and (left := self._captions.before(end)):
            self._writer.put_captions(StoredCaptions(self._stamps.ticks + 1 - self._tick, left))

    @property
    def summary(self) -> dict[str, Any]:
        """The ticks before the segment, and the encoder's header."""
        return {"tick": self._tick or 0, "header": self._header.hex()}

    def _open(self) -> av.VideoCodecContext:
        plan = self._plan
        encoder = av.CodecContext.create(self._settings.codec, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        configure(encoder, self._settings, self._clock, plan.nominal_rate)
        if av.ContainerFormat(plan.muxer, "w").flags & GLOBAL_HEADER:
            encoder.flags |= int(Flags.global_header)
        with ordinary_priority():
            encoder.open()
        return encoder

    def _store(self, picture: av.VideoFrame | None) -> None:
        """Encode a picture, None to drain, and store the packets that come of it."""
        for packet in self._encoder.encode_lazy(picture):
            assert packet.pts is not None
            self._heap.packet()
            data = bytes(packet)
            if self._marks is not None:
                data = self._marks.into(packet.pts, data)
            self._writer.put_packet(
                StoredPacket(
                    packet.pts,
                    packet.dts,
                    packet.duration or 0,
                    packet.is_keyframe,
                    data,
                )
            )
