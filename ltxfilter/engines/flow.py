"""The engine `flow`: interpolate along optical flow, on the stream's own planes, on any CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.flow_options import BY_SIZE, OPTIONS, resolved
from ltxfilter.errors import EngineError, EngineUnavailableError
from ltxfilter.frame import Frame, Plane, Planes, VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Join, Slot, Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.motion.flow import FlowBackend, FlowMotion, FlowSettings, PairMotion, Picture
    from ltxfilter.motion.gate import FlowEstimate
    from ltxfilter.motion.grid import MotionGrid
    from ltxfilter.motion.pyramid import LumaPyramid


class Flow(Engine):
    """Interpolates along bidirectional optical flow, aware of occlusion and acceleration."""

    name: ClassVar[str] = "flow"
    summary: ClassVar[str] = "follow the motion between frames (optical flow, any CPU)"
    options: ClassVar[tuple[EngineOption, ...]] = OPTIONS
    lookahead_option: ClassVar[str | None] = "lookahead"
    live_shapes = {  # noqa: RUF012  (a mapping that nobody writes to)
        "flow": WindowShape(before=1, after=1),
        "flow:lookahead=0": WindowShape(before=1),
    }

    def __init__(self, **options: Any) -> None:
        self._options = resolved(options)
        self.takes_device_planes = self._options["device"] == "cuda"
        self._backend: FlowBackend | None = None  # None: not open
        self._prepared: dict[Frame, Picture] = {}  # what the backend made of keyframes
        self._last: PairMotion | None = None  # of the window before, in the same shot
        self._ahead: PairMotion | None = None  # of the interval after that one, found already

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Return `blend` alone: another try by itself would fail again."""
        return ("blend",)

    @classmethod
    def unavailable(cls) -> str | None:
        """Return what to install if OpenCV is missing."""
        if find_spec("cv2") is None:
            return "OpenCV is missing: pip install opencv-python-headless"
        return None

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:  # noqa: ARG002
        """Ask for pairs with one keyframe of context on each side, or only before.

        OpenCV's own threads are turned off, for the whole process: pairs are drawn in parallel
        by whoever calls `draw`, which scales better and gives the same result.
        """
        if reason := self.unavailable():
            raise EngineUnavailableError(f"engine flow: {reason}")
        import cv2

        cv2.setNumThreads(1)
        self.close()
        self._grid, finest = self._choose_grid(video)
        with engine_errors():
            self._backend = self._make_backend(video, self._settings(finest))
        return WindowShape(
            before=1,
            after=self._options["lookahead"] if self._options["curved"] else 0,
            work_bytes=self._backend.work_bytes,
            draw_bytes=self._backend.draw_bytes,
        )

    def _choose_grid(self, video: VideoInfo) -> tuple[MotionGrid, int]:
        """Return the grid that motion lives on, and the finest level to search.

        Raises EngineError for a picture that is too large.
        """
        from ltxfilter.motion.grid import MOST_PIXELS, MotionGrid, choose_sizes, least_scale

        side, size = MOST_PIXELS
        if max(video.width, video.height) > side or video.width * video.height > size:
            raise EngineError(
                f"engine flow: a picture of {video.width}x{video.height} is too large: it takes up "
                f"to {side} pixels along each side and {size >> 20} Mi in all; use --engine blend"
            )
        chosen = self._options
        scale, finest = choose_sizes(video.width * video.height, fine=bool(chosen["fine"]))
        if chosen["scale"]:
            scale, finest = chosen["scale"], 0
        if chosen["finest"] != BY_SIZE:
            finest = chosen["finest"]
        coarsest = max(max(shape.shift_x, shape.shift_y) for shape in video.layout)
        scale = max(scale, (1 << coarsest) // 2)  # a cell holds whole samples of chroma
        scale = max(scale, least_scale(video.width, video.height))
        return MotionGrid(video.width, video.height, scale), finest

    def _settings(self, finest: int) -> FlowSettings:
        from ltxfilter.motion.flow import FlowSettings
        from ltxfilter.motion.pyramid import Effort, SearchSettings

        chosen = self._options
        steps, rounds = chosen["steps"], chosen["coarse_rounds"]
        efforts = [
            Effort(chosen["step"], chosen["rounds"], steps),
            Effort(chosen["coarse_step"], rounds, steps),
            Effort(4, rounds, steps),
        ]
        search = SearchSettings(
            efforts, finest, chosen["neighbours"], bool(chosen["near"]), chosen["polish"]
        )
        return FlowSettings(search, chosen["align"], chosen["still"], chosen["fuse"] / 100)

    def _make_backend(self, video: VideoInfo, settings: FlowSettings) -> FlowBackend:
        """Get what finds motion and draws ready. Raises EngineUnavailableError."""
        if self._options["device"] == "cpu":
            from ltxfilter.motion.cpu_flow import CpuFlow
            from ltxfilter.motion.kernels import warn_if_missing

            warn_if_missing()
            return CpuFlow(video, self._grid, settings)
        from ltxfilter.motion.cuda import device

        if reason := device.missing():
            raise EngineUnavailableError(f"engine flow: device=cuda: {reason}; use device=cpu")
        from ltxfilter.motion.cuda.flow import CudaFlow

        return CudaFlow(video, self._grid, settings)

    def prepare(self, window: Window) -> FlowMotion | None:
        """Search the motion of the pair and, for its curve, of the next one."""
        first = window.first
        if window.reset:
            self._last = None
        if first == window.last or not window.intervals[first].draws:
            if first < window.last and window.intervals[first].join is not Join.DUPLICATE:
                self._last = None
            return None
        with engine_errors():
            return self._prepare_pair(window)

    def _prepare_pair(self, window: Window) -> FlowMotion:
        from ltxfilter.motion.flow import FlowMotion

        curved = self._options["curved"]
        before = self._last
        pair = self._search(window, window.first, before)
        after = self._search_next(window, pair) if curved else None
        self._last, self._ahead = pair, after
        self._forget(window)
        joined = before is not None and before.right is pair.left
        neighbour = before if joined else None
        spanned = FlowMotion(pair, neighbour if curved else None, after)
        mask = self._opened.static_mask(spanned.keyframes(), forget=not joined)
        return replace(spanned, static_mask=mask)

    def _search_next(self, window: Window, pair: PairMotion) -> PairMotion | None:
        """Return the motion of the interval after the pair, if it can be looked across."""
        position = window.first + 1
        if position + 1 >= len(window.keyframes) or not window.intervals[position].draws:
            return None
        return self._search(window, position, None if window.intervals[position].reset else pair)

    def _search(self, window: Window, position: int, before: PairMotion | None) -> PairMotion:
        """Return the motion in an interval of the window, if it is not known yet."""
        from ltxfilter.motion.flow import PairMotion

        left, right = window.keyframes[position : position + 2]
        ahead = self._ahead
        if ahead is not None and ahead.left is left and ahead.right is right:
            return ahead
        prior = before.searched if before and self._options["prior"] else None
        pictures = self._picture(left), self._picture(right)
        searched = self._opened.search(*pictures, prior)
        return PairMotion(left, right, pictures, searched, self._opened.refine)

    def _picture(self, frame: Frame) -> Picture:
        """Return a keyframe as the backend prepared it."""
        if frame not in self._prepared:
            self._prepared[frame] = self._opened.prepare(frame.planes)
        return self._prepared[frame]

    def _forget(self, window: Window) -> None:
        """Drop what was made of keyframes that no later window holds."""
        keep = window.keyframes[window.first + 1 :]
        self._prepared = {frame: self._prepared[frame] for frame in keep if frame in self._prepared}

    def draw(self, window: Window, motion: FlowMotion | None) -> Iterator[Drawn]:
        """Yield the picture of each slot, along the motion."""
        taus = [float(slot.tau) for slot in window.to_draw()]
        if motion is None or not taus:
            return
        with engine_errors():
            for planes, psnr_db in self._opened.draw(motion, taus):
                yield Drawn(planes, psnr_db)

    @property
    def grid(self) -> MotionGrid:
        """The grids that motion lives on, once open."""
        return self._grid

    def estimate(self, motion: FlowMotion, tau: float) -> FlowEstimate:
        """Return what the picture at `tau` would be drawn from, without drawing it; pure."""
        with engine_errors():
            return self._opened.estimate(motion, tau)

    def flow_of(self, motion: FlowMotion | None, slot: Slot) -> Plane | None:
        """See Engine."""
        if motion is None:
            return None
        at = self.estimate(motion, float(slot.tau)).at
        return (at.to_right - at.to_left) * self._grid.cell

    def luma_pyramid(self, planes: Planes) -> LumaPyramid:
        """Return a picture as motion is found in it, in host memory; pure."""
        return self._opened.luma_pyramid(planes)

    @property
    def _opened(self) -> FlowBackend:
        """The backend, which an open engine has."""
        assert self._backend is not None
        return self._backend

    def close(self) -> None:
        """Forget everything about the stream, after the work that is under way."""
        if self._backend is not None:
            self._backend.close()
        self._prepared, self._last, self._ahead, self._backend = {}, None, None, None


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise a MotionError as an EngineError, which says what to do."""
    from ltxfilter.motion.flow import MotionError

    try:
        yield
    except MotionError as error:
        raise EngineError(f"engine flow: {error}; use device=cpu, or a larger scale=") from None
