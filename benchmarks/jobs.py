"""What segments and workers cost: a plain run against `--workers`, in alternating pairs.

    python -m benchmarks.jobs --clips DIR [--pairs 5] [--workers 2]

Prints the medians of the ratios job/plain of wall and CPU time, and the seconds that a warm worker
needs for a segment beside those of its frames: the difference between one segment and two of half
the length, divided by the number of segments.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from benchmarks.clips import ffmpeg_exe

HERE = Path(__file__).parents[1]
SECONDS = 40  # of each clip, repeated until it is as long
ENCODER = ("-c:v", "libx264", "-preset", "veryfast")


def main() -> None:
    """Run plain and cut in turns; print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--names", default="seek480.mp4,juggle720.mp4")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.names.split(","):
            clip = lengthened(asked.clips / name, Path(folder))
            ratios = compared(clip, Path(folder), asked.pairs, asked.workers)
            found[name] = ratios
            print(
                name, ", ".join(f"{key} {value:.3f}" for key, value in ratios.items()), flush=True
            )
        held, cpu = resident_of_driver(Path(folder))
        found["1000 segments"] = {"MiB": held, "CPU ms per segment": cpu}
        print(
            f"1000 segments: the job holds {min(held):.1f} to {max(held):.1f} MiB; "
            f"{cpu:.0f} ms of CPU per segment of 20 tiny frames"
        )
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


def resident_of_driver(folder: Path, segments: int = 1000) -> tuple[list[float], float]:
    """Return MiB that the joining process holds, every few seconds, and CPU ms per segment.

    Each of the segments has ten source frames of 64x48.
    """
    clip, out = folder / "long.mkv", folder / "out.mkv"
    picture = f"testsrc2=s=64x48:r=1:d={10 * segments}"
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", str(clip)]
    subprocess.run(
        [ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", picture, *coded], check=True
    )
    words = ["-v", "error", "-y", "--workers", "2", "--segment-seconds", "10", "-i", str(clip)]
    words += ["--engine", "hold", "--fps", "2", "-c:v", "libx264", "-preset", "ultrafast", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    held = []
    with subprocess.Popen([sys.executable, "-m", "ltxfilter", *words], env=environment) as job:
        while job.poll() is None:
            sleep(5)
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{job.pid}/status").read_text().splitlines()
                line = next(line for line in lines if line.startswith("VmRSS"))
                held.append(int(line.split()[1]) / 1024)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return held, 1000 * cpu / segments


def compared(clip: Path, folder: Path, pairs: int, workers: int) -> dict[str, float]:
    """Return the ratios of a job to a plain run, and what a segment costs by itself."""
    out = folder / "out.mkv"
    plain = ["-y", "-i", str(clip), "--engine", "flow", *ENCODER, str(out)]
    job = ["--workers", str(workers), "--segment-seconds", "10", *plain]
    coarse = ["--workers", "1", "--segment-seconds", str(SECONDS), *plain]
    fine = ["--workers", "1", "--segment-seconds", "10", *plain]
    costs = [[measured(words) for words in (plain, job, coarse, fine)] for _ in range(pairs)]
    return {
        "wall": median(cut[0] / whole[0] for whole, cut, _, _ in costs),
        "cpu": median(cut[1] / whole[1] for whole, cut, _, _ in costs),
        "seconds of a segment": median(b[0] - a[0] for _, _, a, b in costs) / (SECONDS // 10 - 1),
        "plain seconds": median(whole[0] for whole, *_ in costs),
    }


def measured(words: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a command, its workers included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "ltxfilter", "-v", "error", *words]
    subprocess.run(command, check=True, env=environment)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter() - began
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, cpu


def lengthened(clip: Path, folder: Path) -> Path:
    """Return the clip's video, repeated to SECONDS, with an I-frame every two seconds."""
    path = folder / f"{clip.stem}.mkv"
    words = ["-v", "error", "-y", "-stream_loop", "-1", "-i", str(clip), "-t", str(SECONDS), "-an"]
    coded = ["-c:v", "libx264", "-preset", "veryfast", "-g", "50"]
    subprocess.run([ffmpeg_exe(), *words, *coded, str(path)], check=True)
    return path


if __name__ == "__main__":
    main()
