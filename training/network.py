"""The network while it is trained, in torch: floats of what the kernels compute in integers."""

from __future__ import annotations

from itertools import pairwise
from math import e, log2
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltxfilter.motion.kernels.fusion_sizes import CHOICES, FEATURES, PAIRS, SAMPLES, UNITS

Array = NDArray[Any]

SIZES = (FEATURES, UNITS, UNITS, UNITS, CHOICES)
MOST_ACTIVE = 31.9  # a unit's output
FEATURE_UNIT = 32.0  # of the integers that the kernels compute
TRUST = 2.5  # logit of the picture as it was drawn, before anything is learned
WEIGHT_UNIT = 1 << 10  # of exported weights
BIAS_UNITS = (1 << 15, 1 << 17)  # of exported biases: of the first layer, of the others

SWAPPED_FEATURES = ((28, 29), (36, 37))  # under time reversal
NEGATED_FEATURES = (31, 32, 33, 34, 35, 45, 46, 47)


class Network(nn.Module):  # type: ignore[misc]  # torch is not typed
    """Features of blocks, [N, 49], to logits of choices, [N, 17]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise(SIZES))
        with torch.no_grad():
            last = self.layers[-1]
            last.weight *= 0.1
            last.bias.zero_()
            last.bias[0] = TRUST

    def forward(self, features: Tensor) -> Tensor:
        """Return logits. features: in units of 1, not of 1/32."""
        *hidden, last = self.layers
        for layer in hidden:
            features = torch.relu(layer(features)).clamp(max=MOST_ACTIVE)
        return last(features)

    def weights(self, features: Tensor, share: Tensor) -> Tensor:
        """Return the weights of all that is mixed, [N, 13]. share: of the left end, [N]."""
        parts = torch.softmax(self(features), 1)
        mixed, left, right = parts[:, 5::3], parts[:, 6::3], parts[:, 7::3]
        of_left = mixed * share[:, None]
        others = torch.stack([left + of_left, right + mixed - of_left], 2)
        return torch.cat([parts[:, :5], others.reshape(len(parts), 2 * (PAIRS - 1))], 1)

    def exported(self) -> dict[str, Array]:
        """Return the layers in the integers that `fusion.checked_layers` takes."""
        stored: dict[str, Array] = {}
        for number, layer in enumerate(self.layers):
            factor = log2(e) if number == len(self.layers) - 1 else 1.0
            weights = layer.weight.detach().double().numpy().T * factor
            bias = layer.bias.detach().double().numpy() * factor
            stored[f"weights_{number + 1}"] = np.rint(weights * WEIGHT_UNIT).astype(np.int16)
            unit = BIAS_UNITS[min(number, 1)]
            stored[f"bias_{number + 1}"] = np.rint(bias * unit).astype(np.int32)
        return stored


def whole_matrices() -> Array:
    """Return [169]: where each element of a symmetric 13x13 matrix is in its upper triangle."""
    places = np.zeros((SAMPLES, SAMPLES), int)
    rows, columns = np.triu_indices(SAMPLES)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places.ravel()


def reversed_order() -> Array:
    """Return where each of the things that are mixed is when time runs backwards, [13]."""
    pairs = [place for pair in range(PAIRS) for place in (4 + 2 * pair, 3 + 2 * pair)]
    return np.array([0, 2, 1, *pairs])


def reversed_features(features: Array) -> Array:
    """Return features, [N, 49], as they are when time runs backwards."""
    order = np.arange(FEATURES)
    for a, b in SWAPPED_FEATURES:
        order[[a, b]] = b, a
    turned = features[:, order]
    turned[:, NEGATED_FEATURES] *= -1
    return turned


def quadratic(matrices: Array, weights: Tensor) -> Tensor:
    """Return w' M w per block. matrices: upper triangles, [N, 91]; weights: [N, 13]."""
    whole = torch.from_numpy(matrices[:, whole_matrices()]).view(-1, SAMPLES, SAMPLES)
    return (torch.bmm(whole, weights[:, :, None])[:, :, 0] * weights).sum(1).clamp(min=0)
