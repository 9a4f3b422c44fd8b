"""Everything in a container that is not the video: which streams go along, and their packets."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from math import ceil
from typing import Any

import av
import av.container
import av.stream
from av.bitstream import BitStreamFilterContext

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.media.base import StreamPlan
from ltxfilter.media.container.demux import is_cover, packets_of
from ltxfilter.media.encoding.settings import MOV_FAMILY
from ltxfilter.media.pyav_compat import fraction, open_output, time_base_of
from ltxfilter.options import OutputOptions

log = logging.getLogger("ltxfilter.media")

LETTERS = {"v": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}
# What an MPEG transport stream can say of its streams; its muxer takes anything.
TS_CODECS = {
    "aac", "aac_latm", "ac3", "dts", "dca", "eac3", "mp1", "mp2", "mp3", "opus", "s302m", "truehd",
    "pcm_bluray", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "h264", "hevc", "mpeg1video",
    "mpeg2video", "mpeg4", "vvc",
}  # fmt: skip
STALE_TAGS = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|vendor_id|duration|bps|number_of_.*"
    r"|_statistics_.*|source_id)(-[a-z]{3})?",
    re.IGNORECASE,
)
COVER_MUXERS = ("matroska", "mp4", "ipod")
COVER_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
NOT_ASKED = "not asked for"
CHAPTER_TITLES = "chapter titles, written anew"
LONGEST_GAP = 3600  # seconds between two packets of sound
LOOK_BACK = 2  # seconds before -ss at which reading starts: streams are loosely interleaved


def lasting_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that still holds once the video is another."""
    return {key: value for key, value in tags.items() if not STALE_TAGS.fullmatch(key)}


def plan_streams(
    container: av.container.InputContainer,
    video: av.VideoStream,
    options: OutputOptions,
    muxer: str,
) -> tuple[StreamPlan, ...]:
    """Say what becomes of each stream of `container` in a file of kind `muxer`.

    Raises OptionError for a -map that cannot be read or matches nothing.
    """
    picked = _picked(container, options)
    trial = open_output(io.BytesIO(), format=muxer)
    plans = []
    for stream in container.streams:
        kind, codec = str(stream.type), codec_name(stream)
        if stream.index == video.index:
            action, reason = "draw", ""
        elif stream.index not in picked:
            action, reason = "drop", NOT_ASKED
        else:
            reason = _obstacle(stream, trial, muxer, bool(container.chapters()))
            action = "drop" if reason else "copy"
        plans.append(StreamPlan(stream.index, kind, codec, action, reason))
    return tuple(plans)


def codec_name(stream: av.stream.Stream) -> str:
    """Return what messages call the codec of a stream."""
    context: Any = stream.codec_context  # None where FFmpeg has no decoder
    if context is not None:
        return str(context.codec.canonical_name)
    return getattr(stream, "name", None) or "unknown"


def _obstacle(
    stream: av.stream.Stream, trial: av.container.OutputContainer, muxer: str, chapters: bool
) -> str:
    """Return why `muxer` cannot hold a stream, or "" if it can."""
    kind, codec = stream.type, codec_name(stream)
    if kind == "attachment":
        return "" if muxer == "matroska" else f"{muxer} cannot hold attachments"
    if kind not in ("video", "audio", "subtitle"):
        titles = chapters and codec == "bin_data"
        return CHAPTER_TITLES if titles else f"{kind} streams are not carried"
    if is_cover(stream):
        known = muxer in COVER_MUXERS and codec in COVER_TYPES
        return "" if known else f"{muxer} cannot hold a cover picture"
    return "" if _holds(trial, stream) else f"{muxer} cannot hold {codec} {kind}"


def _holds(trial: av.container.OutputContainer, stream: av.stream.Stream) -> bool:
    """Return True if a container of the kind of `trial` has a place for a stream's codec."""
    if trial.format.name == "mpegts" and codec_name(stream) not in TS_CODECS:
        return False
    try:
        trial.add_stream_from_template(stream, opaque=True)
    except (ValueError, av.FFmpegError):
        return False
    return True


def _picked(container: av.container.InputContainer, options: OutputOptions) -> set[int]:
    """Return the indices of the streams that -map, -an, -sn and -dn leave."""
    off = {"audio": not options.audio, "subtitle": not options.subtitles, "data": not options.data}
    picked = set() if options.maps else {stream.index for stream in container.streams}
    for spec in options.maps:
        remove = spec.startswith("-")
        found = set(_matching(container, spec.removeprefix("-").removesuffix("?"), spec))
        if not found and not spec.endswith("?") and not remove:
            raise OptionError(f"-map {spec}: matches no stream of the input")
        picked = picked - found if remove else picked | found
    if options.maps and not picked and all(spec.startswith("-") for spec in options.maps):
        raise OptionError("-map: name what to take before what to leave out: -map 0 -map -0:s")
    return {index for index in picked if not off.get(container.streams[index].type, False)}


def _matching(container: av.container.InputContainer, text: str, spec: str) -> Iterator[int]:
    """Yield the indices of the streams that a specifier such as 0:a:1 or 0:m:language:eng means."""
    file, *rest = text.split(":")
    if file != "0":
        raise OptionError(f"-map {spec}: there is only input 0; write 0, 0:a, 0:a:1 or 0:3")
    streams = list(container.streams)
    if rest and rest[0] in LETTERS:
        streams = [stream for stream in streams if stream.type == LETTERS[rest[0]]]
        rest = rest[1:]
    if len(rest) == 3 and rest[0] == "m":
        streams = [stream for stream in streams if stream.metadata.get(rest[1]) == rest[2]]
    elif len(rest) == 1 and rest[0].isdecimal():
        streams = streams[int(rest[0]) : int(rest[0]) + 1]
    elif rest:
        raise OptionError(f"-map {spec}: write 0, 0:a, 0:a:1, 0:3 or 0:m:language:eng")
    return (stream.index for stream in streams)


def refuse_lost_audio(plans: tuple[StreamPlan, ...], output: str) -> None:
    """Warn of streams that are dropped for want of room. Raises OutputError for audio."""
    for plan in plans:
        if plan.action != "drop" or plan.reason in (NOT_ASKED, CHAPTER_TITLES):
            continue
        if plan.kind == "audio":
            raise OutputError(
                f"{output}: {plan.reason} (stream {plan.index}); add -an to leave it out, or "
                "write another container such as .mkv"
            )
        log.warning(
            "%s: stream %d (%s, %s) is left out: %s",
            output,
            plan.index,
            plan.kind,
            plan.codec,
            plan.reason,
        )


class CopiedStreams:
    """The streams of an output that are copied, and their packets in order of time.

    zero: seconds on the input's clock that become 0 in the output; start and end: what is kept.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        plans: tuple[StreamPlan, ...],
        zero: Fraction,
        start: Fraction | None,
        end: Fraction | None,
    ) -> None:
        self._container = container
        self._wanted = {plan.index for plan in plans if plan.action == "copy"}
        self._zero, self._start, self._end = zero, start, end
        self._outputs: dict[int, Any] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        self.damaged = 0  # packets that had to be left out
        self._last: dict[int, int] = {}  # dts
        self._next: av.Packet[Any] | None = None
        self._packets: Iterator[av.Packet[Any]] = iter(())

    def add(self, out: av.container.OutputContainer, index: int, cover: bytes | None) -> None:
        """Create in `out` the stream, or the attachment, that stream `index` becomes."""
        stream = self._container.streams[index]
        if index not in self._wanted:
            return
        if stream.type == "attachment":
            assert isinstance(stream, av.stream.AttachmentStream)
            name = stream.name or "attachment"
            out.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
            return
        if is_cover(stream) and out.format.name == "matroska":
            if cover:
                extension, mime = COVER_TYPES[codec_name(stream)]
                out.add_attachment(f"cover.{extension}", mime, cover)
            return
        added = out.add_stream_from_template(stream, opaque=True)
        added.metadata.update(lasting_tags(stream.metadata))
        added.disposition = stream.disposition
        self._outputs[index] = added
        if out.format.name in MOV_FAMILY and _is_adts(stream):
            self._filters[index] = BitStreamFilterContext("aac_adtstoasc", stream)

    @property
    def indices(self) -> list[int]:
        """The input streams whose packets are wanted."""
        return sorted(self._outputs)

    def read_from(self, packets: Iterator[av.Packet[Any]]) -> None:
        """Take packets from `packets`; it may end for now and go on later."""
        self._packets = packets

    def close(self) -> None:
        """Stop reading, and say what was damaged."""
        if self.damaged:
            log.warning("%d damaged packets beside the video are left out", self.damaged)
            self.damaged = 0
        if isinstance(self._packets, Generator):
            self._packets.close()

    def until(self, time: Fraction | None) -> Iterator[av.Packet[Any]]:
        """Yield packets, ready to be muxed, up to `time` seconds of output; None takes all."""
        while (packet := self._peek()) is not None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            assert stamp is not None
            if time is not None and stamp * time_base_of(packet) > time:
                return
            self._next = None
            yield packet

    def _peek(self) -> av.Packet[Any] | None:
        while self._next is None:
            packet = next(self._packets, None)
            if packet is None:
                return None
            if packet.stream_index in self._outputs and packet.size and not _is_filler(packet):
                self._next = self._placed(packet)
        return self._next

    def _placed(self, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        """Return the packet on the output's clock, or None if it is cut off or damaged."""
        index, base = packet.stream_index, time_base_of(packet)
        if index in self._filters:
            try:
                [packet] = self._filters[index].filter(packet)
            except (av.error.InvalidDataError, ValueError):
                self.damaged += 1
                return None
        last = self._last.get(index)
        if packet.pts is None and packet.dts is None:
            packet.pts = packet.dts = 0  # a cover picture has no time
        else:
            shown = packet.dts if packet.pts is None else packet.pts
            assert shown is not None
            if self._cut_off(shown * base):
                return None
            shift = round(self._zero / base)
            packet.pts = shown - shift
            if packet.dts is None:  # as early as it can be: reordered pictures wait for it
                packet.dts = packet.pts if last is None else min(packet.pts, last + 1)
            else:
                packet.dts -= shift
        longest = LONGEST_GAP * (1 if self._outputs[index].type == "audio" else 24)
        if (packet.dts - (last or 0)) * base > longest:  # a damaged stamp; mp4's muxer would abort
            self.damaged += 1
            return None
        output_base = fraction(self._outputs[index].time_base) or base  # it may be coarser
        tick = ceil(output_base / base)
        if last is not None and packet.dts <= last:
            packet.dts = last + tick  # no muxer takes time that stands still
            packet.pts = max(packet.pts, packet.dts)
        self._last[index] = packet.dts
        packet.stream = self._outputs[index]
        return packet

    def _cut_off(self, time: Fraction) -> bool:
        before = self._start is not None and time < self._start
        return before or (self._end is not None and time >= self._end)


def _is_adts(stream: av.stream.Stream) -> bool:
    """Return True for AAC whose packets carry their own headers, as in a transport stream.

    mp4 knows none; libav's muxer takes them off itself, but not while it delays its index.
    """
    return codec_name(stream) == "aac" and not stream.codec_context.extradata


def _is_filler(packet: av.Packet[Any]) -> bool:
    """Return True for the empty text that fills a gap in an mp4; its muxer adds them itself."""
    return packet.size == 2 and bytes(packet) == b"\0\0" and codec_name(packet.stream) == "mov_text"


def read_again(
    container: av.container.InputContainer,
    indices: list[int],
    start: Fraction | None,
    end: Fraction | None,
) -> Generator[av.Packet[Any]]:
    """Yield the packets of some streams of a container opened for that alone, then close it."""
    with container:
        streams = [container.streams[index] for index in indices]
        dense = {stream.index for stream in streams if stream.type != "subtitle"}
        past: set[int] = set()
        if start is not None:
            container.seek(int(max(start - LOOK_BACK, Fraction(0)) * av.time_base))
        try:
            for packet in packets_of(container, *streams):
                if (
                    packet.pts is not None
                    and end is not None
                    and packet.pts * time_base_of(packet) >= end
                ):
                    past.add(packet.stream_index)
                    if dense and dense <= past:
                        return
                yield packet
        except av.FFmpegError as error:
            log.warning("the streams beside the video end early: %s", error.strerror)
