"""A container as a sink: which picture to encode for a frame, and what becomes of the file."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

import av

from ltxfilter.errors import InputError, LtxFilterError, OutputError, Stopped
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.avframe import FrameCopier, from_planes, reshape
from ltxfilter.media.base import Source, StreamPlan
from ltxfilter.media.carried.captions import CaptionWriter
from ltxfilter.media.carried.edits import Edits
from ltxfilter.media.carried.items import RULES, Kind, OutputFormat, has_device_tags
from ltxfilter.media.carried.tags import is_any_name
from ltxfilter.media.container.copied_streams.plan import refuse_lost_audio
from ltxfilter.media.container.mux import Muxer, MuxPlan, check_header, muxer_name, nominal_rate
from ltxfilter.media.encoding.settings import encoder_settings
from ltxfilter.media.output_file import OutputFile
from ltxfilter.options import OutputOptions
from ltxfilter.refusals import check_threads, encoder_threads

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger("ltxfilter.media")

WAITING_ENCODERS = {"libx265", "hevc"}  # they wait forever for a thread that could not be started
PATIENCE = 0.3  # seconds that an early end leaves the encoder to give back what it holds


class ContainerSink:
    """Encodes frames into a file or a pipe, with all else that the source carries."""

    def __init__(
        self,
        options: OutputOptions,
        source: Source,
        rate: Fraction | None,
        file: Any = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        """Check everything that can be checked before the first frame.

        rate: output frames per second; None takes the frames' own times. file: a writable pipe in
        place of the path. format: FFmpeg's name; None goes by `options`, then by the path. Raises
        OptionError, OutputError.
        """
        self.name = "standard output" if options.path == "-" else options.path
        self._source_name = source.name
        self.mux_plan = self._plan(options, source, rate, format)
        self.plan: tuple[StreamPlan, ...] = self.mux_plan.streams
        settings = self.mux_plan.settings
        self.output_format = OutputFormat(
            self.mux_plan.muxer,
            settings.codec,
            av.codec.codec.Codec(settings.codec, "w").canonical_name,
            is_any_name(self.mux_plan.options),
        )
        self.held_bytes = self.mux_plan.settings.held_bytes(source.info)
        self._file = file
        self._part = OutputFile(options.path, options.overwrite) if file is None else None
        self._captions = self._caption_writer(options, source)
        self._pictures = Pictures(source.info, settings.pix_fmt, strip=self._captions is not None)
        self._stamps = EncoderStamps(self.mux_plan.encoder_clock)
        self._muxer: Muxer | None = None  # once there is a frame
        self._broken = False  # libav failed: it crashes if it is asked for more than the end
        self._completed = False  # drained, with its trailer, as far as that went
        self._ended = False  # finished or closed

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError, BrokenPipeError."""
        try:
            muxer = self._muxer or self._begin(frame)
            picture = self._pictures.picture(frame)
            self._stamps.stamp(picture, frame.time)
            if self._captions is not None:
                assert self.mux_plan.others is not None
                arrived = self.mux_plan.others.captions.until(frame.time)
                self._captions.add(self._stamps.ticks, arrived)
            picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
            muxer.encode(picture)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Drain, complete the file and give it its final name. Raises InputError, OutputError."""
        if self._muxer is None:
            self.close()
            raise InputError(f"{self._source_name}: no video frames")
        self._complete(self._muxer)
        if self._part is not None:
            self._part.complete()
        self._ended = True

    def close(self) -> str | None:
        """Release everything; an unfinished file is completed, and the line says where it is."""
        if self._ended:
            return None
        self._ended = True
        if self._muxer is None:
            if self._part is not None:
                self._part.discard()
            return None
        with suppress(LtxFilterError, BrokenPipeError):
            self._complete(self._muxer, PATIENCE)
        if self._part is not None:
            with suppress(LtxFilterError, BrokenPipeError):
                self._part.close()
        if self._part is None or self._part.direct:
            return None
        if self._broken:
            return f"{self._part.part} holds what was written before"
        return f"{self._part.part} holds the first {float(self._kept(self._muxer)):.3f} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _plan(
        self, options: OutputOptions, source: Source, rate: Fraction | None, given: str | None
    ) -> MuxPlan:
        """Choose encoder and streams, and check that the container takes them.

        given: the format, if one is named. Raises OptionError, OutputError, ResourceError.
        """
        info, others = source.info, source.other_streams
        muxer = muxer_name(options, given)
        if options.codec in WAITING_ENCODERS:
            check_threads(encoder_threads())
        settings = encoder_settings(options, muxer, info, rate or nominal_rate(info))
        streams: tuple[StreamPlan, ...] = ()
        if others is not None:
            streams = others.plan(options, muxer)
            refuse_lost_audio(streams, self.name)
            others.select(streams)
        plan = MuxPlan(
            muxer,
            options.muxer,
            settings,
            info,
            rate,
            others,
            streams,
            has_device_tags(source.carries),
            Edits.of(options),
        )
        check_header(plan, self.name)
        if plan.loses_aspect:
            log.warning(
                "%s: %s cannot say here that pixels are %s wide; another -c:v or .mp4 can",
                self.name,
                settings.codec,
                info.sample_aspect,
            )
        return plan

    def _caption_writer(self, options: OutputOptions, source: Source) -> CaptionWriter | None:
        """Return what writes captions, if the source can have any and the codec can carry them."""
        if source.other_streams is None or not options.subtitles:
            return None
        if not RULES[Kind.CAPTIONS].keeps(self.output_format):
            return None
        source.other_streams.captions.wanted = True
        return CaptionWriter(self.output_format.codec, self.mux_plan.nominal_rate)

    def _begin(self, frame: Frame) -> Muxer:
        """Open the output, now that a frame shows what goes into its header."""
        others = self.mux_plan.others
        start = Fraction(0) if others is None else frame.time - others.zero
        self._stamps.begin(frame.time)
        target = self._file if self._part is None else self._part.for_libav()
        self._muxer = Muxer(self.mux_plan, target, frame.origin, start, self._captions)
        self._muxer.start_copying()
        return self._muxer

    def _complete(self, muxer: Muxer, patience: float | None = None) -> None:
        """Drain the encoder and the copied streams, and write the trailer; only once.

        patience: seconds that an early end leaves the encoder; what it still holds is lost then.
        """
        if self._completed:
            return
        self._completed = True
        try:
            if not self._broken:
                muxer.encode(None, inf if patience is None else patience)
                muxer.copy(None if patience is None else muxer.start + self._kept(muxer))
            muxer.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _kept(self, muxer: Muxer) -> Fraction:
        """Return how many seconds after the first frame's time the last kept frame ends."""
        if muxer.first_lost is not None:
            return muxer.first_lost * self.mux_plan.encoder_clock
        return self._stamps.latest + 1 / self.mux_plan.nominal_rate

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one of libav's."""
        self._broken = True
        if isinstance(error, (BrokenPipeError, Stopped)):
            return error
        return OutputError(f"{self.name}: cannot be written: {getattr(error, 'strerror', error)}")


class Pictures:
    """Makes the pictures that an encoder takes out of the frames of one stream."""

    def __init__(self, info: VideoInfo, pix_fmt: str, *, strip: bool) -> None:
        """Begin a stream.

        info: the stream's. pix_fmt: what the encoder takes, by FFmpeg's name. strip: whether frames
        lose the side data that describes one frame, since it is written otherwise.
        """
        self._strip = strip
        self._info = info
        self._pix_fmt = pix_fmt
        self._copier = FrameCopier()

    def picture(self, frame: Frame) -> av.VideoFrame:
        """Return what to encode: the decoded frame itself, or one made to look like it."""
        decoded = frame.origin
        if decoded is None:
            picture = from_planes(frame.planes, self._info)
        elif frame.made is Made.INTERPOLATED:
            picture = self._copier.with_planes(decoded, frame.planes, self._info.layout)
        elif frame.made is Made.REPEATED:
            picture = self._copier.share(decoded)
        else:
            picture = self._copier.share(decoded) if self._strip else decoded
        if picture.format.name == self._pix_fmt:
            return picture
        if picture is decoded:
            picture = self._copier.share(picture)  # reformatting touches the frame it reads
        return reshape(picture, self._info.width, self._info.height, self._pix_fmt)


class EncoderStamps:
    """Counts the frames in ticks of an encoder, from the first one's time on; never one twice."""

    def __init__(self, clock: Fraction) -> None:
        """clock: seconds per tick."""
        self._clock = clock
        self._first = Fraction(0)  # seconds on the source's clock
        self._ticks = -1  # of the latest frame

    @property
    def ticks(self) -> int:
        """Of the latest frame."""
        return self._ticks

    @property
    def latest(self) -> Fraction:
        """Seconds from the first frame to the latest one."""
        return self._ticks * self._clock

    def begin(self, time: Fraction) -> None:
        """Take `time`, seconds on the source's clock, for tick 0."""
        self._first = time

    def stamp(self, picture: av.VideoFrame, time: Fraction) -> None:
        """Stamp a picture that is shown at `time`, seconds on the source's clock."""
        self._ticks = max(round((time - self._first) / self._clock), self._ticks + 1)
        picture.pts, picture.time_base = self._ticks, self._clock
