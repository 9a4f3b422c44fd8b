"""From motion to planes: draw every plane of a picture in the stream's own samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt

import cv2

from ltxfilter.frame import Plane, Planes, PlaneShape, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.fusion import tile_side
from ltxfilter.motion.grid import Array, Luma, MotionGrid, bright_plane, mask_for
from ltxfilter.motion.trajectory import Moment, warp_field

BYTES_PER_CELL = 292  # refining the motion 140, splats 72, flows and sums 60, fields 20
NUMPY_BYTES_PER_SAMPLE = 64  # more where NumPy does the work: many planes of integers
STEADY = 6.0  # squared codes that are added to unsteadiness


class PlaneDrawer:
    """Draws the planes of one stream; pure, any number of threads at once."""

    def __init__(self, video: VideoInfo, grid: MotionGrid) -> None:
        self._layout = video.layout
        self._grid = grid
        self._bright = bright_plane(video.layout)
        self._tile = tile_side(grid)

    def luma(self, planes: Planes) -> Plane:
        """Return the plane that motion is found in."""
        return planes[self._bright]

    @property
    def luma_shape(self) -> PlaneShape:
        """The shape of that plane."""
        return self._layout[self._bright]

    @property
    def draw_bytes(self) -> int:
        """Bytes that drawing one picture takes beside the pictures themselves."""
        samples = self._grid.width * self._grid.height
        per_sample = 1  # the static mask
        if self.luma_shape.depth > 8:
            per_sample += 4  # copies at 8 bits of up to four pictures
        if kernels.compiled is None:
            per_sample += NUMPY_BYTES_PER_SAMPLE
        return BYTES_PER_CELL * self._grid.columns * self._grid.rows + per_sample * samples

    def luma8(self, planes: Planes) -> Luma:
        """Return the plane that motion is found in at 8 bits."""
        luma, depth = self.luma(planes), self.luma_shape.depth
        return luma if depth == 8 else cv2.convertScaleAbs(luma, alpha=0.5 ** (depth - 8))

    def draw(
        self, left: Planes, right: Planes, at: Moment, static: Luma | None, tau: float
    ) -> tuple[Planes, Array]:
        """Return the picture at `tau` between `left` and `right`, and how far apart both are.

        static: [H, W] of luma; where it is not 0, both are cross-faded in place. How far they are
        apart along the motion is said of luma, per tile of `fusion`: see `kernels.warp`.
        """
        alike: dict[PlaneShape, list[int]] = {}
        for index, shape in enumerate(self._layout):
            alike.setdefault(replace(shape, role=""), []).append(index)
        drawn: dict[int, Plane] = {}
        squares: dict[int, Array] = {}
        for shape, indices in alike.items():
            ends = [(left[index], right[index]) for index in indices]
            alike_planes, sums = self._planes(shape, ends, at, static, tau)
            drawn |= dict(zip(indices, alike_planes, strict=True))
            squares |= dict(zip(indices, sums, strict=True))
        planes = tuple(drawn[index] for index in range(len(drawn)))
        return planes, squares[self._bright]

    def _planes(
        self,
        shape: PlaneShape,
        ends: list[tuple[Plane, Plane]],
        at: Moment,
        static: Luma | None,
        tau: float,
    ) -> tuple[list[Plane], list[Array]]:
        """Draw planes of one shape: see kernels.warp."""
        cells = self._grid.cell >> shape.shift_x, self._grid.cell >> shape.shift_y
        field = warp_field(at, self._grid, shape.shift_x, shape.shift_y)
        at_tau = warp_tau(tau)
        mask = mask_for(static, shape)
        return kernels.warp(ends, field, cells, shape.depth, mask, at_tau, self._tile)


def warp_tau(tau: float) -> int:
    """Return `tau` (0..1) in 1/32768, as `kernels.warp` takes it."""
    return min(round(tau * 32768), 32767)


def rms(squares: int, samples: int) -> float:
    """Return the RMS in codes of so many samples whose squares, in 1/4 codes, have that sum."""
    return sqrt(squares / samples) / 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """PSNR as a linear function of logarithms: of disagreement, of brightness, of unsteadiness.

    The defaults were fitted to the development clips: `docs/log.md`, 2026-11-30.
    """

    at_one: float = 51.4  # dB at a disagreement of one code, where the mean luma is 100
    slope: float = 8.85  # dB lost per factor e of disagreement
    light: float = 1.1  # dB gained per factor e of luma: dark pictures have small bright parts
    least: float = 0.05  # codes that are added to disagreement
    unsteady: float = 0.0  # dB lost per factor e of unsteadiness

    def psnr(self, apart: float, luma: float, unsteadiness: float = 0.0) -> float:
        """Return the PSNR in dB to expect at an RMS disagreement and a mean luma, in codes.

        unsteadiness: see `trajectory.unsteadiness`, in squared codes.
        """
        lost = self.slope * log(apart + self.least)
        lost += self.unsteady * log(unsteadiness + STEADY)
        return self.at_one - lost + self.light * log((luma + 1) / 100)


ALONE = Calibration()  # where no neighbour of a pair is known
BESIDE = Calibration(52.42, 8.18, 1.5, 0.09, 0.52)  # where one is; docs/log.md, 2026-12-01


def expected_psnr(apart: float, luma: float, unsteadiness: float | None) -> float:
    """Return the PSNR in dB to expect of a picture: see `Calibration.psnr`. None: not known."""
    if unsteadiness is None:
        return ALONE.psnr(apart, luma)
    return BESIDE.psnr(apart, luma, unsteadiness)
