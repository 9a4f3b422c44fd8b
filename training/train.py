"""Train the fusion: python -m training.train FOLDER... [--out FILE] [--seed N] [--folds K ...].

Every video below the folders is decoded, frames are dropped and drawn back, and a network learns
to weigh what may be mixed. The same clips make the same network, bit for bit, on one machine.
With --folds, the clips of --judge are left out in K parts, a network each, which are written beside
FILE with a number in their name; what each part gains is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ltxfilter.motion.kernels.fusion_sizes import BLOCKS, CHOICES
from training.network import (
    FEATURE_UNIT,
    Network,
    chosen,
    gradients,
    mixed,
    reversed_features,
    reversed_order,
)
from training.pictures import Example, examples

Array = NDArray[Any]

Pool = get_context("fork").Pool
KINDS = (".mp4", ".mkv", ".webm", ".mov", ".y4m", ".avi")
STEPS, BATCH = 12000, 256  # of training; tiles in each
SEED = 1  # of what is drawn by chance
RATE, LEAST_RATE, WARM_UP = 2e-3, 0.02, 100  # learning rate, its last share, steps until it is full
ROBUST = 30.0  # squared error, of a picture's own, beyond which it counts less than fully
WORSE = 1.0  # weight of what a tile's squared error grows by, in units of its picture's error
FORGIVEN = 0.3  # of that growth, which costs nothing
NEAREST = 0.3  # weight, at first, of how unlike choices are to those nearest to the truth
NEAR_ENOUGH = 4.0  # squared codes that are added to the errors of these
LOST_DETAIL = 9.0  # weight of the share of gradients that is lost, squared
LEAST_DETAIL = 240.0  # gradients, in codes, that are added to the truth's
FLOOR = 0.5  # squared codes that are added to a picture's own error
USED = 0.1  # of a picture at most is mixed later
UNUSED = 0.3  # how often tiles beyond that are drawn, of how often others are


class Tiles:
    """All tiles of some examples, and how often each is drawn."""

    def __init__(self, known: list[Example]) -> None:
        names = "features", "shown", "true", "moves", "share"
        self._all = {
            name: np.concatenate([getattr(example, name) for example in known]) for name in names
        }
        sizes = [len(example.true) for example in known]
        own = [example.error + FLOOR for example in known]
        self._all["own"] = np.repeat(own, sizes).astype(np.float32)
        pictures: dict[str, int] = {}
        for example in known:
            pictures[example.clip] = pictures.get(example.clip, 0) + 1
        chances = [
            np.where(example.place < USED, 1.0, UNUSED) / np.sqrt(pictures[example.clip] * size)
            for example, size in zip(known, sizes, strict=True)
        ]
        self._upto = np.cumsum(np.concatenate(chances))

    def batch(self, rng: np.random.Generator) -> dict[str, Array]:
        """Return tiles that were drawn: the arrays of `Example`, and `own`, pictures' errors."""
        places = rng.random(BATCH) * self._upto[-1]
        at = np.minimum(np.searchsorted(self._upto, places), len(self._upto) - 1)
        return {name: array[at] for name, array in self._all.items()}


def trained(known: list[Example], steps: int = STEPS, seed: int = SEED) -> Network:
    """Return a network that was trained on examples; the same for the same ones and seed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tiles, network = Tiles(known), Network()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=RATE, weight_decay=1e-4, betas=(0.9, 0.98)
    )
    for step in range(steps):
        cosine = 0.5 * (1 + np.cos(np.pi * step / steps)) * (1 - LEAST_RATE) + LEAST_RATE
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * cosine
        early = max(1 - 2 * step / steps, 0)
        loss = _loss(network, tiles.batch(rng), early, backwards=rng.random() < 0.5)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network


def _loss(
    network: Network, batch: dict[str, Array], early: float, *, backwards: bool
) -> torch.Tensor:
    """Return what training makes small. early: 1 at its beginning, 0 from its middle on."""
    features, share = batch["features"].astype(np.float32) / FEATURE_UNIT, batch["share"]
    shown = batch["shown"].astype(np.float32)
    if backwards:
        features, share = reversed_features(features), 1 - share
        shown = np.ascontiguousarray(shown[:, reversed_order()])
    true = torch.from_numpy(batch["true"].astype(np.float32))
    moves, own = torch.from_numpy(batch["moves"]), torch.from_numpy(batch["own"])
    seen = torch.from_numpy(share), torch.from_numpy(shown)
    out = network(torch.from_numpy(features))
    drawn, tiles = (torch.where(moves, part, true) for part in (seen[1][:, 0], mixed(out, *seen)))
    before, after = (_squares(part - true) / own[:, None, None] for part in (drawn, tiles))
    worse = (after.mean((1, 2)) - before.mean((1, 2)) - FORGIVEN).clamp(min=0)
    detail = gradients(true)
    lost = (detail - gradients(tiles)).clamp(min=0) / (detail + LEAST_DETAIL)
    loss = _robust(after) + WORSE * worse.mean() + LOST_DETAIL * lost.square().mean()
    if early > 0:
        off = torch.where(moves[:, None], chosen(*seen) - true[:, None], 0)
        loss += NEAREST * early * unlike_nearest(out[:, :CHOICES], _squares(off.flatten(0, 1)))
    return loss


def unlike_nearest(logits: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of choices with those that are nearest to the truth.

    A choice that a softmax hardly ever makes hardly learns: without this some are given up in the
    first steps, which ones by chance. logits: of all blocks, [16 N, 17]. squares: each choice's
    mean squared errors in codes, [17 N, 4, 4].
    """
    errors = squares.view(-1, CHOICES, BLOCKS**2).transpose(1, 2).reshape(-1, CHOICES)
    nearest = torch.softmax(-2 * (errors + NEAR_ENOUGH).log(), 1)
    return -(nearest * torch.log_softmax(logits, 1)).sum(1).mean()


def _squares(tiles: torch.Tensor) -> torch.Tensor:
    """Return the mean square of each block of tiles, [N, 4, 4]."""
    block = tiles.shape[-1] // BLOCKS
    return tiles.square().view(len(tiles), BLOCKS, block, BLOCKS, block).mean((2, 4))


def _robust(squares: torch.Tensor) -> torch.Tensor:
    return ((squares + ROBUST).sqrt() - ROBUST**0.5).mean() * 2 * ROBUST**0.5


def gains(network: Network, judged: Iterable[Example]) -> dict[str, Any]:
    """Return by how many dB pictures gain that the network has not seen, and the least of them."""
    found: dict[str, list[float]] = {}
    for example in judged:
        features, shown = (
            torch.from_numpy(part.astype(np.float32))
            for part in (example.features / FEATURE_UNIT, example.shown)
        )
        true = example.true.astype(np.float32)
        with torch.no_grad():
            tiles = mixed(network(features), torch.from_numpy(example.share), shown).numpy()
        before, after = (
            np.where(example.moves, np.square(part - true), 0).mean(axis=(1, 2))
            for part in (example.shown[:, 0], tiles)
        )
        less = float((before - after)[example.place < USED].sum()) * example.stands_for
        left = max(example.error - less, 0.2 * example.error)
        key = f"{example.clip} {example.preset}"
        found.setdefault(key, []).append(10 * np.log10((example.error + 0.01) / (left + 0.01)))
    return {key: {"mean": float(np.mean(v)), "least": float(min(v))} for key, v in found.items()}


def videos(folders: list[Path]) -> list[Path]:
    """Return the videos below some folders, in one order."""
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in KINDS]
    return sorted(found, key=lambda path: path.name)


def _collected(path: Path) -> list[Example]:
    import cv2

    cv2.setNumThreads(1)
    return list(examples(path))


def main() -> None:
    """Train on the folders that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("ltxfilter/motion/fusion_weights.npz"))
    parser.add_argument("--judge", type=Path, help="the folder whose clips are left out in parts")
    parser.add_argument("--folds", type=int, default=0, help="how many parts")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is drawn by chance")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = videos(args.folders)
    with Pool(args.processes) as pool:
        parts = pool.map(_collected, paths, chunksize=1)
    for path, part in zip(paths, parts, strict=True):
        print(f"{path.name}: {len(part)} pictures", flush=True)
    known = [example for part in parts for example in part]
    judged = sorted(path.stem for path in videos([args.judge])) if args.judge else []
    parts_out = [set(judged[k :: args.folds]) for k in range(args.folds)]
    named = [(out, args.out.with_stem(f"{args.out.stem}{k}")) for k, out in enumerate(parts_out)]
    jobs = [(out, path, args.seed) for out, path in [(set[str](), args.out), *named]]
    with Pool(args.processes, _remember, (known,)) as pool:  # forked: nothing is copied
        rows = pool.starmap(_one, jobs, chunksize=1)
    print(json.dumps({key: value for row in rows for key, value in row.items()}, indent=1))


_known: list[Example] = []  # of this process


def _remember(known: list[Example]) -> None:
    _known[:] = known


def _one(left_out: set[str], out: Path, seed: int) -> dict[str, Any]:
    """Train one network, write it, and return what it gains on what was left out."""
    torch.set_num_threads(1)
    known = [example for example in _known if example.clip not in left_out]
    network = trained(known, seed=seed)
    layers: dict[str, Any] = network.exported()
    np.savez(out, **layers)
    print(f"{out}: written", flush=True)
    return gains(network, [example for example in _known if example.clip in left_out])


if __name__ == "__main__":
    main()
