"""A long job in small: many tiny frames, the memory in use against what is stated, exact times.

python -m benchmarks.soak [FRAMES OF THE PIPE [FRAMES OF EACH FILE]]; results/soak.json
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np

from benchmarks.record import table, write
from ltxfilter.media.pyav_compat import time_base_of
from ltxfilter.values import MIB

Row = dict[str, Any]

WIDTH, HEIGHT = 16, 16
SOURCE, TARGET = Fraction(25), Fraction(50)  # frames per second
PIPED, FILED = 1_000_000, 200_000  # source frames; twice as many come out
LOOKS = 0.2  # seconds between two looks at the memory in use
CODECS = {"mp4": ["-preset", "ultrafast", "-crf", "0"], "mkv": ["-c:v", "ffv1"]}


def pipe(frames: int) -> Row:
    """Send frames through y4m pipes, and compare what comes out, one by one."""
    with _Filter("-f", "yuv4mpegpipe", "-", stdout=subprocess.PIPE) as run:
        out = run.process.stdout
        assert out is not None
        writer = threading.Thread(target=run.feed, args=(frames,), daemon=True)
        writer.start()
        out.readline()  # the header
        size = len(_frame(0))
        count = wrong = 0
        while picture := out.read(size):
            wrong += count % 2 == 0 and picture != _frame(count // 2)
            count += 1
        writer.join()
    return run.row("y4m pipe", frames, count, wrong, Fraction(count) / TARGET)


def file(suffix: str, frames: int) -> Row:
    """Send frames into a file; count them, and compare all times and the last picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out.{suffix}"
        with _Filter(*CODECS[suffix], str(path)) as run:
            run.feed(frames)
        count, wrong, last, end = 0, 0, None, Fraction(0)
        for picture in _decoded(path):
            assert picture.pts is not None
            exact = count / TARGET
            shown = picture.pts * time_base_of(picture)
            wrong += abs(shown - exact) > (0 if suffix == "mp4" else Fraction(1, 2000))
            last, count, end = picture, count + 1, exact + 1 / TARGET
        assert last is not None
        wrong += (last.to_ndarray()[:HEIGHT] != (frames - 1) % 251).any()
    return run.row(suffix, frames, count, wrong, end)


def _decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def _frame(number: int) -> bytes:
    """Return a frame of y4m; its luma says which one it is."""
    luma = np.full(WIDTH * HEIGHT, number % 251, np.uint8).tobytes()
    return b"FRAME\n" + luma + bytes([128]) * (WIDTH * HEIGHT // 2)


class _Filter:
    """A run of the command line that reads y4m from a pipe, with its memory watched."""

    def __init__(self, *words: str, stdout: int | None = None) -> None:
        start = [sys.executable, "-m", "ltxfilter", "-v", "info", "-nostats", "--engine", "hold"]
        self.process = subprocess.Popen(
            [*start, "--no-cuts", "--fps", str(TARGET), *words],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self._began = time.perf_counter()
        self._samples: list[int] = []
        self._said = ""
        self._threads = [threading.Thread(target=each) for each in (self._watch, self._listen)]

    def __enter__(self) -> _Filter:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            self.process.kill()
        code = self.process.wait()
        for thread in self._threads:
            thread.join()
        if code:
            raise RuntimeError(f"the filter ended with {code}: {self._said}")

    def feed(self, frames: int) -> None:
        """Write all source frames and close the pipe."""
        stream: IO[bytes] | None = self.process.stdin
        assert stream is not None
        with stream:
            stream.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{SOURCE}:1 Ip A1:1 C420jpeg\n".encode())
            for number in range(frames):
                stream.write(_frame(number))

    def row(self, what: str, frames: int, count: int, wrong: int, end: Fraction) -> Row:
        """Return what was measured; see `holds` for what has to be."""
        found = re.search(r"= ~(\d+) MB", self._said)
        assert found is not None
        stated, peak = int(found[1]), max(self._samples) / MIB
        half = len(self._samples) // 2
        grown = max(self._samples[half:]) - max(self._samples[: max(half, 1)])
        exact = count == 2 * frames and not wrong and end == 2 * frames / TARGET
        return {
            "what": what,
            "frames in": frames,
            "frames out": count,
            "wrong": int(wrong),
            "peak MiB": round(peak, 1),
            "stated MiB": stated,
            "grown in the second half, KiB": grown // 1024,
            "seconds": round(time.perf_counter() - self._began),
            "holds": "yes" if exact and peak <= stated else "NO",
        }

    def _watch(self) -> None:
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            with suppress(OSError):  # it has just ended
                if found := re.search(r"RssAnon:\s*(\d+)", status.read_text()):
                    self._samples.append(int(found[1]) * 1024)
            time.sleep(LOOKS)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self._said = self.process.stderr.read().decode()


def main() -> None:
    """Run all three; the command line may name how many frames."""
    numbers = [int(word) for word in sys.argv[1:]]
    piped, filed = (*numbers, *(PIPED, FILED)[len(numbers) :])
    rows = [pipe(piped)]
    print(rows[-1], flush=True)
    for suffix in CODECS:
        rows.append(file(suffix, filed))
        print(rows[-1], flush=True)
    print(table(rows))
    print(write("soak", rows))


if __name__ == "__main__":
    main()
