"""Two-stage diffusion: denoise at half size, upsample, refine at full size, decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.diffusion.canvas import Canvas, ToneMatcher
from ltxfilter.engines.ltx.diffusion.grids import KeyframeToken, LatentGrid
from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
from ltxfilter.engines.ltx.diffusion.samplers import UNGUIDED, Denoiser, Guidance
from ltxfilter.engines.ltx.diffusion.tokens import Tokens, as_batch, empty_grid, seeded_noise
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.windows.window import Window

STEPS = {"distilled": 8, "guided": 30}  # mode -> steps of the first stage unless the user says

Pictures = Mapping[int, Tensor]  # position in window.keyframes -> [3, height, width] in -1..1


@dataclass(frozen=True, slots=True, eq=False)
class TwoStageDiffusion:
    """Interpolates grids with resident models, in one stage or two."""

    models: Models
    canvas: Canvas  # of keyframes
    target: Canvas  # of interpolated pictures: the same one, or a larger one
    options: Mapping[str, Any]  # values of `LtxKeyframe.options`
    guidance: Guidance  # of the first stage
    cache: KeyframeCache
    scale: Fraction = Fraction(2)  # of the spatial upsampler: the target's size over the first
    # stage's, which is the keyframes' size where the target is larger than they are
    reference: int = 0  # how many times smaller an IC-LoRA's reference clip is; 0: there is none

    def draw(self, window: Window, grids: Sequence[LatentGrid]) -> Iterator[list[Drawn]]:
        """Yield the pictures of each grid's slots, `batch` grids of the options at once.

        The last batch of a window is filled up with copies: if all batches of a run have one size,
        rounding does not depend on how many grids a window has.
        """
        size = self.options["batch"]
        for _, alike in groupby(grids, self._conditioning):
            same = list(alike)
            for begin in range(0, len(same), size):
                own = same[begin : begin + size]
                yield from self._draw_batch(window, own, own + own[-1:] * (size - len(own)))

    def _conditioning(self, grid: LatentGrid) -> list[bool]:
        """Return which keyframes are appended: the same for all grids of a batch."""
        return [self._is_appended(grid, key) for key in grid.keyframes]

    def _is_appended(self, grid: LatentGrid, key: KeyframeToken) -> bool:
        """Return True for a keyframe that is appended, not put into the first latent frame."""
        return bool(self.options["append"]) or key.at != grid.offset

    def _draw_batch(
        self, window: Window, own: Sequence[LatentGrid], batch: Sequence[LatentGrid]
    ) -> Iterator[list[Drawn]]:
        """Yield the pictures of the grids `own`, with which `batch` begins."""
        keyframes = read_keyframes(self.canvas, window, own)
        decoded = self.models.decode(self._latents(window, batch, keyframes))
        match = self.options["match"]
        for grid, pictures in zip(own, decoded, strict=False):
            yield slot_pictures(self.target, window, grid, keyframes, pictures, match=match)

    def _latents(self, window: Window, grids: Sequence[LatentGrid], keyframes: Pictures) -> Tensor:
        """Return the denoised latents of grids, [B, 128, f, h, w]."""
        one_stage = self.options["stages"] == 1
        if one_stage and not self.enlarges:
            return self._first_stage(window, grids, keyframes, Fraction(1))
        shrink = Fraction(1) if self.enlarges else self.scale
        small = self._first_stage(window, grids, keyframes, shrink)
        upsampled = self.models.upsample(small, "spatial")
        if one_stage:
            return upsampled
        tokens = self._tokens(window, grids, keyframes, Fraction(1), upsampled)
        sigmas = samplers.STAGE_2_SIGMAS[-self.options["refine"] - 1 :]
        return self._denoise(grids, tokens, sigmas, UNGUIDED, "euler", refining=True)

    @property
    def enlarges(self) -> bool:
        """True if pictures are larger than keyframes."""
        return self.target is not self.canvas

    def _first_stage(
        self, window: Window, grids: Sequence[LatentGrid], keyframes: Pictures, shrink: Fraction
    ) -> Tensor:
        """Return latents denoised from noise at 1 / `shrink` of the full size."""
        options = self.options
        tokens = self._tokens(window, grids, keyframes, shrink)
        steps = options["steps"] or STEPS[options["mode"]]
        if options["mode"] == "guided":
            sigmas = samplers.shifted_sigmas(steps)
        else:
            sigmas = samplers.distilled_sigmas(min(steps, STEPS["distilled"]))
        return self._denoise(grids, tokens, sigmas, self.guidance, options["sampler"])

    def _tokens(
        self,
        window: Window,
        grids: Sequence[LatentGrid],
        keyframes: Pictures,
        shrink: Fraction,
        start: Tensor | None = None,
    ) -> Tokens:
        """Return the tokens of grids, conditioned on their keyframes.

        shrink: how many times smaller than keyframes. start: latents to denoise from; where they
        are for larger pictures, so are the latents of keyframes, by the upsampler.
        """
        latents = {
            key: self.cache.latent(
                window.keyframes[key], partial(downscaled, picture, shrink), shrink
            )
            for key, picture in keyframes.items()
        }
        if self.enlarges and start is not None:
            latents = {key: self.models.upsample(each, "spatial") for key, each in latents.items()}
        begin = [None] * len(grids) if start is None else start.split(1)
        reference = keyframes if start is None else {}
        return as_batch(
            [
                self._grid_tokens(grid, latents, reference, shrink, grid_start)
                for grid, grid_start in zip(grids, begin, strict=True)
            ]
        )

    def _grid_tokens(
        self,
        grid: LatentGrid,
        latents: Pictures,
        reference: Pictures,
        shrink: Fraction,
        start: Tensor | None,
    ) -> Tokens:
        """Return the tokens of one grid.

        latents: of keyframes by position. reference: keyframes of the reference clip, which only
        the first stage gets. start: latents [1, 128, f, h, w] to denoise from.
        """
        strength, rate = self.options["strength"], float(grid.model_rate)
        rows, columns = next(iter(latents.values())).shape[-2:]
        size = (grid.latents, rows, columns)
        tokens = empty_grid(size, rate, float(grid.offset), start, self.models.device)
        for key in grid.keyframes:
            latent = latents[key.keyframe]
            if self._is_appended(grid, key):
                tokens = tokens.with_keyframe(latent, float(key.at), rate, strength)
            else:
                tokens = tokens.with_first_latent(latent, strength)
        if self.reference and reference:
            clip = self._reference_clip(grid, reference, shrink * self.reference)
            tokens = tokens.with_reference(clip, rate, float(grid.offset), self.reference)
        return tokens

    def _reference_clip(self, grid: LatentGrid, keyframes: Pictures, shrink: Fraction) -> Tensor:
        """Return the latents of the source at the grid's rate, each keyframe repeated."""
        small = {key: downscaled(picture, shrink) for key, picture in keyframes.items()}
        frames = [small[key] for key in grid.repeated_keyframes()]
        return self.models.encode(torch.stack(frames, 1)[None])

    def _denoise(
        self,
        grids: Sequence[LatentGrid],
        tokens: Tokens,
        sigmas: Sequence[float],
        guidance: Guidance,
        sampler: str,
        *,
        refining: bool = False,
    ) -> Tensor:
        """Return the latents of grids after all steps, [B, 128, f, h, w]."""

        def noise(purpose: str, step: int) -> Tensor:
            rows = [self._noise(grid, tokens, purpose, step) for grid in grids]
            return torch.cat(rows).to(self.models.device)

        denoiser = Denoiser(
            partial(self.models.velocity, refining=refining),
            tokens,
            self.models.contexts([grid.prompt_time for grid in grids]),
            self.models.negative_context(),
            guidance,
        )
        start = tokens.add_noise(noise("begin", 0), sigmas[0])
        return tokens.grid_latents(samplers.sample(sampler, denoiser, start, sigmas, noise))

    def _noise(self, grid: LatentGrid, tokens: Tokens, purpose: str, step: int) -> Tensor:
        """Return noise [1, T, 128] that depends on the seed and on times, not on windows.

        Tokens that are kept as they are take no noise.
        """
        rows, columns = tokens.size[1:]
        shape = rows * columns, tokens.clean.shape[-1]
        times = [grid.latent_time(number) for number in range(grid.latents)]
        times += [grid.keyframe_time(key) for key in grid.keyframes if self._is_appended(grid, key)]
        noisy = grid.latents if self.options["strength"] == 1 else len(times)
        key = self.options["seed"], f"{rows}x{columns}", purpose, step
        noise = [seeded_noise(shape, *key, time) for time in times[:noisy]]
        rest = tokens.clean.shape[1] - noisy * shape[0]
        return torch.cat([*noise, torch.zeros(rest, shape[1])])[None]


def downscaled(picture: Tensor, times: Fraction) -> Tensor:
    """Return a picture [3, height, width] averaged over squares of `times` x `times` pixels.

    Where `times` is no whole number, squares share the pixels at their edges.
    """
    if times == 1:
        return picture
    if times.denominator == 1:
        return avg_pool2d(picture, int(times))
    height, width = (int(length / times) for length in picture.shape[1:])
    repeated = picture.repeat_interleave(times.denominator, 1)
    repeated = repeated.repeat_interleave(times.denominator, 2)
    small = avg_pool2d(repeated, times.numerator)
    return small[:, :height, :width]


def read_keyframes(
    canvas: Canvas, window: Window, grids: Iterable[LatentGrid]
) -> dict[int, Tensor]:
    """Return the keyframes that condition grids, [3, height, width], by position in the window."""
    used = {key.keyframe for grid in grids for key in grid.keyframes}
    return {number: canvas.read(window.keyframes[number]) for number in sorted(used)}


def slot_pictures(
    canvas: Canvas,
    window: Window,
    grid: LatentGrid,
    keyframes: Pictures,
    pictures: Tensor,
    *,
    match: bool,
) -> list[Drawn]:
    """Return the pictures of a grid's slots as frames.

    pictures: all that the model made, [3, F, height, width]. match: match their tone to keyframes.
    """
    tone = ToneMatcher(pictures) if match else None
    drawn = []
    for slot, number in grid.slots:
        numbers = slot.left, slot.left + 1
        picture = pictures[:, number]
        if tone is not None:
            places = grid.enclosing_keyframes(number)
            around = [(float(at), keyframes[n]) for at, n in zip(places, numbers, strict=True)]
            picture = tone.match(picture, float(slot.tau), around)
        ends = window.keyframes[numbers[0]], window.keyframes[numbers[1]]
        drawn.append(canvas.to_drawn(picture, ends, float(slot.tau)))
    return drawn
