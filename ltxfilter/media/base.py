"""The contract of sources and sinks: where frames come from and go to.

This file is the whole contract. Nobody asks a source or a sink for anything that is not declared
here, and nobody asks of which class it is. `opening.py` chooses the class: `container/` has those
for whatever libav reads and writes, `raw/` those for y4m and rawvideo.
`tests/media/test_contract.py` is the suite that every source and every sink joins.

How they are used, in this order::

    source = open_source(InputOptions(path="in.mkv"))              # decodes one frame
    sink = open_sink(OutputOptions(path="out.mkv"), source, rate)  # refuses what it cannot write
    try:
        for frame in source.frames():                              # in one thread
            sink.write(frame)                                      # in one thread, maybe another
        sink.finish()                                              # drains, gives the final name
    finally:
        unfinished = sink.close()                                  # None, or where the output is
        source.close()

Rules of a source:

- **Order.** `frames` yields every frame once, and `time` ascends strictly. A frame whose time does
  not advance is left out and counted. All frames have the size and the format that `info` states.
- **Time.** `Frame.time` is exact, in seconds on the source's own clock; -ss calls `clock` 0. Where
  a container rounds its timestamps, times are put back onto the rate that it meant. pts and time
  bases never leave media/.
- **Memory.** The planes of a frame are views of the decoder's own memory. They do not change while
  anybody holds the frame, and nobody may write to them. Beyond the frames that it has handed out,
  a source holds at most `held_bytes`, and its `other_streams` theirs: of a pipe, packets of other
  streams wait there, and beyond a fixed share of memory in a temporary file.
- **Damage.** What does not decode is passed over, counted in `counts` and told in a warning. A file
  that breaks off ends there. Neither is an error, but a source without a single frame is.
- **Cancelling.** `cancel` may be called at any time, from any thread and from a signal handler,
  more than once, and after `close`. A read that waits ends within milliseconds, and `frames` raises
  `Stopped`.
- **Closing.** Whoever opened a source calls `close` once no thread iterates over `frames` any more.
  Frames that were handed out stay valid.
- **Threads.** One thread iterates over `frames`. Any other may read `counts`, `held_bytes` and
  `delay`. The sink may take packets from `other_streams` in a thread of its own.
- **Failing.** Opening raises `InputError` or `OptionError` and leaves nothing open. Messages begin
  with `name`.

Rules of a sink:

- **Order.** `write` takes frames whose times ascend. The first one opens the output, since its side
  data (HDR, rotation) goes into the header. What can be refused is refused earlier, when opening.
- **Time.** At a constant rate each frame lasts one interval. Without a rate frames keep their own
  times. What is copied beside the video stays in sync with it.
- **Frames.** A frame that comes from the source is passed on with its samples. One that an engine
  made takes tags and lasting side data from `Frame.origin`. Planes are only read.
- **Memory.** `held_bytes` is known once the sink is open: an encoder's lookahead, references and
  threads. It grows by `index_bytes` with each frame where a container's index is kept to the end.
- **Finishing.** `finish` is called once, after the last frame. It completes the output and gives it
  its final name. `close` is always called, after `finish` or instead of it.
- **Cancelling.** `cancel` may be called at any time, from any thread and from a signal handler,
  more than once, and after `close`. A write whose reader takes nothing then ends within a second
  with `Stopped`, and so does a `finish` whose encoder goes on longer than that. After `Stopped`
  only `close` may be called.
- **Abandoning.** An encoder or a file system may keep a thread for many seconds inside one call.
  `abandon` is for a second thread of a process that is about to exit: it completes the output
  without waiting for the encoder. It waits for a write that is under way.
- **Threads.** One thread at a time calls `write`, `finish` and `close`.
- **Failing.** `write` and `finish` raise `OutputError`, or `BrokenPipeError` where the reader of a
  pipe has left; `finish` raises `InputError` if there was no frame. After that only `close` may be
  called.

Rules of the other streams:

- A source that carries nothing but video has `other_streams = None`.
- A sink that copies calls `plan`, then `select` before the first frame is read, then `open_copy`
  for each output that it writes. A sink that holds video only calls `plan`, to say what is left
  out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from ltxfilter.frame import Frame, VideoInfo

if TYPE_CHECKING:
    from typing import Self

    import av
    import av.container

    from ltxfilter.media.carried.captions import CaptionQueue
    from ltxfilter.media.carried.items import Item, OutputFormat
    from ltxfilter.media.segments.segment_file import SegmentReader
    from ltxfilter.options import OutputOptions

UNSTATED_RATE = Fraction(25)  # frames per second that FFmpeg assumes where a stream states none
NOT_ASKED = "not asked for"  # why a stream is dropped that -map, -an, -sn or -dn leaves out


@dataclass(slots=True)
class SourceCounts:
    """How many frames a source has handed out, and what it had to pass over, until now."""

    frames: int = 0
    """Frames that were handed out."""

    corrupt: int = 0
    """Packets that did not decode, and frames that decoded damaged."""

    out_of_order: int = 0
    """Frames that were left out because their time did not advance."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What becomes of one stream of the input."""

    index: int
    """Its number in the input, from 0."""

    kind: str
    """video, audio, subtitle, data or attachment."""

    codec: str
    """FFmpeg's name of its codec, or "unknown"."""

    action: str
    """interpolate: the frames of this stream are read, and written at another rate. copy: its
    packets go into the output as they are. drop: it does not reach the output."""

    reason: str = ""
    """Why it is dropped; empty for the other actions."""

    way: str = ""
    """Where it could go instead, for audio: ".avi or .nut"."""


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """When the frames of a source are shown, as far as it can be told without decoding them."""

    times: Sequence[Fraction]
    """Seconds from the first frame, ascending; 0 comes first."""

    duration: Fraction
    """Seconds from the first frame until the last one ends."""

    entries: Sequence[Fraction] = ()
    """Those of `times` at which decoding can begin without anything earlier, which `frames` finds
    by seeking; empty if everything has to be read from the beginning to know what is shown when."""


class StreamCopy(Protocol):
    """The streams that are copied into one output, with their packets in order of time."""

    def add(self, output: av.container.OutputContainer, index: int) -> None:
        """Create in `output` the stream, or the attachment, that stream `index` becomes.

        Does nothing for a stream that is not to be copied.
        """
        ...

    def start(self) -> None:
        """Begin to read packets, once all streams are added."""
        ...

    def until(self, time: Fraction | None) -> Iterator[av.Packet[Any]]:
        """Yield the packets up to `time`, seconds of output, ready to be muxed; None: all."""
        ...

    def ends(self) -> Iterator[av.Packet[Any]]:
        """Yield what ends the streams, once all their packets are muxed."""
        ...

    def count_damaged(self) -> None:
        """Note that the muxer refused a packet because it is damaged."""
        ...

    def close(self) -> None:
        """Stop reading, and warn of what was damaged."""
        ...


class OtherStreams(Protocol):
    """Everything that a container carries beside its video, for the sink that copies it."""

    captions: CaptionQueue
    """The captions of the frames; a sink that writes them says so with `wanted`."""

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most; known once the first frame is decoded."""
        ...

    @property
    def zero(self) -> Fraction:
        """Seconds on the source's clock that are 0 in the output."""
        ...

    def begin(self, time: Fraction) -> None:
        """Take the time of the first frame, before `open_copy`: `zero` is no later than that."""
        ...

    @property
    def video_time_base(self) -> Fraction | None:
        """Seconds per tick of the video's timestamps; None if the container does not say."""
        ...

    def plan(self, options: OutputOptions, muxer: str) -> tuple[StreamPlan, ...]:
        """Say what becomes of each stream in a file of FFmpeg's format `muxer`.

        In the output's order, which is the input's, or that of -map with what it leaves out after
        it. Raises OptionError for a -map that cannot be read or matches nothing.
        """
        ...

    def select(self, plan: Sequence[StreamPlan]) -> None:
        """Keep the packets of the streams that `plan` copies, and no others."""
        ...

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
        chapters: False leaves them out.
        """
        ...

    def open_copy(self, plan: Sequence[StreamPlan]) -> StreamCopy:
        """Return what copies the streams of `plan` into one output."""
        ...


class Source(Protocol):
    """Decoded frames of one video stream. The module's docstring has the rules."""

    name: str
    """What messages call it: the path as given, or "standard input"."""

    info: VideoInfo
    """What all its frames have in common."""

    counts: SourceCounts
    """Kept up to date while `frames` is iterated."""

    first_picture: av.VideoFrame | None
    """The stream's first picture, whose lasting side data goes into headers; None once `frames` is
    iterated, and where there is none (raw video)."""

    carries: tuple[Item, ...]
    """What it carries beside samples and other streams; see `carried/`."""

    @property
    def other_streams(self) -> OtherStreams | None:
        """What it carries beside the video; None if it carries video only."""
        ...

    @property
    def raw_pix_fmt(self) -> str:
        """The pixel format of a headerless output unless -pix_fmt names another: as it came in.

        FFmpeg's name: `info.pix_fmt`, or a packed format of the same samples, such as nv12.
        """
        ...

    @property
    def pipe_format(self) -> str:
        """FFmpeg's name of the format in which a pipe is answered unless -f names another."""
        ...

    @property
    def clock(self) -> Fraction:
        """Seconds on its frames' clock that -ss calls 0."""
        ...

    @property
    def duration(self) -> Fraction | None:
        """Seconds from the first frame to the end, if they are known before decoding."""
        ...

    @property
    def delay(self) -> int:
        """Later source frames that it has to read, at most, before it can hand one out."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most beyond the frames it handed out."""
        ...

    def frames(self, begin: Fraction | None = None, *, seek: bool = True) -> Iterator[Frame]:
        """Yield every frame once; call it once. Raises InputError, Stopped.

        begin: seconds on the source's clock; frames that are shown earlier may be left out. All
        others are the same as without it, in samples and times. seek: False reads a file from its
        beginning all the same, as is needed where `FrameTimes.entries` is empty.
        """
        ...

    def frame_times(self) -> FrameTimes | None:
        """Return when its frames are shown, without decoding them.

        None for a pipe, whose frames would have to be read for that. May read the whole file once;
        `frames` still yields every frame. Raises InputError.
        """
        ...

    def cancel(self) -> None:
        """Make a waiting read end soon; see the rules."""
        ...

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        ...


class Sink(Protocol):
    """Takes the output frames in order, and what is copied beside them; see the rules."""

    name: str
    """What messages call it: the path as given, or "standard output"."""

    @property
    def place(self) -> str:
        """Where the output is until it is complete: NAME.part, or `name` where it has no other."""
        ...

    plan: tuple[StreamPlan, ...]
    """What becomes of each stream of the input, in the order of `OtherStreams.plan`."""

    output_format: OutputFormat
    """What decides which of a source's items it keeps."""

    @property
    def held_bytes(self) -> int:
        """Bytes that it holds at most, `index_bytes` aside."""
        ...

    @property
    def index_bytes(self) -> int:
        """Bytes by which it grows with each frame, until the end."""
        ...

    def write(self, frame: Frame) -> None:
        """Encode or write one frame. Raises OutputError, BrokenPipeError."""
        ...

    def join(self, segment: SegmentReader, first: Frame) -> None:
        """Write a stored segment, in place of the frames that it was made of.

        first: the first frame of the stream. Raises OutputError, BrokenPipeError, and OutputError
        too if the segment was encoded for another output.
        """
        ...

    def finish(self) -> None:
        """Drain, complete the output and give it its final name.

        Raises OutputError, and InputError if no frame was written.
        """
        ...

    def close(self) -> str | None:
        """Release everything; calling it twice does nothing.

        If `finish` was not reached, complete what was written as a playable file that keeps its
        provisional name, and return one line that says where it is and how many seconds it holds.
        Without a frame nothing is left behind. Of what has no provisional name, the line says only
        what is lost.
        """
        ...

    def cancel(self) -> None:
        """Make a write that waits, and an encoder that is drained, end soon; see the rules."""
        ...

    def abandon(self) -> str | None:
        """Complete the output now, whatever another thread waits for; return what `close` would.

        What the encoder still holds is lost, and the line counts it.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
