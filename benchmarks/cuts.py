"""Scene cuts: precision and recall on labelled clips and on their concatenations.

python -m benchmarks.cuts --clips FOLDER; results/cuts.json. Labels: labels/cuts.json, by eye.
"""

from __future__ import annotations

import argparse
import json
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2

from benchmarks.clips import LABELS, Clip, files, load
from benchmarks.record import table, write
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.window import Join

WIDTH, HEIGHT = 640, 360  # of concatenations, so that any two clips join


def found_cuts(frames: list[Frame], info: VideoInfo) -> set[int]:
    """Return the numbers of the last frames before the cuts that are found."""
    detector = CutDetector(info)
    pairs = enumerate(pairwise(frames))
    return {k for k, (a, b) in pairs if detector.join(a, b, k == 0) is Join.CUT}


def row(name: str, cuts: set[int], seen: set[int], pairs: int) -> dict[str, Any]:
    """Return the counts of one sequence."""
    right = len(cuts & seen)
    wrong, missed = sorted(seen - cuts), sorted(cuts - seen)
    return {
        "sequence": name,
        "pairs": pairs,
        "cuts": len(cuts),
        "right": right,
        "wrong": wrong,
        "missed": missed,
    }


def score_clip(clip: Clip, labels: dict[str, Any], step: int) -> dict[str, Any]:
    """Score every `step`-th frame of a clip."""
    frames = [Frame(Fraction(k), planes) for k, planes in enumerate(clip.frames[::step])]
    cuts = {k // step for k in labels["last frame before each cut"] if k + step < len(clip.frames)}
    name = clip.name if step == 1 else f"{clip.name} 1/{step}"
    return row(name, cuts, found_cuts(frames, clip.info), len(frames) - 1)


def excerpts(clip: Clip, cuts: list[int]) -> list[list[Frame]]:
    """Return runs of eight frames without a cut, all of one size."""
    depth = clip.info.depth
    runs = []
    for start in range(0, len(clip.frames) - 8, 16):
        if any(start <= cut < start + 8 for cut in cuts):
            continue
        lumas = [planes[0] >> (depth - 8) for planes in clip.frames[start : start + 8]]
        small = [cv2.resize(luma.astype("uint8"), (WIDTH, HEIGHT)) for luma in lumas]
        runs.append([Frame(Fraction(0), (luma,)) for luma in small])
    return runs


def concatenation(runs: list[tuple[str, list[Frame]]], seed: int) -> dict[str, Any]:
    """Join runs so that neighbours come from different clips, and score the result."""
    rng = random.Random(seed)
    rng.shuffle(runs)
    frames: list[Frame] = []
    cuts, last = set(), ""
    for name, run in runs:
        if name == last:
            continue
        if frames:
            cuts.add(len(frames) - 1)
        frames += run
        last = name
    info = VideoInfo(WIDTH, HEIGHT, "gray", plane_shapes("gray", WIDTH, HEIGHT), Fraction(25))
    return row(f"concatenation {seed}", cuts, found_cuts(frames, info), len(frames) - 1)


def main() -> None:
    """Measure, print a table, write results/cuts.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=10_000)
    args = parser.parse_args()
    labels = json.loads((LABELS / "cuts.json").read_text())
    rows, runs = [], []
    for path in files(args.clips):
        if path.stem not in labels:
            continue
        clip = load(path, args.frames)
        rows += [score_clip(clip, labels[path.stem], step) for step in (1, 2)]
        cuts = labels[path.stem]["last frame before each cut"]
        runs += [(path.stem, run) for run in excerpts(clip, cuts)]
    rows += [concatenation(list(runs), seed) for seed in range(3)]
    right, seen = (
        sum(one["right"] for one in rows),
        sum(one["right"] + len(one["wrong"]) for one in rows),
    )
    true = sum(one["cuts"] for one in rows)
    total = {"precision": right / seen, "recall": right / true, "cuts": true}
    print(table(rows), total, sep="\n")
    print(write("cuts", rows, total=total))


if __name__ == "__main__":
    main()
