"""What PyAV 18 and PyAV 19 do differently, hidden in one place.

Each difference is probed by feature, never by version number:

- Rational numbers (time bases, rates, aspects) are `Fraction` or None in PyAV 18, `AVRational` with
  a zero in it in PyAV 19. `fraction` and `time_base_of` return `Fraction` with either.
- Tags that are not UTF-8 make PyAV 18 raise an error unless `av.open` is told otherwise. PyAV 19
  always keeps their bytes as surrogate escapes; `open_input` and `open_output` ask PyAV 18 for
  that.
- Iterating over side data yields the side data in PyAV 18 and its types in PyAV 19. The lookup by
  name, which `side_data_of` uses, is the same in both.
- A CUDA context that is in use already can be shared from PyAV 18.1 on; `cuda_context` asks for it.
- How many frames a decoder reorders is a truth value before PyAV 18.1; `reorder_depth` asks.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import av
import av.container
from av.sidedata.sidedata import Type as SideDataType

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

LIBAV_TICK = Fraction(1, av.time_base)  # seconds; what libav counts in where no stream is meant

# Arguments of `av.open` that keep the bytes of tags which are not UTF-8.
KEEP_BYTES: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"}
    if hasattr(av.container.InputContainer, "metadata_errors")
    else {}
)


class Clocked(Protocol):
    """A packet, a frame or a stream: something that counts its times in ticks."""

    @property
    def time_base(self) -> Any:
        """Seconds per tick, if they are known."""
        ...


def open_input(
    file: Any,
    *,
    format: str | None = None,  # noqa: A002
    options: dict[str, str] | None = None,
    buffer_size: int = 32768,
    timeout: float | None = None,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a container for reading.

    file: a URL, or an object with `read`. buffer_size: bytes asked from such an object at a time.
    timeout: seconds after which opening or reading is given up. Raises av.FFmpegError, OSError,
    ValueError.
    """
    container: av.container.InputContainer = av.open(
        file,
        "r",
        format=format,
        options=options,
        buffer_size=buffer_size,
        timeout=timeout,
        hwaccel=hwaccel,
        **KEEP_BYTES,
    )
    return container


def open_output(
    file: Any,
    *,
    format: str | None = None,  # noqa: A002
    container_options: dict[str, str] | None = None,
    buffer_size: int = 32768,
    io_open: Callable[[str, int, dict[str, str]], Any] | None = None,
) -> av.container.OutputContainer:
    """Open a container for writing.

    file: a URL, or an object with `write`. container_options: the muxer's. buffer_size: bytes given
    to such an object at a time. io_open: opens each file of a muxer that writes several; it is
    given a URL, libav's flags and options. Raises av.FFmpegError, OSError, ValueError.
    """
    container: av.container.OutputContainer = av.open(
        file,
        "w",
        format=format,
        container_options=container_options,
        buffer_size=buffer_size,
        io_open=io_open,
        **KEEP_BYTES,
    )
    return container


def fraction(value: Any) -> Fraction | None:
    """Return a rational number of PyAV; None where it is unset or zero."""
    return Fraction(value.numerator, value.denominator) if value else None


def time_base_of(clocked: Clocked) -> Fraction:
    """Return the seconds per tick of a stream, a packet or a frame; libav's own if unset."""
    return fraction(clocked.time_base) or LIBAV_TICK


def side_data_of(frame: av.VideoFrame, kind: str) -> bytes | None:
    """Return the side data of a frame that has the name `kind` in PyAV; None if it has none.

    Not for every frame of a stream: PyAV ties the frame into a reference cycle.
    """
    data: Any = frame.side_data
    found = data.get(SideDataType[kind])
    return None if found is None else bytes(found)


def level_of(context: av.VideoCodecContext) -> int | None:
    """Return the level of a stream, as its codec numbers it; None if PyAV does not show it.

    It does so from 18.1 on.
    """
    level = getattr(context, "level", None)
    return None if level is None else int(level)


def reorder_depth(context: av.VideoCodecContext) -> int:
    """Return how many frames a decoder holds to put them in order; 1 if PyAV only knows that some.

    It shows the number from 18.1 on.
    """
    return int(getattr(context, "reorder_depth", context.has_b_frames))


def set_reorder_depth(context: av.VideoCodecContext, depth: int) -> None:
    """Tell a decoder how many frames it has to hold to put them in order, where PyAV can."""
    if hasattr(context, "reorder_depth"):
        context.reorder_depth = depth


def cuda_context(number: int) -> Any:
    """Return PyAV's context for frames that are made on a device, which is torch's as well.

    number: of the device, whose context is the current one of this thread. PyAV 18.0 can only be
    told to take the primary one, which fails where torch was first to use the device.
    """
    from av.video.frame import CudaContext

    make: Any = CudaContext  # its arguments depend on the version
    if hasattr(CudaContext, "current_ctx"):
        return make(number, primary_ctx=False, current_ctx=True)
    return make(number)
