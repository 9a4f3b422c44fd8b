"""The engine `ltx-temporal`: encode a shot, double its frame rate among the latents, decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn, Engine
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx import missing_packages
from ltxfilter.engines.ltx.diffusion.grids import SPAN, SPLIT, stretches
from ltxfilter.engines.ltx.keyframe import CELL, RUNNING, WORKING
from ltxfilter.frame import VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.windows.window import Window, WindowShape

if TYPE_CHECKING:
    from ltxfilter.engines.ltx.diffusion.temporal_doubling import DoublingClip
    from ltxfilter.engines.ltx.models.resident import Models

MOST_ROUNDS = 3
ADVICE = "draw with tile=512, fewer latents or rounds, or a smaller lead or batch"


class LtxTemporal(Engine):
    """Doubles the frame rate of latents; slots off the doubled grid are drawn along the motion."""

    name: ClassVar[str] = "ltx-temporal"
    summary: ClassVar[str] = "LTX-2: double the frame rate of latents, without a prompt"
    uses_models: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "temporal_upsampler")
    takes_device_planes: ClassVar[bool] = True
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("latents", 3, "latents of 8 frames encoded at a time", low=1, high=32),
        EngineOption("batch", 1, "of them drawn at once; as many times the memory", low=1, high=64),
        EngineOption("lead", 2, "latents shared with the window before", low=1, high=4),
        EngineOption("rounds", 0, "doublings; 0 goes by the rates", low=0, high=MOST_ROUNDS),
        EngineOption(
            "refine", 0, "steps of the whole model after that; needs --context", low=0, high=4
        ),
        EngineOption("seed", 0, "of the noise that refining begins with"),
        EngineOption("match", True, "match drawn frames' tone to their keyframes'"),
        *RUNNING,
        EngineOption("tile", 0, "pixels of what is decoded at a time; 0 whole pictures", low=0),
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        values = {option.name: option.default for option in self.options} | options
        self._files = models or ModelOptions()
        self._latents = max(values["latents"], values["lead"])
        self._lead = SPAN * (values["lead"] - 1)  # keyframes
        self._usual = SPAN * self._latents - self._lead  # that a clip draws in
        self._options = values
        self._lock = Lock()
        self._models: Models | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        return missing_packages()

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Load the models; ask for stretches of keyframes that fill whole latents."""
        from ltxfilter.engines.ltx.diffusion.canvas import Canvas
        from ltxfilter.engines.ltx.diffusion.keyframe_cache import Encoded
        from ltxfilter.engines.ltx.diffusion.temporal_doubling import Doubler
        from ltxfilter.engines.ltx.memory_check import rehearse
        from ltxfilter.engines.ltx.models.resident import Models

        self.close()
        pace = Fraction(SPLIT) if rate is None else rate * (video.interval or Fraction(1, 24))
        rounds = self._options["rounds"] or choose_rounds(pace)
        running = {name: self._options[name] for name in ("fp8", "graphs", "text_memory", "tile")}
        models = Models(self._files, **running)
        self._models = models
        refining = bool(self._options["refine"])
        if refining:
            models.context()  # before what takes long to load
        models.load("encoder", "decoder", "temporal", *(("transformer",) if refining else ()))
        canvas = Canvas(video, models.device, CELL)
        along = Flow()
        flow = along.open(video, rate, threads)
        encoded = Encoded(models.encode)
        self._doubler = Doubler(
            models, canvas, along, self._options, encoded, rounds=rounds, lead=self._lead
        )
        batch = self._options["batch"]
        frames = (SPAN * self._latents * 2**rounds + 1) * batch
        on_host = models.device.type == "cpu"
        working = WORKING * canvas.width * canvas.height * frames if on_host else 0
        shape = WindowShape(
            keyframes=batch * self._usual + 1,
            before=self._lead,
            slots=0,
            work_bytes=flow.work_bytes + working + models.host_bytes,
            draw_bytes=flow.draw_bytes + frames * video.frame_bytes,
        )
        if not on_host:
            rehearse(self, video, rate, shape, ADVICE)
        return shape

    def prepare(self, window: Window) -> tuple[DoublingClip, ...]:
        """Return the keyframes to encode for each stretch that has something to draw."""
        from ltxfilter.engines.ltx.diffusion.temporal_doubling import DoublingClip

        clips = []
        for part in stretches(window, self._usual, self._lead, 0):
            if part.to_draw():
                low, high = part.shot()
                begin = part.first - self._lead
                places = range(begin, begin + SPAN * self._latents + 1)
                keyframes = tuple(reflected(place, low, high) for place in places)
                clips.append(DoublingClip(part.first, part.last, keyframes))
        return tuple(clips)

    def draw(self, window: Window, motion: tuple[DoublingClip, ...]) -> Iterator[Drawn]:
        """Yield the picture of each slot."""
        from ltxfilter.engines.ltx.memory_check import enough_memory

        models = self._doubler.models
        with self._lock, enough_memory(self.name, ADVICE):  # one batch on the device at a time
            drawn = models.leaner(lambda: self._drawn(window, motion))
        yield from drawn

    def _drawn(self, window: Window, clips: Sequence[DoublingClip]) -> list[Drawn]:
        slots = list(window.to_draw())
        return [
            doubled.at(slot)
            for clip, doubled in zip(clips, self._doubler.double(window, clips), strict=True)
            for slot in slots
            if clip.first <= slot.left < clip.last
        ]

    def close(self) -> None:
        """Let go of the models."""
        if self._models is not None:
            self._models.close()
            self._models = None


def choose_rounds(pace: Fraction) -> int:
    """Return how often to double for `pace` output frames per keyframe: to the grid or below it."""
    power = pace.numerator.bit_length() - 1
    exact = pace.numerator == 1 << power
    return min(max(power if exact else floor(pace).bit_length() - 1, 1), MOST_ROUNDS)


def reflected(number: int, low: int, high: int) -> int:
    """Return a position in low..high for any number, turning round at both ends."""
    period = max(2 * (high - low), 1)
    folded = (number - low) % period
    return low + min(folded, period - folded) if high > low else low
