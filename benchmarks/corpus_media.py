"""What the ffmpeg program says of a file: its streams, tags, chapters, frames and complaints."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

LEVELS = ("panic", "fatal", "error", "warning")
OWN_WORDS = (  # said by ffmpeg of its own work, of no file
    "Output file is empty",
    "Guessed Channel Layout",
    "deprecated pixel format used",
    "Not all streams could be mapped",
    "not enough frames to estimate rate",
)
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave alpha out
STREAM = re.compile(
    r" +Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\((\w+)\))?: (\w+): (\w+)(.*)", re.ASCII
)
PIX_FMT = re.compile(r", ([a-z][a-z0-9]+)(?:\([^)]*\))?(?:, |$)")


@dataclass(slots=True)
class Stream:
    """A stream as ffmpeg lists it."""

    index: int
    kind: str  # video, audio, subtitle, data, attachment
    codec: str
    pix_fmt: str = ""  # of a video
    still: bool = False  # a cover or a thumbnail
    tags: dict[str, str] = field(default_factory=dict)  # names in lower case


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded frame, or a run of samples; times in seconds."""

    time: Fraction
    duration: Fraction
    md5: str


@dataclass(slots=True)
class Heard:
    """Everything that one run of ffmpeg told of a file."""

    status: int
    streams: list[Stream]
    shown: dict[int, list[Shown]]  # stream index -> in order of time
    tags: dict[str, str]  # of the file, names in lower case
    chapters: int
    words: list[str]  # errors and warnings

    def moving(self) -> Stream | None:
        """Return the video stream with the most frames; None without one."""
        videos = [stream for stream in self.streams if self.shown.get(stream.index)]
        videos = [stream for stream in videos if stream.kind == "video"]
        return max(videos, key=lambda stream: len(self.shown[stream.index]), default=None)

    def start(self, kind: str) -> Fraction | None:
        """Return the first time of the streams of a kind; None without a decoded one."""
        times = [
            self.shown[stream.index][0].time
            for stream in self.streams
            if stream.kind == kind and self.shown.get(stream.index)
        ]
        return min(times, default=None)


def hear(exe: str, path: Path, limit: float, like: str = "", *, rotate: bool = False) -> Heard:
    """Decode a file with the ffmpeg `exe`: every video that moves, and all audio.

    limit: seconds that it may take. like: pixel format that pictures are compared in; their own if
    "". Audio that ffmpeg has no decoder for is left out. Raises subprocess.TimeoutExpired.
    """
    before = ["-noautorotate"] * (not rotate)
    after = ["-pix_fmt", like] if like else []
    heard = _run(exe, path, limit, before, ["-map", "0:V?", "-map", "0:a?", *after])
    moving = heard.moving()
    if heard.status and moving is None and heard.start("audio") is None:
        heard = _run(exe, path, limit, before, ["-map", "0:V?", *after])
    if like.startswith("yuva") and moving and moving.codec in ALPHA_DECODERS:
        before += ["-c:v", ALPHA_DECODERS[moving.codec]]
        heard = _run(exe, path, limit, before, ["-map", "0:V?", "-map", "0:a?", *after])
    return heard


def _run(exe: str, path: Path, limit: float, before: list[str], after: list[str]) -> Heard:
    with tempfile.TemporaryDirectory() as folder:
        hashes, tags = Path(folder) / "frames", Path(folder) / "tags"
        command = [exe, "-hide_banner", "-nostdin", "-nostats", "-v", "level+info", "-y"]
        command += [*before, "-copyts", "-i", str(path.resolve()), *after]
        command += ["-fps_mode", "passthrough", "-enc_time_base:v", "demux", "-noautoscale"]
        command += ["-f", "framemd5", str(hashes), "-f", "ffmetadata", str(tags)]
        done = subprocess.run(command, capture_output=True, timeout=limit, check=False)
        said = done.stderr.decode(errors="replace")
        streams = listed(said)
        order = [stream.index for stream in mapped(streams, audio="0:a?" in after)]
        return Heard(
            done.returncode,
            streams,
            shown(_text(hashes), order),
            *described(_text(tags)),
            complaints(said, path),
        )


def mapped(streams: list[Stream], *, audio: bool) -> list[Stream]:
    """Return the streams that ffmpeg takes, in its order: moving videos, then audio if asked."""
    found = [stream for stream in streams if stream.kind == "video" and not stream.still]
    return found + [stream for stream in streams if audio and stream.kind == "audio"]


def listed(said: str) -> list[Stream]:
    """Read the streams of the input from what ffmpeg said."""
    streams: list[Stream] = []
    for line in said.splitlines():
        text = line.partition("[info] ")[2]
        if text.startswith(("Stream mapping", "Output #", "Press ")):
            break
        if found := STREAM.match(text):
            index, language, kind, codec, rest = found.groups()
            stream = Stream(int(index), kind.lower(), codec)
            if any(stream.index == other.index for other in streams):
                continue  # listed a second time, under a program
            if kind == "Video":
                pix_fmt = PIX_FMT.search(rest)
                stream.pix_fmt = pix_fmt.group(1) if pix_fmt else ""
                stream.still = "(attached pic)" in rest or "(timed thumbnails)" in rest
            if language:
                stream.tags["language"] = language
            streams.append(stream)
        elif streams and (tag := re.match(r" {6,}([^ :][^:]*?) *: (.*)", text)):
            streams[-1].tags[tag.group(1).lower()] = tag.group(2)
    return streams


def shown(text: str, order: list[int]) -> dict[int, list[Shown]]:
    """Read framemd5. order: the input's stream of each of its streams."""
    bases: dict[int, Fraction] = {}
    found: dict[int, list[Shown]] = {index: [] for index in order}
    for line in text.splitlines():
        if base := re.match(r"#tb (\d+): (\d+)/(\d+)", line):
            number, over, under = map(int, base.groups())
            bases[number] = Fraction(over, under)
        elif line and not line.startswith("#"):
            stream, _, pts, duration, _, md5 = (word.strip() for word in line.split(",")[:6])
            number = int(stream)
            if number < len(order):
                base_time = bases[number]
                item = Shown(int(pts) * base_time, int(duration) * base_time, md5)
                found[order[number]].append(item)
    return {index: items for index, items in found.items() if items}


def described(text: str) -> tuple[dict[str, str], int]:
    """Read the tags of the file, and how many chapters it has, from FFmpeg's metadata file."""
    tags: dict[str, str] = {}
    head, *chapters = text.split("[CHAPTER]")
    for line in head.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(";"):
            tags[key.lower()] = value
    return tags, len(chapters)


def complaints(said: str, path: Path) -> list[str]:
    """Return what ffmpeg warned of, without addresses, each sentence once."""
    found: dict[str, None] = {}
    for line in said.splitlines():
        for level in LEVELS:
            before, mark, text = line.partition(f"[{level}] ")
            if mark and not any(word in text for word in OWN_WORDS):
                source = re.sub(r" @ 0x[0-9a-f]+", "", before)
                found[(source + text.replace(str(path.resolve()), "FILE")).strip()] = None
    return list(found)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
