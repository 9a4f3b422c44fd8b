"""Tokens and denoising: positions in seconds, seeded noise, samplers with a known solution."""

from __future__ import annotations

import math
from fractions import Fraction as F
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.engines.ltx.diffusion import samplers, tokens

SIZE = (3, 2, 4)


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_grid_positions_are_seconds_rows_and_columns():
    positions = tokens.grid_positions(SIZE, 50.0, offset=2.5)
    assert positions.shape == (1, 3, 24, 2)
    assert positions.dtype == torch.float32
    seconds = positions[0, 0].unflatten(0, SIZE)[:, 0, 0] * 50
    torch.testing.assert_close(seconds, torch.tensor([[2.5, 3.5], [3.5, 11.5], [11.5, 19.5]]))
    cells = positions[0, 1:].unflatten(1, SIZE)
    assert cells[:, 0, 1, 2].tolist() == [[32, 64], [64, 96]]


def test_a_keyframe_lasts_one_frame_at_any_time():
    positions = tokens.keyframe_positions((2, 4), 2.4, 60.0)
    assert positions.shape == (1, 3, 8, 2)
    assert positions[0, 0, 5].tolist() == pytest.approx([2.4 / 60, 3.4 / 60])
    exact = tokens.keyframe_positions((1, 1), 1000 / 3, 60.0)[0, 0, 0, 0].item()
    assert exact == pytest.approx(1000 / 180, abs=1e-6)


def test_latents_become_tokens_and_latents_again():
    latents = random(2, 128, *SIZE)
    flat = tokens.patchify(latents)
    assert flat.shape == (2, 24, 128)
    assert torch.equal(flat[1, 1 * 8 + 1 * 4 + 3], latents[1, :, 1, 1, 3])
    assert torch.equal(tokens.unpatchify(flat, SIZE), latents)


def test_keyframes_are_kept_as_far_as_their_strength_says():
    grid = tokens.empty_grid(SIZE, 50.0)
    first, other = random(1, 128, 1, 2, 4), random(1, 128, 1, 2, 4, seed=2)
    state = grid.with_first_latent(first).with_keyframe(other, 8.4, 50.0, strength=0.75)
    assert state.mask[0, :, 0].tolist() == [0.0] * 8 + [1.0] * 16 + [0.25] * 8
    noise = random(1, 32, 128, seed=3)
    noisy = state.add_noise(noise, 0.5)
    torch.testing.assert_close(noisy[:, :8], tokens.patchify(first))
    torch.testing.assert_close(noisy[:, 8:24], noise[:, 8:24] / 2)
    mixed = noise[:, 24:] / 8 + tokens.patchify(other) * 7 / 8
    torch.testing.assert_close(noisy[:, 24:], mixed)
    drawn = random(1, 32, 128, seed=4)
    kept = state.restore(drawn)
    assert torch.equal(kept[:, :8], tokens.patchify(first))
    assert torch.equal(kept[:, 8:24], drawn[:, 8:24])
    assert torch.equal(state.grid_latents(drawn), tokens.unpatchify(drawn[:, :24], SIZE))


def test_start_latents_are_kept_as_far_as_sigma_says():
    latents = random(1, 128, *SIZE)
    state = tokens.empty_grid(SIZE, 50.0, start=latents)
    noise = random(1, 24, 128, seed=2)
    torch.testing.assert_close(state.add_noise(noise, 0.0), tokens.patchify(latents))
    torch.testing.assert_close(state.add_noise(noise, 1.0), noise)


def test_noise_depends_on_its_key_alone():
    one = tokens.seeded_noise((4, 8), 7, "grid", F(1, 3))
    tokens.seeded_noise((9,), 1)
    assert torch.equal(one, tokens.seeded_noise((4, 8), 7, "grid", F(1, 3)))
    for key in ((8, "grid", F(1, 3)), (7, "grid", F(2, 3)), (7, "still", F(1, 3))):
        assert not torch.equal(one, tokens.seeded_noise((4, 8), *key))
    many = tokens.seeded_noise((100_000,), 0)
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.02


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8])
def test_few_steps_use_trained_sigmas(steps):
    sigmas = samplers.distilled_sigmas(steps)
    assert len(sigmas) == steps + 1
    assert set(sigmas) <= set(samplers.DISTILLED_SIGMAS)
    assert list(sigmas) == sorted(sigmas, reverse=True)
    assert (sigmas[0], sigmas[-1]) == (1, 0)


@given(st.integers(1, 60), st.integers(1, 40_000))
def test_the_schedule_falls_from_one_to_its_end_to_zero(steps, count):
    sigmas = samplers.shifted_sigmas(steps, count)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert all(a > b for a, b in pairwise(sigmas))
    if steps > 1:
        assert sigmas[-2] == pytest.approx(0.1)


# A problem with a known solution: clean values have the distribution N(MEAN, WIDE^2), so that the
# best prediction from noisy values is exact.
MEAN, WIDE = 0.7, 0.6


def ideal(noisy, sigma, step):
    signal = (1 - sigma) * WIDE**2
    share = signal / ((1 - sigma) ** 2 * WIDE**2 + sigma**2)
    return MEAN + share * (noisy - (1 - sigma) * MEAN)


def fresh(*key):
    return tokens.seeded_noise((20_000,), *key)


def unchanged(value):
    return value


def spread(value):
    return value.mean().item(), value.std().item()


def even(steps):
    return [1 - step / steps for step in range(steps)] + [0.0]


LOOPS = {
    "euler": lambda start, sigmas: samplers.euler(start, sigmas, ideal),
    "ancestral": lambda start, sigmas: samplers.ancestral(start, sigmas, ideal, fresh, unchanged),
    "gradient": lambda start, sigmas: samplers.gradient_estimation(start, sigmas, ideal),
    "res_2s": lambda start, sigmas: samplers.res_2s(start, sigmas, ideal, fresh, unchanged),
}


@pytest.mark.parametrize("name", LOOPS)
def test_samplers_reach_the_known_distribution(name):
    mean, deviation = spread(LOOPS[name](fresh("start"), even(40)))
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert deviation == pytest.approx(WIDE, abs=0.06)


@pytest.mark.parametrize("name", LOOPS)
def test_one_step_is_the_prediction(name):
    start = fresh("start")
    if name != "res_2s":  # it always ends in two predictions
        torch.testing.assert_close(LOOPS[name](start, (1.0, 0.0)), ideal(start, 1.0, 0))


def test_ancestral_without_noise_is_euler():
    start = fresh("start")
    found = samplers.ancestral(start, even(9), ideal, fresh, unchanged, eta=0)
    torch.testing.assert_close(found, LOOPS["euler"](start, even(9)))


@given(st.floats(0.02, 1), st.floats(0.01, 0.9))
def test_renewed_noise_is_as_strong_as_asked(sigma, part):
    after = sigma * part
    clean = torch.zeros(20_000)
    sample_, noise = fresh("a") * sigma, fresh("b")
    reached = clean + after * (sample_ - clean) / sigma
    renewed = samplers._renoised(sample_, reached, sigma, after, noise)
    assert renewed.std().item() == pytest.approx(after, rel=0.05)


def test_guidance_moves_away_from_worse_predictions():
    good, bad, worse = (random(1, 6, 128, seed=n) for n in range(3))
    guided = samplers.Guidance(cfg=3.0, stg=0.5, blocks=(1,))(good, bad, worse)
    torch.testing.assert_close(guided, good + 2 * (good - bad) + 0.5 * (good - worse))
    rescaled = samplers.Guidance(cfg=3.0, rescale=1.0)(good, bad, None)
    assert rescaled.std().item() == pytest.approx(good.std().item(), rel=1e-5)
    assert torch.equal(samplers.UNGUIDED(good, None, None), good)
    assert [samplers.Guidance(skip=2).applies_at(step) for step in range(6)] == [
        True,
        False,
        False,
    ] * 2


def test_the_denoiser_runs_only_the_needed_predictions():
    asked = []

    def velocity(latent, sigma, timesteps, positions, context, *, first, skipped=()):
        assert first == 1
        asked.append((context.item(), tuple(skipped), sigma, timesteps[0, :, 0].tolist()))
        return latent * context.item()

    state = tokens.empty_grid((1, 1, 1), 50.0).with_keyframe(random(1, 128, 1, 1, 1), 3.0, 50.0)
    guidance = samplers.Guidance(cfg=2.0, stg=1.0, blocks=(28,), skip=1)
    denoiser = samplers.Denoiser(
        velocity, state, torch.tensor(0.5), negative=torch.tensor(0.25), guidance=guidance
    )
    noisy = random(1, 2, 128)
    found = denoiser(noisy, 0.8, 0)
    assert asked == [
        (0.5, (), pytest.approx(0.8), [pytest.approx(0.8), 0]),
        (0.25, (), pytest.approx(0.8), [pytest.approx(0.8), 0]),
        (0.5, (28,), pytest.approx(0.8), [pytest.approx(0.8), 0]),
    ]
    cond, negative = noisy * (1 - 0.4), noisy * (1 - 0.2)
    torch.testing.assert_close(found[:, :1], (cond + (cond - negative))[:, :1])
    assert torch.equal(found[:, 1], state.clean[:, 1])
    asked.clear()
    denoiser(noisy, 0.8, 1)
    assert len(asked) == 1
    assert math.isclose(asked[0][0], 0.5)
