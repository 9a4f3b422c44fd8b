"""Runs of the real command line on bad input: how they ended, and files to give them."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.tools import TIMEOUT, ffmpeg, make_clip

COMMAND = [sys.executable, "-m", "ltxfilter", "-v", "warning", "--engine", "hold"]
AUDIO = ["-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac"]


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    said: list[str]  # standard error, line by line, without "ltxfilter: "
    out: bytes

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning: ")]

    @property
    def error(self) -> str:
        """The one line that says what went wrong; "" if nothing did."""
        notes = (line for line in self.said if line not in self.warnings)
        errors = [line for line in notes if not re.search(r"\.part holds ", line)]
        assert len(errors) <= 1, self.said
        return "".join(errors)


def run(
    *words: object, stdin: bytes | int = b"", within: Path | None = None, limit: int = 0
) -> Ended:
    """Run ltxfilter; limit: the largest size in bytes of a file that it writes."""
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        timeout=TIMEOUT,
        cwd=within,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        if limit
        else None,
        **given,
    )
    said = done.stderr.decode().splitlines()
    assert all(line.startswith("ltxfilter: ") for line in said), done.stderr.decode()
    return Ended(done.returncode, [line.removeprefix("ltxfilter: ") for line in said], done.stdout)


def pictures(path: Path) -> int:
    """Return how many pictures ffmpeg decodes; fail if it prints an error."""
    one_pixel = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "2x2", "-"]
    words = ffmpeg("-i", path, "-fps_mode", "passthrough", *one_pixel)
    done = subprocess.run(words, capture_output=True, timeout=TIMEOUT)
    assert not done.stderr, done.stderr.decode()
    return len(done.stdout) // 4


def damaged(data: bytes, every: int) -> bytes:
    """Return `data` with one byte in `every` inverted, beginning after the first third."""
    broken = bytearray(data)
    for at in range(len(data) // 3, len(data), every):
        broken[at] ^= 0xFF
    return bytes(broken)


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small inputs, most of them bad in the way that their names say."""
    folder = tmp_path_factory.mktemp("files")
    h264 = ["-c:v", "libx264", "-g", "8", "-pix_fmt", "yuv420p"]
    make_clip(folder / "good.mp4", *AUDIO, *h264, size="160x120", seconds=2)
    copies = {
        "fast.mp4": ["-movflags", "+faststart"],
        "good.mkv": [],
        "good.ts": [],
        "good.nut": [],
    }
    for name, options in copies.items():
        good = folder / "good.mp4"
        subprocess.run(ffmpeg("-i", good, "-c", "copy", *options, folder / name), check=True)
    for name in ("good.mp4", "fast.mp4", "good.mkv", "good.ts", "good.nut"):
        data = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(data[: len(data) * 6 // 10])
        (folder / f"damaged_{name}").write_bytes(damaged(data, 900))
    make_clip(folder / "one.mp4", *h264, "-frames:v", "1")
    make_clip(folder / "two.mp4", *h264, "-frames:v", "2")
    sound = ["-f", "lavfi", "-i", "sine=d=1"]
    subprocess.run(ffmpeg(*sound, "-c:a", "aac", folder / "sound.m4a"), check=True)
    make_clip(folder / "picture.png", "-frames:v", "1")
    cover = ["-i", folder / "picture.png", "-map", "0", "-map", "1", "-c:a", "libmp3lame"]
    disposition = ["-c:v", "copy", "-disposition:v", "attached_pic"]
    subprocess.run(ffmpeg(*sound, *cover, *disposition, folder / "cover.mp3"), check=True)
    _write_resized(folder / "resized.h264", folder)
    _write_texts(folder)
    return folder


def _write_resized(path: Path, folder: Path) -> None:
    """Write 8 frames of 64x48 and then 8 of 96x80, as bare H.264."""
    parts = [
        make_clip(folder / f"{size}.h264", "-c:v", "libx264", size=size, seconds=0.32)
        for size in ("64x48", "96x80")
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def _write_texts(folder: Path) -> None:
    texts = {
        "text.txt": "this is no video\n" * 50,
        "text.mp4": "this is no video\n" * 50,
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ngood.ts\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile good.mkv\n",
        "list.txt": "ffconcat version 1.0\nfile good.mkv\n",
        "net.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 9 RTP/AVP 9",
        "empty.mp4": "",
        "hours.y4m": "YUV4MPEG2 W2 H2 F1:165600 Cmono\n" + 3 * "FRAME\nabcd",
        "hour.y4m": "YUV4MPEG2 W2 H2 F1:165600 Cmono\nFRAME\nabcd",
        "header.y4m": "YUV4MPEG2 W64 H48 F25:1 C420\n",
        "huge.y4m": "YUV4MPEG2 W100000 H100000 F25:1 C420\nFRAME\nxx",
        "%03d.png": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "%03d.png").write_bytes((folder / "picture.png").read_bytes())
