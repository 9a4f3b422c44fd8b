"""Speed and memory of two checkouts: whole commands, run in alternating pairs.

    python -m benchmarks.pairs --before DIR --clips DIR [--pairs 5]

The checkout that this is run in is compared with the one in --before. Both need their kernels
built in place. Prints for each job the medians of the ratios after/before of wall time, CPU time
and peak memory.
"""

from __future__ import annotations

import argparse
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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, words in jobs(asked.clips, Path(folder)).items():
            costs: dict[Path, list[Cost]] = {asked.before: [], HERE: []}
            for number in range(asked.pairs):
                turns = list(costs) if number % 2 else list(reversed(costs))
                for checkout in turns:
                    costs[checkout].append(measure(checkout.resolve(), words))
            ratios = [
                f"{kind} {median(getattr(a, kind) / getattr(b, kind) for a, b in pairs(costs)):.3f}"
                for kind in ("wall", "cpu", "peak")
            ]
            usual = median(cost.wall for cost in costs[HERE])
            print(f"{name:28} {', '.join(ratios)}  ({usual:.2f} s)", flush=True)


def pairs(costs: dict[Path, list[Cost]]) -> list[tuple[Cost, Cost]]:
    """Return the costs of both checkouts, after and before, turn by turn."""
    before, after = costs.values()
    return list(zip(after, before, strict=True))


def jobs(clips: Path, folder: Path) -> dict[str, list[str]]:
    """Return command lines by name."""
    hd, sd = str(clips / "juggle720.mp4"), str(clips / "seek480.mp4")
    tiny = folder / "tiny.y4m"
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=160", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg_exe(), "-v", "error", *source, str(tiny)], check=True)
    quiet = ["-v", "error", "-y"]
    y4m = ["-f", "yuv4mpegpipe", os.devnull]
    return {
        "720p flow to y4m": [*quiet, "-t", "4", "-i", hd, "--fps", "50", *y4m],
        "720p flow:preset=fast to y4m": [
            *quiet, "-t", "4", "-i", hd, "--engine", "flow:preset=fast", "--fps", "50", *y4m,
        ],
        "480p flow to mp4, x264": [
            *quiet, "-i", sd, "--fps", "50", "-preset", "ultrafast", str(folder / "out.mp4"),
        ],
        "4,000 tiny frames, hold": [
            *quiet, "-i", str(tiny), "--engine", "hold", "--fps", "50", *y4m,
        ],
        "start: --version": ["--version"],
    }  # fmt: skip


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
