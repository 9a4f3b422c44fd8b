"""Speed: CPU seconds and wall time per drawn frame, whole processes, beside minterpolate.

python -m benchmarks.speed --clips FOLDER [--sizes 720p 1080p] [--cores 1 2]; results/speed.json
Both read and write yuv4mpegpipe, the output going to /dev/null. Wall time is that of whole
processes; CPU time is without their start, which is timed on a clip of two frames and listed apart.
Methods take turns, of which the best counts: what else runs on a machine only adds. The third table
says what the fusion takes of every clip of that size: one thread draws with and without it in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.clips import Clip, files, load
from benchmarks.record import table, write
from ltxfilter.frame import Frame
from ltxfilter.motion import kernels
from ltxfilter.options import Options
from ltxfilter.pipeline.frame_path import FramePath as Drawer

SIZES = {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}
FRAMES = {"480p": 150, "720p": 150, "1080p": 75, "4k": 15}
FILTERED = {"480p": 40, "720p": 25, "1080p": 13, "4k": 5}  # minterpolate is slow and steady
ENGINES = ("flow:preset=fast", "flow", "flow:preset=best")
PEERS = {
    "minterpolate": "minterpolate=fps=50",
    "minterpolate-best": "minterpolate=fps=50:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1",
}
STEPS = (
    "search", "polish", "propagate", "splat", "fill", "agree", "travel", "share_of_left",
    "align_ends", "static_mask", "make_field", "warp", "tile_motions", "tile_samples",
    "tile_features", "tile_weights", "limit_change", "tile_mix",
)  # fmt: skip
FUSED = ("balanced", "best")  # presets
ROUNDS = 9  # of drawing with and without the fusion
Row = dict[str, Any]


def make_clip(source: Path, size: str, frames: int, target: Path) -> None:
    """Write a clip of that size as y4m at 25 per second, forth and back until long enough."""
    width, height = SIZES[size]
    graph = f"scale={width}:{height},format=yuv420p"
    graph += ",split[a][b];[b]reverse[r];[a][r]concat,loop=-1:size=400,setpts=N/(25*TB)"
    command = ["ffmpeg", "-v", "error", "-y", "-t", "2", "-i", str(source), "-vf", graph]
    command += ["-frames:v", str(frames), "-r", "25", "-f", "yuv4mpegpipe", str(target)]
    subprocess.run(command, check=True)


def timed(command: list[str], cores: int) -> tuple[float, float, float]:
    """Run a command on so many cores; return wall s, CPU s (user and system) and peak MB."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    began = time.perf_counter()
    with Path(os.devnull).open("w") as nothing:
        process = subprocess.Popen(
            command, stdout=nothing, preexec_fn=lambda: os.sched_setaffinity(0, allowed)
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{command} failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def command_for(method: str, path: Path) -> list[str]:
    """Return the command line that doubles a clip's rate."""
    if method in PEERS:
        head = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", PEERS[method]]
        return [*head, "-f", "yuv4mpegpipe", "-"]
    head = [sys.executable, "-m", "ltxfilter", "-loglevel", "error", "--engine", method]
    return [*head, "-i", str(path), "--fps", "50", "-f", "yuv4mpegpipe", "-"]


def measure(method: str, size: str, cores: int, clips: dict[int, Path]) -> Row:
    """Time a method on the clip of its length and on two frames, once."""
    frames = (FILTERED if method in PEERS else FRAMES)[size]
    whole = timed(command_for(method, clips[frames]), cores)
    start = timed(command_for(method, clips[2]), cores)
    drawn = frames - (3 if method in PEERS else 1)  # minterpolate leaves out the last two pairs
    return {
        "size": size,
        "cores": cores,
        "method": method,
        "frames": frames,
        "wall ms": 1000 * whole[0] / drawn,
        "cpu ms": 1000 * (whole[1] - start[1]) / drawn,
        "start s": start[0],
        "peak MB": whole[2],
    }


def best_of(rows: list[Row]) -> Row:
    """Return the least of every figure: what else runs on a machine only adds."""
    return {key: min(row[key] for row in rows) for key in rows[0]}


def ratios(rows: list[Row]) -> None:
    """Add how many times less than minterpolate's default each row takes."""
    for row in rows:
        same = [r for r in rows if r["size"] == row["size"] and r["cores"] == row["cores"]]
        base = next((r for r in same if r["method"] == "minterpolate"), None)
        for key in ("wall", "cpu"):
            row[f"{key} ratio"] = base[f"{key} ms"] / row[f"{key} ms"] if base else None


def steps(clip: Clip, engine: str) -> Row:
    """Return CPU milliseconds per drawn frame of each kernel, and of everything, in one thread."""
    spent: dict[str, float] = defaultdict(float)
    kept = {name: getattr(kernels, name) for name in STEPS}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.thread_time()
            result = function(*args)
            spent[name] += time.thread_time() - began
            return result

        return call

    for name, function in kept.items():
        setattr(kernels, name, counted(name, function))
    total = drawing(clip, engine)
    for name, function in kept.items():
        setattr(kernels, name, function)
    drawn = len(clip.frames) - 1
    found = {name: 1000 * seconds / drawn for name, seconds in spent.items()}
    return {"engine": engine, **found, "everything": 1000 * total / drawn}


def drawing(clip: Clip, engine: str) -> float:
    """Double the rate of a clip in this thread; return CPU seconds."""
    drawer = Drawer(clip.info, Fraction(50), Options(engine=engine))
    began = time.thread_time()
    for k, planes in enumerate(clip.frames):
        list(drawer.push(Frame(Fraction(k, 25), planes)))
    list(drawer.finish())
    return time.thread_time() - began


def fusion_costs(paths: list[Path], size: str) -> list[Row]:
    """Return what the fusion takes of all clips of that size, and their mean."""
    rows: list[Row] = []
    for path in paths:
        clip = load(path, FILTERED[size])
        if (clip.info.width, clip.info.height) == SIZES[size]:
            rows += [{"clip": path.stem, **fusion_cost(clip, preset)} for preset in FUSED]
    for preset in FUSED:
        same = [row for row in rows if row["preset"] == preset and row["clip"] != "mean"]
        if same:
            figures = [key for key in same[0] if key.endswith("ms")]
            means = {key: statistics.mean(row[key] for row in same) for key in figures}
            rows.append({"clip": "mean", "preset": preset, **means})
    return rows


def fusion_cost(clip: Clip, preset: str) -> Row:
    """Return CPU milliseconds per drawn frame without the fusion, and what it adds to them."""
    engine, without, more = f"flow:preset={preset}", [], []
    for _ in range(ROUNDS):
        without.append(drawing(clip, f"{engine}:fuse=0"))
        more.append(drawing(clip, engine) - without[-1])
    each = 1000 / (len(clip.frames) - 1)
    return {
        "preset": preset,
        "without ms": each * min(without),
        "more ms": each * statistics.median(more),
    }


def main() -> None:
    """Measure, print tables, write results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--clip", default="bed720", help="beginning of the name of the clip to use")
    parser.add_argument("--sizes", nargs="*", default=list(SIZES))
    parser.add_argument("--cores", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--methods", nargs="*", default=[*PEERS, *ENGINES])
    parser.add_argument("--repeats", type=int, default=3, help="turns, of which the best counts")
    parser.add_argument("--name", default="speed")
    args = parser.parse_args()
    source = next(path for path in files(args.clips) if path.name.startswith(args.clip))
    rows, parts, costs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            clips = {n: Path(folder, f"{n}.y4m") for n in (2, FRAMES[size], FILTERED[size])}
            for frames, path in clips.items():
                make_clip(source, size, frames, path)
            for cores in args.cores:
                turns = [
                    [measure(method, size, cores, clips) for method in args.methods]
                    for _ in range(args.repeats if size != "4k" else 1)  # minterpolate: minutes
                ]
                rows += [best_of(list(same)) for same in zip(*turns, strict=True)]
            clip = load(clips[FILTERED[size]], FILTERED[size])
            engines = [method for method in args.methods if method not in PEERS]
            parts += [{"size": size, **steps(clip, engine)} for engine in engines]
            costs += [{"size": size, **row} for row in fusion_costs(files(args.clips), size)]
    ratios(rows)
    print(table(rows), table(parts), table(costs), sep="\n\n")
    print(write(args.name, rows, steps=parts, fusion=costs, clip=source.name))


if __name__ == "__main__":
    main()
