"""Doubling the frame rate of a shot: encode, upsample the latents, refine, decode."""

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
from ltxfilter.engines.ltx.diffusion.canvas import Canvas, ToneMatcher
from ltxfilter.engines.ltx.diffusion.grids import MAX_MODEL_RATE
from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
from ltxfilter.engines.ltx.diffusion.samplers import Denoiser
from ltxfilter.engines.ltx.diffusion.tokens import Tokens, as_batch, empty_grid, seeded_noise
from ltxfilter.engines.ltx.latent_shape import TEMPORAL_COMPRESSION
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.frame import Frame, Planes
from ltxfilter.windows.window import Interval, Join, Slot, Window

REFINING_SIGMAS = samplers.DISTILLED_SIGMAS[4:]  # for latents from the temporal upsampler
KEYFRAME_DISTANCE = 2 * TEMPORAL_COMPRESSION  # doubled frames between conditioning keyframes
KEYFRAME_STRENGTH = 0.95  # of conditioning, as upstream has it where its windows meet


@dataclass(frozen=True, slots=True)
class DoublingClip:
    """The keyframes that are encoded for one part of a window."""

    first: int  # position in window.keyframes of the keyframe that the part begins with
    last: int  # position of the keyframe that the part ends with
    keyframes: tuple[int, ...]  # 8k + 1 positions in window.keyframes, reflected at a shot's ends


@dataclass(frozen=True, slots=True, eq=False)
class ClipDoubler:
    """Doubles the frame rate of clips with resident models."""

    models: Models
    canvas: Canvas  # of keyframes
    target: Canvas  # of interpolated pictures: the same one, or a larger one
    flow: Flow  # for slots that lie between doubled frames
    options: Mapping[str, Any]  # values of `LtxTemporal.options`
    cache: KeyframeCache  # for the keyframes that condition the refinement
    rounds: int  # how often the frame rate is doubled
    lead: int  # keyframes of a clip before the part's first one

    def double(self, window: Window, clips: Sequence[DoublingClip]) -> Iterator[DoubledClip]:
        """Yield each clip at its new frame rate, `batch` clips of the options at once.

        The last batch is filled up with copies, so that all batches of a run have one size.
        """
        size = self.options["batch"]
        for begin in range(0, len(clips), size):
            own = list(clips[begin : begin + size])
            yield from self._double_batch(window, own, own + own[-1:] * (size - len(own)))

    def _double_batch(
        self, window: Window, own: Sequence[DoublingClip], batch: Sequence[DoublingClip]
    ) -> Iterator[DoubledClip]:
        """Yield the clips `own` doubled, with which `batch` begins."""
        used = {key for clip in own for key in clip.keyframes}
        keyframes = {key: self.canvas.read(window.keyframes[key]) for key in sorted(used)}
        pictures = [torch.stack([keyframes[key] for key in clip.keyframes], 1) for clip in batch]
        latents = self.models.encode(torch.stack(pictures))
        for _ in range(self.rounds):
            latents = self.models.upsample(latents, "temporal")
        latents = self._enlarged(latents)
        if self.options["refine"]:
            latents = self._refine(latents, window, batch, keyframes)
        for clip, decoded in zip(own, self.models.decode(latents), strict=False):
            yield DoubledClip(
                canvas=self.target,
                flow=self.flow,
                window=window,
                clip=clip,
                lead=self.lead,
                factor=2**self.rounds,
                keyframes=keyframes,
                pictures=decoded,
                tone=ToneMatcher(decoded) if self.options["match"] else None,
            )

    def _enlarged(self, latents: Tensor) -> Tensor:
        """Return latents for pictures of the target's size."""
        if self.target is self.canvas:
            return latents
        return self.models.upsample(latents, "spatial")

    def _refine(
        self,
        latents: Tensor,
        window: Window,
        clips: Sequence[DoublingClip],
        keyframes: Mapping[int, Tensor],
    ) -> Tensor:
        """Return latents [B, 128, f, h, w] after the transformer's steps."""
        tokens = as_batch(
            [
                self._tokens(clip_latents, window, clip, keyframes)
                for clip_latents, clip in zip(latents.split(1), clips, strict=True)
            ]
        )
        times = [window.keyframes[clip.first].time for clip in clips]
        contexts = self.models.contexts([time - window.start for time in times])
        count, channels = tokens.clean.shape[1:]
        shape = latents.shape[-2] * latents.shape[-1], channels
        noise = torch.stack([self._noise(shape, count, time) for time in times])
        sigmas = REFINING_SIGMAS[-self.options["refine"] - 1 :]
        denoiser = Denoiser(self.models.velocity, tokens, contexts)
        noisy = tokens.add_noise(noise.to(latents.device), sigmas[0])
        return tokens.grid_latents(samplers.euler(noisy, sigmas, denoiser))

    def _noise(self, shape: tuple[int, int], count: int, time: Fraction) -> Tensor:
        """Return noise [count, channels] for a clip's tokens.

        shape: tokens of one latent frame or keyframe, and channels. time: of the clip, in seconds
        on the source's clock.
        """
        key = self.options["seed"], "double", time
        frames = count // shape[0]
        return torch.cat([seeded_noise(shape, *key, number) for number in range(frames)])

    def _tokens(
        self, latents: Tensor, window: Window, clip: DoublingClip, keyframes: Mapping[int, Tensor]
    ) -> Tokens:
        """Return a clip's latents [1, 128, f, h, w] as tokens, conditioned on some keyframes."""
        frames, rows, columns = latents.shape[2:]
        rate = self._model_rate(window, clip)
        tokens = empty_grid((frames, rows, columns), rate, start=latents, device=latents.device)
        for number in range(0, len(clip.keyframes), max(KEYFRAME_DISTANCE >> self.rounds, 1)):
            key = clip.keyframes[number]
            latent = self._enlarged(
                self.cache.latent(window.keyframes[key], partial(keyframes.__getitem__, key))
            )
            if number:
                at = float(number << self.rounds)
                tokens = tokens.with_keyframe(latent, at, rate, KEYFRAME_STRENGTH)
            else:
                tokens = tokens.with_first_latent(latent, KEYFRAME_STRENGTH)
        return tokens

    def _model_rate(self, window: Window, clip: DoublingClip) -> float:
        """Return the doubled frames per second that the model is told: the part's mean."""
        first, last = window.keyframes[clip.first], window.keyframes[clip.last]
        pace = (clip.last - clip.first) / (last.time - first.time)
        return float(min(pace * 2**self.rounds, MAX_MODEL_RATE))


@dataclass(slots=True, eq=False)
class DoubledClip:
    """A clip at a multiple of its frame rate, from which any slot of its part can be made."""

    canvas: Canvas  # of the pictures, which may be larger than keyframes
    flow: Flow
    window: Window
    clip: DoublingClip
    lead: int  # keyframes of the clip before the part's first one
    factor: int  # doubled frames per interval, a power of two
    keyframes: Mapping[int, Tensor]  # position in window.keyframes -> [3, height, width] in -1..1
    pictures: Tensor  # all doubled frames as decoded, [3, F, height, width] in -1..1
    tone: ToneMatcher | None
    _made: dict[int, Planes] = field(default_factory=dict)  # frames by number, once they are made

    def draw(self, slot: Slot) -> Drawn:
        """Return the picture of a slot: a doubled frame, or optical flow between two of them."""
        place = (self.lead + slot.left - self.clip.first + slot.tau) * self.factor
        number = floor(place)
        left = self._frame(number)
        if place == number or not left:
            return Drawn(left)
        right = self._frame(number + 1)
        return self._between(left, right, place - number) if right else Drawn(())

    def _frame(self, number: int) -> Planes:
        """Return a doubled frame: a keyframe as it is, or the model's; empty if it has NaN.

        Where pictures are larger than keyframes, all of them are the model's.
        """
        earlier, step = divmod(number, self.factor)
        left = self.window.keyframes[self.clip.keyframes[earlier]]
        shape = self.canvas.video.height, self.canvas.video.width
        if not step and left.planes[0].shape == shape:
            return left.planes
        if number not in self._made:
            right = self.window.keyframes[self.clip.keyframes[earlier + bool(step)]]
            tau = step / self.factor
            picture = self._matched(number, earlier, tau)
            self._made[number] = self.canvas.to_drawn(picture, (left, right), tau).planes
        return self._made[number]

    def _matched(self, number: int, earlier: int, tau: float) -> Tensor:
        picture = self.pictures[:, number]
        if self.tone is None:
            return picture
        ends = [
            (float(place * self.factor), self.keyframes[self.clip.keyframes[place]])
            for place in (earlier, earlier + (tau > 0))
        ]
        return self.tone.match(picture, tau, ends)

    def _between(self, left: Planes, right: Planes, tau: Fraction) -> Drawn:
        """Return the picture at `tau` between two doubled frames, by optical flow."""
        before, after = (tuple(map(np.asarray, planes)) for planes in (left, right))
        pair = Frame(Fraction(0), before), Frame(Fraction(1), after)
        interval = Interval(Join.INTERPOLATE, reset=True)
        alone = Window(0, pair, 0, 1, (interval,), (Slot(0, tau, 0, tau),))
        return next(self.flow.draw(alone, self.flow.prepare(alone)))
