"""Copies of decoded frames: same samples, and none kept from being freed."""

from __future__ import annotations

import gc

import av
import numpy as np

from ltxfilter.media.avframe import FrameCopier, view
from ltxfilter.media.pixfmt import plane_shapes


def test_sharing_a_frame_leaves_nothing_to_the_garbage_collector():
    """A cycle per frame would let hundreds of frames pile up before it is found."""
    copier = FrameCopier()
    shapes = plane_shapes("yuv420p", 64, 48)
    copier.share(av.VideoFrame(64, 48, "yuv420p"))  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            shared = copier.share(frame)
            for ours, theirs in zip(view(shared, shapes), view(frame, shapes), strict=True):
                assert np.shares_memory(ours, theirs)
            del frame, shared, ours, theirs
        assert gc.collect() == 0
    finally:
        gc.enable()
