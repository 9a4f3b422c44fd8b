"""The network while it is trained, in torch: floats of what the kernels compute in integers."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import e, log2
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltxfilter.motion.kernels.fusion_sizes import (
    BLOCKS,
    CHOICES,
    FEATURES,
    MOST_GAIN,
    OUTPUTS,
    PAIRS,
    UNITS,
)

Array = NDArray[Any]

SIZES = (FEATURES, UNITS, UNITS, UNITS, OUTPUTS)
MOST_ACTIVE = 31.9  # a unit's output
FEATURE_UNIT = 32.0  # of the integers that the kernels compute
TRUST = 2.5  # logit of the picture as it was drawn, before anything is learned
FIRST_GAIN = 0.25  # by which all is sharpened then
SHARPER = 1.5  # times what is learned, in the end: sharpness pulses less, for 0.015 dB
WEIGHT_UNIT = 1 << 10  # of exported weights
BIAS_UNITS = (1 << 15, 1 << 17)  # of exported biases: of the first layer, of the others

SWAPPED_FEATURES = ((28, 29), (36, 37))  # under time reversal
NEGATED_FEATURES = (31, 32, 33, 34, 35, 45, 46, 47)


class Network(nn.Module):  # type: ignore[misc]  # torch is not typed
    """Features of blocks, [N, 49], to logits of choices and a gain, [N, 18]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise(SIZES))
        with torch.no_grad():
            last = self.layers[-1]
            last.weight *= 0.1
            last.bias.zero_()
            last.bias[0] = TRUST
            last.bias[CHOICES] = FIRST_GAIN

    def forward(self, features: Tensor) -> Tensor:
        """Return logits and the gain. features: in units of 1, not of 1/32."""
        features = features.reshape(-1, FEATURES)
        *hidden, last = self.layers
        for layer in hidden:
            features = torch.relu(layer(features)).clamp(max=MOST_ACTIVE)
        return last(features)

    def exported(self) -> dict[str, Array]:
        """Return the layers in the integers that `fusion.checked_layers` takes."""
        stored: dict[str, Array] = {}
        for number, layer in enumerate(self.layers):
            factor = np.ones(layer.out_features)
            if number == len(self.layers) - 1:
                factor[:CHOICES], factor[CHOICES] = log2(e), SHARPER
            weights = layer.weight.detach().double().numpy().T * factor
            bias = layer.bias.detach().double().numpy() * factor
            stored[f"weights_{number + 1}"] = np.rint(weights * WEIGHT_UNIT).astype(np.int16)
            unit = BIAS_UNITS[min(number, 1)]
            stored[f"bias_{number + 1}"] = np.rint(bias * unit).astype(np.int32)
        return stored


def mixed(out: Tensor, share: Tensor, shown: Tensor) -> Tensor:
    """Return tiles as they are mixed and sharpened, [N, 16, 16].

    out: of the network for all blocks. share: of the left end, [N, 16]. shown: [N, 13, 16, 16].
    """
    count, side = len(shown), shown.shape[-1]
    weights = _folded(out[:, :CHOICES], share.reshape(-1))
    blocks = weights.view(count, BLOCKS, BLOCKS, -1).permute(0, 3, 1, 2)
    between = torch.from_numpy(_between(side))
    tiles = (torch.einsum("nkij,yi,xj->nkyx", blocks, between, between) * shown).sum(1)
    gains = _every(out[:, CHOICES].clamp(0, MOST_GAIN / 64).view(count, -1), side)
    return tiles + (tiles - _around(tiles)) * gains


def chosen(share: Tensor, shown: Tensor) -> Tensor:
    """Return what each choice of the network stands for, [N, 17, 16, 16]. For the rest: `mixed`."""
    left, right = shown[:, 5::2], shown[:, 6::2]
    both = right + (left - right) * _every(share, shown.shape[-1])[:, None]
    return torch.cat([shown[:, :5], torch.stack([both, left, right], 2).flatten(1, 2)], 1)


def _every(blocks: Tensor, side: int) -> Tensor:
    """Return the values of a tile's blocks, [N, 16], at each of its samples, [N, side, side]."""
    square, block = blocks.view(len(blocks), BLOCKS, BLOCKS), side // BLOCKS
    return square.repeat_interleave(block, 1).repeat_interleave(block, 2)


def _folded(logits: Tensor, share: Tensor) -> Tensor:
    """Return the weights of all that is mixed, [N, 13]. share: of the left end, [N]."""
    parts = torch.softmax(logits, 1)
    mixed, left, right = parts[:, 5::3], parts[:, 6::3], parts[:, 7::3]
    of_left = mixed * share[:, None]
    others = torch.stack([left + of_left, right + mixed - of_left], 2)
    return torch.cat([parts[:, :5], others.reshape(len(parts), 2 * (PAIRS - 1))], 1)


@cache
def _between(side: int) -> Array:
    """Return how samples along a tile are read between its blocks, [side, 4] float32."""
    shares = np.zeros((side, BLOCKS), np.float32)
    at = (np.arange(side) + 0.5) / (side // BLOCKS) - 0.5
    before = np.floor(at).astype(int)
    for place, past in ((before, 1 - (at - before)), (before + 1, at - before)):
        np.add.at(shares, (np.arange(side), np.clip(place, 0, BLOCKS - 1)), past)
    return shares


def _around(tiles: Tensor) -> Tensor:
    """Return the 3x3 mean around each sample of tiles, [N, H, W]; a tile's border repeats."""
    wide = nn.functional.pad(tiles[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 16


def gradients(tiles: Tensor) -> Tensor:
    """Return the sum of the sizes of all differences of neighbours in each tile, [N]."""
    across, down = tiles[:, :, 1:] - tiles[:, :, :-1], tiles[:, 1:] - tiles[:, :-1]
    return across.abs().sum((1, 2)) + down.abs().sum((1, 2))


def reversed_order() -> Array:
    """Return where each of the things that are mixed is when time runs backwards, [13]."""
    pairs = [place for pair in range(PAIRS) for place in (4 + 2 * pair, 3 + 2 * pair)]
    return np.array([0, 2, 1, *pairs])


def reversed_features(features: Array) -> Array:
    """Return features, [..., 49], as they are when time runs backwards."""
    order = np.arange(FEATURES)
    for a, b in SWAPPED_FEATURES:
        order[[a, b]] = b, a
    turned = features[..., order]
    turned[..., NEGATED_FEATURES] *= -1
    return turned
