"""Open containers for reading: which formats are let in, what is wrong with one that is not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.container
import av.stream

from ltxfilter.errors import InputError
from ltxfilter.media.container.clock_jumps import RESTARTING, Restarts
from ltxfilter.media.pipe.libav_io import Reader
from ltxfilter.media.pipe.sniff import PLAYLIST, SNIFF_BYTES, foreign, identify
from ltxfilter.media.pyav_compat import LIBAV_TICK, open_input, time_base_of
from ltxfilter.options import InputOptions

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

log = logging.getLogger("ltxfilter.media")

MAX_PIXELS = 2 * 8192 * 4320  # of one picture
SEEK_LEAD = 1  # seconds that a frame is decoded before it is shown, at most; what libav goes by
READ_SIZE = 1 << 20  # bytes asked from a Python file at a time

# Demuxers that read one file and nothing else. Missing on purpose: playlists, concat, image
# sequences, devices, network protocols, and `tty`, which takes any text for video.
DEMUXERS = frozenset(
    re.findall(
        r"\w+",
        "mov,matroska,webm,avi,mpegts,mpeg,flv,nut,yuv4mpegpipe,ivf,ogg,asf,wtv,mxf,gxf,dv,rm,nsv,"
        "h264,hevc,vvc,av1,obu,evc,m4v,mpegvideo,mjpeg,mjpeg_2000,h263,h261,vc1,vc1test,dirac,dnxhd,"
        "cavsvideo,avs2,avs3,rawvideo,gif,apng,swf,roq,bink,smk,flic,nuv,pmp,pva,thp,"
        "mp3,wav,w64,flac,aac,ac3,eac3,dts,dtshd,truehd,aiff,caf,au,amr,ape,tta,wv,opus",
    )
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
    file: Any = None,
    format_name: str | None = None,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open `options.path`, or `file` in its place. Raises InputError.

    Only formats in DEMUXERS are let in, unless `format_name` names another.
    """
    name = display_name(options)
    named = set(format_name.split(",")) if format_name else set()
    if file is None:
        _check_readable(options.path, named)
    try:
        return open_input(
            _url(options.path, named) if file is None else Reader(file),
            format=format_name,
            options={
                "protocol_whitelist": "file",
                "format_whitelist": ",".join(sorted(DEMUXERS | named)),
                "max_pixels": str(MAX_PIXELS),
            },
            buffer_size=READ_SIZE if file is not None else 32768,
            hwaccel=hwaccel,
        )
    except av.error.FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InterruptedError):
            raise
        raise InputError(f"{name}: {_why(options, file, error)}") from error


def display_name(options: InputOptions) -> str:
    """Return what messages call the input."""
    return "standard input" if options.path == "-" else options.path


def video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """Return the first stream of moving pictures. Raises InputError if there is none."""
    moving = [stream for stream in container.streams.video if not is_cover(stream)]
    if not moving:
        what = "no video stream, only a cover picture" if container.streams.video else None
        raise InputError(f"{name}: {what or 'no video stream'}")
    stream = moving[0]
    if stream.codec_context is None:
        raise InputError(f"{name}: FFmpeg has no decoder for its video")
    check_size(stream.codec_context.width, stream.codec_context.height, name)
    return stream


def is_cover(stream: av.stream.Stream) -> bool:
    """Return True for a still picture attached to the file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def check_size(width: int, height: int, name: str) -> None:
    """Raise InputError if a picture of this size must not be allocated."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: a picture of {width}x{height} is too large; at most {MAX_PIXELS} pixels "
            "are accepted"
        )


def packets_of(
    container: av.container.InputContainer,
    *streams: av.stream.Stream,
    on_jump: Callable[[Fraction], None] | None = None,
) -> Iterator[av.Packet[Any]]:
    """Yield the packets of some streams, at last an empty one for each to drain its decoder.

    on_jump: called with the seconds at which the container's clock started anew.
    """
    with suppress(IndexError):  # PyAV's, at the end, where more streams appeared on the way
        if container.format.name not in RESTARTING:
            yield from container.demux(*streams)
            return
        wanted = {stream.index for stream in streams}
        restarts = Restarts(on_jump)
        for packet in container.demux():
            restarts.place(packet)
            if packet.stream_index in wanted:
                yield packet


def seek_before(
    container: av.container.InputContainer, stream: av.VideoStream, time: Fraction
) -> None:
    """Go to an I-frame shown at or before `time`, seconds on the container's clock.

    Containers without an index land anywhere, so that the place is looked at and left again. Where
    libav cannot seek, reading goes on from where it is, which is the beginning.
    """
    with suppress(av.FFmpegError):
        _seek_before(container, stream, time)


def _seek_before(
    container: av.container.InputContainer, stream: av.VideoStream, time: Fraction
) -> None:
    base = time_base_of(stream)
    zero = (container.start_time or 0) * LIBAV_TICK
    lead = SEEK_LEAD if container.format.name in RESTARTING else 0
    back = Fraction(0)
    while True:
        target = max(time - back, zero)
        place = int((target - lead) / base)
        container.seek(place, stream=stream)
        shown = (
            p.pts * base
            for p in packets_of(container, stream)
            if p.is_keyframe and p.pts is not None
        )
        if next(shown, time + 1) <= time or target == zero:
            container.seek(place, stream=stream)
            return
        back = 2 * back + 1


def _check_readable(path: str, named: set[str]) -> None:
    """Raise InputError for what libav would report less clearly."""
    if named - DEMUXERS:
        return  # a device, a pattern or a graph need not be a file
    if Path(path).is_dir():
        raise InputError(f"{path}: is a directory")
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        raise InputError(f"{path}: is empty")


def _url(path: str, named: set[str]) -> str:
    """Return `path` such that libav takes it for a file, whatever its name looks like."""
    return path if named - DEMUXERS else "file:" + path


def _why(options: InputOptions, file: Any, error: Exception) -> str:
    """Say why a container could not be opened."""
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
        return (
            "is in a format that may open other files or devices; if that is meant, name the "
            "format with -f before -i"
        )
    return getattr(error, "strerror", None) or str(error)


def _prefix(path: str) -> bytes:
    """Return the first bytes of a file; nothing if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(SNIFF_BYTES)
    except (OSError, ValueError):
        return b""
