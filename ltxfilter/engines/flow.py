"""The engine `flow`: draw along optical flow, on the stream's own planes, on any CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.options import EngineOption
from ltxfilter.windows.window import Join, Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.motion.cuda.flow import Pipeline
    from ltxfilter.motion.cuda.plane_drawer import Scene
    from ltxfilter.motion.estimate import Estimator
    from ltxfilter.motion.gate import FlowEstimate
    from ltxfilter.motion.grid import Luma, MotionGrid, Shrunk
    from ltxfilter.motion.pyramid import Search
    from ltxfilter.motion.trajectory import Moment, Passage

Refine = Callable[..., Any]
PRESETS = ("fast", "balanced", "best")
VARIED = {  # option: what it is in each preset
    "fine": (0, 0, 1),
    "step": (8, 8, 8),
    "rounds": (1, 2, 2),
    "coarse_step": (8, 8, 4),
    "coarse_rounds": (1, 1, 2),
    "steps": (3, 3, 3),
    "neighbours": (1, 2, 3),
    "near": (0, 1, 0),
    "polish": (0, 1, 1),
    "settle": (0, 1, 1),
}
PRESET = -1  # an option's value that leaves it to the preset
WORK_PER_CELL = 370  # bytes: search 140; three first looks 100, flows 72; pyramids 22; spare
STEADY = 0.15  # intervals that differ by less than this share count as equal: rounded timestamps


class PairMotion:
    """The motion between two keyframes: a first look at it, and all of it once it is asked for."""

    def __init__(
        self, left: Frame, right: Frame, small: tuple[Any, Any], glimpse: Any, refine: Refine
    ) -> None:
        """Keep what was found; refine: makes the motion of `glimpse` and `small`, a pure function.

        small: what the motion is found in: Shrunk, or pictures on the device.
        """
        self.left, self.right, self.small, self.glimpse = left, right, small, glimpse
        self._refine = refine
        self._lock = Lock()
        self._flow: Any = None

    @property
    def flow(self) -> Any:
        """Return motion.estimate's PairFlow, or motion.cuda's; any thread, found once."""
        with self._lock:
            if self._flow is None:
                self._flow = self._refine(self.glimpse, *self.small)
            return self._flow

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return self.right.time - self.left.time


@dataclass(frozen=True, slots=True, eq=False)
class FlowMotion:
    """What drawing a pair needs: its motion and that of its neighbours, where usable."""

    pair: PairMotion
    before: PairMotion | None
    after: PairMotion | None
    still: Any = None  # mask of where nothing moves, or motion.cuda's Still; None: nowhere

    def passage(self) -> Passage:
        """Return it as the maths wants it."""
        from ltxfilter.motion.trajectory import Passage

        before, after = self.before, self.after
        ahead = after.flow if after else None  # first: other threads wait for it next
        return Passage(
            self.pair.flow,
            before.flow if before else None,
            ahead,
            span_before=_span(before, self.pair),
            span_after=_span(after, self.pair),
        )

    def pictures(self) -> list[Planes]:
        """Return the two to four pictures it spans, in order."""
        first, last = self.before and self.before.left, self.after and self.after.right
        frames = (first, self.pair.left, self.pair.right, last)
        return [frame.planes for frame in frames if frame]

    def scene(self) -> Scene:
        """Return it as the maths on the device wants it."""
        from ltxfilter.motion.cuda.plane_drawer import Scene

        pair, before, after = self.pair, self.before, self.after
        return Scene(
            pair.flow,
            before.flow if before else None,
            after.flow if after else None,
            spans=(_span(before, pair), _span(after, pair)),
            ends=pair.small,
            still=self.still,
        )

    def four(self) -> tuple[Any, Any, Any, Any]:
        """Return the keyframes in `small`, with one more on each side or the same again."""
        left, right = self.pair.small
        first = self.before.small[0] if self.before else left
        return first, left, right, self.after.small[1] if self.after else right


class Flow(Engine):
    """Draws along bidirectional optical flow, aware of occlusion and acceleration."""

    name: ClassVar[str] = "flow"
    summary: ClassVar[str] = "follow the motion between frames (optical flow, any CPU)"
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("preset", "balanced", "how hard to look for motion", PRESETS),
        EngineOption(
            "scale", 0, "pixels per sample of the flow image; 0 goes by size", low=0, high=8
        ),
        EngineOption("fine", PRESET, "1: up to 720p, cells of half the size", low=-1, high=1),
        EngineOption("finest", PRESET, "finest level: 0 flow image, 1 its half, 2", low=-1, high=2),
        EngineOption("step", PRESET, "samples from patch to patch there: 4, 8", low=-1, high=8),
        EngineOption("rounds", PRESET, "times patches try neighbours' flow", low=-1, high=4),
        EngineOption("coarse_step", PRESET, "step one level below: 4, 8", low=-1, high=8),
        EngineOption("coarse_rounds", PRESET, "rounds on all levels below", low=-1, high=4),
        EngineOption("steps", PRESET, "most Gauss-Newton steps at a time", low=-1, high=16),
        EngineOption("neighbours", PRESET, "passes of cells over others' flow", low=-1, high=3),
        EngineOption("near", PRESET, "1: adjacent cells' flow too, 0: 4 cells off", low=-1, high=1),
        EngineOption("polish", PRESET, "steps of patches every 4 samples, last", low=-1, high=8),
        EngineOption("settle", PRESET, "steps to bring both keyframes together", low=-1, high=8),
        EngineOption("curved", True, "follow acceleration over four frames, else straight lines"),
        EngineOption("lookahead", 1, "frames beyond the pair that bend its curve", low=0, high=1),
        EngineOption("prior", True, "start from the previous pair's motion"),
        EngineOption("still", True, "protect what stands still, such as burned-in text"),
        EngineOption("device", "cpu", "what finds motion and draws", ("cpu", "cuda")),
    )

    lookahead_option: ClassVar[str | None] = "lookahead"
    live_shapes = {  # noqa: RUF012  (a mapping that nobody writes to)
        "flow": WindowShape(before=1, after=1),
        "flow:lookahead=0": WindowShape(before=1),
    }

    def __init__(self, **options: Any) -> None:
        values = {option.name: option.default for option in self.options} | options
        chosen = PRESETS.index(values["preset"])
        for name, by_preset in VARIED.items():
            if values[name] == PRESET:
                values[name] = by_preset[chosen]
        for name, allowed in {
            "scale": (0, 1, 2, 4, 8),
            "step": (4, 8),
            "coarse_step": (4, 8),
        }.items():
            if values[name] not in allowed:
                listed = ", ".join(map(str, allowed))
                raise OptionError(f"option {name}={values[name]}: not one of {listed}")
        self._options = values
        self._shrunk: dict[int, tuple[Frame, Any]] = {}
        self._last: PairMotion | None = None
        self._seen: Luma | None = None
        self._ahead: PairMotion | None = None
        self._device: Pipeline | None = None  # None: the CPU

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

        from ltxfilter.motion.grid import MotionGrid, choose_sizes
        from ltxfilter.motion.plane_drawer import PlaneDrawer

        cv2.setNumThreads(1)
        fine = bool(self._options["fine"])
        scale, finest = choose_sizes(video.width * video.height, fine=fine)
        if self._options["scale"]:
            scale, finest = self._options["scale"], 0
        if self._options["finest"] != PRESET:
            finest = self._options["finest"]
        self._search = self._make_search(finest)
        coarsest = max(max(shape.shift_x, shape.shift_y) for shape in video.layout)
        scale = max(scale, (1 << coarsest) // 2)  # a cell holds whole samples of chroma
        self._grid = MotionGrid(video.width, video.height, scale)
        self._estimator = self._make_estimator()
        self._drawing = PlaneDrawer(video, self._grid)
        self.close()
        after = self._options["lookahead"] if self._options["curved"] else 0
        if self._options["device"] == "cuda":
            self._device = self._make_pipeline(video)
            return WindowShape(before=1, after=after, work_bytes=2 * video.frame_bytes)
        return WindowShape(
            before=1,
            after=after,
            work_bytes=WORK_PER_CELL * self._grid.columns * self._grid.rows
            + video.width * video.height,
            draw_bytes=self._drawing.draw_bytes,
        )

    def _make_estimator(self) -> Estimator:
        from ltxfilter.motion.estimate import Estimator

        return Estimator(self._grid, self._search)

    def _make_pipeline(self, video: VideoInfo) -> Pipeline:
        """Get the device ready. Raises EngineUnavailableError."""
        from ltxfilter.motion.cuda import device

        if reason := device.missing():
            raise EngineUnavailableError(f"engine flow: {reason}")
        from ltxfilter.motion.cuda.flow import Pipeline

        chosen = self._options
        protect, settle = chosen["still"], chosen["settle"]
        return Pipeline(video, self._grid, self._search, protect=protect, settle=settle)

    def _make_search(self, finest: int) -> Search:
        from ltxfilter.motion.pyramid import Effort, Search

        chosen = self._options
        steps, rounds = chosen["steps"], chosen["coarse_rounds"]
        efforts = [
            Effort(chosen["step"], chosen["rounds"], steps),
            Effort(chosen["coarse_step"], rounds, steps),
            Effort(4, rounds, steps),
        ]
        near = bool(chosen["near"])
        return Search(efforts, finest, chosen["neighbours"], near, chosen["polish"])

    def prepare(self, window: Window) -> FlowMotion | None:
        """Take a first look at the motion of the pair and, for its curve, of the next one."""
        first = window.first
        if window.reset:
            self._last = None
        if first == window.last or not window.intervals[first].draws:
            if first < window.last and window.intervals[first].join is not Join.DUPLICATE:
                self._last = None
            return None
        before = self._last
        pair = self._between(window, first, before)
        after = self._next(window, pair) if self._options["curved"] else None
        self._last, self._ahead = pair, after
        self._forget(window)
        if before is None or before.right is not pair.left:
            before = self._seen = None
        motion = FlowMotion(pair, before if self._options["curved"] else None, after)
        return replace(motion, still=self._still(motion))

    def _still(self, motion: FlowMotion) -> Any:
        """Return where the pictures of the pair stand still, and remember it for the next one."""
        if not self._options["still"]:
            return None
        fresh = self._seen is None
        if self._seen is None:
            self._seen = self._drawing.unseen()
        if self._device is not None:
            return self._device.still(motion.four(), fresh=fresh)
        return self._drawing.still(motion.pictures(), self._seen)

    def _next(self, window: Window, pair: PairMotion) -> PairMotion | None:
        """Return the motion of the interval after the pair, if it can be looked across."""
        position = window.first + 1
        if position + 1 >= len(window.keyframes) or not window.intervals[position].draws:
            return None
        return self._between(window, position, None if window.intervals[position].reset else pair)

    def _between(self, window: Window, position: int, before: PairMotion | None) -> PairMotion:
        """Return the motion in an interval of the window, found now or when it was the next one."""
        left, right = window.keyframes[position : position + 2]
        ahead = self._ahead
        if ahead is not None and ahead.left is left and ahead.right is right:
            return ahead
        prior = before.glimpse if before and self._options["prior"] else None
        small = self._shrink(left), self._shrink(right)
        finder: Any = self._device or self._estimator
        return PairMotion(left, right, small, finder.glimpse(*small, prior), finder.refined)

    def _shrink(self, frame: Frame) -> Any:
        if id(frame) not in self._shrunk:
            make = self._device.upload if self._device else self.shrunk
            self._shrunk[id(frame)] = frame, make(frame.planes)
        return self._shrunk[id(frame)][1]

    def _forget(self, window: Window) -> None:
        """Drop what was made of keyframes that no later window holds."""
        keep = {id(frame) for frame in window.keyframes[window.first + 1 :]}
        self._shrunk = {key: value for key, value in self._shrunk.items() if key in keep}

    def draw(self, window: Window, motion: FlowMotion | None) -> Iterator[Drawn]:
        """Yield the picture of each slot, along the motion."""
        slots = list(window.to_draw())
        if motion is None or not slots:
            return
        if self._device is not None:
            taus = [float(slot.tau) for slot in slots]
            yield from (Drawn(*found) for found in self._device.pictures(motion.scene(), taus))
            return
        left, right = motion.pair.left.planes, motion.pair.right.planes
        for slot in slots:
            tau = float(slot.tau)
            at = self._moment(motion, tau)
            planes = self._drawing.draw(left, right, at, motion.still, tau)
            yield Drawn(planes, self._drawing.psnr(at, *motion.pair.small))

    @property
    def grid(self) -> MotionGrid:
        """The grids that motion lives on, once open."""
        return self._grid

    def outlook(self, motion: FlowMotion, tau: float) -> FlowEstimate:
        """Return what the picture at `tau` would be drawn from, without drawing it; pure."""
        from ltxfilter.motion.gate import FlowEstimate

        if self._device is not None:
            before, after = motion.before, motion.after
            before, after = before and self._on_host(before), after and self._on_host(after)
            motion = FlowMotion(self._on_host(motion.pair), before, after)
        return FlowEstimate(self._moment(motion, tau), *motion.pair.small)

    def _moment(self, motion: FlowMotion, tau: float) -> Moment:
        from ltxfilter.motion.trajectory import moment, settled

        at = moment(motion.passage(), tau)
        steps = self._options["settle"]
        return settled(at, motion.pair.small, tau, steps) if steps else at

    def _on_host(self, between: PairMotion) -> PairMotion:
        """Return motion that was found on the device as the CPU would have found it."""
        from ltxfilter.motion.cuda.flow import download

        left, right = between.left, between.right
        small = self.shrunk(left.planes), self.shrunk(right.planes)
        return PairMotion(left, right, small, between.flow, lambda found, *_: download(found))

    def shrunk(self, planes: Planes) -> Shrunk:
        """Return a picture as motion is found in it; pure."""
        from ltxfilter.motion.grid import shrink

        return shrink(self._drawing.luma(planes), self._drawing.luma_depth, self._grid)

    def close(self) -> None:
        """Forget everything about the stream."""
        self._shrunk, self._last, self._ahead, self._device = {}, None, None, None
        self._seen = None


def _span(neighbour: PairMotion | None, pair: PairMotion) -> float:
    """Return how long `neighbour` lasts in lengths of `pair`; nearly equal counts as equal."""
    if neighbour is None:
        return 1.0
    span = float(neighbour.seconds / pair.seconds)
    return 1.0 if abs(span - 1) < STEADY else span
