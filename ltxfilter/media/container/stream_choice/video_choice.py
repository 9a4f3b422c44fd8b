"""Which video stream of a container is read: the one that -map names, else the main moving one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import av
import av.container
from av.stream import Disposition

from ltxfilter.errors import InputError, OptionError
from ltxfilter.media.container.demux import (
    display_name,
    is_cover,
    is_thumbnails,
    open_container,
    packets_of,
)
from ltxfilter.media.container.stream_choice.stream_specifiers import mapped
from ltxfilter.media.pixfmt import check_size
from ltxfilter.options import InputOptions

DEFAULT_WEIGHT = 5_000_000  # pixels that the mark "default" counts for, as in FFmpeg's own choice
LOOKED_AT = 2000  # packets within which a moving stream has its second picture
LOOKED_AT_BYTES = 64 << 20  # at most


class VideoChoice(NamedTuple):
    """The video stream to read, and what was found out on the way."""

    stream: av.VideoStream

    stills: frozenset[int]
    """Indices of the streams that hold one picture, or tiles of one; none if `stream` does."""

    ahead: tuple[av.Packet[Any], ...]
    """Packets that were read of an input that can be read only once."""


def choose_video(
    container: av.container.InputContainer, options: InputOptions, *, once: bool
) -> VideoChoice:
    """Choose the video to read: of what -map takes first, or of all, the main moving one.

    Main is what FFmpeg takes, too: the largest picture, where a stream that is marked as default is
    preferred. Stills come last. once: True if the input cannot be opened again. Raises InputError
    if there is no video, OptionError if -map leaves it out.
    """
    name = display_name(options)
    videos = _pictures(container)
    if not videos:
        only = ", only a cover picture" if container.streams.video else ""
        raise InputError(f"{name}: no video stream{only}")
    groups, left_out = mapped(container, options.maps)
    kept = [stream for stream in videos if stream.index not in left_out]
    if not kept:
        raise OptionError("-map leaves no video to interpolate; add -map 0:v")
    ahead: list[av.Packet[Any]] = []
    stills = _stills(container, videos, None if once else options, ahead)
    asked = [[each for each in kept if each.index in group] for group in groups]
    asked = [group for group in asked if group] or [kept]
    moving = (group for group in asked if any(each.index not in stills for each in group))
    stream = max(next(moving, asked[0]), key=partial(_rank, stills=stills))
    if stream.codec_context is None:
        raise InputError(f"{name}: FFmpeg has no decoder for its video")
    check_size(name, stream.codec_context.width, stream.codec_context.height)
    return VideoChoice(stream, frozenset() if stream.index in stills else stills, tuple(ahead))


def _pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the streams of pictures that are neither a cover nor thumbnails of the video."""
    streams = container.streams.video
    return [each for each in streams if not is_cover(each) and not is_thumbnails(each)]


def _stills(
    container: av.container.InputContainer,
    videos: list[av.VideoStream],
    options: InputOptions | None,
    ahead: list[av.Packet[Any]],
) -> frozenset[int]:
    """Return the indices of those of `videos` that hold one picture, or tiles of one.

    Where headers do not say, packets are counted. options: of an input that can be opened again for
    that; None reads on in `container`, and appends the packets to `ahead`. A lone stream is not
    looked at.
    """
    dependent = Disposition.dependent | Disposition.still_image
    stills = {s.index for s in videos if s.frames == 1 or s.disposition & dependent}
    unclear = {s.index for s in videos if not s.frames and s.index not in stills}
    if not unclear or len(videos) == 1:
        return frozenset(stills)
    if options is None:
        return frozenset(
            stills | _single(packets_of(container, *container.streams), unclear, ahead)
        )
    with open_container(options, format_name=options.format) as again:
        streams = [again.streams[index] for index in sorted(unclear)]
        return frozenset(stills | _single(packets_of(again, *streams), unclear, []))


def _single(
    packets: Iterable[av.Packet[Any]], indices: set[int], read: list[av.Packet[Any]]
) -> set[int]:
    """Return those of `indices` of which one packet comes at most; append what was read to `read`.

    It stops once all have a second packet, or after many packets.
    """
    counts: Counter[int] = Counter()
    nbytes = 0
    with suppress(av.FFmpegError):  # it is met again, and reported, when reading goes on
        for number, packet in enumerate(packets):
            read.append(packet)
            counts[packet.stream.index] += bool(packet.size)
            nbytes += packet.size
            settled = all(counts[index] > 1 for index in indices)
            if settled or number > LOOKED_AT or nbytes > LOOKED_AT_BYTES:
                break
    return {index for index in indices if counts[index] < 2}


def _rank(stream: av.VideoStream, stills: frozenset[int]) -> tuple[bool, bool, int]:
    """Return what the stream to read has more of than others. stills: indices."""
    context: Any = stream.codec_context  # None where FFmpeg has no decoder
    if context is None:
        return False, False, 0
    marked = DEFAULT_WEIGHT if stream.disposition & Disposition.default else 0
    return stream.index not in stills, True, context.width * context.height + marked
