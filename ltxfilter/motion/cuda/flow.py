"""`FlowBackend` on a CUDA device: pictures go up, motion stays there, drawn planes come down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.motion.cpu_flow import CpuFlow
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.estimate import CudaEstimator, CudaPairFlow
from ltxfilter.motion.cuda.plane_drawer import CudaDrawer
from ltxfilter.motion.cuda.static_mask import StaticMask, StaticMaskFinder
from ltxfilter.motion.cuda.upload import ByteLayout, Uploader
from ltxfilter.motion.estimate import PairFlow
from ltxfilter.motion.flow import FlowMotion, FlowSettings, PairMotion
from ltxfilter.motion.gate import FlowEstimate
from ltxfilter.motion.grid import MotionGrid
from ltxfilter.motion.pyramid import LumaPyramid


class CudaFlow:
    """Finds motion on one stream of the device and draws on others, one per drawing thread.

    What a picture is drawn from stays alive until it was drawn, because its caller holds it.
    """

    def __init__(self, video: VideoInfo, grid: MotionGrid, settings: FlowSettings) -> None:
        """Get ready for frames of `video`, in which motion lives on `grid`.

        Raises MotionError where the device's memory is too small.
        """
        self._on_host = CpuFlow(video, grid, settings)
        self._frame_bytes = video.frame_bytes
        self._protect_static = settings.protect_static
        self._layout = layout = ByteLayout(video, grid)
        self._stream = device.Stream()
        with device.enough_memory(), self._stream.used():
            self._uploader = Uploader(layout, grid)
            self._estimator = CudaEstimator(layout, settings.search)
            self._find_static = StaticMaskFinder(layout)
        self._drawer = CudaDrawer(layout, grid, settings)

    @property
    def work_bytes(self) -> int:
        """See FlowBackend: page-locked copies of a picture on its way up and down."""
        return 2 * self._frame_bytes

    @property
    def draw_bytes(self) -> int:
        """See FlowBackend: what drawing takes lies on the device."""
        return 0

    def prepare(self, planes: Planes) -> Tensor:
        """See FlowBackend: the picture's bytes on the device."""
        with device.enough_memory(), self._stream.used():
            return self._uploader(planes)

    def search(self, left: Tensor, right: Tensor, before: CudaPairFlow | None) -> CudaPairFlow:
        """See FlowBackend: it returns at once, before the motion is found."""
        with device.enough_memory(), self._stream.used():
            motion = self._estimator.pair(left, right, before)
        return CudaPairFlow(*motion, self._stream.mark())

    def refine(self, searched: CudaPairFlow, left: Tensor, right: Tensor) -> CudaPairFlow:  # noqa: ARG002
        """See FlowBackend: on the device the search already finds the whole motion."""
        return searched

    def static_mask(
        self, keyframes: Sequence[tuple[Frame, Tensor]], *, forget: bool
    ) -> StaticMask | None:
        """See FlowBackend: it returns at once, before the mask is made."""
        if not self._protect_static:
            return None
        pictures = [picture for _, picture in keyframes]
        pictures += [pictures[-1]] * (4 - len(pictures))  # repeated, it changes nothing
        with device.enough_memory(), self._stream.used():
            mask = self._find_static(pictures, forget=forget)
        return StaticMask(mask, self._stream.mark())

    def draw(self, motion: FlowMotion, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """See FlowBackend."""
        return self._drawer.pictures(motion, taus)

    def estimate(self, motion: FlowMotion, tau: float) -> FlowEstimate:
        """See FlowBackend: of motion and keyframes that come down, worked out on the host."""
        pair = motion.pair
        flows = download(pair.flows)  # waits for it, and so for the keyframes that it was found in
        left, right = map(self._layout.pyramid, pair.pictures)
        there = PairMotion(pair.left, pair.right, (left, right), flows, lambda found, *_: found)
        around = _downloaded(motion.before), _downloaded(motion.after)
        return self._on_host.estimate(FlowMotion(there, *around), tau)

    def luma_pyramid(self, planes: Planes) -> LumaPyramid:
        """See FlowBackend."""
        return self._on_host.luma_pyramid(planes)

    def close(self) -> None:
        """See FlowBackend: no graph goes before the work that was queued is done."""
        self._stream.finish()


def _downloaded(pair: PairMotion | None) -> PairMotion | None:
    """Return a neighbour whose motion comes to host memory once it is asked for."""
    if pair is None:
        return None
    return PairMotion(pair.left, pair.right, pair.pictures, pair.flows, download)


def download(flow: CudaPairFlow, *_: object) -> PairFlow:
    """Return the motion in host memory, as the CPU would have found it; wait until it is found."""
    device.wait(flow.ready)
    both = flow.motion.cpu().numpy()
    forward, backward = (np.ascontiguousarray(both[k : k + 2].transpose(1, 2, 0)) for k in (0, 3))
    return PairFlow(forward, backward, both[2], both[5])
