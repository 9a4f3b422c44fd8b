"""What a container carries beside its video, as its source offers it to a sink."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import av
import av.container
import av.stream

from ltxfilter.media.base import StreamPlan
from ltxfilter.media.carried import timecode
from ltxfilter.media.carried.captions import CaptionQueue
from ltxfilter.media.carried.tags import lasting_tags
from ltxfilter.media.carried.timecode import converted
from ltxfilter.media.container.copied_streams.packet_queue import PacketQueue
from ltxfilter.media.container.copied_streams.packets import CopiedStreams, read_again
from ltxfilter.media.container.copied_streams.plan import plan_streams
from ltxfilter.media.container.demux import is_cover
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.stream_choice.video_choice import VideoChoice
from ltxfilter.media.pyav_compat import fraction
from ltxfilter.options import OutputOptions

COPIES = 5.5  # of an attachment or a cover at a time, measured with 200 MB of each
CHAPTER_BYTES = 2500  # of one chapter: in two readers, in Python and in the output


class ContainerStreams:
    """The streams of a container beside its video, its tags and its chapters.

    Packets come from a second reading of the file, or, of a pipe, from a queue: the source gives
    each packet that it meets to `set_aside`.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        choice: VideoChoice,
        trim: Trim,
        reopen: Callable[[], av.container.InputContainer] | None,
    ) -> None:
        """Offer what `container` carries beside the video that is read.

        reopen: opens the container a second time; None if it can be read only once.
        """
        self.queue = PacketQueue()
        self.captions = CaptionQueue()
        self._container = container
        self._video = choice.stream
        self._stills = choice.stills
        self._trim = trim
        self._reopen = reopen
        self._covers: dict[int, bytes] = {}  # stream index -> picture file

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most: what is copied whole, chapters, and packets that wait."""
        whole = sum(map(len, self._covers.values()))
        for stream in self._container.streams:
            if isinstance(stream, av.stream.AttachmentStream):
                whole += len(stream.data)
        others = len(self._container.streams) > 1
        waiting = self.queue.most if self._reopen is None and others else 0
        return ceil(COPIES * whole) + CHAPTER_BYTES * len(self._container.chapters()) + waiting

    @property
    def zero(self) -> Fraction:
        """Seconds on the container's clock that are 0 in the output."""
        return self._trim.zero

    def begin(self, time: Fraction) -> None:
        """Take the time of the first frame, before `open_copy`."""
        self._trim = self._trim.from_frame(time)

    @property
    def video_time_base(self) -> Fraction | None:
        """Seconds per tick of the video's timestamps; None if the container does not say."""
        return fraction(self._video.time_base)

    def plan(self, options: OutputOptions, muxer: str) -> tuple[StreamPlan, ...]:
        """Say what becomes of each stream in a file of FFmpeg's format `muxer`.

        Raises OptionError for a -map that cannot be read or matches nothing.
        """
        return plan_streams(self._container, self._video, options, muxer, self._stills)

    def select(self, plan: Sequence[StreamPlan]) -> None:
        """Keep the packets of the streams that `plan` copies, and no others."""
        self.queue.want(_copied(plan))

    def copy_tags(
        self,
        output: av.container.OutputContainer,
        video: av.VideoStream,
        rate: Fraction,
        dropped: Collection[str] = (),
        *,
        chapters: bool = True,
    ) -> None:
        """Give `output` the tags and chapters of the file, and `video` those of its stream.

        rate: frames per second of the output, about. dropped: names of tags that hold no more.
        chapters: False leaves them out; 100,000 of them take libav's muxer 15 s.
        """
        before = fraction(self._video.average_rate)
        passed = self._trim.zero - self._trim.clock
        for target, tags in (
            (video, self._video.metadata),
            (output, self._container.metadata),
        ):
            kept = converted(lasting_tags(tags), before, rate, passed)
            target.metadata.update({key: kept[key] for key in kept if key.lower() not in dropped})
        if (track := self._timecode_track()) and before:
            video.metadata[timecode.KEY] = timecode.at_rate(track, before, rate, passed)
        video.disposition = self._video.disposition
        if chapters:
            output.set_chapters(self._chapters())

    def open_copy(self, plan: Sequence[StreamPlan]) -> CopiedStreams:
        """Return what copies the streams of `plan` into one output."""
        return CopiedStreams(self._container, _copied(plan), self._covers, self._trim, self)

    def set_aside(self, packet: av.Packet[Any]) -> None:
        """Take a packet that the source met on its way to the video's."""
        if is_cover(packet.stream) and packet.size:
            self._covers[packet.stream_index] = bytes(packet)
        else:
            self.queue.put(packet)

    def first_packet(self, index: int) -> bytes | None:
        """Return the first packet of a stream; None if none has come yet from a pipe."""
        if self._reopen is None:
            return self.queue.first_of(index)
        with self._reopen() as container:
            packets = container.demux(container.streams[index])
            return next((bytes(packet) for packet in packets if packet.size), None)

    def _timecode_track(self) -> str | None:
        """Return the timecode of a track of its own, as .mov files have one."""
        tracks = (stream for stream in self._container.streams if stream.type == "data")
        return next((t.metadata[timecode.KEY] for t in tracks if timecode.KEY in t.metadata), None)

    def packets(self, indices: list[int]) -> Iterator[av.Packet[Any]]:
        """Return the packets of some streams; of a pipe, those that have come by now."""
        if self._reopen is None:
            return self.queue
        return read_again(self._reopen(), indices, self._trim) if indices else iter(())

    def _chapters(self) -> list[Any]:
        """Return the chapters, moved onto the output's clock and cut to what is kept."""
        trim = self._trim
        kept = []
        for chapter in self._container.chapters():
            base = fraction(chapter["time_base"]) or Fraction(1)
            start, end = max(chapter["start"] * base, trim.zero), chapter["end"] * base
            if trim.end is not None:
                end = min(end, trim.end)
            if start < end:
                begin, until = ((time - trim.zero) / base for time in (start, end))
                kept.append({**chapter, "start": round(begin), "end": round(until)})
        return kept


def _copied(plan: Sequence[StreamPlan]) -> set[int]:
    """Return the indices of the streams that a plan copies."""
    return {each.index for each in plan if each.action == "copy"}
