"""The protocol that `CpuFlow` and `CudaFlow` share, and the values that they and their caller pass.

How a `FlowBackend` is used, in this order:

    backend = CpuFlow(video, grid, settings)            # or CudaFlow
    picture = backend.prepare(frame.planes)             # once per keyframe, in order
    searched = backend.search(left, right, before)      # once per pair, in order
    pair = PairMotion(left_frame, right_frame, (left, right), searched, backend.refine)
    motion = FlowMotion(pair, before, after, backend.static_mask(...))
    for planes, psnr_db in backend.draw(motion, taus):  # any thread, and later
        ...

`prepare`, `search` and `static_mask` are called by one thread at a time, in the order of the
frames; `refine`, `draw` and `estimate` are pure, and any number of threads may call them at once.
Both backends make the same samples. All methods raise MotionError where the device cannot go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from ltxfilter.errors import LtxFilterError
from ltxfilter.frame import Frame, Planes
from ltxfilter.motion.pyramid import LumaPyramid, SearchSettings

if TYPE_CHECKING:
    from ltxfilter.motion.gate import FlowEstimate

Picture = Any  # what a backend prepares of a keyframe: LumaPyramid, or bytes on the device
Searched = Any  # what a search yields: SearchResult, or CudaPairFlow
Flows = Any  # the whole motion of a pair: PairFlow, or CudaPairFlow
Mask = Any  # where samples are static: [H, W] uint8, or StaticMask

EQUAL_SPANS = 0.15  # intervals that differ by less than this share last equally long: stamps round


class MotionError(LtxFilterError):
    """The device that computes motion cannot go on; the message says why, and names no engine."""


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How to find motion, and how to draw along it."""

    search: SearchSettings
    align_steps: int = 1  # Gauss-Newton steps that align both keyframes; 0: they are not aligned
    protect_static: bool = True  # whether static samples, as of burned-in text, are cross-faded
    fused: float = 0.0  # share of a picture that `fusion` may draw again, 0..1


class PairMotion:
    """The motion between two keyframes: searched at once, refined when it is first asked for."""

    def __init__(
        self,
        left: Frame,
        right: Frame,
        pictures: tuple[Picture, Picture],
        searched: Searched,
        refine: Callable[[Searched, Picture, Picture], Flows],
    ) -> None:
        """Keep what a search yields. pictures: both keyframes, prepared; refine: the backend's."""
        self.left, self.right, self.pictures, self.searched = left, right, pictures, searched
        self._refine = refine
        self._lock = Lock()
        self._flows: Flows = None

    @property
    def flows(self) -> Flows:
        """The whole motion; any thread may ask, and it is computed once."""
        with self._lock:
            if self._flows is None:
                self._flows = self._refine(self.searched, *self.pictures)
            return self._flows

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return self.right.time - self.left.time


@dataclass(frozen=True, slots=True, eq=False)
class FlowMotion:
    """What drawing between two keyframes needs: their motion, and their neighbours' in the shot."""

    pair: PairMotion
    before: PairMotion | None  # that ends where the pair begins; None: unknown, or another shot
    after: PairMotion | None  # that begins where the pair ends
    static_mask: Mask | None = None  # None: nothing is static

    @property
    def span_before(self) -> float:
        """How long the neighbour before lasts, in lengths of the pair; 1 if there is none."""
        return self._span(self.before)

    @property
    def span_after(self) -> float:
        """The same of the neighbour after."""
        return self._span(self.after)

    def _span(self, neighbour: PairMotion | None) -> float:
        if neighbour is None:
            return 1.0
        span = float(neighbour.seconds / self.pair.seconds)
        return 1.0 if abs(span - 1) < EQUAL_SPANS else span

    def keyframes(self) -> list[tuple[Frame, Picture]]:
        """Return the two to four keyframes that it spans, in order, each with what was prepared."""
        pair = self.pair
        spanned = [(pair.left, pair.pictures[0]), (pair.right, pair.pictures[1])]
        if self.before is not None:
            spanned.insert(0, (self.before.left, self.before.pictures[0]))
        if self.after is not None:
            spanned.append((self.after.right, self.after.pictures[1]))
        return spanned


class FlowBackend(Protocol):
    """Finds the motion of one stream and draws with it. The module's docstring says how."""

    @property
    def work_bytes(self) -> int:
        """Bytes of host memory that it holds, however many pictures are being drawn."""

    @property
    def draw_bytes(self) -> int:
        """Bytes of host memory that drawing one picture takes beside the pictures themselves."""

    def prepare(self, planes: Planes) -> Picture:
        """Return a keyframe as motion is found in it."""

    def search(self, left: Picture, right: Picture, before: Searched | None) -> Searched:
        """Search the motion between two keyframes.

        before: what a search yielded for the pair that ends in `left`; None begins anew.
        """

    def refine(self, searched: Searched, left: Picture, right: Picture) -> Flows:
        """Return the whole motion after a search."""

    def static_mask(
        self, keyframes: Sequence[tuple[Frame, Picture]], *, forget: bool
    ) -> Mask | None:
        """Return where two to four keyframes in a row are static; None: nowhere.

        It remembers from pair to pair what was static; forget: but not what was before this call.
        """

    def draw(self, motion: FlowMotion, taus: Sequence[float]) -> Iterator[tuple[Planes, float]]:
        """Yield the planes at each tau (0..1), and the PSNR to expect of them in dB."""

    def estimate(self, motion: FlowMotion, tau: float) -> FlowEstimate:
        """Return what the picture at `tau` (0..1) would be drawn from, without drawing it."""

    def luma_pyramid(self, planes: Planes) -> LumaPyramid:
        """Return a picture's luma at the sizes that motion is found at, in host memory; pure."""

    def close(self) -> None:
        """Wait for work that is under way; nothing is asked of it afterwards."""
