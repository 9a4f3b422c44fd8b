"""Grids of frames from noise to pictures: half size, full size, decoded, in their place's tone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.diffusion.canvas import Canvas, Tone
from ltxfilter.engines.ltx.diffusion.grids import KeyframeToken, LatentGrid
from ltxfilter.engines.ltx.diffusion.keyframe_cache import Encoded
from ltxfilter.engines.ltx.diffusion.samplers import UNGUIDED, Denoiser, Guidance
from ltxfilter.engines.ltx.diffusion.tokens import Tokens, empty_grid, joined, seeded_noise
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.windows.window import Window

STEPS = {"distilled": 8, "guided": 30}  # of the first stage, unless told

Pictures = Mapping[int, Tensor]  # keyframes by their position in the window, [3, height, width]


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """Draws one grid after another with resident models."""

    models: Models
    canvas: Canvas
    options: Mapping[str, Any]  # of the engine
    guidance: Guidance  # of the first stage
    encoded: Encoded
    reference: int = 0  # times that a clip given to an IC-LoRA is smaller; 0: none is given

    def draw(self, window: Window, grids: Sequence[LatentGrid]) -> Iterator[list[Drawn]]:
        """Yield the pictures of each grid's slots, as many grids drawn at once as `batch` says.

        The last of a window are filled up with copies: every draw of a run has one size, so that
        numbers do not depend on how many there are.
        """
        size = self.options["batch"]
        for _, alike in groupby(grids, self._layout):
            same = list(alike)
            for begin in range(0, len(same), size):
                part = same[begin : begin + size]
                yield from self._drawn(window, part, part + part[-1:] * (size - len(part)))

    def _layout(self, grid: LatentGrid) -> list[bool]:
        """Return what grids that are drawn at once have in common: how stills are given."""
        return [self._appends(grid, still) for still in grid.stills]

    def _drawn(
        self, window: Window, wanted: Sequence[LatentGrid], grids: Sequence[LatentGrid]
    ) -> Iterator[list[Drawn]]:
        keyframes = read_keyframes(self.canvas, window, wanted)
        pictures = self.models.decode(self._latents(window, grids, keyframes))
        for grid, drawn in zip(wanted, pictures, strict=False):
            match = self.options["match"]
            yield shown(self.canvas, window, grid, keyframes, drawn, match=match)

    def _latents(self, window: Window, grids: Sequence[LatentGrid], keyframes: Pictures) -> Tensor:
        """Return what the stages make of grids, [B, 128, k + 1, h, w]."""
        if self.options["stages"] == 1:
            return self._first(window, grids, keyframes, 1)
        raised = self.models.upsample(self._first(window, grids, keyframes, 2), "spatial")
        tokens = self._tokens(window, grids, keyframes, 1, raised)
        sigmas = samplers.REFINING[-self.options["refine"] - 1 :]
        return self._denoised(grids, tokens, sigmas, UNGUIDED, "euler", refining=True)

    def _first(
        self, window: Window, grids: Sequence[LatentGrid], keyframes: Pictures, shrink: int
    ) -> Tensor:
        options = self.options
        tokens = self._tokens(window, grids, keyframes, shrink)
        steps = options["steps"] or STEPS[options["mode"]]
        if options["mode"] == "guided":
            sigmas = samplers.scheduled(steps)
        else:
            sigmas = samplers.distilled(min(steps, STEPS["distilled"]))
        return self._denoised(grids, tokens, sigmas, self.guidance, options["sampler"])

    def _tokens(
        self,
        window: Window,
        grids: Sequence[LatentGrid],
        keyframes: Pictures,
        shrink: int,
        start: Tensor | None = None,
    ) -> Tokens:
        """Return the tokens of grids, their keyframes given.

        shrink: times that the keyframes are made smaller. start: latents to begin from.
        """
        stills = {
            key: self.encoded.of(window.keyframes[key], partial(smaller, picture, shrink), shrink)
            for key, picture in keyframes.items()
        }
        begin = [None] * len(grids) if start is None else start.split(1)
        return joined(
            [
                self._placed(grid, stills, keyframes if start is None else {}, shrink, latents)
                for grid, latents in zip(grids, begin, strict=True)
            ]
        )

    def _placed(
        self,
        grid: LatentGrid,
        stills: Pictures,
        clip: Pictures,
        shrink: int,
        start: Tensor | None,
    ) -> Tokens:
        """Return the tokens of one grid. clip: for the first stage, if a clip is to be given."""
        strength, rate = self.options["strength"], float(grid.model_rate)
        rows, columns = next(iter(stills.values())).shape[-2:]
        size = (grid.latents, rows, columns)
        tokens = empty_grid(size, rate, float(grid.offset), start, self.models.device)
        for still in grid.stills:
            latent = stills[still.keyframe]
            if self._appends(grid, still):
                tokens = tokens.with_still(latent, float(still.at), rate, strength)
            else:
                tokens = tokens.with_first(latent, strength)
        if self.reference and clip:
            found = self._clip(grid, clip, shrink * self.reference)
            tokens = tokens.with_clip(found, rate, float(grid.offset), self.reference)
        return tokens

    def _clip(self, grid: LatentGrid, keyframes: Pictures, shrink: int) -> Tensor:
        """Return the source as a clip of the grid's length, every frame held till the next."""
        small = {key: smaller(picture, shrink) for key, picture in keyframes.items()}
        return self.models.encode(torch.stack([small[key] for key in grid.held()], 1)[None])

    def _appends(self, grid: LatentGrid, still: KeyframeToken) -> bool:
        """True for a still that is given beside the grid, not as its first latent."""
        return bool(self.options["append"]) or still.at != grid.offset

    def _denoised(
        self,
        grids: Sequence[LatentGrid],
        tokens: Tokens,
        sigmas: Sequence[float],
        guidance: Guidance,
        sampler: str,
        *,
        refining: bool = False,
    ) -> Tensor:
        def noise(purpose: str, step: int) -> Tensor:
            parts = [self._noise(grid, tokens, purpose, step) for grid in grids]
            return torch.cat(parts).to(self.models.device)

        denoiser = Denoiser(
            partial(self.models.velocity, refining=refining),
            tokens,
            self.models.contexts([grid.scene for grid in grids]),
            self.models.negative_context(),
            guidance,
        )
        begin = tokens.noisy(noise("begin", 0), sigmas[0])
        return tokens.latents(samplers.follow(sampler, denoiser, begin, sigmas, noise))

    def _noise(self, grid: LatentGrid, tokens: Tokens, purpose: str, step: int) -> Tensor:
        """Return noise [1, T, 128] that depends on the seed and on moments, not on windows."""
        rows, columns = tokens.size[1:]
        shape = rows * columns, tokens.clean.shape[-1]
        moments = [grid.moment(number) for number in range(grid.latents)]
        moments += [grid.time_of(still) for still in grid.stills if self._appends(grid, still)]
        given = grid.latents if self.options["strength"] == 1 else len(moments)
        key = self.options["seed"], f"{rows}x{columns}", purpose, step
        parts = [seeded_noise(shape, *key, moment) for moment in moments[:given]]
        rest = tokens.clean.shape[1] - given * shape[0]  # what is given as it is takes none
        return torch.cat([*parts, torch.zeros(rest, shape[1])])[None]


def smaller(picture: Tensor, times: int) -> Tensor:
    """Return a picture [3, height, width] so many times smaller, by means."""
    return picture if times == 1 else avg_pool2d(picture, times)


def read_keyframes(
    canvas: Canvas, window: Window, grids: Iterable[LatentGrid]
) -> dict[int, Tensor]:
    """Return the keyframes that grids see, by their position in the window."""
    used = {still.keyframe for grid in grids for still in grid.stills}
    return {key: canvas.read(window.keyframes[key]) for key in sorted(used)}


def shown(
    canvas: Canvas,
    window: Window,
    grid: LatentGrid,
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
