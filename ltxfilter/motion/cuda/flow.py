"""The whole path of `flow` on the device: pictures up, their motion, drawn planes down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.motion import estimate
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.estimate import CudaEstimator, CudaPairFlow
from ltxfilter.motion.cuda.plane_drawer import CudaDrawer, Scene, StaticMask, StaticMaskFinder
from ltxfilter.motion.cuda.upload import ByteLayout, Uploader
from ltxfilter.motion.grid import MotionGrid
from ltxfilter.motion.pyramid import Search


class Pipeline:
    """Finds motion on one stream of the device and draws on others, one per drawing thread.

    `upload`, `glimpse` and `still` are called by one thread at a time, in order; `pictures` by any.
    What a picture is drawn from stays alive until it was drawn, because its caller holds it.
    """

    def __init__(
        self, video: VideoInfo, grid: MotionGrid, search: Search, *, protect: bool, settle: int
    ) -> None:
        """Look as `search` says; protect: mind what stands still; settle: steps of
        `kernels.align_ends`.

        This and all methods raise EngineError where the device's memory is too small.
        """
        layout = ByteLayout(video, grid)
        self._stream = device.Stream()
        with device.enough_memory():
            self._uploader = Uploader(layout, grid)
            self._estimator = CudaEstimator(layout, search)
            self._find_still = StaticMaskFinder(layout)
        self._drawing = CudaDrawer(layout, grid, protect=protect, settle=settle)
        device.settle()

    def upload(self, planes: Planes) -> Tensor:
        """Return a picture's bytes on the device."""
        with device.enough_memory(), self._stream.used():
            return self._uploader(planes)

    def glimpse(self, left: Tensor, right: Tensor, before: CudaPairFlow | None) -> CudaPairFlow:
        """Return the motion between two uploaded pictures, at once: it may not be found yet.

        before: motion of the pair that ends in `left`, where it is known.
        """
        with device.enough_memory(), self._stream.used():
            motion = self._estimator.pair(left, right, before)
        return CudaPairFlow(*motion, self._stream.mark())

    def refined(self, found: CudaPairFlow, left: Tensor, right: Tensor) -> CudaPairFlow:  # noqa: ARG002
        """Return what was found: on the device a first look is already all of it."""
        return found

    def still(self, pictures: Sequence[Tensor], *, fresh: bool) -> StaticMask:
        """Return where four consecutive pictures stand still, at once, as `kernels.static_mask`.

        fresh: forget what was seen of the pairs before.
        """
        with device.enough_memory(), self._stream.used():
            mask = self._find_still(pictures, fresh=fresh)
        return StaticMask(mask, self._stream.mark())

    def pictures(self, scene: Scene, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """Yield the planes at each tau and the PSNR to expect of them in dB."""
        return self._drawing.pictures(scene, taus)


def download(flow: CudaPairFlow) -> estimate.PairFlow:
    """Return the motion in host memory, as the CPU would have found it."""
    found = flow.motion.cpu().numpy()
    forward, backward = (np.ascontiguousarray(found[k : k + 2].transpose(1, 2, 0)) for k in (0, 3))
    return estimate.PairFlow(forward, backward, found[2], found[5])
