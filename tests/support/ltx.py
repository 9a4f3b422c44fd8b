"""Windows for the LTX engines, and the pictures that an engine draws in them."""

from __future__ import annotations

import dataclasses
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


def pictures(spec, models, info, frames, rate=F(50)):
    """Return the planes of every picture that an engine draws of a stream."""
    return [p.planes for _, drawn in drawings(spec, models, info, frames, rate) for p in drawn]


def flags(models, spec):
    """Return the words of a command line that name those models that an engine uses."""
    words = []
    used = engines.build(spec, models).used_files
    for field in dataclasses.fields(models):
        value = getattr(models, field.name)
        if value is not None and field.name in used and not isinstance(value, tuple):
            words += ["--" + field.name.replace("_", "-"), value]
    return words + [word for path, _ in models.loras for word in ("--lora", path)]


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
