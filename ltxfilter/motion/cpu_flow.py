"""`FlowBackend` on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.estimate import Estimator, PairFlow, SearchResult
from ltxfilter.motion.flow import FlowMotion, FlowSettings
from ltxfilter.motion.fusion import Fusion
from ltxfilter.motion.gate import FlowEstimate
from ltxfilter.motion.grid import Luma, MotionGrid
from ltxfilter.motion.plane_drawer import PlaneDrawer, expected_psnr, rms, warp_tau
from ltxfilter.motion.pyramid import LumaPyramid, luma_pyramid
from ltxfilter.motion.trajectory import FlowContext, Moment, aligned, moment, unsteadiness

WORK_PER_CELL = 370  # bytes: search 140; three searches 100, flows 72; pyramids 22; spare


class CpuFlow:
    """Finds motion and draws with NumPy, OpenCV and the kernels."""

    def __init__(self, video: VideoInfo, grid: MotionGrid, settings: FlowSettings) -> None:
        """Get ready for frames of `video`, in which motion lives on `grid`."""
        self._grid = grid
        self._settings = settings
        self._estimator = Estimator(grid, settings.search)
        self._drawer = PlaneDrawer(video, grid)
        self._fusion = Fusion(video.layout, grid, settings.fused) if settings.fused else None
        luma = self._drawer.luma_shape
        self._static_pairs = np.zeros((luma.height, luma.width), np.uint8)  # see static_mask

    @property
    def work_bytes(self) -> int:
        """See FlowBackend."""
        grid = self._grid
        return WORK_PER_CELL * grid.columns * grid.rows + grid.width * grid.height

    @property
    def draw_bytes(self) -> int:
        """See FlowBackend."""
        return self._drawer.draw_bytes + (self._fusion.draw_bytes if self._fusion else 0)

    def prepare(self, planes: Planes) -> LumaPyramid:
        """See FlowBackend."""
        return self.luma_pyramid(planes)

    def luma_pyramid(self, planes: Planes) -> LumaPyramid:
        """See FlowBackend."""
        return luma_pyramid(self._drawer.luma(planes), self._drawer.luma_shape.depth, self._grid)

    def search(
        self, left: LumaPyramid, right: LumaPyramid, before: SearchResult | None
    ) -> SearchResult:
        """See FlowBackend."""
        return self._estimator.search(left, right, before)

    def refine(self, searched: SearchResult, left: LumaPyramid, right: LumaPyramid) -> PairFlow:
        """See FlowBackend."""
        return self._estimator.refine(searched, left, right)

    def static_mask(
        self, keyframes: Sequence[tuple[Frame, LumaPyramid]], *, forget: bool
    ) -> Luma | None:
        """See FlowBackend."""
        if not self._settings.protect_static:
            return None
        if forget:
            self._static_pairs = np.zeros_like(self._static_pairs)
        pictures = tuple(self._drawer.luma8(frame.planes) for frame, _ in keyframes)
        mask, count = kernels.static_mask(pictures, self._static_pairs)
        return mask if count else None

    def draw(self, motion: FlowMotion, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """See FlowBackend."""
        left, right = motion.pair.left.planes, motion.pair.right.planes
        static, luma = motion.static_mask, motion.pair.pictures[0].luma
        context = _context(motion) if taus else None
        unsteady = unsteadiness(context, motion.pair.pictures) if context else None
        for tau in taus:
            at = self._moment(motion, tau)
            planes, squares = self._drawer.draw(left, right, at, static, tau)
            if self._fusion is not None:
                inputs = planes, (left, right), at, squares, static, warp_tau(tau), context
                self._fusion.improve(*inputs)
            apart = rms(int(squares.sum()), self._drawer.luma(planes).size)
            yield planes, expected_psnr(apart, luma, unsteady)

    def estimate(self, motion: FlowMotion, tau: float) -> FlowEstimate:
        """See FlowBackend."""
        return FlowEstimate(self._moment(motion, tau), *motion.pair.pictures)

    def close(self) -> None:
        """See FlowBackend: nothing is under way between two calls."""

    def _moment(self, motion: FlowMotion, tau: float) -> Moment:
        at = moment(_context(motion), tau)
        steps = self._settings.align_steps
        return aligned(at, motion.pair.pictures, tau, steps) if steps else at


def _context(motion: FlowMotion) -> FlowContext:
    """Return the flows of a pair and its neighbours.

    The one after is asked for first: other threads wait for that one next.
    """
    before, after = motion.before, motion.after
    ahead = after.flows if after else None
    pair = motion.pair.flows
    behind = before.flows if before else None
    return FlowContext(pair, behind, ahead, motion.span_before, motion.span_after)
