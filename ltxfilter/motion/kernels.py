"""The kernels that the profile asked for: compiled where the wheel could, else in NumPy."""

from __future__ import annotations

import numpy as np

from ltxfilter.motion import plain
from ltxfilter.motion.grid import Array

propagate = plain.propagate
splat = plain.splat
warp = plain.warp
still_mask = plain.still_mask
compiled = False

SHARPNESS = -0.75  # Keys' parameter of the cubic, OpenCV's


def cubic_taps() -> Array:
    """Return [16, 4] weights in 1/64 of Keys' cubic convolution at every 1/16 sample.

    Keys, IEEE Trans. ASSP 29 (1981), eq. 15. Every row sums to 64.
    """
    taps = np.empty((16, 4), np.int8)
    for phase in range(16):
        far = [1 + phase / 16, phase / 16, 1 - phase / 16, 2 - phase / 16]
        row = [round(64 * _keys(distance)) for distance in far]
        row[1 if phase < 8 else 2] += 64 - sum(row)
        taps[phase] = row
    return taps


def _keys(distance: float) -> float:
    a = SHARPNESS
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
