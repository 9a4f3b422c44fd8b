"""The steps that the profile asked to compile: in C where the extension was built, else in NumPy.

Both implementations compute the same samples. Which one a process uses is decided once, here:
`c_kernels` and `c_fusion` have the documentation of every function; the others are their twins.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib import import_module
from types import ModuleType

from ltxfilter.motion.kernels.cubic import CUBIC

__all__ = [
    "CUBIC",
    "agree",
    "align_ends",
    "compiled",
    "fill",
    "limit_change",
    "make_field",
    "polish",
    "propagate",
    "search",
    "share_of_left",
    "splat",
    "static_mask",
    "tile_features",
    "tile_mix",
    "tile_motions",
    "tile_samples",
    "tile_weights",
    "travel",
    "warn_if_missing",
    "warp",
]

log = logging.getLogger("ltxfilter.motion")

SLOWER = 30  # times as long that flow takes with NumPy: measured 20 to 32 at 720p, by preset


def _compiled() -> ModuleType | None:
    """Return the extension, or None where it was not built."""
    try:
        return import_module("ltxfilter.motion.kernels._kernels")
    except ImportError:
        return None


wanted = os.environ.get("LTXFILTER_KERNELS") != "plain"  # "plain" does without the extension
compiled = _compiled() if wanted else None

if compiled is None:
    from ltxfilter.motion.kernels.numpy_features import tile_features
    from ltxfilter.motion.kernels.numpy_grids import (
        agree,
        fill,
        make_field,
        propagate,
        share_of_left,
        splat,
        static_mask,
        travel,
        warp,
    )
    from ltxfilter.motion.kernels.numpy_search import align_ends, polish, search
    from ltxfilter.motion.kernels.numpy_tiles import tile_motions, tile_samples
    from ltxfilter.motion.kernels.numpy_weights import limit_change, tile_mix, tile_weights
else:
    from ltxfilter.motion.kernels.c_fusion import (
        limit_change,
        tile_features,
        tile_mix,
        tile_motions,
        tile_samples,
        tile_weights,
    )
    from ltxfilter.motion.kernels.c_kernels import (
        agree,
        align_ends,
        fill,
        make_field,
        polish,
        propagate,
        search,
        share_of_left,
        splat,
        static_mask,
        travel,
        warp,
    )


@cache
def warn_if_missing() -> None:
    """Log one warning per process if the extension is missing and nobody asked to do without."""
    if compiled is None and wanted:
        log.warning(
            "the compiled kernels are missing: flow makes the same frames with NumPy and takes"
            " about %d times as long; install ltxfilter again with a C compiler (gcc or clang)",
            SLOWER,
        )
