"""Windows to frames: source frames pass through, an engine draws the rest, each drawing is checked.

Where a drawing fails the check, `flow` draws that window instead, then `blend`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from threading import Lock
from typing import Any

import numpy as np

from ltxfilter import engines
from ltxfilter.engines import Drawn, Engine
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.frame import Credit, Frame, Made, Plane, Planes, VideoInfo
from ltxfilter.options import ModelOptions
from ltxfilter.windows.timeline import Slot
from ltxfilter.windows.window import Interval, Window, WindowShape

LUMA_MARGIN = 4  # 8-bit codes that a drawn frame's mean may leave its neighbours' range
CHROMA_MARGIN = 8
SAMPLES = 4096  # of a plane are enough for its mean
NOT_DRAWN = "it could not draw it"
IMPLAUSIBLE = "its mean left the range of the frames around it"

Levels = tuple[float, ...]  # mean sample of each plane
Credited = tuple[Drawn, Credit]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A window, or a part of its slots, and what the engine found out about its motion."""

    window: Window
    motion: Any
    levels: tuple[Levels, ...]  # mean of each plane of each keyframe; empty if nothing is drawn


class WindowRunner:
    """Draws the windows of one stream; `prepare` in order, `draw` from any number of threads."""

    def __init__(
        self,
        spec: str,
        video: VideoInfo,
        rate: Fraction | None,
        threads: int = 1,
        models: ModelOptions | None = None,
    ) -> None:
        """Open the engine that `spec` describes. Raises OptionError, EngineError."""
        self._spec = spec
        self._engine = engines.build(spec, models)
        if reason := type(self._engine).unavailable():
            raise EngineUnavailableError(f"engine {self._engine.name}: {reason}")
        self._video = video
        self._rate = rate
        self._lock = Lock()
        self._spares: dict[str, Engine] = {}
        self._known: dict[int, tuple[Frame, Levels]] = {}  # by the keyframe's id; keeps it alive
        self._hosted: dict[int, tuple[Frame, Frame]] = {}  # by the keyframe's id, the same on host
        self._margins = [
            (CHROMA_MARGIN if shape.role in "uv" else LUMA_MARGIN) << (shape.depth - 8)
            for shape in video.layout
        ]
        self.shape: WindowShape = self._engine.open(video, rate, threads)
        self._checks = self._engine.can_be_wrong
        self.most_slots = self.shape.slots  # of a part; fewer take less memory
        self.fallbacks = 0  # frames that failed the check and were drawn by a fallback

    @property
    def engine(self) -> str:
        """What was asked for, and which engines that comes down to."""
        partners = ", ".join(partner.name for partner in self._engine.partners)
        return self._spec + (f" ({partners})" if partners else "")

    def prepare(self, window: Window) -> Iterator[Prepared]:
        """Yield the window in parts of at most `most_slots` slots to draw."""
        if not self._engine.takes_device_planes:
            window = self._on_host(window)
        motion = self._engine.prepare(window)
        levels: tuple[Levels, ...] = ()
        size = max(len(window.slots), 1)
        if any(True for _ in window.to_draw()):
            levels = self._levels_of(window) if self._checks else ()
            size = self.most_slots or size
        if len(window.slots) <= size:
            yield Prepared(window, motion, levels)
            return
        for begin in range(0, len(window.slots), size):
            part = replace(window, slots=window.slots[begin : begin + size])
            yield Prepared(part, motion, levels)

    def draw(self, prepared: Prepared) -> list[Frame]:
        """Return the output frames of a prepared window, in order. Raises EngineError."""
        window = prepared.window
        drawn = self._drawn(prepared)
        return [self._frame(window, slot, drawn) for slot in window.slots]

    def close(self) -> None:
        """Release the engines; calling it twice does nothing."""
        self._engine.close()
        for spare in self._spares.values():
            spare.close()

    def _frame(self, window: Window, slot: Slot, drawn: Iterator[Credited]) -> Frame:
        keyframe = window.keyframes[slot.left]
        if slot.tau == 0:
            return keyframe
        if not window.draws(slot):
            return replace(keyframe, time=slot.time, made=Made.REPEATED)
        picture, credit = next(drawn)
        return Frame(
            time=slot.time,
            planes=picture.planes,
            origin=keyframe.origin,
            made=Made.INTERPOLATED,
            psnr_db=picture.psnr_db,
            credit=credit,
        )

    def _drawn(self, prepared: Prepared) -> Iterator[Credited]:
        """Yield what the engine drew, each picture checked against its two keyframes."""
        window = prepared.window
        pictures = self._engine.draw(window, prepared.motion)
        if not self._checks:
            yield from ((picture, Credit(self.engine)) for picture in pictures)
            return
        for slot, picture in zip(window.to_draw(), pictures, strict=True):
            ends = prepared.levels[slot.left], prepared.levels[slot.left + 1]
            if picture.choice is not None and picture.choice.failed:
                with self._lock:
                    self.fallbacks += 1
            if self._plausible(picture, *ends):
                yield picture, Credit(self.engine, choice=picture.choice)
            else:
                why = IMPLAUSIBLE if picture.planes else NOT_DRAWN
                yield self._redraw(window, slot, ends, why)

    def _plausible(self, picture: Drawn, left: Levels, right: Levels) -> bool:
        """Return False for a picture whose mean leaves its two keyframes' range: black, green."""
        if not picture.planes:
            return False
        means = zip(mean_levels(picture.planes), left, right, strict=True)
        return all(
            min(a, b) - margin <= level <= max(a, b) + margin
            for (level, a, b), margin in zip(means, self._margins, strict=True)
        )

    def _on_host(self, window: Window) -> Window:
        """Return a window whose planes are in host memory; a keyframe of two stays one object."""
        if all(isinstance(key.planes[0], np.ndarray) for key in window.keyframes):
            return window
        known = self._hosted
        self._hosted = {
            id(key): known[id(key)] if id(key) in known else (key, on_host(key))
            for key in window.keyframes
        }
        keyframes = tuple(hosted for _, hosted in self._hosted.values())
        return replace(window, keyframes=keyframes)

    def _levels_of(self, window: Window) -> tuple[Levels, ...]:
        """Return the keyframes' means, those of the latest window remembered."""
        known = self._known
        self._known = {
            id(key): known[id(key)] if id(key) in known else (key, mean_levels(key.planes))
            for key in window.keyframes
        }
        return tuple(levels for _, levels in self._known.values())

    def _redraw(
        self, window: Window, slot: Slot, ends: tuple[Levels, Levels], why: str
    ) -> Credited:
        """Draw one slot with the first fallback whose picture is plausible."""
        lone = alone(window, slot)
        with self._lock:
            self.fallbacks += 1
            for name in self._engine.fallbacks:
                spare = self._spare(name)
                picture = next(iter(spare.draw(lone, spare.prepare(lone))))
                if not spare.can_be_wrong or self._plausible(picture, *ends):
                    break
        return picture, Credit(name, why)

    def _spare(self, name: str) -> Engine:
        if name not in self._spares:
            spare = engines.build(name)
            spare.open(self._video, self._rate)
            self._spares[name] = spare
        return self._spares[name]


def alone(window: Window, slot: Slot) -> Window:
    """Return the window of one slot and its two keyframes, without context or past."""
    pair = tuple(map(on_host, window.keyframes[slot.left : slot.left + 2]))
    intervals = (Interval(window.intervals[slot.left].join, reset=True),)
    return Window(window.index, pair, 0, 1, intervals, (replace(slot, left=0),))


def on_host(frame: Frame) -> Frame:
    """Return a frame whose planes are arrays, the same one if they are."""
    if all(isinstance(plane, np.ndarray) for plane in frame.planes):
        return frame
    return replace(frame, planes=tuple(np.asarray(plane) for plane in frame.planes))


def mean_levels(planes: Planes) -> Levels:
    """Return the mean sample of each plane, from an even grid of a few thousand."""
    return tuple(_mean(plane) for plane in planes)


def _mean(plane: Plane) -> float:
    step = max(min(8, isqrt(plane.size // SAMPLES)), 1)
    grid = plane[::step, ::step]
    return int(np.add.reduce(grid, axis=None, dtype=np.uint64)) / grid.size
