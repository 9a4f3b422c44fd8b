"""The contract of sources and sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from ltxfilter.frame import Frame, VideoInfo

if TYPE_CHECKING:
    from typing import Self


@dataclass(slots=True)
class SourceCounts:
    """What a source had to put up with."""

    frames: int = 0  # handed out
    corrupt: int = 0  # packets that did not decode, and frames that decoded damaged
    out_of_order: int = 0  # frames dropped because their time did not advance


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What becomes of one stream of the input."""

    index: int  # its number in the input
    kind: str  # video, audio, subtitle, data, attachment
    codec: str
    action: str  # "draw", "copy" or "drop"
    reason: str = ""  # why it is dropped


class Source(Protocol):
    """Decoded frames of one video stream, in order, with exact times."""

    name: str  # for messages
    info: VideoInfo
    counts: SourceCounts

    @property
    def clock(self) -> Fraction:
        """Seconds on its frames' clock that -ss calls 0."""
        ...

    @property
    def duration(self) -> Fraction | None:
        """Seconds, if known before decoding."""
        ...

    @property
    def delay(self) -> int:
        """Later source frames that it has to read before it can hand one out, at most."""
        ...

    @property
    def held_bytes(self) -> int:
        """Estimate of what it holds beyond the frames it handed out."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield every frame once, times ascending. Raises InputError."""
        ...

    def frame_times(self) -> tuple[Sequence[Fraction], Fraction] | None:
        """Return every frame's seconds from the first, and all of their seconds together.

        Found by reading packets, without decoding; None where the input can be read only once.
        """
        ...

    def cancel(self) -> None:
        """Make a waiting read end soon; safe in signal handlers and other threads."""
        ...

    def close(self) -> None:
        """Release everything; calling it twice does nothing."""
        ...


class Sink(Protocol):
    """Takes the output frames in order, and everything else that the source carries."""

    name: str  # for messages
    plan: tuple[StreamPlan, ...]  # what becomes of each input stream

    @property
    def held_bytes(self) -> int:
        """Estimate of what it holds: an encoder's lookahead, queued packets."""
        ...

    def write(self, frame: Frame) -> None:
        """Encode or write one frame. Raises OutputError, BrokenPipeError."""
        ...

    def finish(self) -> None:
        """Drain, complete the output and give it its final name. Raises OutputError."""
        ...

    def close(self) -> str | None:
        """Release everything; twice does nothing.

        If `finish` was not reached, complete what was written as a playable file that keeps its
        provisional name, and return one line that says where it is and how many seconds it holds.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
