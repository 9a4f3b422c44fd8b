"""A container as a sink: which picture to encode for a frame, and what becomes of the file."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

import av

from ltxfilter.errors import InputError, LtxFilterError, OutputError
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.avframe import FrameCopier, from_planes, reshape
from ltxfilter.media.base import Source, StreamPlan
from ltxfilter.media.container.copied_streams.plan import refuse_lost_audio
from ltxfilter.media.container.mux import (
    Muxer,
    MuxPlan,
    check_header,
    content_format,
    muxer_name,
    nominal_rate,
)
from ltxfilter.media.encoding.settings import encoder_settings
from ltxfilter.media.many_files.names import MANY_FILES
from ltxfilter.media.many_files.output_files import OutputFiles
from ltxfilter.media.output_file import OutputFile
from ltxfilter.media.picture_formats import PictureFinisher, as_pictures, warn_of_pace
from ltxfilter.options import OutputOptions

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger("ltxfilter.media")

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
        self.held_bytes = self.mux_plan.settings.held_bytes(source.info)
        self._file = file
        self._part = _output(options, self.mux_plan.muxer) if file is None else None
        self._pictures = Pictures(source.info, self.mux_plan.settings.pix_fmt)
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
            picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
            muxer.encode(picture)
            if self._part is not None and self._part.failure is not None:
                raise self._part.failure
        except (av.FFmpegError, OSError, LtxFilterError) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Drain, complete the file and give it its final name. Raises InputError, OutputError."""
        if self._muxer is None:
            self.close()
            raise InputError(f"{self._source_name}: no video frames")
        self._complete(self._muxer)
        if self._part is not None:
            try:
                self._part.complete()
            except OSError as error:
                raise self._failed(error) from error
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

        given: the format, if one is named. Raises OptionError, OutputError.
        """
        info, others = source.info, source.other_streams
        muxer = muxer_name(options, given)
        content = content_format(muxer, options)
        settings = encoder_settings(options, content, info, rate or nominal_rate(info))
        streams: tuple[StreamPlan, ...] = ()
        if others is not None:
            streams = others.plan(options, muxer)
            refuse_lost_audio(streams, self.name)
            others.select(streams)
        shown = as_pictures(settings.codec, info)
        plan = MuxPlan(muxer, options.muxer, settings, shown, rate, others, streams)
        check_header(plan, self.name, content)
        warn_of_pace(self.name, muxer, rate)
        if plan.loses_aspect:
            log.warning(
                "%s: %s cannot say here that pixels are %s wide; another -c:v or .mp4 can",
                self.name,
                settings.codec,
                info.sample_aspect,
            )
        return plan

    def _begin(self, frame: Frame) -> Muxer:
        """Open the output, now that a frame shows what goes into its header."""
        others = self.mux_plan.others
        start = Fraction(0) if others is None else frame.time - others.zero
        self._stamps.begin(frame.time)
        target, opener = self._file, None
        if self._part is not None:
            target, opener = self._part.for_libav(), self._part.opener
        self._muxer = Muxer(self.mux_plan, target, frame.origin, start, opener)
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
        if self._part is not None and self._part.failure is not None:
            error = self._part.failure
        if isinstance(error, (BrokenPipeError, LtxFilterError)):
            return error
        return OutputError(f"{self.name}: cannot be written: {getattr(error, 'strerror', error)}")


def _output(options: OutputOptions, muxer: str) -> OutputFile | OutputFiles:
    """Return the file that a muxer writes, or what opens those that it writes."""
    if muxer in MANY_FILES:
        return OutputFiles(options, muxer)
    return OutputFile(options.path, options.overwrite)


class Pictures:
    """Makes the pictures that an encoder takes out of the frames of one stream."""

    def __init__(self, info: VideoInfo, pix_fmt: str) -> None:
        """info: the stream's. pix_fmt: what the encoder takes, by FFmpeg's name."""
        self._info = info
        self._pix_fmt = pix_fmt
        self._copier = FrameCopier()
        self._finisher = PictureFinisher(info, pix_fmt)

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
            picture = decoded
        takes = self._finisher.takes
        if picture.format.name != takes:
            if picture is decoded:
                picture = self._copier.share(picture)  # reformatting touches the frame it reads
            picture = reshape(picture, self._info.width, self._info.height, takes)
        return self._finisher.finish(picture)


class EncoderStamps:
    """Counts the frames in ticks of an encoder, from the first one's time on; never one twice."""

    def __init__(self, clock: Fraction) -> None:
        """clock: seconds per tick."""
        self._clock = clock
        self._first = Fraction(0)  # seconds on the source's clock
        self._ticks = -1  # of the latest frame

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
