"""A shot at a multiple of its frame rate: encoded, doubled among the latents, refined, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Any

import torch
from torch import Tensor

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx import sample
from ltxfilter.engines.ltx.canvas import Canvas, Tone
from ltxfilter.engines.ltx.models import Models
from ltxfilter.engines.ltx.plan import CAP, SPAN
from ltxfilter.engines.ltx.sample import Denoiser
from ltxfilter.engines.ltx.tokens import Tokens, empty_grid, seeded_noise
from ltxfilter.frame import Frame, Planes
from ltxfilter.timeline import Slot
from ltxfilter.window import Gap, Join, Window

REFINING = sample.DISTILLED[4:]  # from latents that the temporal upsampler made
ANCHORED = 2 * SPAN  # frames from one keyframe that refining is given to the next
ANCHOR_STRENGTH = 0.95  # as upstream holds the seams of its windows

Clip = tuple[int, ...]  # positions in a window of the 8k + 1 keyframes that are encoded


@dataclass(frozen=True, slots=True, eq=False)
class Doubler:
    """Doubles the frame rate of one window after another with resident models."""

    models: Models
    canvas: Canvas
    flow: Flow
    options: Mapping[str, Any]  # of the engine
    rounds: int  # doublings
    lead: int  # keyframes of a clip before the window's first

    def double(self, window: Window, clip: Clip) -> Doubled:
        """Return a window's keyframes, and what lies between them."""
        read = {key: self.canvas.read(window.keyframes[key]) for key in sorted(set(clip))}
        shown = [read[key] for key in clip]
        latents = self.models.encode(torch.stack(shown, 1)[None])
        for _ in range(self.rounds):
            latents = self.models.upsample(latents, "temporal")
        if self.options["refine"]:
            latents = self._refined(latents, window, shown)
        pictures = self.models.decode(latents)[0]
        tone = Tone(pictures) if self.options["match"] else None
        factor = 2**self.rounds
        return Doubled(
            self.canvas, self.flow, window, clip, self.lead, factor, read, pictures, tone
        )

    def _refined(self, latents: Tensor, window: Window, shown: list[Tensor]) -> Tensor:
        """Return latents that the transformer went over, held to a keyframe here and there."""
        time = window.keyframes[window.first].time
        tokens = self._tokens(latents, shown, self._rate(window))
        shape = latents.shape[-2] * latents.shape[-1], latents.shape[1]

        def noise(part: int) -> Tensor:
            return seeded_noise(shape, self.options["seed"], "double", time, part)

        count = tokens.clean.shape[1] // shape[0]
        fresh = torch.cat([noise(part) for part in range(count)])[None].to(latents.device)
        sigmas = REFINING[-self.options["refine"] - 1 :]
        denoiser = Denoiser(self.models.velocity, tokens, self.models.context(time))
        found = sample.euler(tokens.noisy(fresh, sigmas[0]), sigmas, denoiser)
        return tokens.latents(found)

    def _tokens(self, latents: Tensor, shown: list[Tensor], rate: float) -> Tokens:
        """Return the latents as tokens, every so many frames a keyframe given beside them."""
        frames, rows, columns = latents.shape[2:]
        size = (frames, rows, columns)
        tokens = empty_grid(size, rate, start=latents, device=latents.device)
        for number in range(0, len(shown), max(ANCHORED >> self.rounds, 1)):
            still = self.models.encode(shown[number][None, :, None])
            if number:
                at = float(number << self.rounds)
                tokens = tokens.with_still(still, at, rate, ANCHOR_STRENGTH)
            else:
                tokens = tokens.with_first(still, ANCHOR_STRENGTH)
        return tokens

    def _rate(self, window: Window) -> float:
        """Return frames per second as the models are told: a shot's mean, doubled."""
        first, last = window.keyframes[window.first], window.keyframes[window.last]
        pace = (window.last - window.first) / (last.time - first.time)
        return float(min(pace * 2**self.rounds, CAP))


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
