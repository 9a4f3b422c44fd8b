"""The engine `auto`: flow, and where that is hard an LTX engine, as far as it draws better."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter import engines
from ltxfilter.engines.base import Choice, Drawn, Engine
from ltxfilter.engines.flow import Flow
from ltxfilter.errors import EngineError, EngineUnavailableError, OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.values import parse_spec
from ltxfilter.windows.window import Slot, Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.flow import FlowMotion

log = logging.getLogger("ltxfilter.engines")

PARTNERS = ("ltx-motion", "ltx-motion:source=dit")  # the best first
NO_EFFORT, UTMOST = 50.0, 20.0  # dB that flow expects of itself: difficulty 0, difficulty 1
HARD = 0.63  # difficulty; a quarter of the windows of ordinary clips are harder
HYSTERESIS = 0.03  # of difficulty, so that the look does not change to and fro
MIDDLE = 0.5  # tau at which an interval is judged: where flow knows least
GATE_BYTES = 64  # per pixel: float32 planes to mix, and the gate's maps on the work grid


@dataclass(frozen=True, slots=True, eq=False)
class AutoInterval:
    """One interval of a window: flow's motion in it, how hard it is, and who is asked."""

    first: int  # position in the window of the keyframe it begins with
    motion: FlowMotion | None
    psnr_db: float | None = None  # that flow expects in its middle, by a closer look than its own
    hard: bool = False

    @property
    def difficulty(self) -> float:
        """How hard it is for flow, 0..1."""
        return difficulty_of(self.psnr_db)


@dataclass(frozen=True, slots=True, eq=False)
class AutoMotion:
    """What drawing a window takes."""

    intervals: tuple[AutoInterval, ...]
    asked: Any = None  # what the partner prepared for its view of the window
    failed: bool = False  # the partner could not prepare it


class Auto(Engine):
    """Lets flow draw, judges what is hard for it, and asks its partner, an LTX engine, there."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "flow, and LTX-2 where that is hard and its files are named"
    uses_models: ClassVar[bool] = True  # it needs no file and takes any
    lookahead_option: ClassVar[str | None] = "lookahead"
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "with",
            "",
            "engine for what is hard, its options as ltx-motion\\:steps=4; empty goes by the files",
        ),
        EngineOption("hard", HARD, "difficulty above which it is asked", low=0, high=1),
        *Flow.options,
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        values = {option.name: option.default for option in self.options} | options
        self._hard: float = values.pop("hard")
        self._models = models or ModelOptions()
        self._partner = choose_partner(values.pop("with"), self._models)
        self._flow = Flow(**values)
        self._on = False  # the interval before was hard
        self._warned = False

    @classmethod
    def unavailable(cls) -> str | None:
        """Return what flow lacks."""
        return Flow.unavailable()

    @property
    def partners(self) -> tuple[Engine, ...]:
        """The engines that it owns: flow alone, or the one that it asks as well."""
        return (self._flow,) if self._partner is None else (self._flow, self._partner)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What flow falls back on where flow makes every picture; else flow is tried too."""
        return self._flow.fallbacks if self._partner is None else super().fallbacks

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Open both engines; ask for windows that serve both."""
        self.close()
        self._video = video
        own = self._own = self._flow.open(video, rate, threads)
        if self._partner is None:
            if self._models.checkpoint:
                log.warning("the model files named are too few for any ltx engine: flow draws all")
            return own
        other = self._other = self._open_partner(self._partner, video, rate, threads)
        gate = GATE_BYTES * video.width * video.height + 2 * video.frame_bytes
        return WindowShape(
            keyframes=max(own.keyframes, other.keyframes),
            before=max(own.before, other.before),
            after=max(own.after, other.after),
            slots=min(own.slots, other.slots),  # 0 is all of them
            work_bytes=own.work_bytes + other.work_bytes,
            draw_bytes=own.draw_bytes + other.draw_bytes + gate,
        )

    def _open_partner(
        self, partner: Engine, video: VideoInfo, rate: Fraction | None, threads: int
    ) -> WindowShape:
        """Open the engine for what is hard. Raises EngineUnavailableError with the way out.

        Files were named for it: to draw without it would lose silently what was asked for.
        """
        try:
            if reason := type(partner).unavailable():
                raise EngineUnavailableError(f"engine {partner.name}: {reason}")
            return partner.open(video, rate, threads)
        except EngineUnavailableError as error:
            raise EngineUnavailableError(f"{error}; --engine flow draws without it") from None

    def prepare(self, window: Window) -> Any:
        """Find each interval's motion, judge which are hard, let the partner prepare those."""
        if self._partner is None:
            return self._flow.prepare(window)
        intervals = tuple(self._judge(window, first) for first in range(window.first, window.last))
        if not any(interval.hard for interval in intervals):
            return AutoMotion(intervals)
        try:
            return AutoMotion(intervals, self._partner.prepare(self._asked_for(window, intervals)))
        except EngineError as error:
            self._warn(error)
            return AutoMotion(intervals, failed=True)

    def _judge(self, window: Window, first: int) -> AutoInterval:
        """Say how hard an interval is; one that follows a hard one is so from a little less on."""
        pair = view(window, first, first + 1, self._own)
        motion = self._flow.prepare(pair)
        if pair.reset:
            self._on = False
        if motion is None:
            return AutoInterval(first, None)
        psnr_db = self._flow.outlook(motion, MIDDLE).psnr_db
        self._on = difficulty_of(psnr_db) > self._hard - HYSTERESIS * self._on
        return AutoInterval(first, motion, psnr_db, self._on)

    def _asked_for(self, window: Window, intervals: tuple[AutoInterval, ...]) -> Window:
        """Return the window as the partner sees it: only slots of hard intervals are to draw."""
        hard = {interval.first for interval in intervals if interval.hard}
        slots = tuple(slot for slot in window.slots if slot.left in hard)
        return view(replace(window, slots=slots), window.first, window.last, self._other)

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:
        """Yield flow's picture of each slot, or as much of the partner's as is better."""
        if self._partner is None:
            for picture in self._flow.draw(window, motion):
                yield replace(picture, choice=Choice("flow", difficulty_of(picture.psnr_db)))
            return
        asked = self._asked(window, motion)
        for interval in motion.intervals:
            pair = view(window, interval.first, interval.first + 1, self._own)
            for slot, picture in zip(
                pair.to_draw(), self._flow.draw(pair, interval.motion), strict=True
            ):
                if interval.hard:
                    yield self._better(picture, next(asked), interval, slot)
                else:
                    choice = Choice("flow", interval.difficulty)
                    yield replace(picture, psnr_db=interval.psnr_db, choice=choice)

    def _asked(self, window: Window, parts: AutoMotion) -> Iterator[Drawn]:
        """Yield what the partner draws in hard intervals; pictures without planes once it fails."""
        assert self._partner is not None
        if any(interval.hard for interval in parts.intervals) and not parts.failed:
            try:
                yield from self._partner.draw(self._asked_for(window, parts.intervals), parts.asked)
            except EngineError as error:
                self._warn(error)
        while True:
            yield Drawn(())

    def _better(self, flowed: Drawn, guided: Drawn, interval: AutoInterval, slot: Slot) -> Drawn:
        """Return flow's picture with what is better in the partner's."""
        from ltxfilter.motion.gate import mix, weigh

        assert self._partner is not None
        assert interval.motion is not None
        name = self._partner.name
        if not guided.planes:
            return replace(
                flowed,
                choice=Choice("flow", interval.difficulty, tried=name, share=0.0, failed=True),
            )
        outlook = self._flow.outlook(interval.motion, float(slot.tau))
        shrunk = (self._flow.shrunk(picture.planes) for picture in (flowed, guided))
        verdict = weigh(outlook, *shrunk)
        if not verdict.part:
            return replace(flowed, choice=Choice("flow", interval.difficulty, tried=name))
        planes = mix(
            flowed.planes, guided.planes, verdict.share, self._video.layout, self._flow.grid
        )
        winner = name if verdict.part > 0.5 else "flow"
        choice = Choice(winner, interval.difficulty, tried=name, share=verdict.part)
        return Drawn(planes, verdict.psnr_db, choice)

    def _warn(self, error: EngineError) -> None:
        """Say once why flow draws what the partner should have."""
        if not self._warned:
            self._warned = True
            log.warning("%s; flow draws instead", error)

    def close(self) -> None:
        """Close both engines."""
        self._flow.close()
        if self._partner is not None:
            self._partner.close()
        self._on = self._warned = False


def choose_partner(spec: str, models: ModelOptions) -> Engine | None:
    """Return the engine that `spec` describes, or else the best whose files are named.

    Raises OptionError.
    """
    if spec:
        if parse_spec(spec)[0] in ("auto", "flow"):
            raise OptionError(f"option with={spec}: name another engine than auto and flow")
        return engines.build(spec, models)
    if not models.checkpoint:  # which all of them need
        return None
    for known in PARTNERS:
        partner = engines.build(known, models)
        if all(getattr(models, field) for field in partner.needed_files):
            return partner
    return None


def difficulty_of(psnr_db: float | None) -> float:
    """Return how hard a picture is for flow, 0..1, from the PSNR that it expects of itself."""
    if psnr_db is None:
        return 0.0
    return min(max((NO_EFFORT - psnr_db) / (NO_EFFORT - UTMOST), 0.0), 1.0)


def view(window: Window, first: int, last: int, shape: WindowShape) -> Window:
    """Return what an engine sees that asked for `shape` and draws from keyframe first to last."""
    low = max(first - shape.before, 0)
    high = min(last + shape.after, len(window.keyframes) - 1)
    slots = tuple(
        replace(slot, left=slot.left - low) for slot in window.slots if first <= slot.left < last
    )
    return replace(
        window,
        keyframes=window.keyframes[low : high + 1],
        first=first - low,
        last=last - low,
        intervals=window.intervals[low:high],
        slots=slots,
    )
