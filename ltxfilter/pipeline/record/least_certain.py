"""The interpolated frames that an engine trusts least, kept as small pictures beside neighbours."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.stills.still import still_of, still_of_rgb
from ltxfilter.pipeline.record.newest import info_of
from ltxfilter.pipeline.window_runner import Prepared, WindowRunner
from ltxfilter.windows.window import Slot

MOST = 12  # frames of a report
MOST_OF_SEGMENT = 4  # and of one segment of a job
APART = 1.0  # seconds between two of them, at least
LONGEST = 480  # pixels of the longer side of a picture
LONGEST_MOTION = 240  # and of one of the motion
MOST_BYTES = 60_000  # of a picture, so that a page stays below 5 MB whatever it shows
UNKNOWN_DB = 20.0  # of a frame whose engine states no estimate, and that was rejected
REJECTED_DB = 10.0  # by which a frame counts as less certain if the engine asked for failed
STILL = 0.25  # pixels that the fastest part moves at least, or the flow is shown as none

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class UncertainFrame:
    """An interpolated frame with what it was made of."""

    index: int  # its place in the output
    time: float  # seconds
    score: float  # dB: the lower, the less certain
    psnr_db: float | None  # the engine's estimate
    engine: str  # that made it, wholly or for the most part
    rejected: str | None  # why the picture of the engine asked for was not taken
    neighbours: tuple[float, float]  # seconds of the source frames before and after
    pictures: tuple[bytes, bytes, bytes]  # JPEG files: before, the frame itself, after
    size: tuple[int, int]  # pixels of a picture
    motion: bytes | None  # a PNG of the motion in colours; None: the engine does not tell
    fastest: float | None  # pixels from one neighbour to the other of the fastest hundredth

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        pictures = [b64encode(data).decode() for data in self.pictures]
        motion = None if self.motion is None else b64encode(self.motion).decode()
        return {**plain, "pictures": pictures, "motion": motion}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> UncertainFrame:
        """Return what `as_json` gave."""
        before, made, after = map(b64decode, found["pictures"])
        motion = None if found["motion"] is None else b64decode(found["motion"])
        own = {
            "pictures": (before, made, after),
            "motion": motion,
            "neighbours": tuple(found["neighbours"]),
            "size": tuple(found["size"]),
        }
        return cls(**{**found, **own})


class WorstApart(Generic[T]):
    """Keeps a few things with the lowest scores, no two of them near each other in time."""

    def __init__(self, most: int = MOST, apart: float = APART) -> None:
        """most: how many are kept. apart: seconds between two of them, at least."""
        self._most, self._apart = most, apart
        self._kept: list[tuple[float, float, T]] = []  # score, time

    def admits(self, score: float, time: float) -> bool:
        """Return True if something of this score and time would be kept."""
        near = [each for each in self._kept if abs(each[1] - time) < self._apart]
        if near:
            return score < min(each[0] for each in near)
        return len(self._kept) < self._most or score < max(each[0] for each in self._kept)

    def add(self, score: float, time: float, item: T) -> None:
        """Keep it, in place of what is near or better, if it is admitted."""
        if not self.admits(score, time):
            return
        kept = [each for each in self._kept if abs(each[1] - time) >= self._apart]
        kept.append((score, time, item))
        self._kept = sorted(kept, key=lambda each: each[:2])[: self._most]

    def __iter__(self) -> Iterator[T]:
        """Yield what is kept, the lowest score first."""
        return (item for _, _, item in self._kept)


class UncertainFinder:
    """Makes pictures of the frames of a run that are trusted least; any thread may ask."""

    def __init__(self, info: VideoInfo, runner: WindowRunner, most: int = MOST) -> None:
        """info: what the frames have in common. most: how many may be kept in the end."""
        self._infos, self._runner = (info, runner.drawn), runner
        self._seen: WorstApart[None] = WorstApart(most)
        self._lock = Lock()

    def find(self, item: Prepared, frames: Sequence[Frame]) -> tuple[UncertainFrame, ...]:
        """Return the least certain frame of a window, if it belongs to the worst until now.

        frames: the output frames of the window's slots.
        """
        scored = [
            (score, slot, frame)
            for slot, frame in zip(item.window.slots, frames, strict=True)
            if (score := _score(frame)) is not None
        ]
        if not scored:
            return ()
        score, slot, frame = min(scored, key=lambda each: each[0])
        time = float(frame.time)
        with self._lock:
            if not self._seen.admits(score, time):
                return ()
            self._seen.add(score, time, None)
        return (self._pictured(item, slot, frame, score),)

    def _pictured(self, item: Prepared, slot: Slot, frame: Frame, score: float) -> UncertainFrame:
        left, right = item.window.keyframes[slot.left : slot.left + 2]
        before, made, after = (
            still_of(
                each.planes, info_of(each, self._infos), LONGEST, "jpeg", most_bytes=MOST_BYTES
            )
            for each in (left, frame, right)
        )
        assert frame.credit is not None
        choice = frame.credit.choice
        flow = self._runner.flow_of(item, slot)
        fastest = None if flow is None else _fastest(flow)
        return UncertainFrame(
            index=slot.index,
            time=float(frame.time),
            score=score,
            psnr_db=None if frame.psnr_db is None else round(frame.psnr_db, 2),
            engine=choice.engine if choice else frame.credit.engine,
            rejected=frame.credit.rejected,
            neighbours=(float(left.time), float(right.time)),
            pictures=(before.data, made.data, after.data),
            size=(made.width, made.height),
            motion=None if flow is None else flow_picture(flow),
            fastest=fastest,
        )


def _score(frame: Frame) -> float | None:
    """Return how certain an interpolated frame is, in dB; None if nothing is known to doubt it."""
    if frame.made is not Made.INTERPOLATED or frame.credit is None:
        return None
    if frame.credit.rejected:
        return (UNKNOWN_DB if frame.psnr_db is None else frame.psnr_db) - REJECTED_DB
    return frame.psnr_db


def _fastest(flow: NDArray[Any]) -> float:
    return round(float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99)), 2)


def flow_picture(flow: NDArray[Any], longest: int = LONGEST_MOTION) -> bytes:
    """Return motion as a PNG: the hue is the direction, the saturation the speed.

    Args:
        flow: [h, w, 2] pixels, x then y. White does not move; full colours are as fast as the
            fastest hundredth, or faster. Red moves right, then clockwise yellow-green is down,
            cyan left, violet up.
        longest: Pixels of the longer side at most; a grid that is smaller is left as it is.
    """
    step = -(-max(flow.shape[:2]) // longest)
    shown = flow[::step, ::step]
    speed = np.hypot(shown[..., 0], shown[..., 1])
    strength = np.clip(speed / max(float(np.percentile(speed, 99)), STILL), 0, 1)
    turn = (np.arctan2(shown[..., 1], shown[..., 0]) / (2 * np.pi)) % 1.0
    # HSV with full value: each channel is 1 near its hue and falls to 1 - saturation away from it.
    channels = [
        1 - strength * np.clip(2 - np.abs((turn * 6 + offset) % 6 - 3), 0, 1)
        for offset in (0, 4, 2)
    ]
    return still_of_rgb(np.rint(255 * np.stack(channels, -1)).astype(np.uint8)).data
