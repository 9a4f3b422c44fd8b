"""The engine `blend`: cross-fade the two keyframes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.frame import Plane, VideoInfo
from ltxfilter.windows.window import Window, WindowShape


class Blend(Engine):
    """Cross-fades the two keyframes around a slot."""

    name: ClassVar[str] = "blend"
    summary: ClassVar[str] = "cross-fade the two frames around it"
    can_be_wrong: ClassVar[bool] = False
    live_shapes = {"blend": WindowShape()}  # noqa: RUF012  (a mapping that nobody writes to)

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Ask for pairs; blending needs two 32-bit copies of the largest plane."""
        return WindowShape(draw_bytes=8 * video.width * video.height)

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:  # noqa: ARG002
        """Yield the weighted mean of the two keyframes for each slot."""
        for slot in window.to_draw():
            left, right = window.keyframes[slot.left], window.keyframes[slot.left + 1]
            pairs = zip(left.planes, right.planes, strict=True)
            yield Drawn(tuple(cross_fade(a, b, float(slot.tau)) for a, b in pairs))


def cross_fade(left: Plane, right: Plane, tau: float) -> Plane:
    """Return `(1 - tau) * left + tau * right`, rounded to nearest, halves to even.

    uint8 or uint16 in and out. Halves up would brighten noise by a quarter of a code.
    """
    total = np.multiply(left, np.float32(1 - tau), dtype=np.float32)
    total += np.multiply(right, np.float32(tau), dtype=np.float32)
    np.rint(total, out=total)
    return total.astype(left.dtype)
