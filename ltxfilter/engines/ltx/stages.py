"""One grid of frames from noise to pictures: half size, full size, decoded, in its place's tone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx import sample
from ltxfilter.engines.ltx.canvas import Canvas, Tone
from ltxfilter.engines.ltx.models import Models
from ltxfilter.engines.ltx.plan import Grid, Still
from ltxfilter.engines.ltx.sample import UNGUIDED, Denoiser, Guidance, Noise
from ltxfilter.engines.ltx.tokens import Tokens, empty_grid, seeded_noise
from ltxfilter.window import Window

STEPS = {"distilled": 8, "guided": 30}  # of the first stage, unless told

Pictures = Mapping[int, Tensor]  # keyframes by their position in the window, [3, height, width]


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """Draws one grid after another with resident models."""

    models: Models
    canvas: Canvas
    options: Mapping[str, Any]  # of the engine
    guidance: Guidance  # of the first stage
    reference: int = 0  # times that a clip given to an IC-LoRA is smaller; 0: none is given

    def draw(self, window: Window, grid: Grid) -> list[Drawn]:
        """Return the pictures of a grid's slots."""
        keyframes = read_keyframes(self.canvas, window, grid)
        pictures = self.models.decode(self._latents(grid, keyframes))[0]
        return shown(self.canvas, window, grid, keyframes, pictures, match=self.options["match"])

    def _latents(self, grid: Grid, keyframes: Pictures) -> Tensor:
        """Return what the stages make of a grid, [1, 128, k + 1, h, w]."""
        if self.options["stages"] == 1:
            return self._first(grid, keyframes)
        halves = {key: avg_pool2d(picture, 2) for key, picture in keyframes.items()}
        raised = self.models.upsample(self._first(grid, halves), "spatial")
        tokens = self._tokens(grid, keyframes, raised)
        sigmas = sample.REFINING[-self.options["refine"] - 1 :]
        return self._denoised(grid, tokens, sigmas, UNGUIDED, "euler", refining=True)

    def _first(self, grid: Grid, keyframes: Pictures) -> Tensor:
        options = self.options
        tokens = self._tokens(grid, keyframes, None)
        if self.reference:
            clip = self._clip(grid, keyframes)
            rate, offset = float(grid.model_rate), float(grid.offset)
            tokens = tokens.with_clip(clip, rate, offset, self.reference)
        steps = options["steps"] or STEPS[options["mode"]]
        if options["mode"] == "guided":
            sigmas = sample.scheduled(steps)
        else:
            sigmas = sample.distilled(min(steps, STEPS["distilled"]))
        return self._denoised(grid, tokens, sigmas, self.guidance, options["sampler"])

    def _clip(self, grid: Grid, keyframes: Pictures) -> Tensor:
        """Return the source as a clip of the grid's length, every frame held till the next."""
        small = {key: avg_pool2d(picture, self.reference) for key, picture in keyframes.items()}
        return self.models.encode(torch.stack([small[key] for key in grid.held()], 1)[None])

    def _tokens(self, grid: Grid, keyframes: Pictures, start: Tensor | None) -> Tokens:
        """Return a grid's tokens, its keyframes given; start: latents to begin from."""
        strength, rate = self.options["strength"], float(grid.model_rate)
        stills = {  # one by one: a batch of another size would round otherwise
            key: self.models.encode(picture[None, :, None]) for key, picture in keyframes.items()
        }
        rows, columns = next(iter(stills.values())).shape[-2:]
        size = (grid.latents, rows, columns)
        tokens = empty_grid(size, rate, float(grid.offset), start, self.models.device)
        for still in grid.stills:
            latent = stills[still.keyframe]
            if self._appends(grid, still):
                tokens = tokens.with_still(latent, float(still.at), rate, strength)
            else:
                tokens = tokens.with_first(latent, strength)
        return tokens

    def _appends(self, grid: Grid, still: Still) -> bool:
        """True for a still that is given beside the grid, not as its first latent."""
        return bool(self.options["append"]) or still.at != grid.offset

    def _denoised(
        self,
        grid: Grid,
        tokens: Tokens,
        sigmas: Sequence[float],
        guidance: Guidance,
        sampler: str,
        *,
        refining: bool = False,
    ) -> Tensor:
        noise = self._noise(grid, tokens)
        denoiser = Denoiser(
            partial(self.models.velocity, refining=refining),
            tokens,
            self.models.context(grid.scene),
            self.models.negative_context(),
            guidance,
        )
        begin = tokens.noisy(noise("begin", 0), sigmas[0])
        return tokens.latents(sample.follow(sampler, denoiser, begin, sigmas, noise))

    def _noise(self, grid: Grid, tokens: Tokens) -> Noise:
        """Return a source of noise that depends on the seed and on moments, not on windows."""
        rows, columns = tokens.size[1:]
        shape = rows * columns, tokens.clean.shape[-1]
        moments = [grid.moment(number) for number in range(grid.latents)]
        moments += [grid.time_of(still) for still in grid.stills if self._appends(grid, still)]
        given = grid.latents if self.options["strength"] == 1 else len(moments)

        def noise(purpose: str, step: int) -> Tensor:
            key = self.options["seed"], f"{rows}x{columns}", purpose, step
            parts = [seeded_noise(shape, *key, moment) for moment in moments[:given]]
            rest = tokens.clean.shape[1] - given * shape[0]  # what is given as it is takes none
            parts.append(torch.zeros(rest, shape[1]))
            return torch.cat(parts)[None].to(self.models.device)

        return noise


def read_keyframes(canvas: Canvas, window: Window, grid: Grid) -> dict[int, Tensor]:
    """Return the keyframes that a grid sees, by their position in the window."""
    used = {still.keyframe for still in grid.stills}
    return {key: canvas.read(window.keyframes[key]) for key in sorted(used)}


def shown(
    canvas: Canvas,
    window: Window,
    grid: Grid,
    keyframes: Pictures,
    pictures: Tensor,
    *,
    match: bool,
) -> list[Drawn]:
    """Return the frames of a grid's slots, from all that it drew, [3, F, height, width]."""
    tone = Tone(pictures) if match else None
    found = []
    for slot, number in grid.picks:
        keys = slot.left, slot.left + 1
        picture = pictures[:, number]
        if tone is not None:
            places = grid.around(number)
            known = [(float(at), keyframes[key]) for at, key in zip(places, keys, strict=True)]
            picture = tone.match(picture, float(slot.tau), known)
        ends = window.keyframes[keys[0]], window.keyframes[keys[1]]
        found.append(canvas.paint(picture, ends, float(slot.tau)))
    return found
