"""What the engine `auto` makes of a partner: of the truth degraded, and of others that draw badly.

Two oracles stand in for a good LTX engine: `oracle` draws the true frames, a little soft, noisy and
off in tone; `oracle-motion` is `ltx-motion` with guides made of such frames (it needs torch).
`hold` and `blend` stand in for bad ones, which draw clean pictures of the wrong thing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from benchmarks import scores
from benchmarks.clips import Clip, files, load
from benchmarks.record import table, write
from ltxfilter import engines
from ltxfilter.engines.base import Choice, Drawn, Engine
from ltxfilter.frame import Frame, Plane, Planes, PlaneShape, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Window, WindowShape

RATE = Fraction(25)
HARDEST = 0.25  # of all windows, by what flow makes of them
ORACLES = {
    "oracle": "benchmarks.auto:Oracle",
    "oracle-motion": "benchmarks.oracle:OracleMotion",
}
BLUR, NOISE, GAIN = 1.0, 2.0, 0.01  # samples, 8-bit codes, deviation of a factor


class Oracle(Engine):
    """An engine that has seen the frames between."""

    name: ClassVar[str] = "oracle"
    summary: ClassVar[str] = "the true frames, degraded"
    options: ClassVar[tuple[EngineOption, ...]] = ()
    truth: ClassVar[dict[Fraction, Planes]] = {}  # by time on the source's clock

    @classmethod
    def unavailable(cls) -> str | None:
        """Return None."""
        return None

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Ask for pairs."""
        self._layout = video.layout
        return WindowShape()

    def prepare(self, window: Window) -> None:
        """Know everything already."""

    def draw(self, window: Window, motion: None) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield what was there."""
        for slot in window.to_draw():
            chance = np.random.default_rng([slot.time.numerator, slot.time.denominator])
            gain = 1 + chance.normal(0, GAIN)
            pairs = zip(self.truth[slot.time], self._layout, strict=True)
            yield Drawn(tuple(degraded(plane, shape, gain, chance) for plane, shape in pairs))

    def close(self) -> None:
        """Do nothing."""


def degraded(plane: Plane, shape: PlaneShape, gain: float, chance: np.random.Generator) -> Plane:
    """Return a plane that is blurred, then off by `gain`, then noisy."""
    soft = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), BLUR / (1 << shape.shift_x))
    level = 1 << (shape.depth - 1) if shape.role in "uv" else 0
    soft = (soft - level) * gain + level
    soft += chance.normal(0, NOISE * (1 << (shape.depth - 8)), soft.shape)
    return np.clip(np.rint(soft), 0, (1 << shape.depth) - 1).astype(shape.dtype)


@dataclass(frozen=True, slots=True)
class Score:
    """One drawn frame: how good it is, how good its engine thinks it is, and who drew it."""

    frame: int
    psnr: float
    guess: float | None
    choice: Choice | None


def drawn(clip: Clip, spec: str, models: ModelOptions | None = None) -> list[Score]:
    """Draw every second frame of a clip, the oracle's eyes open, and compare it."""
    info = replace(clip.info, rate=RATE, interval=1 / RATE)
    tell(clip)
    engine = engines.build(spec, models)
    shape = engine.open(info, 2 * RATE)
    rolling = RollingWindow(shape, 2 * RATE, CutDetector(info), info.interval)
    found = []
    for window in windows(clip, rolling):
        pictures = engine.draw(window, engine.prepare(window))
        for slot, picture in zip(window.to_draw(), pictures, strict=True):
            true = clip.frames[int(slot.time * 2 * RATE)]
            level = scores.psnr(picture.planes[0], true[0], info.depth)
            found.append(Score(slot.index, level, picture.psnr_db, picture.choice))
    engine.close()
    return found


def tell(clip: Clip) -> None:
    """Show the true frames to whoever is an oracle."""
    Oracle.truth = {k / (2 * RATE): planes for k, planes in enumerate(clip.frames)}
    if find_spec("torch"):
        from benchmarks.oracle import OracleMotion, Truth

        OracleMotion.truth = Truth(clip.frames, 2 * RATE)


def windows(clip: Clip, rolling: RollingWindow) -> Iterator[Window]:
    """Yield the windows of every second frame, up to the last that has a later one."""
    for k in range(0, len(clip.frames), 2):
        yield from rolling.push(Frame(k / (2 * RATE), clip.frames[k]))
    yield from (window for window in rolling.finish() if window.first < window.last)


def compare(name: str, flow: list[Score], alone: list[Score], auto: list[Score]) -> dict[str, Any]:
    """Return what flow, a partner by itself, and auto with that partner make of the same frames."""
    asked = [s.choice is not None and s.choice.tried is not None for s in auto]
    return {
        "clip": name,
        "frames": len(flow),
        "flow": mean(flow),
        "alone": mean(alone) if alone else None,
        "auto": mean(auto),
        "gain": mean(auto) - mean(flow),
        "asked": float(np.mean(asked)),
        "taken": float(np.mean([s.choice.share if s.choice else 0.0 for s in auto])),
    }


def mean(found: list[Score]) -> float:
    """Return the mean PSNR, dB."""
    return float(np.mean([score.psnr for score in found]))


def recovered(flow: list[Score], alone: list[Score], auto: list[Score]) -> dict[str, float]:
    """Return what auto recovers of the partner's gain where flow is worst, and how it ranks."""
    true = np.array([score.psnr for score in flow])
    limit = float(np.quantile(true, HARDEST))
    hard = true <= limit
    levels = {
        key: float(np.mean([s.psnr for s, h in zip(found, hard, strict=True) if h]))
        for key, found in (("flow", flow), ("alone", alone), ("auto", auto))
    }
    guess, level = (np.array([getattr(s, key) for s in auto]) for key in ("guess", "psnr"))
    ranks = [np.argsort(np.argsort(values)) for values in (guess, level)]
    return {
        "hard below dB": limit,
        **levels,
        "recovered": (levels["auto"] - levels["flow"]) / (levels["alone"] - levels["flow"]),
        "asked": float(np.mean([bool(s.choice and s.choice.tried) for s in auto])),
        "spearman": float(np.corrcoef(*ranks)[0, 1]),
        "mean absolute error": float(np.abs(guess - level).mean()),
    }


def main() -> None:
    """Measure, print tables, write results/auto.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of clip names")
    parser.add_argument("--frames", type=int, default=97, help="frames per clip")
    parser.add_argument("--partners", nargs="*", default=["oracle", "hold", "blend"])
    parser.add_argument("--options", default="", help="of auto, as hard=0.5")
    parser.add_argument("--name", default="auto")
    args = parser.parse_args()
    engines.ENGINES |= ORACLES
    more = f":{args.options}" if args.options else ""
    specs = {name: f"auto:with={name}{more}" for name in args.partners}
    found: dict[str, list[list[Score]]] = {name: [[], [], []] for name in args.partners}
    rows = []
    for path in files(args.clips):
        if args.only and not path.name.startswith(tuple(args.only)):
            continue
        clip = load(path, args.frames)
        flow = drawn(clip, "flow")
        for name, spec in specs.items():
            three = flow, drawn(clip, name), drawn(clip, spec)
            rows.append({"partner": name, **compare(clip.name, *three)})
            print(rows[-1], flush=True)
            for kept, new in zip(found[name], three, strict=True):
                kept += new
    summary = [{"partner": name, **recovered(*three)} for name, three in found.items()]
    print(table(rows), table(summary), sep="\n\n")
    print(write(args.name, rows, summary=summary, frames=args.frames, options=args.options))


if __name__ == "__main__":
    from benchmarks.auto import main as run  # not __main__'s, whose oracle would be another one

    run()
