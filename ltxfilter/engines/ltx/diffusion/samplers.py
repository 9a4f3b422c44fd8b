"""Denoising: sigma schedules, guidance, and the loops that follow them; float32 throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ltxfilter.engines.ltx.diffusion.tokens import Tokens

# What the distilled models were trained on.
DISTILLED = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
REFINING = DISTILLED[5:]  # from latents that the spatial upsampler made
FEW = {
    1: (1.0, 0.0),
    2: (1.0, 0.725, 0.0),
    3: (1.0, 0.909375, 0.421875, 0.0),
    4: (1.0, *REFINING),
}
SAMPLERS = ("euler", "ancestral", "gradient", "res-2s")
LEAST_SIGMA = 0.0011  # where res_2s ends before its last step: its logarithms end at 0
REFINED_STEP = 0.5  # res_2s finds its anchor anew in steps smaller than this, of log sigma,
REFINED_SIGMA = 0.03  # above this sigma,
REFINED_ROUNDS = 100  # in so many rounds

Velocity = Callable[..., Tensor]  # `Models.velocity`: how noisy tokens move per unit of sigma
Predict = Callable[[Tensor, float, int], Tensor]  # tokens, sigma, step -> tokens without noise
Noise = Callable[[str, int], Tensor]  # what for, step -> noise in the tokens' shape
Keep = Callable[[Tensor], Tensor]  # tokens -> the same, given ones as they were given


@dataclass(frozen=True, slots=True)
class Guidance:
    """How far predictions are pushed away from worse ones."""

    cfg: float = 1.0  # from the one with the negative context; 1: not at all
    stg: float = 0.0  # from the one with self-attention left out in `blocks`; 0: not at all
    blocks: tuple[int, ...] = ()
    rescale: float = 0.0  # 0..1: how far the deviation is brought back to the unguided one's
    skip: int = 0  # steps without guidance after each step with it

    def at(self, step: int) -> bool:
        """True if a step is guided."""
        return step % (self.skip + 1) == 0

    def __call__(self, cond: Tensor, negative: Tensor | None, perturbed: Tensor | None) -> Tensor:
        """Return the guided prediction."""
        found = cond
        if negative is not None:
            found = found + (self.cfg - 1) * (cond - negative)
        if perturbed is not None:
            found = found + self.stg * (cond - perturbed)
        if self.rescale:  # each window by itself, whatever is drawn beside it
            change = cond.std((1, 2), keepdim=True) / found.std((1, 2), keepdim=True)
            found = found * (self.rescale * change + 1 - self.rescale)
        return found


UNGUIDED = Guidance()


@dataclass(frozen=True, slots=True, eq=False)
class Denoiser:
    """Predicts the tokens without noise; given ones come back as they are."""

    velocity: Velocity
    tokens: Tokens
    context: Tensor  # [1 or B, L, D]
    negative: Tensor | None = None  # the same, of what is not wanted
    guidance: Guidance = UNGUIDED

    def __call__(self, noisy: Tensor, sigma: float, step: int) -> Tensor:
        """Return the prediction [B, T, 128] from noisy tokens."""
        cond = self._predict(noisy, sigma, self.context)
        guidance = self.guidance
        if guidance is UNGUIDED or not guidance.at(step):
            return self.tokens.keep_given(cond)
        negative = perturbed = None
        if guidance.cfg != 1 and self.negative is not None:
            negative = self._predict(noisy, sigma, self.negative)
        if guidance.stg and guidance.blocks:
            perturbed = self._predict(noisy, sigma, self.context, guidance.blocks)
        return self.tokens.keep_given(guidance(cond, negative, perturbed))

    def _predict(
        self, noisy: Tensor, sigma: float, context: Tensor, skipped: Sequence[int] = ()
    ) -> Tensor:
        own = self.tokens.mask * sigma  # a given token has no noise, and is told so
        moving = self.velocity(noisy, sigma, own, self.tokens.positions, context, skipped=skipped)
        return noisy - moving * own


def distilled(steps: int) -> tuple[float, ...]:
    """Return the sigmas of a distilled model in 1 to 4 or 8 steps; between, the last ones of 8."""
    return FEW.get(steps) or (1.0, *DISTILLED[-steps:])


def scheduled(
    steps: int, tokens: int = 4096, *, shifts: tuple[float, float] = (0.95, 2.05), end: float = 0.1
) -> tuple[float, ...]:
    """Return the sigmas of an undistilled model: even steps, shifted by the number of tokens.

    shifts: at 1024 and at 4096 tokens. end: the last sigma before 0. (Esser et al. 2024, section
    5.3.2, with a shift that is linear in the tokens, stretched to end at `end`.)
    """
    low, high = shifts
    shift = math.exp(low + (high - low) * (tokens - 1024) / (4096 - 1024))
    even = [1 - step / steps for step in range(steps)]
    shifted = [shift / (shift + (1 / sigma - 1)) for sigma in even]
    stretch = (1 - shifted[-1]) / (1 - end) or 1.0
    return (*(1 - (1 - sigma) / stretch for sigma in shifted), 0.0)


def follow(
    sampler: str, denoiser: Denoiser, start: Tensor, sigmas: Sequence[float], noise: Noise
) -> Tensor:
    """Denoise from noisy tokens; sampler: one of SAMPLERS."""
    keep = denoiser.tokens.keep_given
    if sampler == "ancestral":
        return ancestral(start, sigmas, denoiser, noise, keep)
    if sampler == "res-2s":
        return res_2s(start, sigmas, denoiser, noise, keep)
    return (gradient_estimating if sampler == "gradient" else euler)(start, sigmas, denoiser)


def euler(noisy: Tensor, sigmas: Sequence[float], predict: Predict) -> Tensor:
    """Follow the prediction straight from sigma to sigma."""
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        noisy = clean if after == 0 else _toward(noisy, clean, sigma, after)
    return noisy


def ancestral(
    noisy: Tensor,
    sigmas: Sequence[float],
    predict: Predict,
    noise: Noise,
    keep: Keep,
    *,
    eta: float = 0.5,
) -> Tensor:
    """Go further down than asked, and back up with fresh noise; eta 0 is `euler`."""
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        if after == 0:
            return clean
        down = after * (1 + (after / sigma - 1) * eta)
        noisy = down / sigma * noisy + (1 - down / sigma) * clean
        kept = (1 - after) / (1 - down)
        fresh = math.sqrt(max(after**2 - (down * kept) ** 2, 0.0))
        noisy = keep(kept * noisy + fresh * noise("ancestral", step))
    return noisy


def gradient_estimating(
    noisy: Tensor, sigmas: Sequence[float], predict: Predict, gamma: float = 2.0
) -> Tensor:
    """As `euler`, the velocity extrapolated from that of the step before.

    (Permenter and Yuan 2024, "Interpreting and improving diffusion models from an optimization
    perspective", algorithm 2.)
    """
    before: Tensor | None = None
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        if after == 0:
            return clean
        moving = (noisy - clean) / sigma
        used = moving if before is None else gamma * moving + (1 - gamma) * before
        before = moving
        noisy = noisy + used * (after - sigma)
    return noisy


def res_2s(
    noisy: Tensor, sigmas: Sequence[float], predict: Predict, noise: Noise, keep: Keep
) -> Tensor:
    """Two predictions per step, exponential Runge-Kutta in log sigma, fresh noise at both.

    (Zhang et al. 2023, "Improved order analysis and design of exponential integrator for diffusion
    models sampling".) In short steps the starting point is made to agree with the middle.
    """
    levels = [*sigmas[:-1], LEAST_SIGMA] if sigmas[-1] == 0 else list(sigmas)
    for step, (sigma, after) in enumerate(pairwise(levels)):
        length = math.log(sigma / after)
        half = _phi(1, -length / 2) / 2
        second = 2 * _phi(2, -length)
        first = _phi(1, -length) - second
        clean = predict(noisy, sigma, step)
        between = math.sqrt(sigma * after)
        anchor = noisy
        middle = anchor + length * half * (clean - anchor)
        middle = keep(_renoised(anchor, middle, sigma, between, noise("middle", step)))
        if length < REFINED_STEP and sigma > REFINED_SIGMA:
            for _ in range(REFINED_ROUNDS):
                anchor = middle - length * half * (clean - anchor)
        later = predict(middle, between, step)
        reached = anchor + length * (first * (clean - anchor) + second * (later - anchor))
        noisy = keep(_renoised(anchor, reached, sigma, after, noise("end", step)))
    return predict(noisy, levels[-1], len(levels) - 1) if sigmas[-1] == 0 else noisy


def _toward(noisy: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
    return noisy + (noisy - clean) / sigma * (after - sigma)


def _phi(order: int, z: float) -> float:
    """Return the phi function of an exponential integrator: (e^z - first terms) / z^order."""
    if abs(z) < 1e-10:
        return 1 / math.factorial(order)
    return (math.exp(z) - sum(z**k / math.factorial(k) for k in range(order))) / z**order


def _renoised(sample: Tensor, reached: Tensor, sigma: float, after: float, noise: Tensor) -> Tensor:
    """Put noise of half the target's strength in place of what a step left, at equal variance."""
    fresh = after / 2
    rest = math.sqrt(after**2 - fresh**2)
    kept = (1 - after) + rest
    down = rest / kept
    moving = (sample - reached) / (sigma - after)
    clean = sample - sigma * moving
    return kept * (clean + down * moving) + fresh * noise
