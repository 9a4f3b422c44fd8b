"""The filter that samples are fetched with: Keys' cubic convolution at 1/16 sample."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion.grid import Array

SHARPNESS = -0.75  # Keys' parameter a, as in OpenCV
PHASES = 16  # positions between two samples
TAPS = 4  # samples that are weighted at each of them
UNIT = 64  # the sum of the weights


def cubic_taps() -> Array:
    """Return [16, 4] int8 weights in 1/64, one row per 1/16 sample; each row sums to 64.

    Keys, IEEE Trans. ASSP 29 (1981), eq. 15.
    """
    taps = np.empty((PHASES, TAPS), np.int8)
    for phase in range(PHASES):
        past = phase / PHASES
        distances = (1 + past, past, 1 - past, 2 - past)
        row = [round(UNIT * _keys(distance)) for distance in distances]
        row[1 if phase < PHASES // 2 else 2] += UNIT - sum(row)
        taps[phase] = row
    return taps


def _keys(distance: float) -> float:
    """Return the weight of a sample at a distance of 0 to 2 samples."""
    a = SHARPNESS
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a


CUBIC = cubic_taps()
