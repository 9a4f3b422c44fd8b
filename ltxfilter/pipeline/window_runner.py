"""Windows to output frames: source frames pass through, the engine makes the rest.

Each picture that an engine makes is checked. Where one fails the check, the engines that it names
as its fallbacks are tried in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

from ltxfilter import engines
from ltxfilter.engines import Drawn, Engine
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.frame import Credit, Frame, Made, Plane, Planes, VideoInfo
from ltxfilter.options import ModelOptions
from ltxfilter.scaling import scaled_video
from ltxfilter.windows.window import Interval, Slot, Window, WindowShape

LUMA_MARGIN = 4  # 8-bit codes by which a picture's mean may leave the range of its keyframes
CHROMA_MARGIN = 8  # the same for u and v
SAMPLES = 4096  # samples of a plane that are enough for its mean
NOT_MADE = "the engine could not make it"
IMPLAUSIBLE = "its mean left the range of the frames around it"

Levels = tuple[float, ...]  # mean sample of each plane
Credited = tuple[Drawn, Credit]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A window, or a part of its slots, and what the engine found out about its motion."""

    window: Window
    motion: Any  # what the engine's `prepare` returned
    levels: tuple[Levels, ...]  # means of each keyframe; empty where nothing is checked


class _PerKeyframe(Generic[T]):
    """Something that is computed once per keyframe, and kept while windows share the keyframe."""

    def __init__(self, compute: Callable[[Frame], T]) -> None:
        self._compute = compute
        self._latest: list[tuple[Frame, T]] = []  # for the keyframes of the latest window

    def of(self, keyframes: Sequence[Frame]) -> list[T]:
        """Return the value of every keyframe, in their order."""
        known = {id(frame): value for frame, value in self._latest}
        self._latest = [
            (frame, known[id(frame)] if id(frame) in known else self._compute(frame))
            for frame in keyframes
        ]
        return [value for _, value in self._latest]


class WindowRunner:
    """Makes the output frames of one stream's windows.

    `prepare` is called serially and in order, `draw` from any number of threads.
    """

    def __init__(
        self,
        spec: str,
        video: VideoInfo,
        rate: Fraction | None,
        threads: int = 1,
        models: ModelOptions | None = None,
        *,
        scale: Fraction | None = None,
    ) -> None:
        """Open the engine that `spec` describes. Raises OptionError, EngineError.

        scale: how many times larger frames are made afterwards; None keeps their size. An engine
        that can, draws its pictures so large; those of a fallback have the size of keyframes.
        """
        self._spec = spec
        self._engine = engines.build(spec, models, scale)
        if reason := type(self._engine).unavailable():
            raise EngineUnavailableError(f"engine {self._engine.name}: {reason}")
        self._video = video
        self._rate = rate
        self._lock = Lock()
        self._fallbacks: dict[str, Engine] = {}
        self._levels = _PerKeyframe(lambda frame: mean_levels(frame.planes))
        self._host = _PerKeyframe(on_host)
        self._margins = [
            (CHROMA_MARGIN if shape.role in "uv" else LUMA_MARGIN) << (shape.depth - 8)
            for shape in video.layout
        ]
        self.shape: WindowShape = self._engine.open(video, rate, threads)
        self._checks = self._engine.can_be_wrong
        self.engine = self._described()  # what was asked for, and which engines that comes down to
        self.most_slots = self.shape.slots  # of one call of the engine; fewer take less memory
        self.fallbacks = 0  # frames that failed the check and come from a fallback

    def _described(self) -> str:
        """Return what was asked for, and which engines that comes down to."""
        partners = ", ".join(partner.name for partner in self._engine.partners)
        return self._spec + (f" ({partners})" if partners else "")

    @property
    def drawn(self) -> VideoInfo:
        """What the engine's pictures have in common; they may be larger than keyframes."""
        return scaled_video(self._video, self._engine.scale) if self.enlarges else self._video

    @property
    def enlarges(self) -> bool:
        """True if the engine makes its pictures larger than keyframes."""
        return self._engine.scale > 1

    @property
    def asked(self) -> Engine:
        """The engine that was asked for."""
        return self._engine

    @property
    def partner(self) -> str | None:
        """Name of the engine that is asked where the first one finds it hard; None without one."""
        partners = self._engine.partners
        return partners[-1].name if len(partners) > 1 else None

    def prepare(self, window: Window) -> Iterator[Prepared]:
        """Yield the window in parts of at most `most_slots` slots, where anything is to be made."""
        if not self._engine.takes_device_planes:
            window = self._on_host(window)
        motion = self._engine.prepare(window)
        levels: tuple[Levels, ...] = ()
        size = max(len(window.slots), 1)
        if any(True for _ in window.to_draw()):
            levels = tuple(self._levels.of(window.keyframes)) if self._checks else ()
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
        made = self._made(prepared)
        return [self._frame(window, slot, made) for slot in window.slots]

    @property
    def seconds_per_picture(self) -> float | None:
        """Seconds of work per interpolated picture, where the engine has measured them."""
        return self._engine.seconds_per_picture

    def flow_of(self, prepared: Prepared, slot: Slot) -> Plane | None:
        """Return the motion that the picture of a slot follows; see `Engine.flow_of`."""
        return self._engine.flow_of(prepared.motion, slot)

    def cancel(self) -> None:
        """Make the engine's work raise Stopped soon; safe in signal handlers and other threads."""
        self._engine.cancel()

    def close(self) -> None:
        """Release the engines; calling it twice does nothing."""
        self._engine.close()
        for fallback in self._fallbacks.values():
            fallback.close()

    def _frame(self, window: Window, slot: Slot, made: Iterator[Credited]) -> Frame:
        keyframe = window.keyframes[slot.left]
        if slot.tau == 0:
            return keyframe
        if not window.draws(slot):
            return replace(keyframe, time=slot.time, made=Made.REPEATED)
        picture, credit = next(made)
        return Frame(
            time=slot.time,
            planes=picture.planes,
            origin=keyframe.origin,
            made=Made.INTERPOLATED,
            psnr_db=picture.psnr_db,
            credit=credit,
        )

    def _made(self, prepared: Prepared) -> Iterator[Credited]:
        """Yield what the engine made, each picture checked against its two keyframes."""
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
                why = IMPLAUSIBLE if picture.planes else NOT_MADE
                yield self._fall_back(window, slot, ends, why)

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
        return replace(window, keyframes=tuple(self._host.of(window.keyframes)))

    def _fall_back(
        self, window: Window, slot: Slot, ends: tuple[Levels, Levels], why: str
    ) -> Credited:
        """Make one slot's picture with the first fallback whose picture is plausible."""
        lone = one_slot(window, slot)
        with self._lock:
            self.fallbacks += 1
            for name in self._engine.fallbacks:
                fallback = self._fallback(name)
                picture = next(iter(fallback.draw(lone, fallback.prepare(lone))))
                if not fallback.can_be_wrong or self._plausible(picture, *ends):
                    break
        return picture, Credit(name, why)

    def _fallback(self, name: str) -> Engine:
        if name not in self._fallbacks:
            fallback = engines.build(name)
            fallback.open(self._video, self._rate)
            self._fallbacks[name] = fallback
        return self._fallbacks[name]


def one_slot(window: Window, slot: Slot) -> Window:
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
