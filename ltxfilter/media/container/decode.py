"""From packets to frames of one size and format: decode, deinterlace, rearrange, count damage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import av.filter

from ltxfilter.media.base import SourceCounts
from ltxfilter.media.container.demux import MAX_PIXELS
from ltxfilter.media.pixfmt import planar_name
from ltxfilter.media.pyav_compat import time_base_of

log = logging.getLogger("ltxfilter.media")

REORDER = 4  # frames a decoder holds to put them in order
LEAP = 10  # seconds; a frame this far from the one before is looked at twice

Timed = tuple[Fraction, av.VideoFrame, bool]  # seconds, picture, whether it begins a splice


class Decoder:
    """Decodes the packets of one stream, going on past those that do not decode."""

    def __init__(self, stream: av.VideoStream, threads: int, counts: SourceCounts) -> None:
        self.damaged: set[int | None] = set()  # pts of packets that arrived damaged
        self._lost: list[int] = []  # of packets that did not decode
        self._counts = counts
        self._stream = stream
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        context.options = {"max_pixels": str(MAX_PIXELS)}

    def decode(self, packet: av.Packet[av.VideoStream] | None) -> list[av.VideoFrame]:
        """Return the frames that `packet` completes; None drains the decoder."""
        if packet is not None and packet.size and packet.is_corrupt:
            self.damaged.add(packet.pts)
        try:
            frames = packet.decode() if packet else self._stream.codec_context.decode(None)
        except EOFError:
            return []
        except (av.FFmpegError, ValueError):
            self._counts.corrupt += 1
            if packet is not None and packet.pts is not None:
                self._lost.append(packet.pts)
            return []
        for frame in frames:
            if not frame.time_base:  # PyAV 18 forgets it when draining
                frame.time_base = time_base_of(self._stream)
        return frames

    def lost_before(self, time: Fraction) -> bool:
        """Say whether packets shown before `time`, seconds, were lost; each counts once."""
        base = time_base_of(self._stream)
        later = [pts for pts in self._lost if pts * base > time]
        lost, self._lost = len(later) < len(self._lost), later
        return lost


class Deinterlacer:
    """Turns pictures made of two fields into one picture each, from the first one on.

    mode: "on" takes every picture for interlaced, "auto" believes the decoder, "off" does nothing.
    """

    def __init__(self, mode: str, expected: bool, stream: av.VideoStream) -> None:
        self._mode = mode
        self._expected = expected
        self._stream = stream
        self._graph: av.filter.Graph | None = None
        self._shape = (0, 0, "")  # of the pictures that the graph takes

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield the frames that are ready once `frame` is known."""
        if self._graph is None and not self._needed(frame):
            yield frame
            return
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            if self._graph is None:
                log.warning("interlaced video: it is deinterlaced; --deinterlace off leaves it")
            yield from self.drain()
            self._graph, self._shape = self._build(frame), shape
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._pull()

    def drain(self) -> Iterator[av.VideoFrame]:
        """Yield what is left at the end of the stream."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()

    def _needed(self, frame: av.VideoFrame) -> bool:
        return self._mode == "on" or (
            self._mode == "auto" and (frame.interlaced_frame or self._expected)
        )

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=str(frame.time_base),
            pixel_aspect="1/1",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        which = "all" if self._mode == "on" else "interlaced"
        graph.link_nodes(
            source, graph.add("bwdif", mode="send_frame", deint=which), graph.add("buffersink")
        ).configure()
        return graph

    def _pull(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.vpull()
            except (BlockingIOError, EOFError):
                return


class Shaper:
    """Gives every frame the planar format and the size of the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shape: tuple[int, int, str] | None = None  # of the first frame
        self._previous: tuple[int, int, str] | None = None  # as decoded
        self._warned = False

    def shape(self, frame: av.VideoFrame) -> tuple[av.VideoFrame, bool]:
        """Return the frame and whether it is the first one after a change of size or format.

        Nobody else holds the frame yet, so that it may be reformatted.
        """
        decoded = (frame.width, frame.height, frame.format.name)
        if self._shape is None:
            self._shape = (frame.width, frame.height, planar_name(frame.format.name))
        spliced = self._previous is not None and decoded != self._previous
        self._previous = decoded
        if spliced and not self._warned:
            self._warned = True
            log.warning(
                "%s: the picture changes from %dx%d %s to %dx%d %s; scaled to the first size",
                self._name,
                *self._shape,
                *decoded,
            )
        if decoded == self._shape:
            return frame, spliced
        width, height, pix_fmt = self._shape
        return reshape(frame, width, height, pix_fmt), spliced


def ascending(frames: Iterable[Timed], counts: SourceCounts) -> Iterator[Timed]:
    """Yield the frames whose time advances; drop and count the others.

    A leap that the next frame takes back was a damaged stamp: then it is the leap that is dropped,
    and not everything after it. The mark of a splice moves on to the next frame.
    """
    last: Fraction | None = None
    leap: Timed | None = None
    spliced_before = False
    for time, picture, spliced in frames:
        spliced_before |= spliced
        if leap is not None:
            if last is None or not last < time < leap[0]:
                yield leap
                last, spliced_before = leap[0], spliced
            else:
                counts.out_of_order += 1
                spliced_before |= leap[2]
            leap = None
        if last is not None and time <= last:
            counts.out_of_order += 1
        elif last is not None and time - last > LEAP:
            leap, spliced_before = (time, picture, spliced_before), False
        else:
            yield time, picture, spliced_before
            last, spliced_before = time, False
    if leap is not None:
        yield leap


def reshape(frame: av.VideoFrame, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
    """Return `frame` at a size and in a format, its colour tags and code range unchanged."""
    full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
    span = 2 if full else 1
    shaped = frame.reformat(
        width, height, pix_fmt, src_color_range=span, dst_color_range=span, interpolation="BICUBIC"
    )
    shaped.color_range = 2 if full else int(frame.color_range)
    return shaped
