"""LTX-2 as a source of guides: temporally upsampled latents, few-step denoising, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.diffusion.grids import MAX_MODEL_RATE
from ltxfilter.engines.ltx.diffusion.samplers import Denoiser
from ltxfilter.engines.ltx.diffusion.tokens import Tokens, as_batch, empty_grid, seeded_noise
from ltxfilter.engines.ltx.guides.contract import GuideClip
from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, TEMPORAL_COMPRESSION
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights.fits import few_step_options
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_size

GUIDE_AREA = 448 * 256  # pixels of a guide unless the user says
GUIDE_BYTES = 192  # host bytes per pixel and guide, measured with the tiny autoencoder as 90 to 125
PARTS = (2, 4, 8, 16)  # that an interval may be divided into
# Parts of an interval -> up to how many output frames per interval they are chosen for.
PACES = {2: Fraction(5, 2), 4: Fraction(5), 8: None}
CLIP_LATENTS = 2  # latent frames after the first, of a clip unless the user says
# Sigmas by the number of steps, all of which the distilled models were trained on: from noise, and
# from upsampled latents, of which more is kept the fewer steps follow.
FROM_NOISE = {steps: samplers.distilled_sigmas(steps) for steps in (1, 2, 3, 4, 8)}
FROM_LATENTS = {steps: samplers.DISTILLED_SIGMAS[-steps - 1 :] for steps in (1, 2, 3, 4)}


@dataclass(frozen=True, slots=True)
class GuideGrid:
    """The size of guides and how they lie between keyframes."""

    width: int  # pixels of a guide, a multiple of 32
    height: int  # pixels, a multiple of 32
    parts: int  # that each interval is divided into
    intervals: int  # of a clip
    batch: int  # clips of each call

    @property
    def frames(self) -> int:
        """The number of guides of a clip, those at keyframes included; 8k + 1."""
        return self.intervals * self.parts + 1

    @property
    def size(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns of a clip's latents."""
        return (
            (self.frames - 1) // TEMPORAL_COMPRESSION + 1,
            self.height // SPATIAL_COMPRESSION,
            self.width // SPATIAL_COMPRESSION,
        )

    @property
    def rounds(self) -> int:
        """How often a clip's frame rate is doubled to get `parts` guides per interval."""
        return self.parts.bit_length() - 1


class LtxSource:
    """Makes guides with resident models; implements `contract.GuideSource`."""

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

        upsampled: start from the keyframes' latents, upsampled in time. sigmas: of the
        transformer's denoising steps, which the keyframes condition; empty leaves the transformer
        out.
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
        """The device that the models run on."""
        return self._models.device

    @property
    def host_bytes(self) -> int:
        """Bytes of host memory that the models and their work take."""
        grid = self._grid
        pixels = grid.width * grid.height * grid.frames * grid.batch
        return self._models.host_bytes + (pixels * GUIDE_BYTES if self.device.type == "cpu" else 0)

    @property
    def device_bytes(self) -> int:
        """Bytes of a GPU's memory that the models take; 0 on a CPU."""
        return self._models.device_bytes

    def seconds_per_guide(self) -> float | None:
        """Return the seconds of work per guide, at least, by a small trial; None: not known."""
        return self._models.seconds_per_frame(self._grid.width * self._grid.height)

    def draw(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return guides [clips, 3, intervals * parts + 1, height, width] in -1..1."""
        keyframes = torch.stack([clip.keyframes for clip in clips]).to(self.device)
        latents = self._upsampled_latents(keyframes) if self._upsampled else None
        if self._sigmas:
            latents = self._denoise(clips, keyframes, latents)
        assert latents is not None
        return self._models.decode(latents)

    def cancel(self) -> None:
        """Let the models stop before their next layer."""
        self._models.cancellation.cancel()

    def close(self) -> None:
        """Release the models."""
        self._models.close()

    def _upsampled_latents(self, keyframes: Tensor) -> Tensor:
        """Return the latents of clips at `parts` times their frame rate."""
        latents = self._models.encode(keyframes)
        for _ in range(self._grid.rounds):
            latents = self._models.upsample(latents, "temporal")
        return latents

    def _denoise(
        self, clips: Sequence[GuideClip], keyframes: Tensor, start: Tensor | None
    ) -> Tensor:
        """Return the latents of clips after the transformer's steps.

        start: latents to start from, [clips, 128, f, h, w]; None starts from noise.
        """
        latents = self._keyframe_latents(keyframes)
        tokens = as_batch(
            [
                self._tokens(clip, latents[number], None if start is None else start[number, None])
                for number, clip in enumerate(clips)
            ]
        )
        noise = torch.cat([self._noise(clip, tokens) for clip in clips]).to(self.device)
        denoiser = Denoiser(self._models.velocity, tokens, self._context(clips))
        noisy = tokens.add_noise(noise, self._sigmas[0])
        return tokens.grid_latents(samplers.euler(noisy, self._sigmas, denoiser))

    def _context(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return the clips' text contexts, [clips, L, D], or [1, L, D] if they share one.

        Only the keys and values of a single context are cached.
        """
        contexts = [self._models.context(clip.start_time(self.before)) for clip in clips]
        shared = all(context.data_ptr() == contexts[0].data_ptr() for context in contexts)
        return contexts[0] if shared else torch.cat(contexts)

    def _keyframe_latents(self, keyframes: Tensor) -> Tensor:
        """Return the latent of each keyframe alone, [clips, keyframes, 128, 1, h, w]."""
        apart = keyframes.transpose(1, 2)
        latents = self._models.encode(apart.flatten(0, 1)[:, :, None])
        return latents.unflatten(0, apart.shape[:2])

    def _tokens(self, clip: GuideClip, latents: Tensor, start: Tensor | None) -> Tokens:
        """Return a clip's tokens with its keyframes `parts` frames apart, whatever their times."""
        rate = min(clip.rate * self.parts, float(MAX_MODEL_RATE))
        tokens = empty_grid(self._grid.size, rate, start=start, device=self.device)
        tokens = tokens.with_first_latent(latents[:1])
        for number in range(1, len(latents)):
            at = float(number * self.parts)
            tokens = tokens.with_keyframe(latents[number, None], at, rate)
        return tokens

    def _noise(self, clip: GuideClip, tokens: Tokens) -> Tensor:
        """Return noise [1, T, 128] that depends on the seed and on the clip's time alone.

        The tokens of keyframes are appended to the grid's and take no noise.
        """
        frames, rows, columns = self._grid.size
        shape = rows * columns, tokens.clean.shape[-1]
        key = self._seed, "guides", clip.start_time(self.before)
        noise = [seeded_noise(shape, *key, number) for number in range(frames)]
        appended = torch.zeros(tokens.clean.shape[1] - tokens.grid, shape[1])
        return torch.cat([*noise, appended])[None]


def open_source(
    files: ModelOptions, options: Mapping[str, Any], size: tuple[int, int], pace: Fraction
) -> LtxSource:
    """Load the models of the source that the options of `ltx-motion` name.

    options: values of `LtxMotion.options`. size: width and height of the video in pixels. pace:
    output frames per interval. Raises OptionError, EngineUnavailableError.
    """
    upsampled, denoised = (kind in options["source"].split("+") for kind in ("latent", "dit"))
    sigmas = choose_sigmas(options["steps"], upsampled=upsampled) if denoised else ()
    grid = choose_grid(options, size, pace)
    names = ("fp8", "graphs", "text_memory", "offload")
    settings = {name: options[name] for name in names}
    if denoised:
        files = few_step_options(files)
    models = Models(files, **settings, tiny=options["vae"] == "tiny")
    if denoised:
        models.context()  # an error in its file is found before the large files are loaded
    needed = ["encoder", "decoder"]
    needed += ["temporal"] if upsampled else []
    needed += ["transformer"] if denoised else []
    models.load(*needed)
    return LtxSource(models, grid, upsampled=upsampled, sigmas=sigmas, seed=options["seed"])


def choose_sigmas(steps: int, *, upsampled: bool) -> tuple[float, ...]:
    """Return the sigmas of `steps` denoising steps, the final 0 included.

    upsampled: the steps start from upsampled latents, not from noise. Raises OptionError.
    """
    source, known = ("latent+dit", FROM_LATENTS) if upsampled else ("dit", FROM_NOISE)
    if steps not in known:
        allowed = ", ".join(map(str, known))
        raise OptionError(f"option steps={steps}: source={source} takes one of {allowed}")
    return known[steps]


def choose_grid(options: Mapping[str, Any], size: tuple[int, int], pace: Fraction) -> GuideGrid:
    """Return the grid of guides that options describe.

    size: width and height of the video in pixels. pace: output frames per interval. Raises
    OptionError.
    """
    width, height = guide_size(size, options["size"])
    parts = options["parts"] or next(n for n, most in PACES.items() if most is None or pace <= most)
    if parts not in PARTS:
        raise OptionError(f"option parts={parts}: not one of 0, {', '.join(map(str, PARTS))}")
    latent = "latent" in options["source"]
    multiple = TEMPORAL_COMPRESSION if latent else max(TEMPORAL_COMPRESSION // parts, 1)
    usual = max(multiple, CLIP_LATENTS * TEMPORAL_COMPRESSION // parts)
    intervals = options["intervals"] or usual
    if intervals % multiple:
        raise OptionError(
            f"option intervals={intervals}: not a multiple of {multiple}, which "
            f"source={options['source']} takes with parts={parts}"
        )
    return GuideGrid(width, height, parts, intervals, options["batch"])


def guide_size(size: tuple[int, int], asked: str) -> tuple[int, int]:
    """Return the width and height of guides in pixels, multiples of 32.

    size: width and height of the video. asked: "WIDTHxHEIGHT", or "" for about GUIDE_AREA pixels in
    the video's shape. Raises OptionError.
    """
    cell = SPATIAL_COMPRESSION
    if asked:
        width, height = parse_size(asked)
        if width % cell or height % cell:
            raise OptionError(f"option size={asked}: its sides are not multiples of {cell} pixels")
        return width, height
    scale = min(sqrt(GUIDE_AREA / (size[0] * size[1])), 1.0)
    width, height = (max(round(side * scale / cell), 1) * cell for side in size)
    return width, height
