"""One output container: an encoded video and the streams copied beside it, merged by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, inf, lcm
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Any

import av
import av.codec.codec
import av.container

from ltxfilter.frame import VideoInfo
from ltxfilter.media.base import OtherStreams, StreamCopy, StreamPlan
from ltxfilter.media.carried.captions import CaptionWriter, parameters
from ltxfilter.media.carried.edits import Edits
from ltxfilter.media.carried.items import MOV_FAMILY
from ltxfilter.media.carried.marks import MARKED_CODECS, FrameMarks
from ltxfilter.media.carried.tags import ANY_NAME
from ltxfilter.media.carried.turning import display_matrix_of
from ltxfilter.media.encoding.process_state import BlankHeap, ordinary_priority
from ltxfilter.media.encoding.settings import EncoderSettings, configure
from ltxfilter.media.pyav_compat import open_output

if TYPE_CHECKING:
    from ltxfilter.media.segments.segment_file import StoredPacket

LEAST_CLOCK = Fraction(1, 90000)  # seconds per tick; an output without a rate is at least as fine
# What can say that pixels are not square. nut: see pipe/nut_aspect.py.
ASPECT_CODECS = {"libx264", "libx265", "mpeg4", "mpeg2video", "h264_nvenc", "hevc_nvenc"}
ASPECT_MUXERS = {*MOV_FAMILY, "nut"}
ENDLESS = {"apng": {"plays": "0"}, "webp": {"loop": "0"}}  # how animations repeat, as a GIF does
UNCLOSED: list[av.container.OutputContainer] = []  # kept, for libav fails where they are released
INTERLEAVED = Fraction(1, 2)  # seconds that libav waits for the streams to come in order
INDEX_BYTES = {  # muxer -> bytes of its index for each frame, above what 100,000 frames took
    **dict.fromkeys(MOV_FAMILY, 160),
    "matroska": 48, "webm": 48, "nut": 32, "avi": 64, "mpegts": 0, "mpeg": 0, "flv": 0, "ivf": 0,
    "h264": 0, "hevc": 0, "yuv4mpegpipe": 0, "rawvideo": 0,
}  # fmt: skip
UNKNOWN_INDEX = 160  # bytes likewise, of a muxer that was not measured: the largest
LONGEST_REORDER = 3600  # seconds between a packet's dts and its pts, at most
ALPHA_ENCODERS = {"libvpx", "libvpx-vp9"}
BUFFER = 1 << 20  # bytes; what a Python file is given at a time


Opener = Callable[[str, int, dict[str, str]], Any]


@dataclass(frozen=True, slots=True)
class MuxPlan:
    """What goes into a container, as far as it is known before the first frame."""

    muxer: str
    """FFmpeg's name of the format."""

    muxer_options: Mapping[str, str]
    """What the user tells the muxer."""

    settings: EncoderSettings
    """How the video is encoded."""

    info: VideoInfo
    """What the frames have in common."""

    rate: Fraction | None
    """Frames per second; None: the frames keep their own times."""

    others: OtherStreams | None
    """What the source carries beside the video, if anything."""

    streams: tuple[StreamPlan, ...]
    """What becomes of each stream of the input; empty if that carries video only."""

    device_tags: bool = False
    """True if there are tags of a camera, which the MOV family keeps only if it is told to."""

    marks: str = ""
    """Who says of each frame what it is, in the encoded packets; empty: nobody."""

    edits: Edits = field(default_factory=Edits)
    """What the user changes of tags, chapters and dispositions."""

    def frame_marks(self) -> FrameMarks | None:
        """Return what marks the frames of this output; None if nothing does."""
        codec = av.codec.codec.Codec(self.settings.codec, "w").canonical_name
        marked = self.marks and codec in MARKED_CODECS
        return FrameMarks(codec, self.marks) if marked else None

    @property
    def nominal_rate(self) -> Fraction:
        """The rate to tell an encoder, frames per second; see `nominal_rate`."""
        return self.rate or nominal_rate(self.info)

    @property
    def encoder_clock(self) -> Fraction:
        """Seconds per tick of the encoder: one frame, if the rate is constant."""
        return 1 / self.rate if self.rate else self.clock

    @property
    def clock(self) -> Fraction:
        """Seconds per tick of the output: the source's and the output's times are whole ticks."""
        source_base = None if self.others is None else self.others.video_time_base
        base = source_base or LEAST_CLOCK
        if self.muxer == "avi":
            return self.encoder_clock if self.rate else base
        if self.rate is None:
            return base / (2 * -(-base // LEAST_CLOCK))
        ticks = lcm((1 / self.rate).denominator, base.denominator)
        return Fraction(1, ticks) if ticks < 1 << 31 else base

    @property
    def options(self) -> dict[str, str]:
        """What the muxer is told: our defaults, and the user's own words."""
        ours = {"max_interleave_delta": "500000", "flush_packets": "1"}
        if self.muxer in MOV_FAMILY:
            # delay_moov: edit lists need the first packets; a finer clock keeps them exact.
            flags = [] if self._other_videos else ["hybrid_fragmented", "delay_moov"]
            flags += [ANY_NAME] * self.device_tags
            ours |= {"movflags": "+".join(flags)} if flags else {}
            ours["movie_timescale"] = "90000"
        ours |= ENDLESS.get(self.muxer, {})
        return {**ours, **self.muxer_options}

    @property
    def _other_videos(self) -> bool:
        """True if another video is copied, so that mp4 and mov are written without fragments.

        A fragment begins at the keyframes of any video. Libav loses the last picture of a stream
        where one ends among reordered pictures, and keeps the track of a cover that it should not.
        """
        return any(each.action == "copy" and each.kind == "video" for each in self.streams)

    @property
    def index_bytes(self) -> int:
        """Bytes that the muxer keeps of each frame, and of the copied packets beside it."""
        copied = sum(stream.action == "copy" for stream in self.streams)
        own = INDEX_BYTES.get(self.muxer, UNKNOWN_INDEX)
        return own * (1 + 2 * copied)

    @property
    def interleaved_bytes(self) -> int:
        """Bytes of encoded frames that libav may hold until the copied streams come as far."""
        if all(stream.action != "copy" for stream in self.streams):
            return 0
        kind = av.codec.codec.Codec(self.settings.codec, "w")
        share = Fraction(1, 8)  # of the bytes before encoding
        if kind.intra_only:
            share = Fraction(1, 1) if kind.lossless else Fraction(1, 3)
        return ceil(INTERLEAVED * self.nominal_rate * share * self.info.frame_bytes)

    @property
    def loses_aspect(self) -> bool:
        """True if the sample aspect is lost: PyAV cannot tell muxers, so the codec has to."""
        tells = self.settings.codec in ASPECT_CODECS or self.muxer in ASPECT_MUXERS
        return self.info.sample_aspect != 1 and not tells


def nominal_rate(info: VideoInfo) -> Fraction:
    """Return about how many frames per second an output with the frames' own times has.

    That is twice the source's usual rate, since every interval is halved.
    """
    rate = 2 / info.interval if info.interval else Fraction(60)
    return rate.limit_denominator(1 << 30)


class Muxer:
    """An open container; libav's errors pass through, and nothing may be muxed after one."""

    def __init__(
        self,
        plan: MuxPlan,
        target: Any,
        decoded: av.VideoFrame | None,
        start: Fraction = Fraction(0),
        *,
        captions: CaptionWriter | None = None,
        marks: FrameMarks | None = None,
        opener: Opener | None = None,
        header_only: bool = False,
    ) -> None:
        """Create the streams and write the header.

        target: URL or writable file. decoded: the first decoded frame, whose lasting side data goes
        into the header. start: seconds of output at which the encoder's tick 0 is shown. captions:
        puts captions into encoded packets. marks: puts into them what each frame is. opener: opens
        each file of a muxer that writes many; see `OutputFiles.opener`. header_only: nothing is
        encoded, so that the encoder's memory need not be blank, which takes 50 ms at 1080p.
        """
        self._captions, self._marks = captions, marks
        self.start = start
        settings = plan.settings if decoded is None else plan.settings.with_hdr(decoded)
        self._plan = replace(plan, settings=settings)
        self._copied: StreamCopy | None = None
        self._muxed = 0  # packets of the video
        self._inside: set[int] = set()  # ticks of the pictures that the encoder holds
        self._deadline = inf  # in seconds of `monotonic`; the encoder is not waited for any longer
        self._muxing = RLock()  # held while anything is written to the container
        self._closed = False
        self.cut = False  # the deadline came while the encoder was drained
        self._out = open_output(
            target,
            format=plan.muxer,
            container_options=plan.options,
            buffer_size=BUFFER,
            io_open=opener,
        )
        matrix = None if decoded is None else display_matrix_of(decoded)
        if plan.others is None:
            self._video = self._add_video(matrix)
        else:
            self._add_all(plan.others, matrix, chapters=decoded is not None)
        plan.edits.apply(self._out, self._video)
        self._heap = BlankHeap("" if header_only else settings.codec)
        with ordinary_priority():
            self._out.start_encoding()

    def start_copying(self) -> None:
        """Begin to read the packets that are copied."""
        if self._copied is not None:
            self._copied.start()

    def encode(self, picture: av.VideoFrame | None) -> None:
        """Encode a picture stamped in ticks of the encoder, None to drain; mux what is ready.

        Past the deadline no more packets are asked for. Once it is closed nothing is muxed.
        """
        if picture is not None and picture.pts is not None:
            self._inside.add(picture.pts)
        for packet in self._video.codec_context.encode_lazy(picture):
            with self._muxing:
                if self._closed:
                    return
                assert packet.pts is not None
                self._inside.discard(packet.pts)
                if self._plan.settings.codec == "libwebp_anim":  # one packet holds all
                    self._inside.clear()
                self._mux(packet)
            self._heap.packet()
            if monotonic() > self._deadline and self._inside:
                self.cut = picture is None
                return

    def join(self, stored: StoredPacket, shift: int) -> None:
        """Mux a packet that was encoded before. shift: ticks of the encoder to add to its times."""
        packet: av.Packet[Any] = av.Packet(stored.data)
        packet.pts, packet.duration = stored.pts + shift, stored.duration
        packet.dts = None if stored.dts is None else stored.dts + shift
        packet.is_keyframe = stored.is_keyframe
        with self._muxing:
            if not self._closed:
                self._mux(packet)

    def check_parameters(self, codec: str, extradata: bytes) -> bool:
        """Return True if what was encoded with the header `extradata` can be decoded with ours.

        codec: FFmpeg's name.
        """
        own = self._video.codec_context.extradata or b""
        return own == extradata or parameters(codec, own) == parameters(codec, extradata)

    def _mux(self, packet: av.Packet[av.VideoStream]) -> None:
        """Mux a packet that is stamped in ticks of the encoder, after all that is shown before."""
        captioned = self._with_captions(packet)
        self.copy(self._place(captioned))
        self._out.mux(captioned)
        self._muxed += 1

    def hurry(self, patience: float) -> None:
        """Leave the encoder `patience` more seconds, or what an earlier call has left of them."""
        self._deadline = min(self._deadline, monotonic() + patience)

    @property
    def held(self) -> Sequence[int]:
        """The ticks of the pictures that went in and have not come out, ascending."""
        return sorted(self._inside)

    def copy(self, until: Fraction | None) -> None:
        """Mux the copied packets up to `until`, seconds of output; None for all that are left."""
        with self._muxing:
            if self._copied is None or self._closed:
                return
            for packet in self._copied.until(until):
                try:
                    self._out.mux(packet)
                except av.error.InvalidDataError:  # libav's own filters found it damaged
                    self._copied.count_damaged()

    def close(self) -> None:
        """Write the trailer; calling it again does nothing.

        Another thread may be inside the encoder. What that still gives out is not muxed any more.
        """
        with self._muxing:
            if self._closed:
                return
            self._closed = True
            self._heap.end()
            if self._copied is not None:
                for packet in self._copied.ends():
                    self._out.mux(packet)
                self._copied.close()
            if self._plan.muxer == "dash" and not self._muxed:
                UNCLOSED.append(self._out)  # libav would divide by the length of what it wrote
            else:
                self._out.close()

    def _with_captions(self, packet: av.Packet[av.VideoStream]) -> av.Packet[av.VideoStream]:
        """Return an encoded packet, stamped in ticks of the encoder, with its captions and mark."""
        data = None if self._captions is None else self._captions.into(packet.pts, packet)
        if self._marks is not None:
            data = self._marks.into(packet.pts, data or bytes(packet))
        if data is None:
            return packet
        made: av.Packet[Any] = av.Packet(data)
        made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
        made.is_keyframe = packet.is_keyframe
        for entry in packet.iter_sidedata():
            made.set_sidedata(entry)
        return made

    def _place(self, packet: av.Packet[av.VideoStream]) -> Fraction:
        """Put an encoded packet onto the output's clock; return when it is decoded, in seconds."""
        clock, base = self._plan.encoder_clock, self._plan.clock
        assert packet.pts is not None
        dts = packet.pts if packet.dts is None else packet.dts
        if not 0 <= (packet.pts - dts) * clock <= LONGEST_REORDER:
            dts = packet.pts  # libx265 makes up any number for clips of one or two frames
        shown, decoded = self.start + packet.pts * clock, self.start + dts * clock
        duration = clock if self._plan.rate else (packet.duration or 0) * clock
        packet.pts, packet.dts = round(shown / base), round(decoded / base)
        packet.duration = round(duration / base)
        packet.time_base, packet.stream = base, self._video
        return decoded

    def _add_all(
        self, others: OtherStreams, matrix: tuple[int, ...] | None, *, chapters: bool
    ) -> None:
        """Add all streams in the plan's order, and what belongs to the file as a whole."""
        self._copied = others.open_copy(self._plan.streams)
        for stream in self._plan.streams:
            if stream.action == "interpolate":
                self._video = self._add_video(matrix)
            else:
                self._copied.add(self._out, stream.index)
        components = av.VideoFormat(self._plan.settings.pix_fmt).components
        opaque = not any(component.is_alpha for component in components)
        others.copy_tags(
            self._out,
            self._video,
            self._plan.nominal_rate,
            {"alpha_mode"} if opaque else (),
            chapters=chapters,
        )

    def _add_video(self, matrix: tuple[int, ...] | None) -> av.VideoStream:
        """Add the encoded stream. matrix: how to turn or flip it for display, if at all."""
        plan = self._plan
        stream = self._out.add_stream(plan.settings.codec, rate=plan.nominal_rate)
        assert isinstance(stream, av.VideoStream)
        configure(stream.codec_context, plan.settings, plan.encoder_clock, plan.nominal_rate)
        stream.time_base = plan.clock
        if plan.settings.codec in ALPHA_ENCODERS and plan.settings.pix_fmt.startswith("yuva"):
            stream.metadata["alpha_mode"] = "1"  # players look for alpha only where that is said
        if matrix is not None:
            stream.set_display_matrix(matrix)
        return stream
