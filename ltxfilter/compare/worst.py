"""The frames that nobody made well, with their pictures; only so many are held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ltxfilter.compare.comparison import ComparedFrame
from ltxfilter.compare.pictures.rgb import Picture8, rgb
from ltxfilter.frame import VideoInfo

WIDEST = 1280  # pixels of a picture that is kept


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """A frame that was hard, as people look at it."""

    index: int
    """Its number in the clip, from 0."""

    time: float
    """Seconds at which it is shown."""

    psnr: Mapping[str, float]
    """In dB, by the candidates' names."""

    pictures: Mapping[str, Picture8]
    """The true frame, then the candidates, by name; all of one size."""

    @property
    def best(self) -> float:
        """PSNR of the candidate that came nearest, in dB."""
        return max(self.psnr.values())


class WorstFrames:
    """Keeps the frames where even the best candidate is furthest from the true frame.

    Neighbouring frames look alike, so that there is at most one of each `spacing` frames.
    """

    def __init__(self, info: VideoInfo, true: str, count: int, spacing: int) -> None:
        """info: of the clip. true: what its frames are called. count: of frames to keep.

        spacing: frames, > 0.
        """
        self._true = true
        self._info = info
        self._count = count
        self._spacing = spacing
        self._kept: list[WorstFrame] = []
        self._candidate: tuple[ComparedFrame, dict[str, float]] | None = None  # of this stretch

    def offer(self, compared: ComparedFrame, psnr: dict[str, float]) -> None:
        """Take a scored frame. psnr: in dB, by the candidates' names."""
        held = self._candidate
        if held is not None and held[0].index // self._spacing != compared.index // self._spacing:
            self._keep()
            held = None
        if held is None or max(psnr.values()) < max(held[1].values()):
            self._candidate = compared, psnr

    def frames(self) -> list[WorstFrame]:
        """Return the frames that are kept, the worst one first."""
        self._keep()
        return list(self._kept)

    def _keep(self) -> None:
        """Keep the worst frame of the stretch that has ended, if it is bad enough."""
        held, self._candidate = self._candidate, None
        if held is None:
            return
        compared, psnr = held
        full = len(self._kept) >= self._count
        if self._count == 0 or (full and self._kept[-1].best <= max(psnr.values())):
            return
        shown = {self._true: compared.frame.planes}
        shown |= {name: attempt.planes for name, attempt in compared.attempts.items()}
        pictures = {name: rgb(planes, self._info, WIDEST) for name, planes in shown.items()}
        found = WorstFrame(compared.index, float(compared.time), psnr, pictures)
        self._kept = sorted([*self._kept, found], key=lambda each: each.best)[: self._count]
