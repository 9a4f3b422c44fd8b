"""Fit the weights by which `auto` mixes a partner that moves keyframes, as RIFE does, with flow.

python -m benchmarks.mix --clips FOLDER... --partner "onnx:model=rife.onnx" --keep FOLDER
    [--judge FOLDER] [--leave-out]

Every second frame of each clip is interpolated by flow (two presets) and by the partner. Per cell
of the work grid three sums say what any mix of the two costs: with e flow's error and d the way
from flow's picture to the partner's, the squared error at share w is e'e + 2 w e'd + w w d'd. The
network maps what `motion.gate` gathers to w; it is fitted to the mean gain in dB over clips, where
losses count more than gains. Prints the tables of `ltxfilter/motion/mix_weights.py`. The partner's
pictures are kept in a folder, as they take most of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.clips import Clip, files, load
from benchmarks.record import table
from ltxfilter import engines
from ltxfilter.engines.auto import MIDDLE, view
from ltxfilter.engines.flow import Flow
from ltxfilter.frame import Frame, Plane, Planes
from ltxfilter.motion.gate import gathered
from ltxfilter.motion.grid import Floats, MotionGrid
from ltxfilter.motion.mix_weights import NAMES
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Window, WindowShape

RATE = Fraction(25)
PRESETS = ("best", "balanced")
FIRST, FRAMES = 20, 17  # of each clip; a shorter one is taken from its beginning
CELLS = 1500  # per picture, drawn at random
UNITS, STEPS = 10, 300  # hidden units; steps of LBFGS
DECAY = 2e-3  # of squared weights
LOSSES = 12.0  # by which a loss counts more than a gain of as many dB
ROUNDING = 0.03  # squared codes, about, that rounding a mix adds
FLOOR = 0.1  # squared codes, added to all errors


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture's cells: what is known of them, and what mixing there costs."""

    known: Floats  # [CELLS, NAMES]
    base: float  # squared error of flow's picture
    cross: Floats  # [CELLS], e'd per pixel
    square: Floats  # [CELLS], d'd per pixel
    weight: Floats  # [CELLS], of each; the two before have it already


def windows(clip: Clip, shape: WindowShape) -> Iterator[Window]:
    """Yield the windows of every second frame."""
    info = replace(clip.info, rate=RATE, interval=1 / RATE)
    rolling = RollingWindow(shape, 2 * RATE, CutDetector(info), info.interval)
    for k in range(0, len(clip.frames), 2):
        yield from rolling.push(Frame(k / (2 * RATE), clip.frames[k]))
    yield from (window for window in rolling.finish() if window.first < window.last)


def by_partner(clip: Clip, spec: str, kept: Path) -> dict[int, Planes]:
    """Return the partner's pictures by number, out of the folder if they were made before."""
    path = kept / f"{clip.name}.npz"
    if not path.exists():
        engine = engines.build(spec)
        shape = engine.open(replace(clip.info, rate=RATE), 2 * RATE, threads=2)
        made = {}
        for window in windows(clip, shape):
            drawn = engine.draw(window, engine.prepare(window))
            for slot, picture in zip(window.to_draw(), drawn, strict=True):
                number = int(slot.time * 2 * RATE)
                made |= {f"{number}_{k}": plane for k, plane in enumerate(picture.planes)}
        engine.close()
        np.savez(path, **made)
    found = np.load(path)
    count = len(clip.info.layout)
    numbers = {int(name.partition("_")[0]) for name in found.files}
    return {n: tuple(found[f"{n}_{k}"] for k in range(count)) for n in numbers}


def samples(clip: Clip, preset: str, partner: dict[int, Planes]) -> Iterator[Sample]:
    """Yield the cells of each interpolated picture."""
    flow = Flow(preset=preset)
    shape = flow.open(replace(clip.info, rate=RATE), 2 * RATE)
    chance = np.random.default_rng(0)
    for window in windows(clip, shape):
        motion = flow.prepare(view(window, window.first, window.last, shape))
        if motion is None:
            continue
        estimate = flow.estimate(motion, MIDDLE)
        for slot, picture in zip(window.to_draw(), flow.draw(window, motion), strict=True):
            number = int(slot.time * 2 * RATE)
            other, true = partner[number], clip.frames[number]
            pyramids = (flow.luma_pyramid(planes) for planes in (picture.planes, other))
            known = gathered(estimate, *pyramids).logarithms()
            scale = 255 / ((1 << clip.info.depth) - 1)
            error, way = (
                np.subtract(a, b, dtype=np.float32) * scale
                for a, b in ((picture.planes[0], true[0]), (other[0], picture.planes[0]))
            )
            yield _sample(known, error, way, flow.grid, chance)
    flow.close()


def _sample(
    known: Floats, error: Plane, way: Plane, grid: MotionGrid, chance: np.random.Generator
) -> Sample:
    """Draw cells of one picture, more of those where the pictures differ, and weight them."""
    cross, square = (per_cell(values, grid).ravel() for values in (error * way, way * way))
    odds = square.astype(np.float64) + square.mean() + 1e-6
    odds /= odds.sum()
    chosen = chance.choice(cross.size, CELLS, p=odds)
    weight = (1 / (cross.size * odds[chosen])).astype(np.float32)
    share = weight * cross.size * grid.cell**2 / error.size  # cells reach over the picture's edges
    columns = known.reshape(len(NAMES), -1)[:, chosen].T
    base = float(np.square(error).mean())
    return Sample(columns, base, cross[chosen] * share, square[chosen] * share, weight)


def per_cell(values: Plane, grid: MotionGrid) -> Floats:
    """Return the mean of each cell of the work grid, 0 beyond the picture."""
    whole = np.zeros((grid.rows * grid.cell, grid.columns * grid.cell), np.float32)
    whole[: values.shape[0], : values.shape[1]] = values
    return cv2.resize(whole, (grid.columns, grid.rows), interpolation=cv2.INTER_AREA)


class Data:
    """All samples as tensors, and which clip each is of."""

    def __init__(self, clips: dict[str, list[Sample]]) -> None:
        """Take the samples of each clip by its name."""
        every = [sample for found in clips.values() for sample in found]
        self.names = list(clips)
        self.clip = torch.tensor([k for k, found in enumerate(clips.values()) for _ in found])
        known = torch.from_numpy(np.stack([each.known for each in every]))
        self.mean, self.scale = known.mean((0, 1)), known.std((0, 1))
        self.known = (known - self.mean) / self.scale
        self.base = torch.tensor([each.base for each in every])
        self.cross = torch.from_numpy(np.stack([each.cross for each in every]))
        self.square = torch.from_numpy(np.stack([each.square for each in every]))
        self.weight = torch.from_numpy(np.stack([each.weight for each in every]))

    def gains(self, network: nn.Module, which: Tensor) -> Tensor:
        """Return the gain over flow in dB of each picture of `which`."""
        share = torch.sigmoid(network(self.known[which])[..., 0])
        cost = 2 * share * self.cross[which] + share**2 * self.square[which]
        cost = cost + ROUNDING * self.weight[which] * torch.tanh(20 * share * (1 - share))
        mixed = (self.base[which] + cost.mean(1)).clamp_min(0)
        return -10 * torch.log10((mixed + FLOOR) / (self.base[which] + FLOOR))

    def fit(self, which: Tensor) -> nn.Module:
        """Return a network fitted to the pictures of `which`, every clip counted alike."""
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(len(NAMES), UNITS), nn.Tanh(), nn.Linear(UNITS, 1))
        count = torch.bincount(self.clip[which], minlength=len(self.names))
        weight = 1 / count[self.clip[which]]
        weight = weight / weight.sum()
        optimizer = torch.optim.LBFGS(
            network.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            gain = self.gains(network, which)
            total = (weight * (LOSSES * torch.relu(-gain) - gain)).sum()
            total = total + DECAY * sum((p**2).sum() for p in network.parameters() if p.dim() > 1)
            total.backward()
            return total

        optimizer.step(loss)  # type: ignore[arg-type]
        return network

    def written(self, network: nn.Module) -> str:
        """Return the tables of mix_weights.py: biases first, inputs as they are."""
        hidden, output = network[0], network[2]  # type: ignore[index]
        weight = (hidden.weight / self.scale).detach()
        bias = (hidden.bias - weight @ self.mean).detach()
        rows = "".join(f"    {_row([b, *w])},\n" for b, w in zip(bias, weight, strict=True))
        last = _row([output.bias[0], *output.weight[0]])
        return f"HIDDEN = (\n{rows})\nOUTPUT = {last}"


def _row(values: list[Tensor]) -> str:
    return "(" + ", ".join(f"{value.item():.4g}" for value in values) + ")"


def judged_clips(data: Data, folder: Path | None) -> Tensor:
    """Return which pictures are of the clips of a folder."""
    names = {path.stem for path in files(folder)} if folder else set()
    return torch.tensor([data.names[k] in names for k in data.clip])


def main() -> None:
    """Interpolate, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--partner", required=True, help="spec of an engine")
    parser.add_argument("--keep", type=Path, required=True, help="folder for its pictures")
    parser.add_argument("--judge", type=Path, help="folder; also fit without all of its clips")
    parser.add_argument("--leave-out", action="store_true", help="also fit without each clip")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights every time
    args.keep.mkdir(exist_ok=True)
    found: dict[str, list[Sample]] = {}
    for path in [path for folder in args.clips for path in files(folder)]:
        clip = load(path, FIRST + FRAMES)
        shown = clip.frames[FIRST:] if len(clip.frames) == FIRST + FRAMES else clip.frames[:9]
        clip = replace(clip, frames=shown)
        partner = by_partner(clip, args.partner, args.keep)
        if made := [s for preset in PRESETS for s in samples(clip, preset, partner)]:
            found[clip.name] = made
        print(f"{clip.name}: {len(made)} pictures", flush=True)
    data = Data(found)
    network = data.fit(data.clip >= 0)
    rows = []
    judged = judged_clips(data, args.judge)
    apart = data.fit(~judged) if args.judge else network
    for k, name in enumerate(data.names):
        row = {"clip": name, "gain": data.gains(network, data.clip == k).mean().item()}
        if args.judge:
            own = judged & (data.clip == k)
            row["judged"] = data.gains(apart, own).mean().item() if own.any() else ""
        if args.leave_out:
            without = data.fit(data.clip != k)
            row["left out"] = data.gains(without, data.clip == k).mean().item()
        rows.append(row)
    print(table(rows))
    print(data.written(network))


if __name__ == "__main__":
    main()
