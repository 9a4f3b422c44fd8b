"""Denoising: sigma schedules, guidance and samplers, all in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ltxfilter.engines.ltx.diffusion.tokens import Tokens

# The sigmas that the distilled models were trained on.
DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
STAGE_2_SIGMAS = DISTILLED_SIGMAS[5:]  # for latents from the spatial upsampler
FEW_STEP_SIGMAS = {  # number of steps -> sigmas
    1: (1.0, 0.0),
    2: (1.0, 0.725, 0.0),
    3: (1.0, 0.909375, 0.421875, 0.0),
    4: (1.0, *STAGE_2_SIGMAS),
}
LEAST_SIGMA = 0.0011  # of res_2s before its last step, since the logarithm of 0 does not exist
# res_2s iterates its anchor in steps of log sigma below this length, at sigmas above this value,
ANCHOR_STEP = 0.5
ANCHOR_SIGMA = 0.03
ANCHOR_ITERATIONS = 100  # this many times

Velocity = Callable[..., Tensor]  # `Models.velocity`: d(tokens) / d(sigma)
Predict = Callable[[Tensor, float, int], Tensor]  # noisy tokens, sigma, step -> clean tokens
Noise = Callable[[str, int], Tensor]  # purpose, step -> noise in the tokens' shape
Restore = Callable[[Tensor], Tensor]  # tokens -> the same tokens with their conditioning restored


@dataclass(frozen=True, slots=True)
class Guidance:
    """Classifier-free and spatio-temporal guidance: predictions are moved away from worse ones."""

    cfg: float = 1.0  # scale of guidance away from the negative context; 1 is off
    stg: float = 0.0  # scale of guidance away from skipped self-attention; 0 is off
    blocks: tuple[int, ...] = ()  # whose self-attention is skipped for stg
    rescale: float = 0.0  # 0..1: share by which the unguided standard deviation is restored
    skip: int = 0  # unguided steps after each guided step

    def applies_at(self, step: int) -> bool:
        """Return True for a guided step. step: from 0."""
        return step % (self.skip + 1) == 0

    def __call__(self, cond: Tensor, negative: Tensor | None, perturbed: Tensor | None) -> Tensor:
        """Return the guided prediction [B, T, 128].

        cond: the prediction with the prompt. negative: that with the negative prompt. perturbed:
        that without the self-attention of `blocks`; None leaves a kind of guidance out.
        """
        guided = cond
        if negative is not None:
            guided = guided + (self.cfg - 1) * (cond - negative)
        if perturbed is not None:
            guided = guided + self.stg * (cond - perturbed)
        if self.rescale:  # per window, so that a batch does not change its windows
            factor = cond.std((1, 2), keepdim=True) / guided.std((1, 2), keepdim=True)
            guided = guided * (self.rescale * factor + 1 - self.rescale)
        return guided


UNGUIDED = Guidance()


@dataclass(frozen=True, slots=True, eq=False)
class Denoiser:
    """Predicts clean tokens from noisy ones; conditioning tokens come back as they are."""

    velocity: Velocity
    tokens: Tokens
    context: Tensor  # of the prompt, [1 or B, L, D]
    negative: Tensor | None = None  # of the negative prompt, [1 or B, L, D]
    guidance: Guidance = UNGUIDED

    def __call__(self, noisy: Tensor, sigma: float, step: int) -> Tensor:
        """Return the prediction [B, T, 128] for noisy tokens [B, T, 128]."""
        cond = self._predict(noisy, sigma, self.context)
        guidance = self.guidance
        if guidance is UNGUIDED or not guidance.applies_at(step):
            return self.tokens.restore(cond)
        negative = perturbed = None
        if guidance.cfg != 1 and self.negative is not None:
            negative = self._predict(noisy, sigma, self.negative)
        if guidance.stg and guidance.blocks:
            perturbed = self._predict(noisy, sigma, self.context, guidance.blocks)
        return self.tokens.restore(guidance(cond, negative, perturbed))

    def _predict(
        self, noisy: Tensor, sigma: float, context: Tensor, skipped: Sequence[int] = ()
    ) -> Tensor:
        tokens = self.tokens
        timesteps = (
            tokens.mask * sigma
        )  # a conditioning token has no noise, which the model is told
        velocity = self.velocity(
            noisy, sigma, timesteps, tokens.positions, context, first=tokens.first, skipped=skipped
        )
        return noisy - velocity * timesteps


def distilled_sigmas(steps: int) -> tuple[float, ...]:
    """Return `steps` + 1 sigmas for a distilled model; 1 to 8 steps.

    From 5 to 7 steps the first step is longer and the last ones are those of 8 steps.
    """
    return FEW_STEP_SIGMAS.get(steps) or (1.0, *DISTILLED_SIGMAS[-steps:])


def shifted_sigmas(
    steps: int, tokens: int = 4096, *, shifts: tuple[float, float] = (0.95, 2.05), end: float = 0.1
) -> tuple[float, ...]:
    """Return `steps` + 1 sigmas for an undistilled model: even steps, shifted.

    tokens: number of tokens. shifts: mu at 1024 and at 4096 tokens, linear between and beyond. end:
    the last sigma before 0; all are stretched to end there.

    (Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis",
    section 5.3.2, the shift of timesteps by resolution; here by e^mu.)
    """
    low, high = shifts
    shift = math.exp(low + (high - low) * (tokens - 1024) / (4096 - 1024))
    even = [1 - step / steps for step in range(steps)]
    shifted = [shift / (shift + (1 / sigma - 1)) for sigma in even]
    stretch = (1 - shifted[-1]) / (1 - end) or 1.0
    return (*(1 - (1 - sigma) / stretch for sigma in shifted), 0.0)


def sample(
    sampler: str, denoiser: Denoiser, start: Tensor, sigmas: Sequence[float], noise: Noise
) -> Tensor:
    """Return clean tokens [B, T, 128] from noisy ones.

    sampler: "euler", "ancestral", "gradient" or "res-2s". start: tokens with noise of strength
    sigmas[0]. noise: gives fresh noise to the samplers that add some.
    """
    restore = denoiser.tokens.restore
    if sampler == "ancestral":
        return ancestral(start, sigmas, denoiser, noise, restore)
    if sampler == "res-2s":
        return res_2s(start, sigmas, denoiser, noise, restore)
    return (gradient_estimation if sampler == "gradient" else euler)(start, sigmas, denoiser)


def euler(noisy: Tensor, sigmas: Sequence[float], predict: Predict) -> Tensor:
    """Take one Euler step of the probability-flow equation from sigma to sigma."""
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        noisy = clean if after == 0 else _euler_step(noisy, clean, sigma, after)
    return noisy


def ancestral(
    noisy: Tensor,
    sigmas: Sequence[float],
    predict: Predict,
    noise: Noise,
    restore: Restore,
    *,
    eta: float = 0.5,
) -> Tensor:
    """Step below each sigma and add fresh noise up to it (Euler ancestral, rectified flow).

    eta: how far below, as a share of the step; 0 adds no noise and is `euler`.
    """
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        if after == 0:
            return clean
        down = after * (1 + (after / sigma - 1) * eta)
        noisy = down / sigma * noisy + (1 - down / sigma) * clean
        kept = (1 - after) / (1 - down)
        fresh = math.sqrt(max(after**2 - (down * kept) ** 2, 0.0))
        noisy = restore(kept * noisy + fresh * noise("ancestral", step))
    return noisy


def gradient_estimation(
    noisy: Tensor, sigmas: Sequence[float], predict: Predict, gamma: float = 2.0
) -> Tensor:
    """Take Euler steps whose velocity is extrapolated from the previous step's.

    gamma: weight of the step's own velocity; 1 is `euler`.

    (Permenter and Yuan 2024, "Interpreting and improving diffusion models from an optimization
    perspective", algorithm 2.)
    """
    previous: Tensor | None = None
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        clean = predict(noisy, sigma, step)
        if after == 0:
            return clean
        velocity = (noisy - clean) / sigma
        used = velocity if previous is None else gamma * velocity + (1 - gamma) * previous
        previous = velocity
        noisy = noisy + used * (after - sigma)
    return noisy


def res_2s(
    noisy: Tensor, sigmas: Sequence[float], predict: Predict, noise: Noise, restore: Restore
) -> Tensor:
    """Take exponential Runge-Kutta steps of second order in log sigma, with fresh noise.

    Each step predicts twice, at its beginning and at its geometric middle, and adds noise after
    both. In short steps the beginning is iterated until it agrees with the noisy middle.

    (Zhang et al. 2023, "Improved order analysis and design of exponential integrator for diffusion
    models sampling".)
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
        middle = restore(_renoised(anchor, middle, sigma, between, noise("middle", step)))
        if length < ANCHOR_STEP and sigma > ANCHOR_SIGMA:
            for _ in range(ANCHOR_ITERATIONS):
                anchor = middle - length * half * (clean - anchor)
        later = predict(middle, between, step)
        end = anchor + length * (first * (clean - anchor) + second * (later - anchor))
        noisy = restore(_renoised(anchor, end, sigma, after, noise("end", step)))
    return predict(noisy, levels[-1], len(levels) - 1) if sigmas[-1] == 0 else noisy


def _euler_step(noisy: Tensor, clean: Tensor, sigma: float, after: float) -> Tensor:
    return noisy + (noisy - clean) / sigma * (after - sigma)


def _phi(order: int, z: float) -> float:
    """Return phi_order(z) of exponential integrators.

    That is (e^z minus the first `order` terms of its series) / z^order.
    """
    if abs(z) < 1e-10:
        return 1 / math.factorial(order)
    return (math.exp(z) - sum(z**k / math.factorial(k) for k in range(order))) / z**order


def _renoised(sample: Tensor, end: Tensor, sigma: float, after: float, noise: Tensor) -> Tensor:
    """Return the end of a step with half of its noise replaced by fresh noise.

    sample: tokens at `sigma`. end: tokens at `after`. The strength of the noise stays `after`.
    """
    fresh = after / 2
    rest = math.sqrt(after**2 - fresh**2)
    kept = (1 - after) + rest
    down = rest / kept
    velocity = (sample - end) / (sigma - after)
    clean = sample - sigma * velocity
    return kept * (clean + down * velocity) + fresh * noise
