"""Windows for the LTX engines, and the pictures that an engine draws in them."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np

from ltxfilter import engines
from ltxfilter.pipeline.stages import windows as window_path
from ltxfilter.windows.rolling import RollingWindow
from support.pictures import Same


def windows(frames, shape, rate=F(50), shots=None):
    rolling = RollingWindow(shape, rate, shots or Same(), F(1, 25))
    return list(window_path(frames, rolling))


def drawings(spec, models, info, frames, rate=F(50)):
    engine = engines.build(spec, models)
    shape = engine.open(info, rate)
    drawn = [
        (window, list(engine.draw(window, engine.prepare(window))))
        for window in windows(frames, shape, rate)
    ]
    engine.close()
    engine.close()
    return drawn


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
