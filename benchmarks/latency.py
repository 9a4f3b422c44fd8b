"""Latency of a real pipe: one thread writes frames in real time, another notes when output arrives.

    python -m benchmarks.latency --clip ../shared/clips/dev/seek480.mp4

The latency of an output frame lasts from when the source frame of its time was written until it has
been read whole. Between two source frames that moment is interpolated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import IO, Any

from benchmarks import record
from benchmarks.clips import ffmpeg_exe

SETTINGS = {  # name of the row -> engine, --max-latency in ms or None
    "no bound": ("flow", None),
    "flow, 500 ms": ("flow", 500),
    "flow, 120 ms": ("flow", 120),
    "flow, 100 ms: no frame ahead": ("flow", 100),
    "flow:preset=fast, 100 ms": ("flow:preset=fast", 100),
    "blend, 100 ms": ("blend", 100),
}
WARM = 1.0  # seconds at the start that are not counted: libraries load, caches fill


def frames_of(clip: Path, size: str, rate: str, seconds: float) -> list[bytes]:
    """Return raw yuv420p pictures of a clip, scaled to `size`, read as of `rate` per second."""
    width, height = (int(part) for part in size.split("x"))
    command = [ffmpeg_exe(), "-v", "error", "-stream_loop", "-1", "-r", rate, "-i", str(clip)]
    command += ["-t", str(seconds), "-s", size, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    step = width * height * 3 // 2
    return [data[at : at + step] for at in range(0, len(data), step)]


def measure(
    frames: list[bytes], given: argparse.Namespace, engine: str, bound: int | None
) -> dict[str, Any]:
    """Run one setting; return the latency of its frames in milliseconds."""
    rate, fps = Fraction(given.rate), Fraction(given.fps)
    words = ["-f", "rawvideo", "-s", given.size, "-pix_fmt", "yuv420p"]
    words += ["-r", given.rate, "--fps", given.fps]
    words += ["--engine", engine, "-v", "warning", "-f", "rawvideo", "-"]
    if bound is not None:
        words[:0] = ["--max-latency", f"{bound}ms"]
    command = [sys.executable, "-m", "ltxfilter", *words]
    written: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        arguments = process.stdin, frames, float(1 / rate), written
        writer = threading.Thread(target=write, args=arguments)
        writer.start()
        arrived = read(process.stdout.fileno(), len(frames[0]))
        writer.join()
    step = rate / fps  # source frames from output frame to output frame
    late = []
    for number, when in enumerate(arrived):
        place = number * step
        left = int(place)
        if left + 1 < len(written) and written[left] - written[0] > WARM:
            span = written[left + 1] - written[left]
            late.append(1000 * (when - written[left] - float(place - left) * span))
    late.sort()
    return {
        "median": round(median(late), 1),
        "95 %": round(late[len(late) * 95 // 100], 1),
        "most": round(late[-1], 1),
        "frames": len(late),
    }


def write(pipe: IO[bytes], frames: list[bytes], interval: float, written: list[float]) -> None:
    """Write frames in real time, note when each had been written, then close the pipe."""
    begin = time.monotonic() + 0.5
    for number, frame in enumerate(frames):
        time.sleep(max(begin + number * interval - time.monotonic(), 0))
        view = memoryview(frame)
        while view:
            view = view[os.write(pipe.fileno(), view) :]
        written.append(time.monotonic())
    pipe.close()


def read(fd: int, size: int) -> list[float]:
    """Return when each frame of `size` bytes had arrived."""
    arrived: list[float] = []
    got = 0
    while data := os.read(fd, 1 << 20):
        got += len(data)
        arrived += [time.monotonic()] * (got // size - len(arrived))
    return arrived


def main() -> None:
    """Measure every setting, print a table, write results/latency.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--size", default="854x480")
    parser.add_argument("--rate", default="25")
    parser.add_argument("--fps", default="50")
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    frames = frames_of(given.clip, given.size, given.rate, given.seconds)
    rows = []
    for name, (engine, bound) in SETTINGS.items():
        found = measure(frames, given, engine, bound)
        rows.append({"setting": name, "bound": bound, **found})
    about = {"size": given.size, "rate": given.rate, "fps": given.fps, "clip": given.clip.name}
    about["load"] = f"{os.getloadavg()[0]:.1f}"  # of other programs too
    record.write("latency", rows, unit="milliseconds late", **about)
    print(record.table(rows))


if __name__ == "__main__":
    main()
