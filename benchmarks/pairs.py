"""Speed and memory of two checkouts: whole commands, run in alternating pairs.

    python -m benchmarks.pairs --before DIR --clips DIR [--pairs 5] [--engine SPEC]

The checkout that this is run in is compared with the one in --before. Both need their kernels
built in place. With --engine, jobs that name none use it here, as `flow:fuse=0` to leave out what
is new. Prints for each job the medians of the ratios after/before of wall time, CPU time and peak
memory.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.clips import ffmpeg_exe

HERE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took."""

    wall: float  # seconds
    cpu: float  # seconds
    peak: float  # MiB


def main() -> None:
    """Run every job in alternating pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--names", default="", help="parts of the names of jobs, with commas")
    parser.add_argument("--engine", help="of this checkout, where a job names none")
    asked = parser.parse_args()
    for checkout in (asked.before, HERE):
        compileall.compile_dir(checkout / "ltxfilter", quiet=1)  # as an installation does
    with tempfile.TemporaryDirectory() as folder:
        for name, words in jobs(asked.clips, Path(folder)).items():
            if asked.names and not any(part in name for part in asked.names.split(",")):
                continue
            costs: dict[Path, list[Cost]] = {asked.before: [], HERE: []}
            for number in range(asked.pairs):
                turns = list(costs) if number % 2 else list(reversed(costs))
                for checkout in turns:
                    own = checkout == HERE and asked.engine and needs_engine(words)
                    more = ["--engine", asked.engine] if own else []
                    costs[checkout].append(measure(checkout.resolve(), [*more, *words]))
            ratios = [
                f"{kind} {median(getattr(a, kind) / getattr(b, kind) for a, b in pairs(costs)):.3f}"
                for kind in ("wall", "cpu", "peak")
            ]
            usual = median(cost.wall for cost in costs[HERE])
            later = 1000 * median(a.wall - b.wall for a, b in pairs(costs))
            print(f"{name:28} {', '.join(ratios)}  ({usual:.2f} s, {later:+.0f} ms)", flush=True)


def pairs(costs: dict[Path, list[Cost]]) -> list[tuple[Cost, Cost]]:
    """Return the costs of both checkouts, after and before, turn by turn."""
    before, after = costs.values()
    return list(zip(after, before, strict=True))


def jobs(clips: Path, folder: Path) -> dict[str, list[str]]:
    """Return command lines by name; the clips in `folder`, repeated, are long against the start."""
    hd, sd = (lengthened(clips / name, folder) for name in ("juggle720.mp4", "seek480.mp4"))
    tiny, raw = folder / "tiny.y4m", folder / "raw.y4m"
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1600", "-pix_fmt", "yuv420p"]
    made([*source, str(tiny)])
    made(["-i", hd, "-t", "12", str(raw)])
    quiet = ["-v", "error", "-y"]
    y4m = ["--fps", "50", "-f", "yuv4mpegpipe", os.devnull]
    fast = ["--engine", "flow:preset=fast"]
    coded = ["--fps", "50", "-preset", "ultrafast", str(folder / "out.mp4")]
    return {
        "720p flow to y4m": [*quiet, "-i", hd, *y4m],
        "720p flow:preset=fast to y4m": [*quiet, "-i", hd, *fast, *y4m],
        "720p y4m to y4m, hold": [*quiet, "-i", str(raw), "--engine", "hold", *y4m],
        "480p flow to mp4, x264": [*quiet, "-i", sd, *coded],
        "40,000 tiny frames, hold": [*quiet, "-i", str(tiny), "--engine", "hold", *y4m],
        "start: one frame, y4m": [*quiet, "-t", "0.02", "-i", str(raw), *y4m],
        "start: one frame, x264": [*quiet, "-t", "0.02", "-i", sd, *coded],
        "start: --version": ["--version"],
    }


def needs_engine(words: list[str]) -> bool:
    """Return True if a job interpolates and names no engine."""
    return "--fps" in words and "--engine" not in words


def lengthened(clip: Path, folder: Path) -> str:
    """Return the clip, its packets repeated to 20 s."""
    path = folder / f"{clip.stem}.mkv"
    made(["-stream_loop", "-1", "-i", str(clip), "-t", "20", "-an", "-c", "copy", str(path)])
    return str(path)


def made(words: list[str]) -> None:
    """Run ffmpeg. Raises CalledProcessError."""
    subprocess.run([ffmpeg_exe(), "-v", "error", "-y", *words], check=True)


def measure(checkout: Path, words: list[str]) -> Cost:
    """Run ltxfilter of a checkout; return what it took. Raises CalledProcessError."""
    began = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ltxfilter", *words],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Cost(perf_counter() - began, cpu_of(usage), usage.ru_maxrss / 1024)


def cpu_of(usage: resource.struct_rusage) -> float:
    """Return the CPU seconds of a process."""
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
