"""The engine `auto`: flow alone without LTX files; with a partner, cell by cell what is better."""

from __future__ import annotations

import numpy as np
from test_engines import drawings, moving, video


def test_without_model_files_it_is_flow():
    info = video(width=192, height=128)
    frames = moving(info, 6)
    for (_, mine), (_, flows) in zip(
        drawings("auto", info, frames), drawings("flow", info, frames), strict=True
    ):
        for a, b in zip(mine, flows, strict=True):
            assert a.psnr_db == b.psnr_db
            assert a.choice is not None
            assert a.choice.engine == "flow"
            assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))
