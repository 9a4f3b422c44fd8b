"""How long runs go on after SIGTERM, whatever they are doing: at most 2 s.

python -m benchmarks.stops [--tiny FOLDER] [--only WORD] [--times N]; results/stops.json

With --only the other results stay as they are.

Each case starts the command line, waits until it is in the middle of its work, sends SIGTERM and
takes the time until the process has ended. Then the unfinished file is decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.record import RESULTS, table, write

BOUND = 2.0  # seconds from the signal to the end of the process
PATIENCE = 60  # seconds after which a process that does not end is killed
OPENING = 60  # seconds that opening may take
BEGUN = 60  # frames that are written before the signal, if that takes less than `Case.most`
Row = dict[str, Any]

ENCODERS = {  # name -> size of the picture, options of the encoder, container
    "x264 medium": ("1920x1080", "-c:v libx264", "mp4"),
    "x264 veryslow": ("1920x1080", "-c:v libx264 -preset veryslow", "mkv"),
    "x264 veryslow, lookahead 250": (
        "1280x720",
        "-c:v libx264 -preset veryslow -rc-lookahead 250",
        "mp4",
    ),
    "x265 medium": ("1920x1080", "-c:v libx265", "mkv"),
    "x265 slow": ("1920x1080", "-c:v libx265 -preset slow", "mp4"),
    "x265 slow, 4K": ("3840x2160", "-c:v libx265 -preset slow", "mkv"),
    "svtav1 preset 3": ("1920x1080", "-c:v libsvtav1 -preset 3", "mkv"),
    "svtav1 preset 8": ("1920x1080", "-c:v libsvtav1 -preset 8", "mp4"),
    "vp9": ("1920x1080", "-an -c:v libvpx-vp9", "webm"),
    "vp8": ("1920x1080", "-an -c:v libvpx", "webm"),
    "ffv1": ("1920x1080", "-c:v ffv1", "mkv"),
    "prores": ("1920x1080", "-c:v prores_ks", "mov"),
    "mpeg2": ("1920x1080", "-c:v mpeg2video", "ts"),
    "mjpeg": ("1920x1080", "-c:v mjpeg -strict -1", "avi"),
    "mpeg4": ("1920x1080", "-c:v mpeg4", "avi"),
}
SLEEPER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Writes to regular files of more than 1 MB hang from the first megabyte on, as on a dead mount. */
static void hang(int fd) {
    struct stat status;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size < 1 << 20) return;
    for (;;) sleep(1000);
}
ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    hang(fd);
    return real(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    hang(fd);
    return real(fd, parts, count);
}
"""


@dataclass
class Case:
    """A run to stop."""

    name: str
    words: list[str]  # of the command line
    out: Path | None = None  # what it writes, if that can be decoded
    stdin: Any = subprocess.DEVNULL
    stdout: Any = subprocess.DEVNULL
    environment: dict[str, str] = field(default_factory=dict)
    most: float = 15.0  # seconds after which the signal is sent in any case
    stalled_stderr: bool = False
    opens: bool = True  # it says so once it is open


def cases(folder: Path, tiny: Path | None) -> Iterator[Case]:
    """Yield every case; what they read and write lies in `folder`."""
    for name, (size, options, container) in ENCODERS.items():
        out = folder / f"out.{container}"
        words = ["-i", _clip(folder, size), "--fps", "50", *options.split(), "-y", str(out)]
        yield Case(name, words, out)
    yield from _stalled(folder)
    out = folder / "low.mkv"
    for size in ("3x3", "64x64"):
        raw = folder / f"{size}.yuv"
        width = int(size.partition("x")[0])
        raw.write_bytes(os.urandom(width * width * 2000))
        given = f"-f rawvideo -s {size} -pix_fmt gray -r 1/7 -i {raw} --fps 50 -c:v ffv1 -y {out}"
        yield Case(f"{size} at 1/7 frames per second", given.split(), out)
    if tiny is not None:
        out = folder / "ltx.mkv"
        for engine in ("ltx-keyframe:stages=1", "ltx-temporal", "ltx-motion"):
            words = ["-i", _clip(folder, "1280x720"), "--fps", "50", "--engine", engine]
            words += ["--device", "cpu", "--memory", "16G", "--models", str(tiny)]
            if engine.startswith("ltx-keyframe"):
                words += ["--context", str(tiny / "context.safetensors")]
            words += ["-y", str(out)]
            yield Case(f"{engine}, tiny model, 720p", words, out, most=12.0)


def _stalled(folder: Path) -> Iterator[Case]:
    """Yield runs whose reader, writer or file system does nothing any more."""
    clip = _clip(folder, "1920x1080")
    fifo = folder / "fifo"
    for kind in ("yuv4mpegpipe", "matroska", "nut", "mpegts"):
        words = f"-i {clip} --fps 50 -f {kind} -y {fifo}".split()
        words[4:4] = ["-preset", "ultrafast"] if kind in ("matroska", "mpegts") else []
        yield Case(f"named pipe that nobody reads, {kind}", words, most=5.0)
    for kind in ("yuv4mpegpipe", "nut"):
        words = ["-i", clip, "--fps", "50", "-f", kind, "-"]
        yield Case(
            f"standard output that nobody reads, {kind}", words, stdout=subprocess.PIPE, most=5.0
        )
    out = folder / "stdin.mkv"
    for size in (0, 60_000):
        name = f"standard input, silent after {size} bytes"
        words = ["-y", str(out)]
        yield Case(name, words, out if size else None, stdin=size, most=5.0, opens=size > 0)
    out = folder / "err.mkv"
    words = ["-i", clip, "-y", str(out)]
    yield Case(
        "standard error that nobody reads", words, out, most=5.0, stalled_stderr=True, opens=False
    )
    library = folder / "sleeper.so"
    (folder / "sleeper.c").write_text(SLEEPER)
    compiler = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "sleeper.c"), "-ldl"]
    subprocess.run(compiler, check=True)
    for container in ("mkv", "mp4", "y4m"):
        out = folder / f"hung.{container}"
        words = ["-i", clip, "--fps", "50", "-y", str(out)]
        kind = "-f yuv4mpegpipe" if container == "y4m" else "-c:v mjpeg -strict -1"
        words[4:4] = kind.split()
        environment = {"LD_PRELOAD": str(library)}
        yield Case(f"write() that sleeps, {container}", words, environment=environment, most=8.0)


def _clip(folder: Path, size: str) -> str:
    """Return a clip of moving test pictures."""
    path = folder / f"{size}.mp4"
    if not path.exists():
        source = f"testsrc2=s={size}:r=25:d=20"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-f", "lavfi"]
        command += ["-i", "sine=d=20", "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(path)]
        subprocess.run(command, check=True)
    return str(path)


def measure(case: Case, folder: Path) -> Row:
    """Start a run, stop it, and return how that went."""
    for path in folder.glob("*.part"):
        path.unlink()
    with ExitStack() as stack:
        if str(folder / "fifo") in case.words:
            (folder / "fifo").unlink(missing_ok=True)
            os.mkfifo(folder / "fifo")
            stack.callback(os.close, os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK))
        log = stack.enter_context(tempfile.TemporaryFile())
        blocks = folder / "progress.txt"
        blocks.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "ltxfilter", "-progress", str(blocks), *case.words],
            stdin=subprocess.PIPE if isinstance(case.stdin, int) and case.stdin >= 0 else None,
            stdout=case.stdout,
            stderr=_full_pipe(stack) if case.stalled_stderr else log,
            env={**os.environ, **case.environment},
        )
        stack.callback(process.kill)
        if process.stdin is not None:
            with suppress(BlockingIOError):
                os.set_blocking(process.stdin.fileno(), False)
                os.write(process.stdin.fileno(), _y4m(case.stdin))
        opening = time.monotonic() + (OPENING if case.opens else 0)
        while time.monotonic() < opening and b"memory: " not in _read(log):
            time.sleep(0.02)
        deadline = time.monotonic() + case.most
        while time.monotonic() < deadline and _written(blocks) < BEGUN:
            time.sleep(0.02)
        running = process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        took = time.monotonic() - began
        said = _read(log).decode().splitlines()
    return _row(case, took, process.returncode if running else None, said)


def _read(log: IO[bytes]) -> bytes:
    """Return all that another process has written so far, and leave its position alone."""
    return os.pread(log.fileno(), 1 << 20, 0)


def _written(blocks: Path) -> int:
    """Return how many frames the latest block of progress counts."""
    counts = re.findall(r"^frame=(\d+)", blocks.read_text(), re.M) if blocks.exists() else []
    return int(counts[-1]) if counts else 0


def _row(case: Case, took: float, code: int | None, said: list[str]) -> Row:
    last = [line.removeprefix("ltxfilter: ") for line in said[-2:]]
    kept = f"{case.out}.part" if case.out is not None else ""
    frames = _decoded(Path(kept)) if kept and Path(kept).exists() else None
    promised = re.search(r"holds the first (\d+\.\d+) s", last[0]) if last else None
    return {
        "what": case.name,
        "seconds": took,
        "load": os.getloadavg()[0],
        "code": code,
        "frames": frames,
        "promised": round(float(promised[1]) * 50) if promised else None,
        "said": re.sub(r"/\S*/", "", last[0]) if len(last) > 1 else "",
        "holds": "yes" if took < BOUND and code == 143 else "NO",
    }


def _decoded(path: Path) -> int | None:
    """Return how many pictures ffmpeg decodes; None if it reports damage."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "2x2", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    return None if done.stderr else len(done.stdout) // 4


def _y4m(size: int) -> bytes:
    header, frame = b"YUV4MPEG2 W64 H48 F25:1 Cmono\n", b"FRAME\n" + bytes(range(256)) * 12
    return (header + frame * (size // len(frame) + 1))[:size]


def _full_pipe(stack: ExitStack) -> int:
    """Return the writing end of a pipe that is full."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    return writing


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", type=Path, help="folder with a tiny LTX model")
    parser.add_argument("--only", default="", help="run cases whose name has this in it")
    parser.add_argument("--times", type=int, default=1, help="how often to run each")
    given = parser.parse_args()
    rows = []
    folder = Path(tempfile.mkdtemp(prefix="stops-"))
    try:
        for case in cases(folder, given.tiny):
            if given.only in case.name:
                for _ in range(given.times):
                    rows.append(measure(case, folder))
                    print(rows[-1], flush=True)
    finally:
        shutil.rmtree(folder)
    print(table(rows))
    print(write("stops", _with_earlier(rows) if given.only else rows))


def _with_earlier(rows: list[Row]) -> list[Row]:
    """Return the rows of the results that exist, with those in `rows` in place of theirs."""
    path = RESULTS / "stops.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {row["what"]: row for row in rows}
    return [new.pop(row["what"], row) for row in earlier] + list(new.values())


if __name__ == "__main__":
    main()
