"""A shot at a multiple of its frame rate: encoded, doubled among the latents, refined, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import floor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.diffusion.canvas import Canvas, Tone
from ltxfilter.engines.ltx.diffusion.grids import CAP, SPAN
from ltxfilter.engines.ltx.diffusion.keyframe_cache import Encoded
from ltxfilter.engines.ltx.diffusion.samplers import Denoiser
from ltxfilter.engines.ltx.diffusion.tokens import Tokens, empty_grid, joined, seeded_noise
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.frame import Frame, Planes
from ltxfilter.windows.window import Interval, Join, Slot, Window

REFINING = samplers.DISTILLED[4:]  # from latents that the temporal upsampler made
ANCHORED = 2 * SPAN  # frames from one keyframe that refining is given to the next
ANCHOR_STRENGTH = 0.95  # as upstream holds the seams of its windows


@dataclass(frozen=True, slots=True)
class DoublingClip:
    """What is encoded for one stretch of a window: 8k + 1 keyframes."""

    first: int  # position in the window of the keyframe that the stretch begins with
    last: int  # and of the one that it ends with
    keyframes: tuple[int, ...]  # positions in the window, turning round where a shot ends


@dataclass(frozen=True, slots=True, eq=False)
class Doubler:
    """Doubles the frame rate of one window after another with resident models."""

    models: Models
    canvas: Canvas
    flow: Flow
    options: Mapping[str, Any]  # of the engine
    encoded: Encoded
    rounds: int  # doublings
    lead: int  # keyframes of a clip before the stretch's first

    def double(self, window: Window, clips: Sequence[DoublingClip]) -> Iterator[Doubled]:
        """Yield of each clip its keyframes, and what lies between them.

        As many are drawn at once as `batch` says, the last ones filled up with copies.
        """
        size = self.options["batch"]
        for begin in range(0, len(clips), size):
            part = list(clips[begin : begin + size])
            yield from self._doubled(window, part, part + part[-1:] * (size - len(part)))

    def _doubled(
        self, window: Window, wanted: Sequence[DoublingClip], clips: Sequence[DoublingClip]
    ) -> Iterator[Doubled]:
        used = {key for clip in wanted for key in clip.keyframes}
        read = {key: self.canvas.read(window.keyframes[key]) for key in sorted(used)}
        shown = [torch.stack([read[key] for key in clip.keyframes], 1) for clip in clips]
        latents = self.models.encode(torch.stack(shown))
        for _ in range(self.rounds):
            latents = self.models.upsample(latents, "temporal")
        if self.options["refine"]:
            latents = self._refined(latents, window, clips, read)
        for clip, pictures in zip(wanted, self.models.decode(latents), strict=False):
            tone = Tone(pictures) if self.options["match"] else None
            yield Doubled(
                canvas=self.canvas,
                flow=self.flow,
                window=window,
                clip=clip,
                lead=self.lead,
                factor=2**self.rounds,
                keyframes=read,
                pictures=pictures,
                tone=tone,
            )

    def _refined(
        self,
        latents: Tensor,
        window: Window,
        clips: Sequence[DoublingClip],
        read: Mapping[int, Tensor],
    ) -> Tensor:
        """Return latents that the transformer went over, held to a keyframe here and there."""
        tokens = joined(
            [
                self._tokens(part, window, clip, read)
                for part, clip in zip(latents.split(1), clips, strict=True)
            ]
        )
        times = [window.keyframes[clip.first].time for clip in clips]
        scenes = [time - window.start for time in times]
        count, channels = tokens.clean.shape[1:]
        shape = latents.shape[-2] * latents.shape[-1], channels
        fresh = torch.stack([self._noise(shape, count, time) for time in times])
        sigmas = REFINING[-self.options["refine"] - 1 :]
        denoiser = Denoiser(self.models.velocity, tokens, self.models.contexts(scenes))
        begin = tokens.noisy(fresh.to(latents.device), sigmas[0])
        return tokens.latents(samplers.euler(begin, sigmas, denoiser))

    def _noise(self, shape: tuple[int, int], count: int, time: Fraction) -> Tensor:
        """Return noise for `count` tokens, a latent frame or still of `shape` at a time."""
        key = self.options["seed"], "double", time
        return torch.cat([seeded_noise(shape, *key, part) for part in range(count // shape[0])])

    def _tokens(
        self, latents: Tensor, window: Window, clip: DoublingClip, read: Mapping[int, Tensor]
    ) -> Tokens:
        """Return the latents as tokens, every so many frames a keyframe given beside them."""
        frames, rows, columns = latents.shape[2:]
        rate = self._rate(window, clip)
        tokens = empty_grid((frames, rows, columns), rate, start=latents, device=latents.device)
        for number in range(0, len(clip.keyframes), max(ANCHORED >> self.rounds, 1)):
            key = clip.keyframes[number]
            still = self.encoded.of(window.keyframes[key], partial(read.__getitem__, key))
            if number:
                at = float(number << self.rounds)
                tokens = tokens.with_still(still, at, rate, ANCHOR_STRENGTH)
            else:
                tokens = tokens.with_first(still, ANCHOR_STRENGTH)
        return tokens

    def _rate(self, window: Window, clip: DoublingClip) -> float:
        """Return frames per second as the models are told: a stretch's mean, doubled."""
        first, last = window.keyframes[clip.first], window.keyframes[clip.last]
        pace = (clip.last - clip.first) / (last.time - first.time)
        return float(min(pace * 2**self.rounds, CAP))


@dataclass(slots=True, eq=False)
class Doubled:
    """A clip's keyframes at a multiple of their rate, from which any moment can be drawn."""

    canvas: Canvas
    flow: Flow
    window: Window
    clip: DoublingClip
    lead: int  # keyframes of the clip before the stretch's first
    factor: int
    keyframes: Mapping[int, Tensor]  # by their position in the window, [3, height, width]
    pictures: Tensor  # [3, F, height, width] in -1..1
    tone: Tone | None
    _known: dict[int, Planes] = field(default_factory=dict)

    def at(self, slot: Slot) -> Drawn:
        """Return the picture of a slot: one of the grid, or drawn along the motion between two."""
        place = (self.lead + slot.left - self.clip.first + slot.tau) * self.factor
        number = floor(place)
        left = self._planes(number)
        if place == number or not left:
            return Drawn(left)
        right = self._planes(number + 1)
        return self._between(left, right, place - number) if right else Drawn(())

    def _planes(self, number: int) -> Planes:
        """Return a frame of the grid: a keyframe as it is, or the model's; empty if broken."""
        earlier, part = divmod(number, self.factor)
        left = self.window.keyframes[self.clip.keyframes[earlier]]
        if not part:
            return left.planes
        if number not in self._known:
            right = self.window.keyframes[self.clip.keyframes[earlier + 1]]
            tau = part / self.factor
            picture = self._matched(number, earlier, tau)
            self._known[number] = self.canvas.paint(picture, (left, right), tau).planes
        return self._known[number]

    def _matched(self, number: int, earlier: int, tau: float) -> Tensor:
        picture = self.pictures[:, number]
        if self.tone is None:
            return picture
        ends = [
            (float(place * self.factor), self.keyframes[self.clip.keyframes[place]])
            for place in (earlier, earlier + 1)
        ]
        return self.tone.match(picture, tau, ends)

    def _between(self, left: Planes, right: Planes, tau: Fraction) -> Drawn:
        before, after = (tuple(map(np.asarray, planes)) for planes in (left, right))
        pair = Frame(Fraction(0), before), Frame(Fraction(1), after)
        interval = Interval(Join.INTERPOLATE, reset=True)
        lone = Window(0, pair, 0, 1, (interval,), (Slot(0, tau, 0, tau),))
        return next(self.flow.draw(lone, self.flow.prepare(lone)))
