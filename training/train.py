"""Train the fusion: python -m training.train FOLDER... [--out FILE] [--folds K --judge FOLDER].

Every video below the folders is decoded, frames are dropped and drawn back, and a network learns
to weigh what may be mixed. The same clips make the same network, bit for bit, on one machine.
With --folds, the clips of --judge are left out in K parts, a network each, which are written beside
FILE with a number in their name; what each part gains is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ltxfilter.motion.kernels.fusion_sizes import SAMPLES
from training.network import (
    FEATURE_UNIT,
    Network,
    quadratic,
    reversed_features,
    reversed_order,
    whole_matrices,
)
from training.pictures import Example, examples

Array = NDArray[Any]

KINDS = (".mp4", ".mkv", ".webm", ".mov", ".y4m", ".avi")
STEPS, BATCH = 4000, 2048  # of training; blocks in each
RATE, LEAST_RATE, WARM_UP = 4e-3, 0.02, 100  # learning rate, its last share, steps until it is full
ROBUST = 30.0  # squared error, of a picture's own, beyond which it counts less than fully
LOST_DETAIL = 2.0  # weight of the share of gradients that is lost, squared
LEAST_DETAIL = 4.0  # gradient energy, squared codes, that is added to the truth's
FLOOR = 0.5  # squared codes that are added to a picture's own error


class Blocks:
    """All blocks of some examples, and how often each is drawn."""

    def __init__(self, known: list[Example]) -> None:
        sizes = [len(example.features) for example in known]
        self.features = np.concatenate([example.features for example in known])
        self.errors = np.concatenate([example.errors for example in known])
        self.details = np.concatenate([example.details for example in known])
        self.detail = np.concatenate([example.detail for example in known])
        self.share = np.concatenate([example.share for example in known])
        self.own = np.repeat([example.error + FLOOR for example in known], sizes).astype(np.float32)
        pictures: dict[str, int] = {}
        for example in known:
            pictures[example.clip] = pictures.get(example.clip, 0) + 1
        chances = [
            1 / np.sqrt(pictures[example.clip] * size)
            for example, size in zip(known, sizes, strict=True)
        ]
        self._upto = np.cumsum(np.repeat(chances, sizes))

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return the numbers of one batch's blocks."""
        places = rng.random(BATCH) * self._upto[-1]
        return np.asarray(np.minimum(np.searchsorted(self._upto, places), len(self.share) - 1))


def trained(known: list[Example], steps: int = STEPS) -> Network:
    """Return a network that was trained on examples; the same for the same ones."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    blocks, network = Blocks(known), Network()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=RATE, weight_decay=1e-4, betas=(0.9, 0.98)
    )
    for step in range(steps):
        cosine = 0.5 * (1 + np.cos(np.pi * step / steps)) * (1 - LEAST_RATE) + LEAST_RATE
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * cosine
        loss = _loss(network, blocks, blocks.drawn(rng), backwards=rng.random() < 0.5)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network


def _loss(network: Network, blocks: Blocks, at: Array, *, backwards: bool) -> torch.Tensor:
    features = blocks.features[at].astype(np.float32) / FEATURE_UNIT
    errors, details = (part[at].astype(np.float32) for part in (blocks.errors, blocks.details))
    share = blocks.share[at]
    if backwards:
        features, share = reversed_features(features), 1 - share
        places = whole_matrices().reshape(SAMPLES, SAMPLES)[reversed_order()][:, reversed_order()]
        order = places[np.triu_indices(SAMPLES)]
        errors, details = errors[:, order], details[:, order]
    weights = network.weights(torch.from_numpy(features), torch.from_numpy(share))
    own = torch.from_numpy(blocks.own[at])
    kept = (quadratic(details, weights) + 1e-3).sqrt()
    detail = torch.from_numpy(blocks.detail[at])
    lost = (detail.sqrt() - kept).clamp(min=0).square() / (detail + LEAST_DETAIL)
    return _robust(quadratic(errors, weights) / own) + LOST_DETAIL * lost.mean()


def _robust(squares: torch.Tensor) -> torch.Tensor:
    return ((squares + ROBUST).sqrt() - ROBUST**0.5).mean() * 2 * ROBUST**0.5


def gains(network: Network, judged: Iterable[Example]) -> dict[str, Any]:
    """Return by how many dB pictures gain that the network has not seen, and the least of them."""
    found: dict[str, list[float]] = {}
    for example in judged:
        with torch.no_grad():
            features = torch.from_numpy(example.features.astype(np.float32) / FEATURE_UNIT)
            weights = network.weights(features, torch.from_numpy(example.share))
            after = float(quadratic(example.errors.astype(np.float32), weights).mean())
        before = float(example.errors[:, 0].astype(np.float32).mean())
        left = max(example.error - example.marked * (before - after), 0.2 * example.error)
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
        named = [
            (out, args.out.with_stem(f"{args.out.stem}{k}")) for k, out in enumerate(parts_out)
        ]
        rows = pool.starmap(
            _one, [(known, *pair) for pair in [(set[str](), args.out), *named]], chunksize=1
        )
    print(json.dumps({key: value for row in rows for key, value in row.items()}, indent=1))


def _one(known: list[Example], left_out: set[str], out: Path) -> dict[str, Any]:
    """Train one network, write it, and return what it gains on what was left out."""
    torch.set_num_threads(1)
    network = trained([example for example in known if example.clip not in left_out])
    layers: dict[str, Any] = network.exported()
    np.savez(out, **layers)
    print(f"{out}: written", flush=True)
    return gains(network, [example for example in known if example.clip in left_out])


if __name__ == "__main__":
    main()
