"""The engine `ltx-temporal`: encode a shot, double its frame rate among the latents, decode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx import missing_packages
from ltxfilter.engines.ltx.plan import SPAN, SPLIT, shot
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.options import EngineOption, ModelOptions
from ltxfilter.timeline import Slot
from ltxfilter.window import Gap, Join, Window, WindowShape

if TYPE_CHECKING:
    from torch import Tensor

    from ltxfilter.engines.ltx.canvas import Canvas, Tone
    from ltxfilter.engines.ltx.models import Models

MOST_ROUNDS = 3
CELL = 32  # pixels of a latent's side
WORKING = 12 * 4  # bytes per pixel and frame that decoding takes, where it takes host memory

Clip = tuple[int, ...]  # positions in a window of the 8k + 1 keyframes that are encoded


class Temporal:
    """Doubles the frame rate of latents; slots off the doubled grid are drawn along the motion."""

    name: ClassVar[str] = "ltx-temporal"
    summary: ClassVar[str] = "LTX-2: double the frame rate of latents, without a prompt"
    files: ClassVar[tuple[str, ...]] = ("checkpoint", "temporal_upsampler")
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption("latents", 3, "latents of 8 frames encoded at a time", low=1, high=32),
        EngineOption("lead", 2, "latents shared with the window before", low=1, high=4),
        EngineOption("rounds", 0, "doublings; 0 goes by the rates", low=0, high=MOST_ROUNDS),
        EngineOption("match", True, "match drawn frames' tone to their keyframes'"),
    )

    def __init__(self, models: ModelOptions | None = None, **options: Any) -> None:
        values = {option.name: option.default for option in self.options} | options
        self._files = models or ModelOptions()
        self._latents = max(values["latents"], values["lead"])
        self._lead = SPAN * (values["lead"] - 1)  # keyframes
        self._asked_rounds = values["rounds"]
        self._match = values["match"]
        self._lock = Lock()
        self._models: Models | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return which packages to install."""
        return missing_packages()

    def open(self, video: VideoInfo, rate: Fraction | None, threads: int = 1) -> WindowShape:
        """Load the models; ask for stretches of keyframes that fill whole latents."""
        from ltxfilter.engines.ltx.canvas import Canvas
        from ltxfilter.engines.ltx.models import Models

        self.close()
        pace = Fraction(SPLIT) if rate is None else rate * (video.interval or Fraction(1, 24))
        self._rounds = self._asked_rounds or choose_rounds(pace)
        self._models = Models(self._files)
        self._models.load("encoder", "decoder", "temporal")
        self._canvas = Canvas(video, self._models.device, CELL)
        self._flow = Flow()
        flow = self._flow.open(video, rate, threads)
        frames = SPAN * self._latents * 2**self._rounds + 1
        on_host = self._models.device.type == "cpu"
        working = WORKING * self._canvas.width * self._canvas.height * frames if on_host else 0
        return WindowShape(
            keyframes=SPAN * self._latents - self._lead + 1,
            before=self._lead,
            slots=0,
            work_bytes=flow.work_bytes + working + self._models.host_bytes,
            draw_bytes=flow.draw_bytes + frames * video.frame_bytes,
        )

    def prepare(self, window: Window) -> Clip:
        """Return which keyframes to encode: time is reflected where they give out."""
        low, high = shot(window) if window.first < window.last else (0, 0)
        begin = window.first - self._lead
        count = SPAN * self._latents + 1
        return tuple(reflected(begin + number, low, high) for number in range(count))

    def draw(self, window: Window, motion: Clip) -> Iterator[Drawn]:
        """Yield the picture of each slot."""
        slots = list(window.to_draw())
        if not slots:
            return
        with self._lock:  # one window on the device at a time
            doubled = self._double(window, motion)
            drawn = [doubled.at(slot) for slot in slots]
        yield from drawn

    def close(self) -> None:
        """Let go of the models."""
        if self._models is not None:
            self._models.close()
            self._models = None

    def _double(self, window: Window, clip: Clip) -> Doubled:
        import torch

        from ltxfilter.engines.ltx.canvas import Tone

        assert self._models is not None
        read = {key: self._canvas.read(window.keyframes[key]) for key in set(clip)}
        latents = self._models.encode(torch.stack([read[key] for key in clip], 1)[None])
        for _ in range(self._rounds):
            latents = self._models.upsample(latents, "temporal")
        pictures = self._models.decode(latents)[0]
        tone = Tone(pictures) if self._match else None
        factor = 2**self._rounds
        lead = self._lead
        return Doubled(self._canvas, self._flow, window, clip, lead, factor, read, pictures, tone)


@dataclass(slots=True, eq=False)
class Doubled:
    """A window's keyframes at a multiple of their rate, from which any moment can be drawn."""

    canvas: Canvas
    flow: Flow
    window: Window
    clip: Clip
    lead: int  # keyframes of the clip before the window's first
    factor: int
    keyframes: Mapping[int, Tensor]  # by their position in the window, [3, height, width]
    pictures: Tensor  # [3, F, height, width] in -1..1
    tone: Tone | None
    _known: dict[int, Planes] = field(default_factory=dict)

    def at(self, slot: Slot) -> Drawn:
        """Return the picture of a slot: one of the grid, or drawn along the motion between two."""
        place = (self.lead + slot.left - self.window.first + slot.tau) * self.factor
        number = floor(place)
        left = self._planes(number)
        if place == number or not left:
            return Drawn(left)
        right = self._planes(number + 1)
        return self._between(left, right, place - number) if right else Drawn(())

    def _planes(self, number: int) -> Planes:
        """Return a frame of the grid: a keyframe as it is, or the model's; empty if broken."""
        earlier, part = divmod(number, self.factor)
        left = self.window.keyframes[self.clip[earlier]]
        if not part:
            return left.planes
        if number not in self._known:
            right = self.window.keyframes[self.clip[earlier + 1]]
            tau = part / self.factor
            picture = self._matched(number, earlier, tau)
            self._known[number] = self.canvas.paint(picture, (left, right), tau).planes
        return self._known[number]

    def _matched(self, number: int, earlier: int, tau: float) -> Tensor:
        picture = self.pictures[:, number]
        if self.tone is None:
            return picture
        ends = [
            (float(place * self.factor), self.keyframes[self.clip[place]])
            for place in (earlier, earlier + 1)
        ]
        return self.tone.match(picture, tau, ends)

    def _between(self, left: Planes, right: Planes, tau: Fraction) -> Drawn:
        pair = Frame(Fraction(0), left), Frame(Fraction(1), right)
        gap = Gap(Join.DRAW, reset=True)
        lone = Window(0, pair, 0, 1, (gap,), (Slot(0, tau, 0, tau),))
        return next(self.flow.draw(lone, self.flow.prepare(lone)))


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
