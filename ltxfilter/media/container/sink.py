"""A container as a sink: which picture to encode for a frame, and what becomes of the file."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

from ltxfilter.errors import InputError, LtxFilterError, OutputError, Stopped
from ltxfilter.frame import Frame
from ltxfilter.media.base import Source, StreamPlan
from ltxfilter.media.carried.captions import CaptionWriter
from ltxfilter.media.carried.edits import Edits
from ltxfilter.media.carried.items import RULES, Kind, OutputFormat, has_device_tags
from ltxfilter.media.carried.tags import is_any_name
from ltxfilter.media.container.copied_streams.plan import refuse_lost_audio
from ltxfilter.media.container.header_check import check_header
from ltxfilter.media.container.mux import (
    BUFFER,
    Muxer,
    MuxPlan,
    nominal_rate,
)
from ltxfilter.media.encoding.conversion import EncoderStamps, Pictures, wanted_captions
from ltxfilter.media.encoding.encoder_memory import encoder_share
from ltxfilter.media.encoding.settings import encoder_settings
from ltxfilter.media.many_files.muxers import content_format, muxer_name
from ltxfilter.media.many_files.names import MANY_FILES
from ltxfilter.media.many_files.output_files import OutputFiles
from ltxfilter.media.many_files.picture_formats import warn_of_pace
from ltxfilter.media.output_file import OutputFile
from ltxfilter.media.pipe.libav_io import Writer
from ltxfilter.media.pipe.nut_aspect import telling_aspect
from ltxfilter.options import OutputOptions
from ltxfilter.refusals import check_threads, encoder_threads
from ltxfilter.values import MIB, scheme_of

if TYPE_CHECKING:
    from typing import Self

    from ltxfilter.media.network.address_output import AddressOutput
    from ltxfilter.media.segments.segment_file import SegmentReader

log = logging.getLogger("ltxfilter.media")

WAITING_ENCODERS = {"libx265", "hevc"}  # they wait forever for a thread that could not be started
PATIENCE = 0.5  # seconds that an early end leaves the encoder to give back what it holds


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
        self.name = "standard output" if options.path == "-" else options.shown
        self._source_name = source.name
        self.mux_plan = self._plan(options, source, rate, format)
        self.plan: tuple[StreamPlan, ...] = self.mux_plan.streams
        self.held_bytes = self._bytes_held()
        self.index_bytes = self.mux_plan.index_bytes
        settings = self.mux_plan.settings
        self.output_format = OutputFormat(
            self.mux_plan.muxer,
            settings.codec,
            av.codec.codec.Codec(settings.codec, "w").canonical_name,
            is_any_name(self.mux_plan.options),
        )
        self._file = file
        self._part = _output(options, self.mux_plan.muxer) if file is None else None
        self._pipe = file if isinstance(file, Writer) else None
        self._captions = self._caption_writer(options, source)
        self._marks = self.mux_plan.frame_marks()
        self._pictures = Pictures(source.info, settings.video, wanted_captions(source))
        self._stamps = EncoderStamps(self.mux_plan.encoder_clock)
        self._to_come = options.frames  # frames until the output ends; None: with the source
        self._muxer: Muxer | None = None  # once there is a frame
        self._joins = False  # packets are joined that were encoded elsewhere
        self._broken = False  # libav failed: it crashes if it is asked for more than the end
        self._stalled = False  # a reader took nothing until the output was cancelled
        self._completed = False  # drained, with its trailer, as far as that went
        self._ended = False  # finished or closed
        self._finished = False

    @property
    def place(self) -> str:
        """NAME.part, or `name` where the output has no other."""
        return self.name if self._part is None else str(self._part.part)

    @property
    def writes_captions(self) -> bool:
        """True if captions are put into the encoded packets."""
        return self._captions is not None

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError, BrokenPipeError, Stopped."""
        try:
            muxer = self._muxer or self._begin(frame)
            picture = self._pictures.picture(frame)
            self._stamps.stamp(picture, frame.time)
            if self._captions is not None:
                assert self.mux_plan.others is not None
                arrived = self.mux_plan.others.captions.until(frame.time)
                self._captions.add(self._stamps.ticks, arrived)
            if self._marks is not None:
                self._marks.add(self._stamps.ticks, frame)
            picture.pict_type = 0  # the decoder's choice of I, P or B must not bind the encoder
            muxer.encode(picture)
            if self._part is not None and self._part.failure is not None:
                raise self._part.failure
            if self._to_come is not None:
                self._to_come -= 1
        except (av.FFmpegError, OSError, LtxFilterError, Stopped) as error:
            raise self._failed(error) from error

    def join(self, segment: SegmentReader, first: Frame) -> None:
        """Mux the packets of a stored segment. Raises OutputError, BrokenPipeError, Stopped."""
        try:
            muxer = self._muxer or self._begin(first)
            self._joins = True
            shift: int = segment.summary["tick"]
            if not muxer.check_parameters(
                self.output_format.codec, bytes.fromhex(segment.summary["header"])
            ):
                raise OutputError(
                    f"{segment.path}: was encoded with other parameters than {self.name} needs"
                )
            if self._captions is not None:
                segment.give_captions(self._captions, shift)
            for packet in segment.packets():
                muxer.join(packet, shift)
                self._stamps.pass_over(packet.pts + shift)
            if self._part is not None and self._part.failure is not None:
                raise self._part.failure
        except (av.FFmpegError, OSError, LtxFilterError, Stopped) as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Drain, complete the file and give it its final name.

        Raises InputError, OutputError, Stopped.
        """
        if self._muxer is None:
            self.close()
            raise InputError(f"{self._source_name}: no video frames")
        self._complete(self._muxer)
        if self._muxer.cut:
            raise Stopped
        if self._part is not None:
            try:
                self._part.complete()
            except OSError as error:
                raise self._failed(error) from error
        if self._pipe is not None:
            self._pipe.release()
        self._ended = self._finished = True

    def close(self) -> str | None:
        """Release everything; an unfinished file is completed, and the line says where it is."""
        if self._ended:
            return None
        self._ended = True
        if self._muxer is None:
            if self._part is not None:
                self._part.discard()
            return self._stall() if self._stalled else None
        self._muxer.hurry(PATIENCE)
        with suppress(LtxFilterError, BrokenPipeError, Stopped):
            self._complete(self._muxer, early=True)
        if self._pipe is not None:
            self._pipe.release()
        if self._part is not None:
            with suppress(LtxFilterError, BrokenPipeError, Stopped):
                self._part.close()
        return self._unfinished(self._muxer)

    def cancel(self) -> None:
        """Leave the encoder PATIENCE more seconds, and a reader that takes nothing a moment."""
        if self._muxer is not None:
            self._muxer.hurry(PATIENCE)
        if self._pipe is not None:
            self._pipe.cancel()
        if self._part is not None:
            self._part.cancel()

    def abandon(self) -> str | None:
        """Write the trailer, though another thread may be inside the encoder."""
        muxer = self._muxer
        if muxer is None:
            return self.close()
        try:
            muxer.close()
        except (av.FFmpegError, OSError, LtxFilterError, Stopped) as error:
            self._failed(error)
        return self._unfinished(muxer)

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
        content = content_format(muxer, options)
        settings = encoder_settings(options, content, info, rate or nominal_rate(info))
        streams: tuple[StreamPlan, ...] = ()
        if others is not None:
            streams = others.plan(options, muxer)
            refuse_lost_audio(streams, self.name)
            others.select(streams)
        plan = MuxPlan(
            muxer,
            options.muxer,
            settings,
            settings.video,
            rate,
            others,
            streams,
            has_device_tags(source.carries),
            options.made_by.partition(",")[0] if options.provenance == "full" else "",
            Edits.of(options),
        )
        check_header(plan, self.name, content)
        warn_of_pace(self.name, muxer, rate)
        if plan.loses_aspect:
            log.warning(
                "%s: %s cannot say here that pixels are %s wide; another -c:v or .mp4 can",
                self.name,
                settings.codec,
                plan.info.sample_aspect,
            )
        return plan

    def _bytes_held(self) -> int:
        """Return the bytes of the encoder, and of the packets that libav puts in order."""
        plan = self.mux_plan
        share = encoder_share(plan.settings, plan.nominal_rate)
        if not share.measured:
            log.info(
                "%s: what it holds in memory was never measured; it is counted as %d MB",
                plan.settings.codec,
                share.nbytes // MIB,
            )
        return share.nbytes + plan.interleaved_bytes + BUFFER

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
        start = Fraction(0)
        if others is not None:
            others.begin(frame.time)
            start = frame.time - others.zero
        self._stamps.begin(frame.time)
        target, opener = self._file, None
        if self._part is not None:
            target, opener = self._part.for_libav(), self._part.opener
            if self.mux_plan.muxer == "nut" and isinstance(target, Writer):
                target = telling_aspect(target, self.mux_plan.info.sample_aspect)
        self._muxer = Muxer(
            self.mux_plan,
            target,
            frame.origin,
            start,
            captions=self._captions,
            marks=self._marks,
            opener=opener,
        )
        self._muxer.start_copying()
        return self._muxer

    def _complete(self, muxer: Muxer, *, early: bool = False) -> None:
        """Drain the encoder and the copied streams, and write the trailer; only once.

        early: whether the other streams end with the frames that were kept.
        """
        if self._completed:
            return
        self._completed = True
        try:
            if not self._broken:
                if not self._joins:  # else the encoder was given nothing
                    muxer.encode(None)
                short = early or muxer.cut or self._to_come == 0
                muxer.copy(muxer.start + self._kept(muxer) if short else None)
            muxer.close()
        except (av.FFmpegError, OSError, Stopped) as error:
            raise self._failed(error) from error

    def _kept(self, muxer: Muxer) -> Fraction:
        """Return how many seconds after the first frame's time the last kept frame ends."""
        if muxer.held:
            return muxer.held[0] * self.mux_plan.encoder_clock
        return self._stamps.latest + 1 / self.mux_plan.nominal_rate

    def _unfinished(self, muxer: Muxer) -> str | None:
        """Return where the unfinished output is and what it holds; None where nothing is lost."""
        direct = self._part is None or self._part.direct
        if self._finished or (direct and self._broken and not self._stalled):
            return None
        count = len(muxer.held)
        lost = f"; lost in the encoder: {count} frame{'s' if count > 1 else ''}" if count else ""
        if self._stalled:
            return self._stall() + lost
        if self._broken:
            return f"{self.place} holds what was written before"
        seconds = f"{float(self._kept(muxer)):.3f} s{lost}"
        if direct:
            return f"{self.name} ends after {seconds}" if lost else None
        return f"{self.place} holds the first {seconds}"

    def _stall(self) -> str:
        return f"{self.name}: the reader takes nothing; the output is not complete"

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one of libav's, or of the output's own."""
        self._broken = True
        if self._part is not None and self._part.failure is not None:
            error = self._part.failure
        if isinstance(error, Stopped):
            self._stalled = True
        if isinstance(error, (BrokenPipeError, LtxFilterError, Stopped)):
            return error
        return OutputError(f"{self.name}: cannot be written: {getattr(error, 'strerror', error)}")


def _output(options: OutputOptions, muxer: str) -> OutputFile | OutputFiles | AddressOutput:
    """Return the file that a muxer writes, the address, or what opens the files that it writes."""
    if scheme_of(options.path) is not None:
        from ltxfilter.media.network.address_output import AddressOutput

        return AddressOutput(options, muxer)
    if muxer in MANY_FILES:
        return OutputFiles(options, muxer)
    return OutputFile(options.path, options.overwrite)
