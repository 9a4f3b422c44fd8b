"""From motion to planes: draw every plane of a picture in the stream's own samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt

import cv2
import numpy as np

from ltxfilter.frame import Plane, Planes, PlaneShape, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Luma, MotionGrid, Shrunk
from ltxfilter.motion.trajectory import Moment, apart, field

BRIGHT = ("y", "g")  # the plane that motion is found in, by preference


class PlaneDrawer:
    """Draws the planes of one stream; pure, any number of threads at once."""

    def __init__(self, video: VideoInfo, grid: MotionGrid) -> None:
        self._layout = video.layout
        self._grid = grid
        roles = [shape.role for shape in video.layout]
        self._luma = next((roles.index(role) for role in BRIGHT if role in roles), 0)

    def luma(self, planes: Planes) -> Plane:
        """Return the plane that motion is found in."""
        return planes[self._luma]

    @property
    def luma_depth(self) -> int:
        """Bits of the plane that motion is found in."""
        return self._layout[self._luma].depth

    @property
    def draw_bytes(self) -> int:
        """Bytes that drawing one picture takes beside the pictures themselves.

        Per cell: the second look at the motion 140, splats 72, ways and sums 60, fields 20; per
        sample of luma: the still mask, and 8-bit copies of four deeper pictures; NumPy's kernels
        hold many planes of integers.
        """
        samples = self._grid.width * self._grid.height
        per_sample = 1 + 4 * (self.luma_depth > 8) + 64 * (kernels.compiled is None)
        return 292 * self._grid.columns * self._grid.rows + per_sample * samples

    def luma8(self, planes: Planes) -> Luma:
        """Return that plane at 8 bits."""
        luma = self.luma(planes)
        return (
            luma
            if self.luma_depth == 8
            else cv2.convertScaleAbs(luma, alpha=0.5 ** (self.luma_depth - 8))
        )

    def unseen(self) -> Luma:
        """Return what `still` remembers of a stream that it has seen nothing of."""
        shape = self._layout[self._luma]
        return np.zeros((shape.height, shape.width), np.uint8)

    def still(self, sequence: list[Planes], seen: Luma) -> Luma | None:
        """Return 255 where consecutive pictures stand still, else 0, per sample; None: nowhere.

        sequence: two to four pictures. seen: what it remembers of the pairs before, kept up to
        date: see kernels.static_mask.
        """
        mask, count = kernels.static_mask(tuple(self.luma8(planes) for planes in sequence), seen)
        return mask if count else None

    def psnr(self, at: Moment, left: Shrunk, right: Shrunk) -> float:
        """Return the PSNR in dB to expect of a picture."""
        return estimate_psnr(apart(at, left, right), left.luma)

    def draw(
        self, left: Planes, right: Planes, at: Moment, still: Luma | None, tau: float
    ) -> Planes:
        """Return the picture at `tau` between `left` and `right`."""
        alike: dict[PlaneShape, list[int]] = {}
        for index, shape in enumerate(self._layout):
            alike.setdefault(replace(shape, role=""), []).append(index)
        drawn: dict[int, Plane] = {}
        for shape, places in alike.items():
            ends = [(left[place], right[place]) for place in places]
            drawn |= dict(zip(places, self._planes(shape, ends, at, still, tau), strict=True))
        return tuple(drawn[index] for index in range(len(drawn)))

    def _planes(
        self,
        shape: PlaneShape,
        ends: list[tuple[Plane, Plane]],
        at: Moment,
        still: Luma | None,
        tau: float,
    ) -> list[Plane]:
        if still is not None:
            still = np.ascontiguousarray(still[:: 1 << shape.shift_y, :: 1 << shape.shift_x])
        cells = self._grid.cell >> shape.shift_x, self._grid.cell >> shape.shift_y
        way = field(at, self._grid, shape.shift_x, shape.shift_y)
        return kernels.warp(ends, way, cells, shape.depth, still, min(round(tau * 32768), 32767))


@dataclass(frozen=True, slots=True)
class Calibration:
    """PSNR as a linear function of two logarithms: of disagreement, and of brightness."""

    at_one: float = 49.2  # dB at a disagreement of one code, where the mean luma is 100
    slope: float = 8.34  # dB lost per factor e of disagreement
    light: float = 1.93  # dB gained per factor e of luma: what is dark has small bright parts

    def psnr(self, rms: float, luma: float) -> float:
        """Return the PSNR in dB to expect at an RMS disagreement and a mean luma, in codes."""
        return self.at_one - self.slope * log(rms + 0.05) + self.light * log((luma + 1) / 100)


def estimate_psnr(difference: Floats, luma: float) -> float:
    """Return the PSNR in dB to expect of a picture from how its two keyframes differ, in codes.

    luma: the left one's mean, in codes.
    """
    return Calibration().psnr(sqrt(float(np.square(difference).mean())), luma)
