"""An open container: what its headers say of its video, and which part of it is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import av
import av.container

from ltxfilter.errors import OptionError
from ltxfilter.media.container.copied_streams.oversized import oversized_attachments
from ltxfilter.media.container.demux import display_name
from ltxfilter.media.container.hardware import DecodingDevice, open_for_decoding
from ltxfilter.media.container.stream_choice.video_choice import VideoChoice, choose_video
from ltxfilter.media.container.stream_header import StreamHeader, read_header
from ltxfilter.media.container.timing.stamps import keep_stamps
from ltxfilter.media.network.protocols import read_once
from ltxfilter.media.pipe.libav_io import Readable
from ltxfilter.media.pyav_compat import LIBAV_TICK, fraction, time_base_of
from ltxfilter.options import InputOptions
from ltxfilter.values import parse_time

LENGTH_TAG = re.compile(r"(\d+:\d\d:\d\d\.\d+?)0*")  # of a stream in Matroska
SAMPLE_BYTES = 64  # of libav's tables for each packet that the header of an mp4 lists
ENTRY_BYTES = 48  # of libav's index for each packet that it notes while it reads
NOTING = {"matroska", "webm", "nut", "avi", "flv", "asf"}  # demuxers that do


@dataclass(frozen=True, slots=True)
class Trim:
    """What -ss, -t and -to leave of a container; seconds on the container's clock."""

    clock: Fraction
    """When the first of all its streams starts, which is what -ss calls 0."""

    start: Fraction | None = None
    """From when on frames are kept; None: from the first one."""

    end: Fraction | None = None
    """Until when frames are kept, this moment excluded; None: to the last one."""

    @classmethod
    def of(cls, options: InputOptions, container: av.container.InputContainer) -> Trim:
        """Return what `options` ask for of an open container."""
        clock = (container.start_time or 0) * LIBAV_TICK
        start = None if options.start is None else clock + options.start
        if options.from_end is not None:
            start = clock + _before_end(options.from_end, container)
        ends = []
        if options.end is not None:
            ends.append(clock + options.end)
        if options.duration is not None:
            ends.append((clock if start is None else start) + options.duration)
        if options.shortest:
            ends += sound_ends(container)
        return cls(clock, start, min(ends, default=None))

    @property
    def zero(self) -> Fraction:
        """What an output calls 0."""
        return self.clock if self.start is None else self.start

    def from_frame(self, time: Fraction) -> Trim:
        """Return this, for a video whose first frame is shown at `time`.

        libav takes the first stated time for the start; frames before it have theirs reconstructed.
        """
        return self if self.start is not None else replace(self, clock=min(self.clock, time))

    def is_before(self, time: Fraction) -> bool:
        """Return True if `time` is too early to be kept."""
        return self.start is not None and time < self.start

    def is_after(self, time: Fraction) -> bool:
        """Return True if `time` is too late to be kept."""
        return self.end is not None and time >= self.end


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """An open container, and what its headers say of the video that is read."""

    container: av.container.InputContainer

    choice: VideoChoice
    """Which video is read."""

    header: StreamHeader
    """What PyAV does not show of it."""

    trim: Trim
    """The part that is wanted."""

    declared: tuple[Fraction, Fraction] | None
    """Seconds on the container's clock at which the video starts and ends, if they are stated."""

    device: DecodingDevice
    """On what it was opened for decoding."""

    @classmethod
    def open(
        cls, options: InputOptions, file: Readable | None, format_name: str | None
    ) -> OpenVideo:
        """Open `options.path`, or `file` in its place. Raises InputError, Stopped."""
        with oversized_attachments(display_name(options)):
            container, device = open_for_decoding(options, file, format_name)
        try:
            keep_stamps(container)
            choice = choose_video(container, options, once=file is not None or read_once(options))
            stream = choice.stream
            trim = Trim.of(options, container)
            if options.keep_times and trim.zero != 0:
                raise OptionError(
                    f"-copyts: the output starts at 0, but {display_name(options)} at "
                    f"{float(trim.zero):.6g} s; leave out -copyts, or shift the output's times in "
                    "the next ffmpeg with -itsoffset"
                )
            declared = _declared_span(container, stream, trim.clock)
            return cls(container, choice, read_header(stream), trim, declared, device)
        except BaseException:
            container.close()
            raise

    def close(self) -> None:
        """Release the container; calling it twice does nothing.

        Flushing the decoder waits until its threads rest. Such a thread that is about to log needs
        the interpreter for that, which no longer serves it once it shuts down; libav would then
        wait for that thread for ever.
        """
        self.stream.codec_context.flush_buffers()
        self.container.close()

    @property
    def stream(self) -> av.VideoStream:
        """The video that is read."""
        return self.choice.stream

    @property
    def declared_duration(self) -> Fraction | None:
        """Seconds of video to come, as far as the headers tell."""
        if self.declared is None:
            return None
        first, last = self.declared
        start = first if self.trim.start is None else max(self.trim.start, first)
        end = last if self.trim.end is None else min(self.trim.end, last)
        return max(end - start, Fraction(0))


def _before_end(time: Fraction, container: av.container.InputContainer) -> Fraction:
    """Return the seconds from the start to `time` before the end; 0 where that is earlier."""
    if container.duration is None:
        raise OptionError("-sseof: the input does not say how long it is; use -ss")
    return max(container.duration * LIBAV_TICK - time, Fraction(0))


def sound_ends(container: av.container.InputContainer) -> list[Fraction]:
    """Return when each stream of sound ends, seconds on the container's clock.

    Raises OptionError where one does not say.
    """
    ends = []
    for stream in container.streams.audio:
        start = (stream.start_time or 0) * time_base_of(stream)
        if stream.duration is not None:
            ends.append(start + stream.duration * time_base_of(stream))
        elif (told := _told_length(stream.metadata)) is not None:
            ends.append(told)
        else:
            raise OptionError(
                f"-shortest: the input does not say how long its stream {stream.index} is; end it "
                "with -t"
            )
    return ends


def index_bytes(opened: OpenVideo) -> int:
    """Return the bytes that libav's index of a container takes at its end.

    Copied streams are read from a second container, which has an index of its own.
    """
    listed = sum(stream.frames for stream in opened.container.streams)
    found = 2 * SAMPLE_BYTES * listed
    declared, rate = opened.declared_duration, fraction(opened.stream.average_rate)
    if declared and rate and NOTING & set(opened.container.format.name.split(",")):
        found += ENTRY_BYTES * ceil(declared * rate)
    return found


def _told_length(tags: Mapping[str, str]) -> Fraction | None:
    """Return the seconds that tags of a stream in Matroska say it lasts; None if they do not."""
    for name, value in tags.items():
        found = LENGTH_TAG.fullmatch(value) if name.upper().startswith("DURATION") else None
        if found:
            return parse_time(found[1])
    return None


def _declared_span(
    container: av.container.InputContainer, stream: av.VideoStream, clock: Fraction
) -> tuple[Fraction, Fraction] | None:
    """Return when the video starts and ends, as far as the headers tell; else None.

    Seconds on the container's clock. clock: when the first of all streams starts.
    """
    base = time_base_of(stream)
    if stream.duration is not None:
        duration = stream.duration * base
    elif container.duration is not None:
        duration = container.duration * LIBAV_TICK
    else:
        return None
    start = clock if stream.start_time is None else stream.start_time * base
    return start, start + duration
