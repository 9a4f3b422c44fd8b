"""How many of each thing the kernels of the fusion know, and the table that their softmax reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltxfilter.motion.grid import Array

Layers = Sequence[tuple[Array, Array]]  # weights [inputs, outputs] int16, bias [outputs] int32

BLOCKS = 4  # along each side of a tile
PAIRS = 5  # motions of a block: its own, the slowest and the fastest nearby for both radii
SAMPLES = 3 + 2 * PAIRS  # pictures of a tile: drawn, left, right, both ends of every motion
FEATURES = 49  # of a block
WEIGHTS = SAMPLES - 1  # of all but the picture as it was drawn
CHOICES = 17  # of the network
OUTPUTS = CHOICES + 1  # of the network: after its choices how much to sharpen
MOST_FEATURE = 511  # the size of a feature, in 1/32
UNITS = 48  # of each of its hidden layers
MOST_ACTIVE = 4095  # a unit's output, in 1/128
MOST_GAIN = 128  # of the difference to the 3x3 mean, in 1/64
MOST_CHANGE = 16 * 32  # 1/16 codes of 8 bits by which a block may change in the mean
MOST_NARROW = 32767  # to which changes of samples are narrowed
LARGEST = 1 << 22  # of a sample in 1/16 codes, however deep
MOST_OFFSET = 128  # 1/16 codes of 8 bits by which what is mixed in may be shifted

HALVINGS = np.rint(32768 * 2.0 ** (-np.arange(256) / 256)).astype(np.int32)
