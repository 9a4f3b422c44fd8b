"""Quality: drop frames of real clips, draw them back, compare with the truth.

python -m benchmarks.quality --clips FOLDER [--step 4] [--methods NAME...]; results/quality.json
Methods are engines ("flow:preset=best", "hold") and ffmpeg's filters by the names below.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scores
from benchmarks.clips import Clip, files, filtered, load
from benchmarks.record import table, write
from ltxfilter.frame import Frame, Planes
from ltxfilter.options import Options
from ltxfilter.pipeline.frame_path import FramePath as Drawer

FILTERS = {
    "minterpolate": "minterpolate=fps={rate}",
    "minterpolate-best": "minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1",
    "framerate": "framerate=fps={rate}",
}
ENGINES = ("hold", "blend", "flow:preset=fast", "flow", "flow:preset=best")
LOST = 2  # pictures that minterpolate does not draw at the end
PEER = {  # the difference to minterpolate's default that MVTools-hq has, dB; reference figures
    "MVTools FlowFPS hq": {"psnr": 0.43}
}
Row = dict[str, Any]


def drawn_by_engine(clip: Clip, step: int, engine: str) -> tuple[list[Planes], list[float | None]]:
    """Return the frames that an engine makes of every `step`-th, and what it thinks of them."""
    rate = Fraction(25)
    drawer = Drawer(replace(clip.info, rate=rate), rate * step, Options(engine=engine))
    out: list[Frame] = []
    for k, planes in enumerate(clip.frames[::step]):
        out += drawer.push(Frame(k / rate, planes))
    out += drawer.finish()
    drawer.close()
    return [frame.planes for frame in out], [frame.psnr_db for frame in out]


def measure(clip: Clip, step: int, method: str, cache: Path, full: bool) -> tuple[Row, list[Any]]:
    """Return the scores of a method on a clip, and (estimate, truth) in dB per drawn frame."""
    if method in FILTERS:
        made = filtered(clip, step, FILTERS[method], cache)
        opinions: list[float | None] = [None] * len(made)
    else:
        made, opinions = drawn_by_engine(clip, step, method)
    last = (len(clip.frames) - 1) // step * step
    wanted = [k for k in range(last - LOST * step) if k % step]
    drawn, true = [made[k] for k in wanted], [clip.frames[k] for k in wanted]
    depth = clip.info.depth
    levels = [scores.psnr(a[0], b[0], depth) for a, b in zip(drawn, true, strict=True)]
    row: Row = {
        "clip": clip.name,
        "method": method,
        "psnr": float(np.mean(levels)),
        "p10": float(np.percentile(levels, 10)),
    }
    if full:
        row |= _more(clip, wanted, drawn, true)
    pairs = [(opinions[k], level) for k, level in zip(wanted, levels, strict=True)]
    return row, [[clip.name, *pair] for pair in pairs if pair[0] is not None]


def _more(clip: Clip, wanted: list[int], drawn: list[Planes], true: list[Planes]) -> Row:
    depth = clip.info.depth
    around = [clip.frames[k - 1] for k in wanted], [clip.frames[k + 1] for k in wanted]
    row: Row = {
        "ssim": float(
            np.mean([scores.ssim(a[0], b[0], depth) for a, b in zip(drawn, true, strict=True)])
        ),
        "vmaf": scores.vmaf(drawn, true, clip),
        "pulse": scores.pulse(drawn, *around),
        "flicker": scores.flicker(drawn, true),
    }
    mask = scores.overlay(clip.frames, depth)
    if mask is not None:
        pairs = zip(drawn, true, strict=True)
        row["overlay"] = float(np.mean([scores.psnr(a[0], b[0], depth, mask) for a, b in pairs]))
    return row


def summary(rows: list[Row]) -> list[Row]:
    """Return the mean of every score per method over the clips that all methods drew.

    Clips that have no such score, as deep ones have no VMAF, are left out of its mean.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    by_clip: dict[str, set[str]] = {}
    for row in rows:
        by_clip.setdefault(row["clip"], set()).add(row["method"])
    shared = {clip for clip, seen in by_clip.items() if len(seen) == len(methods)}
    means = []
    for method in methods:
        own = [row for row in rows if row["method"] == method and row["clip"] in shared]
        keys = [key for key in ("psnr", "p10", "ssim", "vmaf", "pulse", "flicker") if key in own[0]]
        known = {key: [row[key] for row in own if row[key] is not None] for key in keys}
        mean = {key: float(np.mean(values)) for key, values in known.items() if values}
        means.append({"method": method, "clips": len(own), **mean})
    return means


def calibration(pairs: list[Any]) -> Row:
    """Return how well estimated PSNR tells the true one."""
    guess, true = (np.array([pair[k] for pair in pairs]) for k in (1, 2))
    ranks = [np.argsort(np.argsort(values)) for values in (guess, true)]
    return {
        "frames": len(pairs),
        "spearman": float(np.corrcoef(*ranks)[0, 1]),
        "mean absolute error": float(np.abs(guess - true).mean()),
    }


def main() -> None:
    """Measure, print tables, write results/quality.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of clip names")
    parser.add_argument("--step", type=int, default=2, help="keep one frame of so many")
    parser.add_argument("--frames", type=int, default=97, help="frames per clip")
    parser.add_argument("--methods", nargs="*", default=[*ENGINES, *FILTERS])
    parser.add_argument("--cache", type=Path, help="keeps other filters' output between runs")
    parser.add_argument("--psnr-only", action="store_true")
    parser.add_argument("--name", default="quality")
    args = parser.parse_args()
    rows, opinions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        cache = args.cache or Path(folder)
        cache.mkdir(exist_ok=True)
        for path in files(args.clips):
            if args.only and not path.name.startswith(tuple(args.only)):
                continue
            clip = load(path, args.frames)
            if len(clip.frames) <= (LOST + 1) * args.step:
                continue  # nothing is left to score
            for method in args.methods:
                if method in FILTERS and clip.info.depth > 8:
                    continue  # minterpolate has no 10 bits
                row, pairs = measure(clip, args.step, method, cache, not args.psnr_only)
                rows.append(row)
                opinions.setdefault(method, []).extend(pairs)
                print("  ".join(_shown(key, row[key]) for key in row), flush=True)
    means = summary(rows)
    known = {method: calibration(pairs) for method, pairs in opinions.items() if pairs}
    print(table(means))
    print(known)
    more = {"step": args.step, "frames": args.frames, "calibration": known, "peer": PEER}
    print(write(args.name, rows, means=means, **more))


def _shown(key: str, value: Any) -> str:
    return f"{key} {value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
