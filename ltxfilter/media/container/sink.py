"""A container as a sink: which picture to encode for a frame, and what becomes of the file."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

import av

from ltxfilter.errors import InputError, LtxFilterError, OutputError
from ltxfilter.frame import Frame, Made
from ltxfilter.media.avframe import Copies, from_planes
from ltxfilter.media.base import Source, StreamPlan
from ltxfilter.media.container.copied_streams import plan_streams, refuse_lost_audio
from ltxfilter.media.container.decode import reshape
from ltxfilter.media.container.mux import Muxer, MuxPlan, check_header, muxer_name, nominal_rate
from ltxfilter.media.container.source import ContainerSource
from ltxfilter.media.encoding.settings import encoder_settings
from ltxfilter.media.output_file import PartFile
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
        place of the path. Raises OptionError, OutputError.
        """
        self.name = "standard output" if options.path == "-" else options.path
        self.info, self.rate = source.info, rate
        self.plan: tuple[StreamPlan, ...] = ()
        self._source = source
        muxer = muxer_name(options, format)
        self.recipe = encoder_settings(options, muxer, self.info, rate or nominal_rate(self.info))
        self.held_bytes = self.recipe.held_bytes(self.info)
        origin = source if isinstance(source, ContainerSource) else None
        if origin is not None:
            self.plan = plan_streams(origin.container, origin.stream, options, muxer)
            refuse_lost_audio(self.plan, self.name)
            origin.queue.want({plan.index for plan in self.plan if plan.action == "copy"})
        self._layout = MuxPlan(
            muxer, options.muxer, self.recipe, self.info, rate, origin, self.plan
        )
        check_header(self._layout, self.name)
        if self._layout.loses_aspect:
            log.warning(
                "%s: %s cannot say here that pixels are %s wide; another -c:v or .mp4 can",
                self.name,
                self.recipe.codec,
                self.info.sample_aspect,
            )
        self._file = file
        self._part = (
            PartFile(options.path, options.overwrite, source.name) if file is None else None
        )
        self._copies = Copies()
        self._muxer: Muxer | None = None  # once there is a frame
        self._origin = Fraction(0)  # output seconds of the first frame
        self._first = Fraction(0)  # its time on the source's clock
        self._ticks = -1  # of the last frame, on the encoder's clock
        self._broken = False  # libav failed: it crashes if it is asked for more than the end
        self._completed = False  # drained, with its trailer, as far as that went
        self._ended = False  # finished or closed

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError, BrokenPipeError."""
        try:
            muxer = self._muxer or self._begin(frame)
            picture = self._picture(frame)
            ticks = round((frame.time - self._first) / self._layout.encoder_clock)
            self._ticks = max(ticks, self._ticks + 1)
            picture.pts, picture.time_base = self._ticks, self._layout.encoder_clock
            picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
            muxer.encode(picture, self._origin)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Drain, complete the file and give it its final name. Raises InputError, OutputError."""
        if self._muxer is None:
            self.close()
            raise InputError(f"{self._source.name}: no video frames")
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
        if self._part is None or self._part.direct:
            return None
        if self._broken:
            return f"{self._part.part} holds what was written before"
        return f"{self._part.part} holds the first {float(self._end(self._muxer)):.3f} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, frame: Frame) -> Muxer:
        """Open the output, now that a frame shows what goes into its header."""
        source = self._layout.source
        self._first = frame.time
        self._origin = Fraction(0) if source is None else frame.time - source.zero
        target = self._file if self._part is None else f"file:{self._part.part}"
        self._muxer = Muxer(self._layout, target, frame.origin)
        self._muxer.read_copied()
        return self._muxer

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """Return what to encode: the decoded frame itself, or one made to look like it."""
        if frame.origin is None:
            picture = from_planes(frame.planes, self.info)
        elif frame.made is Made.INTERPOLATED:
            picture = self._copies.redraw(frame.origin, frame.planes, self.info.layout)
        elif frame.made is Made.REPEATED:
            picture = self._copies.share(frame.origin)
        else:
            picture = frame.origin
        if picture.format.name == self.recipe.pix_fmt:
            return picture
        if picture is frame.origin:
            picture = self._copies.share(picture)  # reformatting touches the frame it reads
        return reshape(picture, self.info.width, self.info.height, self.recipe.pix_fmt)

    def _complete(self, muxer: Muxer, patience: float | None = None) -> None:
        """Drain the encoder and the copied streams, and write the trailer; only once.

        patience: seconds that an early end leaves the encoder; what it still holds is lost then.
        """
        if self._completed:
            return
        self._completed = True
        try:
            if not self._broken:
                muxer.encode(None, self._origin, inf if patience is None else patience)
                muxer.copy(None if patience is None else self._origin + self._end(muxer))
            muxer.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _end(self, muxer: Muxer) -> Fraction:
        """Return at which second from the first picture the last one that was kept ends."""
        if muxer.lost is not None:
            return muxer.lost * self._layout.encoder_clock
        return self._ticks * self._layout.encoder_clock + 1 / self._layout.nominal_rate

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one of libav's."""
        self._broken = True
        if isinstance(error, BrokenPipeError):
            return error
        return OutputError(f"{self.name}: cannot be written: {getattr(error, 'strerror', error)}")
