"""The newest interpolated frame beside the source frame before it, as small pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.stills.still import still_of
from ltxfilter.pipeline.window_runner import Prepared

EVERY = 1.0  # seconds of the clock between two pairs, at least
LONGEST = 640  # pixels of the longer side of a picture


@dataclass(frozen=True, slots=True, repr=False)
class FramePair:
    """An interpolated frame and the source frame before it."""

    times: tuple[float, float]  # seconds: of the source frame, and of the interpolated one
    pictures: tuple[bytes, bytes]  # JPEG files
    size: tuple[int, int]  # pixels of a picture
    engine: str  # that made it, wholly or for the most part
    psnr_db: float | None  # the engine's estimate


def info_of(frame: Frame, infos: Iterable[VideoInfo]) -> VideoInfo:
    """Return the description that a frame's size fits; an engine's pictures may be larger."""
    return next(info for info in infos if frame.planes[0].shape == (info.height, info.width))


class NewestPair:
    """Keeps the newest pair of a run; any thread may ask."""

    def __init__(self, info: VideoInfo, drawn: VideoInfo) -> None:
        """info: what source frames have in common. drawn: what an engine's pictures have."""
        self.pair: FramePair | None = None
        self._infos = info, drawn
        self._next = 0.0  # seconds of the clock: when the next pair may be made
        self._lock = Lock()

    def offer(self, item: Prepared, frames: Sequence[Frame]) -> None:
        """Take the output frames of a window; keep one that is interpolated, if it is time."""
        made = next((at for at, each in enumerate(frames) if each.made is Made.INTERPOLATED), None)
        with self._lock:
            now = monotonic()
            if made is None or now < self._next:
                return
            self._next = now + EVERY
        frame, before = frames[made], item.window.keyframes[item.window.slots[made].left]
        stills = [
            still_of(each.planes, info_of(each, self._infos), LONGEST, "jpeg")
            for each in (before, frame)
        ]
        credit = frame.credit
        choice = None if credit is None else credit.choice
        self.pair = FramePair(
            (float(before.time), float(frame.time)),
            (stills[0].data, stills[1].data),
            (stills[0].width, stills[0].height),
            choice.engine if choice else "" if credit is None else credit.engine,
            frame.psnr_db,
        )
