"""Open containers for reading: which formats are let in, what is wrong with one that is not."""

from __future__ import annotations

import io
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.container
import av.stream

from ltxfilter.errors import InputError, OptionError
from ltxfilter.media.container.timing.clock_jumps import JUMPING_FORMATS, ClockJumps
from ltxfilter.media.container.timing.stamps import shown_at
from ltxfilter.media.format_names import DEMUXERS, IMAGES
from ltxfilter.media.many_files.names import input_files, no_pictures
from ltxfilter.media.network.interrupts import NEVER
from ltxfilter.media.network.protocols import (
    formats_of,
    input_options,
    read_once,
    read_protocols,
    unreachable,
)
from ltxfilter.media.pipe.libav_io import Readable, Reader
from ltxfilter.media.pipe.sniff import PLAYLIST, SNIFF_BYTES, foreign, identify
from ltxfilter.media.pixfmt import MAX_PIXELS
from ltxfilter.media.pyav_compat import LIBAV_TICK, open_input, reorder_depth, time_base_of
from ltxfilter.options import InputOptions
from ltxfilter.values import scheme_of

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

log = logging.getLogger("ltxfilter.media")

SEEK_LEAD = 1  # seconds; a frame is decoded at most so long before it is shown, libav assumes
READ_SIZE = 1 << 20  # bytes that a pipe is asked for at a time
FILE_READ_SIZE = 32768  # bytes; FFmpeg's own default
EMPTY_WAV = bytes.fromhex(  # a whole file, to try options on
    "524946462400000057415645666d7420100000000100010044ac000088580100020010006461746100000000"
)

PLAYLIST_ADVICE = (
    ", which opens other files; if that is meant, name its format before -i: -f hls, -f concat or "
    "-f dash"
)
NO_INDEX = (
    "incomplete mp4: its index (moov) is missing, so the recording or the copy was cut short; get "
    "the whole file, or rebuild the index with a tool such as untrunc"
)


def open_container(
    options: InputOptions,
    file: Readable | None = None,
    format_name: str | None = None,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open `options.path`, or `file` in its place. Raises InputError, Stopped.

    Only formats in DEMUXERS are let in, unless `format_name` names another. hwaccel: what is to
    decode, if not the CPU.
    """
    name = display_name(options)
    named = set(format_name.split(",")) if format_name else set()
    if file is None:
        _check_readable(options, named)
    allowed = DEMUXERS.union(named, formats_of(options.path))
    try:
        return open_input(
            _url(options.path, named) if file is None else Reader(file),
            format=format_name,
            options={
                **input_options(options),
                **_demuxer_options(options, named),
                "protocol_whitelist": read_protocols(options),
                "format_whitelist": ",".join(sorted(allowed)),
                "max_pixels": str(MAX_PIXELS),
            },
            buffer_size=FILE_READ_SIZE if file is None else READ_SIZE,
            timeout=NEVER if file is None and read_once(options) else None,
            hwaccel=hwaccel,
        )
    except av.error.FileNotFoundError:
        what = no_pictures(options) if IMAGES in named else "no such file"
        raise InputError(f"{name}: {what}") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InterruptedError):
            raise
        why = _why_not_reached if file is None and scheme_of(options.path) else _why
        raise InputError(f"{name}: {why(options, file, error)}") from error


def display_name(options: InputOptions) -> str:
    """Return what messages call the input."""
    return "standard input" if options.path == "-" else options.shown


def is_cover(stream: av.stream.Stream) -> bool:
    """Return True for a still picture attached to the file."""
    attached = stream.disposition & av.stream.Disposition.attached_pic
    return bool(attached) and not is_thumbnails(stream)


def is_thumbnails(stream: av.stream.Stream) -> bool:
    """Return True for a track of small pictures that shows what is where in the video."""
    return bool(stream.disposition & av.stream.Disposition.timed_thumbnails)


def packets_of(
    container: av.container.InputContainer,
    *streams: av.stream.Stream,
    on_jump: Callable[[Fraction], None] | None = None,
) -> Iterator[av.Packet[Any]]:
    """Yield the packets of some streams, and at last an empty one for each to drain its decoder.

    on_jump: called with the seconds at which the container's clock started anew.
    """
    with suppress(IndexError):  # PyAV raises it at the end where more streams appeared on the way
        if container.format.name not in JUMPING_FORMATS:
            yield from container.demux(*streams)
            return
        wanted = {stream.index for stream in streams}
        jumps = ClockJumps(on_jump)
        for packet in container.demux():
            jumps.place(packet)
            if packet.stream.index in wanted:  # the last, empty packets have no index of their own
                yield packet


def seek_before(
    container: av.container.InputContainer, stream: av.VideoStream, time: Fraction
) -> None:
    """Go to an I-frame that is shown at or before `time`, seconds on the container's clock.

    Where libav cannot seek, reading goes on from where it is, which is the beginning.
    """
    with suppress(av.FFmpegError):
        _seek_before(container, stream, time)


def _seek_before(
    container: av.container.InputContainer, stream: av.VideoStream, time: Fraction
) -> None:
    """Do what `seek_before` says. Raises av.FFmpegError where libav cannot seek.

    A container without an index may land anywhere. So the place is looked at, and where it lies too
    late, an earlier one is tried.
    """
    base = time_base_of(stream)
    first = (container.start_time or 0) * LIBAV_TICK
    lead = SEEK_LEAD if container.format.name in JUMPING_FORMATS else 0
    back = Fraction(0)  # seconds
    while True:
        target = max(time - back, first)
        place = int((target - lead) / base)
        container.seek(place, stream=stream)
        depth = reorder_depth(stream.codec_context)
        stamps = (
            shown_at(packet, depth)
            for packet in packets_of(container, stream)
            if packet.is_keyframe
        )
        shown = (stamp * base for stamp in stamps if stamp is not None)
        if next(shown, time + 1) <= time or target == first:
            container.seek(place, stream=stream)
            return
        back = 2 * back + 1


def _check_readable(options: InputOptions, named: set[str]) -> None:
    """Raise InputError for what libav would report less clearly. named: formats that -f names."""
    if IMAGES in named and not input_files(options):
        raise InputError(f"{options.path}: {no_pictures(options)}")
    path = options.path
    if named - DEMUXERS or scheme_of(path):
        return  # a device, a pattern or a graph need not be a file
    try:
        status = os.stat(path)  # noqa: PTH116  (a Path raises for some names)
    except (OSError, ValueError):
        return  # libav says why it cannot be opened
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: is empty")


def _url(path: str, named: set[str]) -> str:
    """Return `path` such that libav takes it for a file, whatever its name looks like.

    named: formats that -f names; one of a device or a playlist takes its path as it is.
    """
    return path if named - DEMUXERS or scheme_of(path) else "file:" + path


def _demuxer_options(options: InputOptions, named: set[str]) -> dict[str, str]:
    """Return what the demuxer is told. named: formats that -f names."""
    rate = options.rate if IMAGES in named else None
    return {**options.demuxer, **({} if rate is None else {"framerate": str(rate)})}


def _why(options: InputOptions, file: Readable | None, error: Exception) -> str:
    """Say why a container could not be opened; error: what libav said."""
    if isinstance(error, av.error.ArgumentError):
        refuse_value(options.demuxer)
    if isinstance(error, av.error.EOFError):
        return "no video frames: it ends with its header, or within"
    prefix = _prefix(options.path) if file is None else b""
    if what := foreign(prefix):
        return f"is {what}" + (PLAYLIST_ADVICE if what == PLAYLIST else ", not video")
    if isinstance(error, av.error.InvalidDataError):
        return (
            NO_INDEX
            if identify(prefix) == "mov"
            else "is not a video file, or damaged at its start"
        )
    if isinstance(error, av.error.ArgumentError) and file is None:
        if not os.path.exists(options.path):  # noqa: PTH110  (a Path refuses some names)
            glob = re.search(r"[*?]", options.path)
            return "no such file" + ("; is it a pattern? -f image2 before -i" if glob else "")
        return (
            "is in a format that may open other files or devices; if that is meant, name the "
            "format with -f before -i"
        )
    return getattr(error, "strerror", None) or str(error)


def _why_not_reached(options: InputOptions, file: Readable | None, error: Exception) -> str:  # noqa: ARG001
    """Say the same of an address of the network."""
    if isinstance(error, av.error.ArgumentError):
        refuse_value(options.demuxer)
    if isinstance(error, av.error.InvalidDataError):
        return "what comes from there is no video, or in a format that -f before -i has to name"
    return unreachable(options.path, error)


def refuse_value(given: Mapping[str, str]) -> None:
    """Raise OptionError for an option of demuxers that has a value that none of them takes."""
    for name, value in given.items():
        try:
            open_input(io.BytesIO(EMPTY_WAV), format="wav", options={name: value}).close()
        except av.error.ArgumentError:
            raise OptionError(f"-{name} {value}: FFmpeg does not take this value") from None


def _prefix(path: str) -> bytes:
    """Return the first bytes of a file; nothing if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(SNIFF_BYTES)
    except (OSError, ValueError):
        return b""
