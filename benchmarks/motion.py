"""ltx-motion with an oracle for LTX: gaps of 4, 8 and 16 frames, against flow and guides enlarged.

python -m benchmarks.motion --clips FOLDER [--only NAME...] [--gaps 4 8 16] [--levels 2]
results/motion.json. The oracle knows the true motion: LTX's own is plausible, no more.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import scores
from benchmarks.clips import Clip, files, load
from benchmarks.oracle import LEVELS, Oracle, OracleMotion, Truth
from benchmarks.record import table, write
from ltxfilter import engines
from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.ltx.guides.ltx_source import guide_size
from ltxfilter.engines.ltx.memory_check import SingleShot
from ltxfilter.frame import Frame, Plane, Planes
from ltxfilter.windows.rolling import RollingWindow

RATE = Fraction(25)  # keyframes per second, of every clip
MOVING = 1.0  # 8-bit codes by which keyframes of a clip with real motion differ
STARTS = {"cups720": 60, "tos332": 52}  # frames to skip: nothing moves, or the shot is short
LOOK = 60  # frames that tell what is burned in
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A stretch of a clip of which every `gap`-th frame is a keyframe."""

    clip: Clip
    gap: int
    wanted: tuple[int, ...]  # dropped frames to draw and score
    overlay: Plane | None = None  # where it shows burned-in graphics

    @property
    def keyframes(self) -> list[Planes]:
        """What is left of it."""
        return self.clip.frames[:: self.gap]

    @property
    def motion(self) -> float:
        """Mean difference of keyframes in 8-bit codes, averaged to cells of 8x8: noise is none."""
        lumas = [frame[0].astype(np.float32) for frame in self.keyframes]
        size = tuple(max(side // 8, 1) for side in lumas[0].shape[::-1])
        small = [cv2.resize(luma, size, interpolation=cv2.INTER_AREA) for luma in lumas]
        apart = [float(np.abs(a - b).mean()) for a, b in pairwise(small)]
        return float(np.mean(apart)) / (1 << (self.clip.info.depth - 8))


def case(clip: Clip, gap: int, spans: int, most: int) -> Case | None:
    """Return the first gaps of a clip, `most` frames of each to score; None if it is too short."""
    spans = min(spans, (len(clip.frames) - 1) // gap)
    if spans < 1:
        return None
    inside = np.unique(np.linspace(1, gap - 1, min(most, gap - 1)).round().astype(int))
    wanted = tuple(int(span * gap + k) for span in range(spans) for k in inside)
    short = replace(clip, frames=clip.frames[: spans * gap + 1])
    return Case(replace(short, info=replace(clip.info, rate=RATE)), gap, wanted)


def drawn_by(engine: Engine, of: Case) -> Iterator[tuple[int, Drawn]]:
    """Yield the wanted frames as an engine draws them; it is open meanwhile."""
    rate = RATE * of.gap
    shape = engine.open(of.clip.info, rate)
    rolling = RollingWindow(shape, rate, SingleShot(), 1 / RATE)
    frames = (Frame(number / RATE, planes) for number, planes in enumerate(of.keyframes))
    for window in _windows(rolling, frames):
        slots = tuple(slot for slot in window.slots if slot.index in of.wanted)
        asked = replace(window, slots=slots)
        motion = engine.prepare(asked)
        for slot, picture in zip(asked.to_draw(), engine.draw(asked, motion), strict=True):
            yield slot.index, picture
    engine.close()


def _windows(rolling: RollingWindow, frames: Iterable[Frame]) -> Iterator[Any]:
    for frame in frames:
        yield from rolling.push(frame)
    yield from rolling.finish()


def enlarged(of: Case, level: int) -> Iterator[tuple[int, Plane]]:
    """Yield the luma of guides themselves, brought to full size."""
    info = of.clip.info
    truth = Truth(of.clip.frames, RATE * of.gap)
    source = Oracle(info, truth, guide_size((info.width, info.height), ""), of.gap, level)
    for number in of.wanted:
        guide = source.bright(number / truth.rate)
        whole = cv2.resize(guide, (info.width, info.height), interpolation=cv2.INTER_CUBIC)
        top = (1 << info.depth) - 1
        yield number, np.clip(np.rint(whole), 0, top).astype(info.layout[0].dtype)


def measure(of: Case, method: str, level: int | None) -> Row:
    """Return the mean scores of a method on a case; level: of the oracle, if it has one."""
    depth, frames = of.clip.info.depth, of.clip.frames
    opinions = []
    if method == "enlarged":
        lumas = dict(enlarged(of, level or 0))
    else:
        engine = _engine(of, method, level)
        lumas = {}
        for number, picture in drawn_by(engine, of):
            lumas[number] = picture.planes[0]
            opinions.append(picture.psnr_db)
    levels = [scores.psnr(lumas[k], frames[k][0], depth) for k in of.wanted]
    row = {
        "clip": of.clip.name,
        "gap": of.gap,
        "method": method,
        "level": level,
        "motion": of.motion,
        "psnr": float(np.mean(levels)),
        "ssim": float(np.mean([scores.ssim(lumas[k], frames[k][0], depth) for k in of.wanted])),
    }
    if of.overlay is not None:
        inside = [scores.psnr(lumas[k], frames[k][0], depth, of.overlay) for k in of.wanted]
        row["overlay"] = float(np.mean(inside))
    if opinions and None not in opinions:
        row["estimates"] = [
            [round(float(guess), 2), round(true, 2)]
            for guess, true in zip(opinions, levels, strict=True)
        ]
    return row


def _engine(of: Case, method: str, level: int | None) -> Engine:
    if level is None:
        return engines.build(method)
    OracleMotion.truth = Truth(of.clip.frames, RATE * of.gap)
    return OracleMotion(level=level, parts=of.gap)


def compared(rows: list[Row]) -> list[Row]:
    """Return what ltx-motion gains over flow and over guides enlarged, clip by clip."""
    by = {(r["clip"], r["gap"], r["method"], r["level"]): r for r in rows}
    found = []
    for (clip, gap, method, level), row in by.items():
        if method != OracleMotion.name:
            continue
        others = by[clip, gap, "flow", None], by[clip, gap, "enlarged", level]
        gains = {
            f"{key} over {other['method']}": row[key] - other[key]
            for other in others
            for key in ("psnr", "ssim")
        }
        found.append(
            {"clip": clip, "gap": gap, "level": level, "motion": row["motion"]}
            | {"psnr": row["psnr"], "ssim": row["ssim"]}
            | gains
        )
    return found


def means(gains: list[Row]) -> list[Row]:
    """Return the mean of every column over clips with real motion, per gap and level."""
    found = []
    for gap, level in dict.fromkeys((row["gap"], row["level"]) for row in gains):
        own = [
            row
            for row in gains
            if (row["gap"], row["level"]) == (gap, level) and row["motion"] >= MOVING
        ]
        keys = [key for key in gains[0] if key not in ("clip", "gap", "level", "motion")]
        if own:
            mean = {key: float(np.mean([row[key] for row in own])) for key in keys}
            found.append({"gap": gap, "level": level, "clips": len(own)} | mean)
    return found


def measure_clip(path: Path, gaps: list[int], levels: list[int], spans: int) -> Iterator[Row]:
    """Yield the scores of all methods on a clip."""
    most = max(gaps)
    start = next((skip for name, skip in STARTS.items() if path.name.startswith(name)), 0)
    clip = load(path, max(start + spans * most + 1, LOOK))
    graphics = scores.overlay(clip.frames, clip.info.depth)
    clip = replace(clip, frames=clip.frames[start : start + spans * most + 1])
    for gap in gaps:
        of = case(clip, gap, max(spans * most // (2 * gap), 2), 5)
        if of is None:
            continue
        of = replace(of, overlay=graphics)
        for method in ("flow", "hold"):
            yield measure(of, method, None)
        for level in levels:
            yield measure(of, "enlarged", level)
            yield measure(of, OracleMotion.name, level)


def main() -> None:
    """Measure, print tables, write results/motion.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of clip names")
    parser.add_argument("--gaps", type=int, nargs="*", default=[4, 8, 16])
    parser.add_argument("--levels", type=int, nargs="*", default=[2], choices=range(len(LEVELS)))
    parser.add_argument("--spans", type=int, default=2, help="gaps of the largest size per clip")
    parser.add_argument("--name", default="motion")
    args = parser.parse_args()
    rows: list[Row] = []
    for path in files(args.clips):
        if args.only and not path.name.startswith(tuple(args.only)):
            continue
        for row in measure_clip(path, args.gaps, args.levels, args.spans):
            rows.append(row)
            shown = [row[key] for key in ("clip", "gap", "method", "level")]
            print(*shown, f"psnr {row['psnr']:.2f} ssim {row['ssim']:.4f}", flush=True)
        gc.collect()
    gains = compared(rows)
    print(table(gains))
    mean = means(gains)
    print(table(mean))
    print(write(args.name, rows, means=mean, gains=gains, gaps=args.gaps, levels=args.levels))


if __name__ == "__main__":
    main()
