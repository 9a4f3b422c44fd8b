"""Which frames of a clip are used: a stretch without a cut, at a place that a rule fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from benchmarks.clips import Clip, load
from ltxfilter.frame import Frame
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.window import Join

FIRST = 20  # frame that a stretch begins with, if the clip is long enough
FEWEST = 5  # frames of a stretch


def stretch(path: Path, frames: int) -> tuple[int, Clip]:
    """Return a stretch of a clip, an odd number of frames, and the number of its first frame.

    It begins at frame 20, or at the first cut after it from which so many frames follow without
    another one. A clip that ends sooner is taken from its beginning, or from its first such cut,
    and one with fewer frames gives as many as it has.

    Raises:
        ValueError: No cut leaves so many frames.
    """
    count = FIRST + frames
    while True:
        clip = load(path, count)
        ended = len(clip.frames) < count
        cuts, total = list(shots(clip)), len(clip.frames)
        wanted = min(frames, total) - (min(frames, total) + 1) % 2
        for first in (FIRST, 0) if ended else (FIRST,):
            start = begin(cuts, total, wanted, first)
            if start is not None and wanted >= FEWEST:
                return start, replace(clip, frames=clip.frames[start : start + wanted])
        if ended:
            raise ValueError(f"{path.name} has no {max(wanted, FEWEST)} frames without a cut")
        count *= 2


def shots(clip: Clip) -> Iterator[int]:
    """Yield the number of each frame that begins a shot, the first one left out."""
    detector = CutDetector(clip.info)
    frames = (Frame(Fraction(k, 25), planes) for k, planes in enumerate(clip.frames))
    for number, (left, right) in enumerate(pairwise(frames), start=1):
        if detector.join(left, right, reset=number == 1) is Join.CUT:
            yield number


def begin(cuts: list[int], total: int, frames: int, first: int) -> int | None:
    """Return where a stretch begins, at `first` or at a cut after it; None if none is long enough.

    cuts: numbers of the frames that begin a shot, ascending. total: frames of the clip.
    """
    start = first
    for cut in cuts:
        if start < cut < start + frames:
            start = cut
    return start if start + frames <= total else None
