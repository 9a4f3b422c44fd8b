"""What a container carries beside its video, as its source offers it to a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import av.container

from ltxfilter.media.base import StreamPlan
from ltxfilter.media.container.copied_streams.packet_queue import PacketQueue
from ltxfilter.media.container.copied_streams.packets import CopiedStreams, read_again
from ltxfilter.media.container.copied_streams.plan import lasting_tags, plan_streams
from ltxfilter.media.container.demux import is_cover
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.video_choice import VideoChoice
from ltxfilter.media.pyav_compat import fraction
from ltxfilter.options import OutputOptions


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
        self._container = container
        self._video = choice.stream
        self._stills = choice.stills
        self._trim = trim
        self._reopen = reopen
        self._covers: dict[int, bytes] = {}  # stream index -> picture file

    @property
    def zero(self) -> Fraction:
        """Seconds on the container's clock that are 0 in the output."""
        return self._trim.zero

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

    def has_cover(self, plan: Sequence[StreamPlan]) -> bool:
        """Return True if a stream that `plan` copies is a cover picture."""
        return not _copied(plan).isdisjoint(self._covers)

    def copy_tags(self, output: av.container.OutputContainer, video: av.VideoStream) -> None:
        """Give `output` the tags and chapters of the file, and `video` those of its stream."""
        video.metadata.update(lasting_tags(self._video.metadata))
        video.disposition = self._video.disposition
        output.metadata.update(lasting_tags(self._container.metadata))
        output.set_chapters(self._chapters())

    def open_copy(self, plan: Sequence[StreamPlan]) -> CopiedStreams:
        """Return what copies the streams of `plan` into one output."""
        return CopiedStreams(
            self._container, _copied(plan), self._covers, self._trim, self._packets
        )

    def set_aside(self, packet: av.Packet[Any]) -> None:
        """Take a packet that the source met on its way to the video's."""
        if is_cover(packet.stream) and packet.size:
            self._covers[packet.stream_index] = bytes(packet)
        else:
            self.queue.put(packet)

    def _packets(self, indices: list[int]) -> Iterator[av.Packet[Any]]:
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
