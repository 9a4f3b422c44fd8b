"""LTX-2 as a source of guides: latents upsampled in time, denoised in few steps, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.diffusion.grids import CAP, SPAN
from ltxfilter.engines.ltx.diffusion.samplers import Denoiser
from ltxfilter.engines.ltx.diffusion.tokens import CELL, Tokens, empty_grid, joined, seeded_noise
from ltxfilter.engines.ltx.guides.contract import GuideClip
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_size

AREA = 448 * 256  # pixels of a guide, unless told
WORKING = 192  # bytes per pixel and guide on the host; the tiny autoencoder takes 90 to 125
PARTS = (2, 4, 8, 16)  # that an interval may be cut into
PACES = {2: Fraction(5, 2), 4: Fraction(5), 8: None}  # parts -> most output frames per keyframe
LATENTS = 2  # of 8 guides each, beyond the first, in a clip unless told
# The sigmas of so many steps, all known to distilled models: from noise, and from latents that are
# upsampled, which keep more the fewer steps follow.
FROM_NOISE = {steps: samplers.distilled(steps) for steps in (1, 2, 3, 4, 8)}
FROM_LATENTS = {steps: samplers.DISTILLED[-steps - 1 :] for steps in (1, 2, 3, 4)}


@dataclass(frozen=True, slots=True)
class GuideGrid:
    """How guides lie between keyframes."""

    width: int  # pixels of a guide, multiples of 32
    height: int
    parts: int  # of an interval
    intervals: int  # of a clip
    batch: int  # clips

    @property
    def frames(self) -> int:
        """Guides of a clip, those at keyframes among them."""
        return self.intervals * self.parts + 1

    @property
    def size(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns of a clip's latents."""
        return (self.frames - 1) // SPAN + 1, self.height // CELL, self.width // CELL

    @property
    def rounds(self) -> int:
        """How often a clip's frame rate is doubled."""
        return self.parts.bit_length() - 1


class LtxSource:
    """Draws guides with resident models; keeps to `guides.GuideSource`."""

    before = after = 0

    def __init__(
        self,
        models: Models,
        grid: GuideGrid,
        *,
        upsampled: bool,
        sigmas: Sequence[float],
        seed: int,
    ) -> None:
        """Take models that are loaded.

        upsampled: begin from the keyframes' latents, upsampled in time. sigmas: that the
        transformer denoises by, its keyframes given as they are; none leaves it out.
        """
        self.width, self.height = grid.width, grid.height
        self.parts, self.intervals, self.batch = grid.parts, grid.intervals, grid.batch
        self._grid = grid
        self._models = models
        self._upsampled = upsampled
        self._sigmas = tuple(sigmas)
        self._seed = seed

    @property
    def device(self) -> torch.device:
        """What the models run on."""
        return self._models.device

    @property
    def host_bytes(self) -> int:
        """Host memory that the models and their work take."""
        grid = self._grid
        pixels = grid.width * grid.height * grid.frames * grid.batch
        return self._models.host_bytes + (pixels * WORKING if self.device.type == "cpu" else 0)

    def draw(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return guides [clips, 3, intervals * parts + 1, height, width] in -1..1."""
        keyframes = torch.stack([clip.keyframes for clip in clips]).to(self.device)
        latents = self._doubled(keyframes) if self._upsampled else None
        if self._sigmas:
            latents = self._denoised(clips, keyframes, latents)
        assert latents is not None
        return self._models.decode(latents)

    def close(self) -> None:
        """Let go of the models."""
        self._models.close()

    def _doubled(self, keyframes: Tensor) -> Tensor:
        """Return the latents of clips at `parts` times their frame rate."""
        latents = self._models.encode(keyframes)
        for _ in range(self._grid.rounds):
            latents = self._models.upsample(latents, "temporal")
        return latents

    def _denoised(
        self, clips: Sequence[GuideClip], keyframes: Tensor, start: Tensor | None
    ) -> Tensor:
        """Return latents that the transformer drew; start: what it begins from if not noise."""
        stills = self._stills(keyframes)
        tokens = joined(
            [
                self._tokens(clip, stills[number], None if start is None else start[number, None])
                for number, clip in enumerate(clips)
            ]
        )
        noise = torch.cat([self._noise(clip, tokens) for clip in clips]).to(self.device)
        denoiser = Denoiser(self._models.velocity, tokens, self._context(clips))
        found = samplers.euler(tokens.noisy(noise, self._sigmas[0]), self._sigmas, denoiser)
        return tokens.latents(found)

    def _context(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return the prompt of each clip, or the one that they share, which is remembered."""
        found = [self._models.context(clip.scene(self.before)) for clip in clips]
        shared = all(context.data_ptr() == found[0].data_ptr() for context in found)
        return found[0] if shared else torch.cat(found)

    def _stills(self, keyframes: Tensor) -> Tensor:
        """Return the latent of each keyframe alone, [clips, keyframes, 128, 1, h, w]."""
        apart = keyframes.transpose(1, 2)
        latents = self._models.encode(apart.flatten(0, 1)[:, :, None])
        return latents.unflatten(0, apart.shape[:2])

    def _tokens(self, clip: GuideClip, stills: Tensor, start: Tensor | None) -> Tokens:
        """Return the tokens of a clip: keyframes stand `parts` frames apart at any timing."""
        rate = min(clip.rate * self.parts, float(CAP))
        tokens = empty_grid(self._grid.size, rate, start=start, device=self.device)
        tokens = tokens.with_first(stills[:1])
        for number in range(1, len(stills)):
            tokens = tokens.with_still(stills[number, None], float(number * self.parts), rate)
        return tokens

    def _noise(self, clip: GuideClip, tokens: Tokens) -> Tensor:
        """Return noise for a clip's tokens by the seed and its time; what is given takes none."""
        frames, rows, columns = self._grid.size
        shape = rows * columns, tokens.clean.shape[-1]
        key = self._seed, "guides", clip.scene(self.before)
        drawn = [seeded_noise(shape, *key, part) for part in range(frames)]
        given = torch.zeros(tokens.clean.shape[1] - tokens.grid, shape[1])
        return torch.cat([*drawn, given])[None]


def open_source(
    files: ModelOptions, options: Mapping[str, Any], size: tuple[int, int], pace: Fraction
) -> LtxSource:
    """Load what the source that the options of `ltx-motion` name needs.

    size: pixels of the stream's pictures. pace: output frames per keyframe. Raises OptionError,
    EngineUnavailableError.
    """
    upsampled, denoised = (part in options["source"].split("+") for part in ("latent", "dit"))
    sigmas = choose_sigmas(options["steps"], upsampled=upsampled) if denoised else ()
    grid = choose_grid(options, size, pace)
    running = {name: options[name] for name in ("fp8", "graphs", "text_memory", "offload")}
    models = Models(files, **running, tiny=options["vae"] == "tiny")
    if denoised:
        models.context()  # before what takes long to load
    parts = ["encoder", "decoder"]
    parts += ["temporal"] if upsampled else []
    parts += ["transformer"] if denoised else []
    models.load(*parts)
    return LtxSource(models, grid, upsampled=upsampled, sigmas=sigmas, seed=options["seed"])


def choose_sigmas(steps: int, *, upsampled: bool) -> tuple[float, ...]:
    """Return the sigmas of so many steps, upsampled: not from noise alone. Raises OptionError."""
    source, known = ("latent+dit", FROM_LATENTS) if upsampled else ("dit", FROM_NOISE)
    if steps not in known:
        allowed = ", ".join(map(str, known))
        raise OptionError(f"option steps={steps}: source={source} takes one of {allowed}")
    return known[steps]


def choose_grid(options: Mapping[str, Any], size: tuple[int, int], pace: Fraction) -> GuideGrid:
    """Return the grid for pictures of `size` at `pace` output frames per keyframe.

    Raises OptionError.
    """
    width, height = work_size(size, options["size"])
    parts = options["parts"] or next(p for p, most in PACES.items() if most is None or pace <= most)
    if parts not in PARTS:
        raise OptionError(f"option parts={parts}: not one of 0, {', '.join(map(str, PARTS))}")
    multiple = SPAN if "latent" in options["source"] else max(SPAN // parts, 1)
    intervals = options["intervals"] or max(multiple, LATENTS * SPAN // parts)
    if intervals % multiple:
        raise OptionError(
            f"option intervals={intervals}: not a multiple of {multiple}, which "
            f"source={options['source']} "
            f"takes with parts={parts}"
        )
    return GuideGrid(width, height, parts, intervals, options["batch"])


def work_size(size: tuple[int, int], asked: str) -> tuple[int, int]:
    """Return the size of guides: as asked, or of about AREA pixels in the picture's shape.

    Raises OptionError.
    """
    if asked:
        width, height = parse_size(asked)
        if width % CELL or height % CELL:
            raise OptionError(f"option size={asked}: its sides are not multiples of {CELL} pixels")
        return width, height
    scale = min(sqrt(AREA / (size[0] * size[1])), 1.0)
    width, height = (max(round(side * scale / CELL), 1) * CELL for side in size)
    return width, height
