"""The ffmpeg that writes our pipe: which geometry it gives to the file that it reads.

Headerless video does not state its geometry, but on Linux we can look at the process that writes it
and at the file that this one reads. Elsewhere nothing is ever found. No message repeats the command
line of another process.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from time import monotonic

import av

from ltxfilter.errors import OptionError
from ltxfilter.media.avframe import color_of
from ltxfilter.media.pyav_compat import fraction, open_input
from ltxfilter.media.raw.rawvideo import Geometry
from ltxfilter.values import parse_rate

SECONDS = 0.5  # how long the writer and its file are looked for, at most

# What an ffmpeg may be told without changing the geometry or the timing of what it writes.
FLAGS = frozenset({
    "-hide_banner", "-nostdin", "-y", "-n", "-stats", "-nostats", "-re", "-an", "-sn", "-dn",
})  # fmt: skip
VALUES = frozenset({
    "-v", "-loglevel", "-threads", "-ss", "-sseof", "-t", "-to", "-thread_queue_size", "-probesize",
    "-analyzeduration", "-stream_loop", "-sws_flags",
})  # fmt: skip
OUTPUT_VALUES = frozenset({"-frames:v", "-vframes", "-pix_fmt", "-r", "-s", "-f"})
VIDEO_CODEC = frozenset({"-c:v", "-vcodec", "-codec:v", "-c", "-codec"})
OUTPUTS = frozenset({"-", "pipe:", "pipe:1"})


@dataclass(frozen=True, slots=True)
class UpstreamVideo:
    """A file that an ffmpeg turns into headerless video."""

    name: str
    """The file's name, without its folder."""

    geometry: Geometry
    """What the headerless video is like."""


@dataclass(frozen=True, slots=True)
class FfmpegCommand:
    """What a plain `ffmpeg -i FILE -f rawvideo -` was asked to do."""

    file: str
    """The path, as it was given."""

    pix_fmt: str | None = None
    """The value of -pix_fmt."""

    rate: str | None = None
    """The value of -r after -i."""

    size: str | None = None
    """The value of -s."""

    rotates: bool = True
    """True if a picture that is tagged as turned is turned back."""


def find_video(fd: int) -> UpstreamVideo | None:
    """Return what the ffmpeg that writes the pipe `fd` makes of its file; None if unknown.

    It is unknown on other systems than Linux, and where there is no such process, where it is
    another user's, where another one writes the pipe too, or where an option may change geometry or
    timing. Only a regular file is opened, which this user may read. Takes at most about SECONDS.
    """
    deadline = monotonic() + SECONDS
    try:
        writer = _ffmpeg_writing(fd, deadline)
        command = parse(_arguments(writer)) if writer else None
        if writer is None or command is None:
            return None
        path = Path(f"/proc/{writer}/cwd").readlink() / command.file
        if not path.is_file() or not os.access(path, os.R_OK):
            return None
        return _applied(command, _first_frame(path, deadline))
    except (
        OSError,
        ValueError,
        IndexError,
        av.FFmpegError,
    ):  # the process has ended, or is not what it seemed
        return None


def parse(argv: list[str]) -> FfmpegCommand | None:
    """Understand the command line of an ffmpeg; None if it is more than the plain one."""
    words = argv[1:]
    if words.count("-i") != 1 or not words or words[-1] not in OUTPUTS:
        return None
    at = words.index("-i")
    before = _options(words[:at], VALUES, FLAGS | {"-noautorotate"})
    after = _options(words[at + 2 : -1], VALUES | OUTPUT_VALUES | VIDEO_CODEC, FLAGS)
    if before is None or after is None or after.get("-f") != "rawvideo":
        return None
    if any(after[flag] != "rawvideo" for flag in VIDEO_CODEC & after.keys()):
        return None
    return FfmpegCommand(
        words[at + 1].removeprefix("file:"),
        after.get("-pix_fmt"),
        after.get("-r"),
        after.get("-s"),
        "-noautorotate" not in before,
    )


def _options(
    words: list[str], values: frozenset[str], flags: frozenset[str]
) -> dict[str, str] | None:
    """Read options into a dict; None if one of them is not known.

    values: options that take a value. flags: options that take none.
    """
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word in flags:
            given[word] = ""
        elif word in values:
            given[word] = next(rest, "")
        else:
            return None
    return given


def _ffmpeg_writing(fd: int, deadline: float) -> int | None:
    """Return the one ffmpeg that has the other end of our pipe open; None if that is not certain.

    A shell that started it may have the pipe open too.
    """
    if sys.platform != "linux":
        return None
    pipe = str(Path(f"/proc/self/fd/{fd}").readlink())
    if not pipe.startswith("pipe:"):
        return None
    writers = list(_writers(pipe, deadline))
    own = (pid for pid in writers if _real_user(pid) == os.getuid())
    ours = [pid for pid in own if _is_ffmpeg(_arguments(pid))]
    if len(ours) != 1:
        return None
    family = set(_ancestors(ours[0]))
    return ours[0] if family.issuperset(set(writers) - set(ours)) else None


def _writers(pipe: str, deadline: float) -> Iterator[int]:
    """Yield the processes that can write to `pipe`, of those we may look into."""
    for process in Path("/proc").iterdir():
        if monotonic() > deadline:
            raise TimeoutError
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if _has_open(process, pipe):
                    yield int(process.name)
            except OSError:
                continue


def _has_open(process: Path, pipe: str) -> bool:
    for link in (process / "fd").iterdir():
        if str(link.readlink()) == pipe:
            info = (process / "fdinfo" / link.name).read_text()
            flags = re.search(r"flags:\s*([0-7]+)", info)
            if flags and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


def _arguments(pid: int) -> list[str]:
    return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")][
        :-1
    ]


def _real_user(pid: int) -> int:
    """Return who started a process, as root may look into everybody's."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nUid:")[2].split()[0])


def _is_ffmpeg(argv: list[str]) -> bool:
    return bool(argv) and Path(argv[0]).name.split("-")[0] == "ffmpeg"


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        status = Path(f"/proc/{pid}/stat").read_text()
        pid = int(status.rpartition(")")[2].split()[1])
        yield pid


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """What the first frame of a file tells."""

    geometry: Geometry
    """Of the frame as it is coded."""

    quarter_turn: bool
    """True if it is tagged as turned by 90 or 270 degrees."""


def _first_frame(path: Path, deadline: float) -> FirstFrame:
    """Decode the first frame. Raises ValueError, av.FFmpegError."""
    options = {"protocol_whitelist": "file"}
    left = max(deadline - monotonic(), 0.01)
    with open_input(str(path), options=options, timeout=left) as container:
        videos = container.streams.video
        if len(videos) != 1:
            raise ValueError("which of its streams ffmpeg took is not certain")
        stream = videos[0]
        frame = next(container.decode(stream), None)
        if frame is None:
            raise ValueError("nothing of it can be decoded")
        geometry = Geometry(
            frame.width,
            frame.height,
            frame.format.name,
            fraction(stream.guessed_rate) or Fraction(0),
            color_of(frame),
            fraction(stream.sample_aspect_ratio) or Fraction(1),
        )
        return FirstFrame(geometry, frame.rotation % 180 != 0)


def _applied(command: FfmpegCommand, first: FirstFrame) -> UpstreamVideo | None:
    """Return what the command makes of a file; None if that is not certain."""
    result = first.geometry
    if command.rotates and first.quarter_turn:
        aspect = 1 / result.sample_aspect
        result = replace(result, width=result.height, height=result.width, sample_aspect=aspect)
    if command.size:
        match = re.fullmatch("([0-9]+)x([0-9]+)", command.size)
        if not match:
            return None
        width, height = int(match[1]), int(match[2])
        aspect = result.sample_aspect * Fraction(result.width * height, result.height * width)
        result = replace(result, width=width, height=height, sample_aspect=aspect)
    if command.pix_fmt and command.pix_fmt != result.pix_fmt:
        result = replace(result, pix_fmt=command.pix_fmt, color=replace(result.color, range=0))
    if command.rate:
        try:
            result = replace(result, rate=parse_rate(command.rate))
        except OptionError:
            return None
    return UpstreamVideo(Path(command.file).name, result) if result.rate else None
