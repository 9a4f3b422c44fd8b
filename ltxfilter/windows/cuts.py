"""Scene cuts and duplicates, found in a thumbnail of every frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ltxfilter.frame import Frame, Plane, VideoInfo
from ltxfilter.windows.telecine import TelecineWatch
from ltxfilter.windows.window import Join

if TYPE_CHECKING:
    import cv2

WIDTH, HEIGHT = 128, 72  # of a thumbnail
BINS = 32
BLOCKS = 3  # per axis, each with a histogram of its own

SUDDEN = 4.0  # how many times the usual difference between neighbours is a sudden change


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much of each sign it takes to call a pair a cut."""

    histograms: float  # share of samples that changed their bin, mean over blocks
    residual: float  # what motion leaves unexplained, in standard deviations of the picture
    lost: float  # share of samples whose flow there does not lead back


USUAL = (Evidence(0.35, 0.5, 0.55), Evidence(0.3, 0.65, 0.7))  # any one of them is enough
AFTER_REST = (*USUAL, Evidence(0.2, 0.5, 0.55))  # where the picture changes suddenly

DUPLICATE_MEAN = 0.35  # codes; mean difference of pictures that may be the same
DUPLICATE_MOST = 2  # codes; largest difference of their thumbnails
DUPLICATE_SHARE = 0.1  # of the usual difference between neighbours
FLASH = 12  # codes of mean luma
HALF_TRANSITION = 6  # frames; a fade or dissolve is looked for over twice as many
MIXED = 0.3  # largest misfit of a mixture, in units of how far its ends are apart
NOTES = 256  # that wait to be taken
FLAT = 8  # codes of standard deviation; less detail than this is an empty picture


@dataclass(slots=True)
class ShotCounts:
    """What was seen beside scene cuts and duplicates; frames are interpolated across all of it."""

    fades: int = 0  # to or from an empty picture
    dissolves: int = 0  # of one picture into another
    flashes: int = 0  # sudden changes of brightness within a shot


@dataclass(frozen=True, slots=True)
class Note:
    """A flash, fade or dissolve, and when it was seen."""

    time: Fraction  # seconds on the source's clock; of a fade or dissolve its middle
    kind: str  # flash, fade, dissolve


class CutDetector:
    """Decides for each pair of neighbouring frames how they are related.

    Cheap signals come first: only a pair whose block histograms differ is searched for motion. A
    scene cut is a change that neither histograms nor motion explain. A flash keeps the shape of its
    histograms or its motion, and a fast pan keeps its motion, so neither is a scene cut.
    """

    def __init__(self, video: VideoInfo, cuts: bool = True) -> None:
        """Begin a stream. cuts: False looks for duplicates only."""
        roles = [shape.role for shape in video.layout]
        self._luma = next((roles.index(role) for role in ("y", "g") if role in roles), 0)
        self._depth = video.layout[self._luma].depth
        self._cuts = cuts
        self._telecine = TelecineWatch(video.rate, self._depth)
        self.counts = ShotCounts()
        self.notes: deque[Note] = deque(maxlen=NOTES)  # for whoever reports them to take
        self._thumbnail: tuple[Frame, Thumbnail] | None = None
        self._recent: deque[float] = deque(
            maxlen=8
        )  # mean differences of pairs that were no duplicates
        self._history: deque[tuple[Fraction, Thumbnail]] = deque(maxlen=2 * HALF_TRANSITION + 1)
        self._quiet = 0  # frames for which no new transition is counted

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:
        """Return INTERPOLATE, CUT or DUPLICATE for two neighbours.

        reset: use nothing that earlier pairs left behind.
        """
        if left.planes[0].shape != right.planes[0].shape:
            return Join.CUT
        self._telecine.add(left.planes[self._luma], right.planes[self._luma], right.time)
        if not self._cuts:
            return Join.DUPLICATE if same(left, right) else Join.INTERPOLATE
        if reset:
            self._start_shot()
        before, after = self._look(left), self._look(right)
        found = self._judge(left, right, before, after)
        if found is Join.CUT:
            self._start_shot()
        self._watch(right.time, after)
        return found

    def is_cut(self, left: Frame, right: Frame) -> bool:
        """Return True if a shot begins at `right`; used for missing frames, and keeps nothing."""
        if not self._cuts:
            return False
        before, after = (
            Thumbnail(shrink(np.asarray(frame.planes[self._luma]), self._depth))
            for frame in (left, right)
        )
        return before.is_cut(after, USUAL)

    def _judge(self, left: Frame, right: Frame, before: Thumbnail, after: Thumbnail) -> Join:
        changed = before.mean_difference(after)
        if self._repeated(left, right, before, after, changed):
            return Join.DUPLICATE
        sudden = len(self._recent) > 2 and changed > SUDDEN * median(self._recent)
        if before.is_cut(after, AFTER_REST if sudden else USUAL):
            return Join.CUT
        self._recent.append(changed)
        if abs(before.mean - after.mean) > FLASH:
            self.counts.flashes += 1
            self.notes.append(Note(right.time, "flash"))
        return Join.INTERPOLATE

    def _repeated(
        self, left: Frame, right: Frame, before: Thumbnail, after: Thumbnail, changed: float
    ) -> bool:
        """Return True for the same picture, exactly or but for coding noise amid motion."""
        if changed > DUPLICATE_MEAN:
            return False
        if changed == 0 and same(left, right):
            return True
        usual = median(self._recent) if self._recent else 0.0
        if changed > DUPLICATE_SHARE * usual or before.largest_difference(after) > DUPLICATE_MOST:
            return False
        import cv2

        a, b = (np.asarray(frame.planes[self._luma]) for frame in (left, right))
        return float(cv2.norm(a, b, cv2.NORM_L1)) <= DUPLICATE_MEAN * a.size * (
            1 << (self._depth - 8)
        )

    def _look(self, frame: Frame) -> Thumbnail:
        """Return the thumbnail of a frame, kept until the next one comes."""
        if self._thumbnail is None or self._thumbnail[0] is not frame:
            small = shrink(frame.planes[self._luma], self._depth)
            self._thumbnail = frame, Thumbnail(small)
        return self._thumbnail[1]

    def _start_shot(self) -> None:
        self._recent.clear()
        self._history.clear()
        self._quiet = 0

    def _watch(self, time: Fraction, latest: Thumbnail) -> None:
        """Count a fade or dissolve once its middle is a mixture of its ends."""
        self._history.append((time, latest))
        self._quiet = max(self._quiet - 1, 0)
        if len(self._history) < 2 * HALF_TRANSITION + 1 or self._quiet:
            return
        (_, first), (when, middle) = self._history[0], self._history[HALF_TRANSITION]
        if not is_mixture(first, middle, latest):
            return
        if min(first.deviation, latest.deviation) < FLAT:
            self.counts.fades += 1
            self.notes.append(Note(when, "fade"))
        else:
            self.counts.dissolves += 1
            self.notes.append(Note(when, "dissolve"))
        self._quiet = 4 * HALF_TRANSITION


def same(left: Frame, right: Frame) -> bool:
    """Return True if two frames of one shape have equal samples; unequal ones are told fast."""
    pairs = list(zip(left.planes, right.planes, strict=True))
    if any(not np.array_equal(a[::16], b[::16]) for a, b in pairs):
        return False
    return all(np.array_equal(a, b) for a, b in pairs)


def shrink(luma: Plane, depth: int) -> NDArray[Any]:
    """Return luma of `depth` bits as an 8-bit thumbnail; reads no more rows than it needs."""
    import cv2

    rows = luma[:: max(luma.shape[0] // (2 * HEIGHT), 1)]
    small = cv2.resize(rows, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return small if depth == 8 else cv2.convertScaleAbs(small, alpha=0.5 ** (depth - 8))


class Thumbnail:
    """A frame's luma at 128x72, and what is computed from it at most once."""

    def __init__(self, luma: NDArray[Any]) -> None:
        self.luma = luma

    @cached_property
    def mean(self) -> float:
        """Mean luma in codes."""
        import cv2

        return float(cv2.sumElems(self.luma)[0]) / self.luma.size

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of luma in codes."""
        return float(self.luma.std())

    @cached_property
    def histograms(self) -> NDArray[np.int64]:
        """Counts per block and bin, at a quarter of the samples, flattened."""
        import cv2

        half = cv2.resize(self.luma, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        bins = _block_offsets() + (half >> 3)
        return np.bincount(bins.ravel(), minlength=BLOCKS * BLOCKS * BINS)

    def mean_difference(self, other: Thumbnail) -> float:
        """Return the mean absolute difference in codes."""
        import cv2

        return float(cv2.norm(self.luma, other.luma, cv2.NORM_L1)) / self.luma.size

    def largest_difference(self, other: Thumbnail) -> float:
        """Return the largest absolute difference in codes."""
        import cv2

        return float(cv2.norm(self.luma, other.luma, cv2.NORM_INF))

    def histogram_difference(self, other: Thumbnail) -> float:
        """Return the share of samples, 0..1, that other bins hold."""
        common = np.minimum(self.histograms, other.histograms).sum()
        return 1 - float(common) / (self.luma.size // 4)

    def is_cut(self, other: Thumbnail, enough: tuple[Evidence, ...]) -> bool:
        """Return True if neither histograms nor motion lead from this picture to the other."""
        changed = self.histogram_difference(other)
        likely = [evidence for evidence in enough if changed > evidence.histograms]
        if not likely:
            return False
        residual, lost = self.motion_misfit(other)
        return any(residual > sign.residual and lost > sign.lost for sign in likely)

    def motion_misfit(self, other: Thumbnail) -> tuple[float, float]:
        """Return what flow both ways leaves unexplained, and where the two ways disagree.

        First the mean residual in standard deviations of the picture, then the share of samples
        that come back more than 2 samples from where they started.
        """
        import cv2

        search = _search()
        there = search.calc(self.luma, other.luma, None)
        back = search.calc(other.luma, self.luma, None)
        left = cv2.norm(self.luma, _follow(other.luma, there), cv2.NORM_L1)
        right = cv2.norm(other.luma, _follow(self.luma, back), cv2.NORM_L1)
        residual = (left + right) / 2 / self.luma.size
        off = there + _follow(back, there)
        lost = float((cv2.magnitude(off[..., 0], off[..., 1]) > 2).mean())
        return residual / ((self.deviation + other.deviation) / 2 + 4), lost


def is_mixture(first: Thumbnail, middle: Thumbnail, last: Thumbnail) -> bool:
    """Return True if `middle` is a weighted mean of two different pictures.

    A pan is none, for a moved picture is no mixture; nor is a change of brightness, whose ends
    are alike but for a factor, unless one end is empty.
    """
    import cv2

    size = float(cv2.norm(first.luma, last.luma, cv2.NORM_L2SQR)) / first.luma.size
    if size < 100:
        return False
    a, b = first.luma.astype(np.float32), last.luma.astype(np.float32)
    apart = b - a
    moved = middle.luma - a
    share = float((moved * apart).mean()) / size
    misfit = float(np.square(moved - share * apart).mean())
    if not 0.2 < share < 0.8 or misfit > MIXED**2 * size * share * (1 - share):
        return False
    if min(first.deviation, last.deviation) < FLAT:
        return True
    alike = float(((a - first.mean) * (b - last.mean)).mean())
    return alike < 0.9 * first.deviation * last.deviation


@cache
def _block_offsets() -> NDArray[np.int64]:
    """Return for each sample of half a thumbnail where its block's bins begin."""
    y = np.arange(HEIGHT // 2) * BLOCKS // (HEIGHT // 2)
    x = np.arange(WIDTH // 2) * BLOCKS // (WIDTH // 2)
    return (y[:, None] * BLOCKS + x) * BINS


def _search() -> cv2.DISOpticalFlow:
    import cv2

    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0)
    return search


def _follow(picture: NDArray[Any], flow: NDArray[Any]) -> NDArray[Any]:
    """Return `picture` fetched along `flow`, [H, W, 2] samples."""
    import cv2

    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    return cv2.remap(
        picture,
        x + flow[..., 0],
        y + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
