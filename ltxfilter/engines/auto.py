"""The engine `auto`: flow, and where that is hard another engine, as far as it does better.

flow makes every picture, and says how good it expects to be in the middle of each interval. Where
that is worse than `hard` allows, a partner makes the picture too, and `motion.gate` weights both,
cell by cell, by the errors that they are expected to make.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter import engines
from ltxfilter.engines.base import Choice, Drawn, Engine
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.model_files import all_from_settings, complete
from ltxfilter.errors import EngineError, EngineUnavailableError, OptionError
from ltxfilter.frame import Plane, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.values import parse_spec
from ltxfilter.windows.window import Slot, Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.motion.flow import FlowMotion

log = logging.getLogger("ltxfilter.engines")

PARTNERS = ("ltx-motion", "ltx-motion:source=dit", "onnx")  # the first whose files are named
# Fields of ModelOptions by which a user shows that LTX is meant.
TELLING = ("models", "checkpoint", "transformer", "vae", "temporal_upsampler")
BESIDE = ("prompt", "context", "gemma", "loras")  # do nothing without one of those
EASIEST, HARDEST = 50.0, 20.0  # dB that flow expects of itself at difficulty 0 and at difficulty 1
HARD = 0.63  # difficulty; a quarter of the windows of ordinary clips are harder
USUAL_SHARE = 0.25  # of the pictures of ordinary clips, for which the partner is asked
HYSTERESIS = 0.03  # of difficulty, so that pictures do not change their look to and fro
MIDDLE = 0.5  # tau at which an interval is judged: where flow knows least
LEAST_SHARE = 0.001  # of a picture: below it flow's is left as it is
NO_PICTURE = "it made no picture"
NOT_BETTER = "flow was expected to be better everywhere"
GATE_BYTES = 96  # per pixel: float32 planes to mix, and the maps on the work grid


@dataclass(frozen=True, slots=True, eq=False)
class AutoInterval:
    """One interval of a window: flow's motion in it, and how hard it is."""

    first: int  # position in the window of the keyframe that it begins with
    motion: FlowMotion | None  # None: nothing is interpolated in it
    psnr_db: float | None = None  # that flow expects in its middle, by the gate's closer estimate
    hard: bool = False  # True: the partner is asked as well

    @property
    def difficulty(self) -> float:
        """How hard it is for flow, 0..1."""
        return difficulty_of(self.psnr_db)


@dataclass(frozen=True, slots=True, eq=False)
class AutoMotion:
    """What drawing a window takes."""

    intervals: tuple[AutoInterval, ...]
    partner_motion: Any = None  # what the partner prepared for its view of the window
    failed: bool = False  # True: the partner could not prepare it

    @property
    def partner_draws(self) -> bool:
        """True if the partner makes pictures of this window."""
        return not self.failed and any(interval.hard for interval in self.intervals)


class Auto(Engine):
    """Lets flow draw, judges what is hard for it, and asks its partner, another engine, there."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "flow, and LTX-2 or a network in ONNX where that is hard, if named"
    uses_models: ClassVar[bool] = True  # it needs no file and takes any
    lookahead_option: ClassVar[str | None] = "lookahead"
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "with",
            "",
            "This engine is asked for what is hard for flow, with options such as "
            "ltx-motion\\:steps=4; if empty, the model files that are named decide.",
        ),
        EngineOption(
            "hard",
            HARD,
            "That engine is asked where the difficulty for flow is above this; the difficulty is 0 "
            "where flow expects a PSNR of 50 dB, and 1 where it expects 20 dB.",
            low=0,
            high=1,
        ),
        *Flow.options,
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        values = {option.name: option.default for option in self.options} | options
        self._hard: float = values.pop("hard")
        self._models = models or ModelOptions()
        asked = values.pop("with")
        self._chooses = not asked
        self._partner = choose_partner(asked, self._models)
        self._flow = Flow(**values)
        self._was_hard = False  # the interval before, in the same shot
        self._failure: str | None = None  # the partner's first error

    @classmethod
    def unavailable(cls) -> str | None:
        """Return what flow lacks."""
        return Flow.unavailable()

    @property
    def partners(self) -> tuple[Engine, ...]:
        """The engines that it owns: flow alone, or the one that it asks as well."""
        return (self._flow,) if self._partner is None else (self._flow, self._partner)

    @property
    def seconds_per_picture(self) -> float | None:
        """What its partner takes, which is asked for a part of the pictures."""
        seconds = None if self._partner is None else self._partner.seconds_per_picture
        return None if seconds is None else seconds * USUAL_SHARE

    @property
    def seed(self) -> int | None:
        """The partner's."""
        return None if self._partner is None else self._partner.seed

    @property
    def used_files(self) -> frozenset[str]:
        """What its partner uses; where it chooses one by the files, what that could use."""
        if not self._chooses:
            return frozenset().union(*(partner.used_files for partner in self.partners))
        possible = [engines.engine_class(parse_spec(spec)[0]).takes_files for spec in PARTNERS]
        return frozenset({"device", "models"}).union(*possible)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What flow falls back on where flow makes every picture; else flow is tried too."""
        return self._flow.fallbacks if self._partner is None else super().fallbacks

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Open both engines; ask for windows that serve both."""
        self.close()
        self._video = video
        own = self._flow_shape = self._flow.open(video, rate, threads)
        if self._partner is None:
            self._say_what_is_missing()
            return own
        if self._chooses and is_spared(self._partner, self._models):
            log.warning(
                "there is no GPU for %s, whose files the settings name: flow makes all frames; "
                "--device cpu makes it run all the same",
                self._partner.name,
            )
            self._partner = None
            return own
        other = self._partner_shape = self._open_partner(self._partner, video, rate, threads)
        gate = GATE_BYTES * video.width * video.height + 2 * video.frame_bytes
        return WindowShape(
            keyframes=max(own.keyframes, other.keyframes),
            before=max(own.before, other.before),
            after=max(own.after, other.after),
            slots=min(own.slots, other.slots),  # 0 is all of them
            work_bytes=own.work_bytes + other.work_bytes,
            model_bytes=own.model_bytes + other.model_bytes,
            device_bytes=own.device_bytes + other.device_bytes,
            draw_bytes=own.draw_bytes + other.draw_bytes + gate,
        )

    def _say_what_is_missing(self) -> None:
        """Warn where models, or what goes with them, are named, but no partner can run."""
        beside = [name for name in BESIDE if getattr(self._models, name)]
        if any(getattr(self._models, name) for name in TELLING):
            from ltxfilter.engines.ltx.weights.describe_files import shortfall

            models = complete(self._models)
            word, text = shortfall(engines.build(PARTNERS[0], models).missing_files, models)
            log.warning(
                "the model files named do not do for any LTX engine: flow makes all frames; "
                "%s %s: %s",
                PARTNERS[0],
                word,
                text,
            )
        elif beside:
            flags = " and ".join("--lora" if name == "loras" else f"--{name}" for name in beside)
            log.warning(
                "no model is named that uses %s: flow makes all frames; add --models FOLDER "
                "or --checkpoint FILE",
                flags,
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
            raise EngineUnavailableError(f"{error}; --engine flow does without it") from None

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
        """Return flow's motion in an interval, and whether it is hard.

        After a hard interval the next one is hard from a slightly lower difficulty on.
        """
        pair = view(window, first, first + 1, self._flow_shape)
        motion = self._flow.prepare(pair)
        if pair.reset:
            self._was_hard = False
        if motion is None:
            return AutoInterval(first, None)
        limit = self._hard
        if self._was_hard:
            limit -= HYSTERESIS
        psnr_db = self._flow.estimate(motion, MIDDLE).psnr_db
        self._was_hard = difficulty_of(psnr_db) > limit
        return AutoInterval(first, motion, psnr_db, self._was_hard)

    def _asked_for(self, window: Window, intervals: tuple[AutoInterval, ...]) -> Window:
        """Return the window as the partner sees it, with the slots of hard intervals only."""
        hard = {interval.first for interval in intervals if interval.hard}
        slots = tuple(slot for slot in window.slots if slot.left in hard)
        return view(replace(window, slots=slots), window.first, window.last, self._partner_shape)

    def flow_of(self, motion: Any, slot: Slot) -> Plane | None:
        """Return flow's motion, which the partner's picture need not follow."""
        if self._partner is None:
            return self._flow.flow_of(motion, slot)
        own = (each.motion for each in motion.intervals if each.first == slot.left)
        return self._flow.flow_of(next(own, None), slot)

    def cancel(self) -> None:
        """Cancel both engines."""
        for partner in self.partners:
            partner.cancel()

    def draw(self, window: Window, motion: Any) -> Iterator[Drawn]:
        """Yield flow's picture of each slot, or as much of the partner's as is better."""
        if self._partner is None:
            for picture in self._flow.draw(window, motion):
                yield replace(picture, choice=Choice("flow", difficulty_of(picture.psnr_db)))
            return
        of_partner = self._draw_hard(self._partner, window, motion)
        for interval in motion.intervals:
            pair = view(window, interval.first, interval.first + 1, self._flow_shape)
            drawn = self._flow.draw(pair, interval.motion)
            for slot, picture in zip(pair.to_draw(), drawn, strict=True):
                if interval.hard:
                    yield self._better(picture, next(of_partner), interval, slot)
                else:
                    choice = Choice("flow", interval.difficulty)
                    yield replace(picture, psnr_db=interval.psnr_db, choice=choice)

    def _draw_hard(self, partner: Engine, window: Window, motion: AutoMotion) -> Iterator[Drawn]:
        """Yield what the partner draws in hard intervals; pictures without planes once it fails."""
        if motion.partner_draws:
            asked = self._asked_for(window, motion.intervals)
            try:
                yield from partner.draw(asked, motion.partner_motion)
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
                choice=Choice(
                    "flow",
                    interval.difficulty,
                    tried=name,
                    failed=True,
                    reason=self._failure or NO_PICTURE,
                ),
            )
        estimate = self._flow.estimate(interval.motion, float(slot.tau))
        pyramids = (self._flow.luma_pyramid(picture.planes) for picture in (flowed, guided))
        result = weigh(estimate, *pyramids, alike=self._partner.moves_keyframes)
        if result.taken < LEAST_SHARE:
            choice = Choice("flow", interval.difficulty, tried=name, reason=NOT_BETTER)
            return replace(flowed, choice=choice)
        planes = mix(
            flowed.planes, guided.planes, result.share, self._video.layout, self._flow.grid
        )
        winner = name if result.taken > 0.5 else "flow"
        choice = Choice(winner, interval.difficulty, tried=name, share=result.taken)
        return Drawn(planes, result.psnr_db, choice)

    def _warn(self, error: EngineError) -> None:
        """Say once why flow draws what the partner should have."""
        if self._failure is None:
            self._failure = str(error)
            log.warning("%s; flow is used instead", error)

    def close(self) -> None:
        """Close both engines."""
        self._flow.close()
        if self._partner is not None:
            self._partner.close()
        self._was_hard, self._failure = False, None


def choose_partner(spec: str, models: ModelOptions) -> Engine | None:
    """Return the engine that `spec` describes, or else the best whose files are named.

    Raises OptionError.
    """
    if spec:
        if parse_spec(spec)[0] in ("auto", "flow"):
            raise OptionError(f"option with={spec}: name another engine than auto and flow")
        return engines.build(spec, models)
    if replace(complete(models), device=None) == ModelOptions():
        return None  # no file is named: importing what could use one takes its time
    for known in PARTNERS:
        partner = engines.build(known, models)
        if not partner.missing_files:
            return partner
    return None


def is_spared(partner: Engine, models: ModelOptions) -> bool:
    """Return True if a partner would take hours on this machine, and nobody asked for it.

    That is one of the LTX engines without a GPU, where only the settings name its files, and no
    device: on a CPU, nine small frames take minutes.
    """
    if not partner.name.startswith("ltx-") or models.device not in (None, "auto"):
        return False
    if type(partner).unavailable() or not all_from_settings(models, TELLING):
        return False
    import torch

    return not torch.cuda.is_available()


def difficulty_of(psnr_db: float | None) -> float:
    """Return how hard a picture is for flow, 0..1, from the PSNR that it expects of itself."""
    if psnr_db is None:
        return 0.0
    return min(max((EASIEST - psnr_db) / (EASIEST - HARDEST), 0.0), 1.0)


def view(window: Window, first: int, last: int, shape: WindowShape) -> Window:
    """Return the part of a window that an engine sees.

    first, last: positions of the keyframes that its slots lie between. shape: how much context it
    asked for.
    """
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
