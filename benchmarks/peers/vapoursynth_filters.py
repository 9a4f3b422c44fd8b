"""Double a clip's rate with a plugin of VapourSynth: a program for a Python that has them.

PYTHON vapoursynth_filters.py mvtools|svp IN.y4m OUT.y4m

It imports nothing of ltxfilter. The settings are the best of those that were tried on the
development clips: MVTools with search 5, free vectors and a second pass over blocks of 8 ("hq"),
SVPflow with overlapping blocks, its best renderer on a CPU, and without its detection of cuts,
which takes fast motion for cuts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import vapoursynth

SEARCH = {"search": 5, "searchparam": 4, "truemotion": False}
SVP_SUPER = {"gpu": 0, "pel": 2}
SVP_ANALYSE = {
    "block": {"w": 16, "h": 16, "overlap": 2},
    "main": {
        "levels": 4,
        "search": {"type": 4, "distance": -8, "coarse": {"type": 4, "distance": -5}},
    },
    "refine": [{"thsad": 200, "search": {"type": 4, "distance": 4}}],
}
SVP_SMOOTH = {
    "rate": {"num": 2, "den": 1},
    "algo": 23,
    "scene": {"mode": 0, "limits": {"scene": 100000, "m1": 100000, "m2": 100000, "zero": 0}},
}


def mvtools(core: Any, clip: Any) -> Any:
    """Return a clip at twice the rate, by FlowFPS of MVTools."""
    levels = core.mv.Super(clip, pel=2)
    vectors = []
    for backward in (True, False):
        found = core.mv.Analyse(levels, isb=backward, blksize=16, overlap=8, **SEARCH)
        vectors.append(core.mv.Recalculate(levels, found, blksize=8, overlap=4, **SEARCH))
    rate = 2 * clip.fps
    return core.mv.FlowFPS(clip, levels, *vectors, num=rate.numerator, den=rate.denominator)


def svp(core: Any, clip: Any) -> Any:
    """Return a clip at twice the rate, by SVPflow or its open clone."""
    levels = core.svp1.Super(clip, json.dumps(SVP_SUPER))
    given = levels["clip"], levels["data"]
    vectors = core.svp1.Analyse(*given, clip, json.dumps(SVP_ANALYSE))
    found = vectors["clip"], vectors["data"]
    return core.svp2.SmoothFps(clip, *given, *found, json.dumps(SVP_SMOOTH), src=clip)


def main() -> None:
    """Read, double, write."""
    method, source, target = sys.argv[1:]
    core = vapoursynth.core
    clip = core.bs.VideoSource(source=source, cachemode=0)
    doubled = {"mvtools": mvtools, "svp": svp}[method](core, clip)
    with Path(target).open("wb") as out:
        doubled.output(out, y4m=True)


if __name__ == "__main__":
    main()
