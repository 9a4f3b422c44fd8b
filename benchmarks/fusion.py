"""The fusion: what it gains, on which frames it loses, and what it does to detail and steadiness.

python -m benchmarks.fusion --clips FOLDER [--weights FILE...]; results/fusion.json
Every second frame is drawn with the fusion and without it. --weights: networks that
`training.train --out FILE` has written, such as one that has not seen these clips; without it the
package's own. Scores beside PSNR are of the first frames of a clip alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scores
from benchmarks.clips import Clip, files, load
from benchmarks.quality import drawn_by_engine
from benchmarks.record import table, write
from ltxfilter.frame import Planes
from ltxfilter.motion import fusion

PRESETS = ("balanced", "best")
FIRST = 33  # frames of a clip that all scores are taken of
WORST = 6  # frames that are named
STEP = 2
OWN = "the package's"
Row = dict[str, Any]
_load_own = fusion.load_layers


def use_network(path: Path | None) -> None:
    """Let `flow` draw with a network that `training.train` has written; None: the package's."""
    fusion.load_layers = _load_own
    if path is not None:
        with np.load(path) as stored:
            layers = fusion.checked_layers(stored)
        fusion.load_layers = lambda: layers  # type: ignore[assignment]


def measure(clip: Clip, engine: str) -> Row:
    """Return the PSNR of every frame that is drawn, and the scores of the first ones."""
    pictures, _ = drawn_by_engine(clip, STEP, engine)
    places = range(1, len(clip.frames) - 1, STEP)
    levels = {k: scores.psnr(pictures[k][0], clip.frames[k][0], clip.info.depth) for k in places}
    return {"psnr": levels, **_first_scores(clip, pictures)}


def _first_scores(clip: Clip, pictures: list[Planes]) -> Row:
    depth, frames = clip.info.depth, clip.frames[:FIRST]
    places = range(1, len(frames) - 1, STEP)
    drawn, true = [pictures[k] for k in places], [frames[k] for k in places]
    around = [frames[k - 1] for k in places], [frames[k + 1] for k in places]
    likeness = [scores.ssim(a[0], b[0], depth) for a, b in zip(drawn, true, strict=True)]
    return {
        "ssim": float(np.mean(likeness)),
        "vmaf": scores.vmaf(drawn, true, clip),
        "pulse": scores.pulse(drawn, *around),
        "flicker": scores.flicker(drawn, true),
    }


def compared(without: dict[str, Row], fused: dict[str, Row]) -> tuple[Row, list[str]]:
    """Return what the fusion changes over all clips, and the frames that it draws worst."""
    gains = {
        clip: {k: fused[clip]["psnr"][k] - level for k, level in row["psnr"].items()}
        for clip, row in without.items()
    }
    first = {clip: [gain for k, gain in of.items() if k < FIRST] for clip, of in gains.items()}
    worst = sorted((gain, clip, k) for clip, of in gains.items() for k, gain in of.items())
    means = [float(np.mean(list(of.values()))) for of in gains.values()]
    row: Row = {
        "clips": len(gains),
        f"gain of {FIRST} frames": float(np.mean([np.mean(of) for of in first.values()])),
        "gain": float(np.mean(means)),
        "least clip": min(means),
        f"least frame of {FIRST}": min(min(of) for of in first.values()),
        "least frame": worst[0][0],
    }
    for name in ("ssim", "vmaf", "pulse", "flicker"):
        both = [_mean(rows, name) for rows in (without, fused)]
        row[name] = " to ".join(f"{value:.4f}" for value in both if value is not None)
    return row, [f"{clip} {k}: {gain:.3f} dB" for gain, clip, k in worst[:WORST]]


def _mean(rows: dict[str, Row], name: str) -> float | None:
    values = [row[name] for row in rows.values() if row[name] is not None]
    return float(np.mean(values)) if values else None


def main() -> None:
    """Measure, print a table and the worst frames, write results/fusion.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--frames", type=int, default=97, help="frames per clip")
    parser.add_argument("--name", default="fusion")
    args = parser.parse_args()
    rows: list[Row] = []
    for preset in args.presets:
        engine = f"flow:preset={preset}"
        networks: dict[str, Path | None] = {path.stem: path for path in args.weights} or {OWN: None}
        without: dict[str, Row] = {}
        fused: dict[str, dict[str, Row]] = {name: {} for name in networks}
        for path in files(args.clips):
            clip = load(path, args.frames)
            if len(clip.frames) <= STEP:
                continue
            without[clip.name] = measure(clip, f"{engine}:fuse=0")
            for name, weights in networks.items():
                use_network(weights)
                fused[name][clip.name] = measure(clip, engine)
        for name, scored in fused.items():
            row, worst = compared(without, scored)
            print(f"{name}, {preset}, worst frames: {'; '.join(worst)}", flush=True)
            rows.append({"network": name, "preset": preset, **row, "worst frames": worst})
    print(table([{key: row[key] for key in row if key != "worst frames"} for row in rows]))
    print(write(args.name, rows))


if __name__ == "__main__":
    main()
