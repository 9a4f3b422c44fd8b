"""Tokens and samplers against upstream's own helpers, on the tiny checkpoint, in float32."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
if any(find_spec(name) is None for name in ("ltx_pipelines", "transformers")):
    pytest.skip("the LTX extra is not installed", allow_module_level=True)

from ltxfilter.engines.ltx.models import upstream

upstream.stub_torchaudio()

from ltx_core.components.diffusion_steps import EulerDiffusionStep, Res2sDiffusionStep
from ltx_core.components.guiders import MultiModalGuider, MultiModalGuiderParams
from ltx_core.components.schedulers import LTX2Scheduler
from ltx_core.conditioning import VideoConditionByKeyframeIndex, VideoConditionByLatentIndex
from ltx_core.conditioning.types.reference_video_cond import VideoConditionByReferenceLatent
from ltx_core.types import VideoPixelShape
from ltx_pipelines.utils import samplers as upstream_samplers
from ltx_pipelines.utils.constants import DISTILLED_SIGMA_VALUES, STAGE_2_DISTILLED_SIGMA_VALUES
from support import tiny_ltx, upstream_ltx

from ltxfilter.engines.ltx.diffusion import samplers, tokens
from ltxfilter.engines.ltx.models.resident import Models

SIZE = (2, 2, 2)  # latents of 9 frames of 64x64
RATE = 50.0
CPU = torch.device("cpu")
KEYFRAMES = (0, 4, 8)


@pytest.fixture(scope="module", params=["LTX-2.3", "LTX-2.5"])
def models(request, tmp_path_factory):
    torch.set_num_threads(1)
    config = tiny_ltx.generation(request.param)
    return Models(tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config), device=CPU)


@pytest.fixture(scope="module")
def latents(models):
    pixels = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return [models.encode(pixels[:, :, n : n + 1]) for n in range(3)]


def upstream_state(conditionings, start=None, scale=1.0):
    """Return upstream's noisy state of a grid, and its patchifying tools."""
    shape = VideoPixelShape(1, 9, 64, 64, RATE)
    return upstream_ltx.noisy_state(shape, conditionings, start, scale, seed=3)


def upstream_latents(models, state, tools, sigmas, loop, **options):
    """Return the latents that one of upstream's loops denoises from a state, without audio."""
    model = models._module("transformer")
    return upstream_ltx.denoised(model, models.context(), state, tools, sigmas, loop, **options)


def our_tokens(latents, lengths, start=None, strength=1.0):
    found = tokens.empty_grid(SIZE, RATE, start=start)
    for latent, at, length in zip(latents, KEYFRAMES, lengths, strict=True):
        found = found.with_keyframe(latent, at, RATE, strength, length)
    return found


UPSTREAM_LENGTHS = (1, upstream_ltx.KEYFRAME_LENGTH, upstream_ltx.KEYFRAME_LENGTH)


def test_positions_equal_upstreams(latents):
    items = [
        VideoConditionByKeyframeIndex(s, n, 1.0) for s, n in zip(latents, KEYFRAMES, strict=True)
    ]
    state, _ = upstream_state(items)
    ours = our_tokens(latents, UPSTREAM_LENGTHS)
    torch.testing.assert_close(ours.positions, state.positions, atol=1e-6, rtol=0)
    assert torch.equal(ours.mask, state.denoise_mask)
    assert torch.equal(ours.clean, state.clean_latent)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_clip_for_an_ic_lora_equals_upstreams(models, scale):
    side = 64 // scale
    pixels = torch.rand(1, 3, 9, side, side, generator=torch.Generator().manual_seed(6)) * 2 - 1
    clip = models.encode(pixels)
    state, _ = upstream_state([VideoConditionByReferenceLatent(clip, scale, 1.0)])
    ours = tokens.empty_grid(SIZE, RATE).with_reference(clip, RATE, scale=scale)
    torch.testing.assert_close(ours.positions, state.positions, atol=1e-6, rtol=0)
    assert torch.equal(ours.mask, state.denoise_mask)
    assert torch.equal(ours.clean, state.clean_latent)


@pytest.mark.parametrize("strength", [1.0, 0.8])
@pytest.mark.parametrize("replaced", [False, True])
def test_euler_equals_upstreams_with_its_positions(models, latents, strength, replaced):
    items = [
        VideoConditionByKeyframeIndex(s, n, strength)
        for s, n in zip(latents, KEYFRAMES, strict=True)
    ]
    ours = our_tokens(latents, UPSTREAM_LENGTHS, strength=strength)
    if replaced:
        items[0] = VideoConditionByLatentIndex(latents[0], strength, 0)
        ours = tokens.empty_grid(SIZE, RATE).with_first_latent(latents[0], strength)
        for latent, at in zip(latents[1:], KEYFRAMES[1:], strict=True):
            ours = ours.with_keyframe(latent, at, RATE, strength, UPSTREAM_LENGTHS[-1])
    state, tools = upstream_state(items)
    theirs = upstream_latents(
        models, state, tools, samplers.DISTILLED_SIGMAS, upstream_samplers.euler_denoising_loop,
        stepper=EulerDiffusionStep(),
    )  # fmt: skip
    denoiser = samplers.Denoiser(models.velocity, ours, models.context())
    noise = torch.randn(state.latent.shape, generator=torch.Generator().manual_seed(3))
    begin = ours.add_noise(noise, 1.0)
    torch.testing.assert_close(begin, state.latent)
    found = ours.grid_latents(samplers.euler(begin, samplers.DISTILLED_SIGMAS, denoiser))
    torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)


def test_a_second_stage_begins_as_upstreams(models, latents):
    start = torch.randn(1, 128, *SIZE, generator=torch.Generator().manual_seed(8))
    items = [
        VideoConditionByKeyframeIndex(s, n, 1.0) for s, n in zip(latents, KEYFRAMES, strict=True)
    ]
    state, tools = upstream_state(items, start, samplers.STAGE_2_SIGMAS[0])
    ours = our_tokens(latents, UPSTREAM_LENGTHS, start)
    noise = torch.randn(state.latent.shape, generator=torch.Generator().manual_seed(3))
    begin = ours.add_noise(noise, samplers.STAGE_2_SIGMAS[0])
    torch.testing.assert_close(begin, state.latent)
    theirs = upstream_latents(
        models, state, tools, samplers.STAGE_2_SIGMAS, upstream_samplers.euler_denoising_loop,
        stepper=EulerDiffusionStep(),
    )  # fmt: skip
    denoiser = samplers.Denoiser(models.velocity, ours, models.context())
    found = ours.grid_latents(samplers.euler(begin, samplers.STAGE_2_SIGMAS, denoiser))
    torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)


def test_gradient_estimation_equals_upstreams(models, latents):
    items = [
        VideoConditionByKeyframeIndex(s, n, 1.0) for s, n in zip(latents, KEYFRAMES, strict=True)
    ]
    state, tools = upstream_state(items)
    theirs = upstream_latents(
        models, state, tools, samplers.DISTILLED_SIGMAS,
        upstream_samplers.gradient_estimating_euler_denoising_loop, stepper=EulerDiffusionStep(),
    )  # fmt: skip
    ours = our_tokens(latents, UPSTREAM_LENGTHS)
    denoiser = samplers.Denoiser(models.velocity, ours, models.context())
    found = samplers.gradient_estimation(state.latent, samplers.DISTILLED_SIGMAS, denoiser)
    torch.testing.assert_close(ours.grid_latents(found), theirs, atol=1e-4, rtol=1e-4)


def test_res_2s_equals_upstreams_given_its_noise(models, latents):
    items = [
        VideoConditionByKeyframeIndex(s, n, 1.0) for s, n in zip(latents, KEYFRAMES, strict=True)
    ]
    state, tools = upstream_state(items)

    def fresh(purpose, step):
        return tokens.seeded_noise(state.latent.shape, purpose, step)

    count = iter(range(1000))

    def fed(latent, generator):  # called for the video, then for the audio, twice a step
        if latent.shape != state.latent.shape:
            return torch.zeros(latent.shape, dtype=torch.float64)
        number = next(count)
        return fresh(("middle", "end")[number % 2], number // 2).double()

    theirs = upstream_latents(
        models, state, tools, samplers.DISTILLED_SIGMAS,
        upstream_samplers.res2s_audio_video_denoising_loop,
        stepper=Res2sDiffusionStep(), new_noise_fn=fed, model_dtype=torch.float32,
    )  # fmt: skip
    ours = our_tokens(latents, UPSTREAM_LENGTHS)
    denoiser = samplers.Denoiser(models.velocity, ours, models.context())
    found = samplers.res_2s(state.latent, samplers.DISTILLED_SIGMAS, denoiser, fresh, ours.restore)
    torch.testing.assert_close(ours.grid_latents(found), theirs, atol=1e-3, rtol=1e-3)


def test_what_our_correction_of_positions_changes(models, latents):
    """With us a keyframe lasts one frame, in 1.0 eight: that makes a small difference."""
    noise = torch.randn(1, 20, 128, generator=torch.Generator().manual_seed(3))
    found = []
    for lengths in ((1, 8, 8), (1, 1, 1)):
        ours = our_tokens(latents, lengths)
        denoiser = samplers.Denoiser(models.velocity, ours, models.context())
        found.append(
            ours.grid_latents(
                samplers.euler(ours.add_noise(noise, 1.0), samplers.DISTILLED_SIGMAS, denoiser)
            )
        )
    change = ((found[1] - found[0]).norm() / found[0].norm()).item()
    assert 1e-4 < change < 0.2


def test_sigmas_equal_upstreams():
    assert list(samplers.DISTILLED_SIGMAS) == DISTILLED_SIGMA_VALUES
    assert list(samplers.STAGE_2_SIGMAS) == STAGE_2_DISTILLED_SIGMA_VALUES
    for steps, count in ((30, None), (8, None), (15, 336), (40, 22440)):
        latent = None if count is None else torch.empty(1, 1, 1, 1, count)
        theirs = LTX2Scheduler().execute(steps=steps, latent=latent)
        ours = torch.tensor(samplers.shifted_sigmas(steps, count or 4096))
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)  # theirs are float32


def test_guidance_equals_upstreams():
    cond, negative, perturbed = torch.randn(
        3, 1, 12, 128, generator=torch.Generator().manual_seed(2)
    )
    settings = MultiModalGuiderParams(
        cfg_scale=3.0, stg_scale=1.0, stg_blocks=[1], rescale_scale=0.7, skip_step=1
    )
    theirs = MultiModalGuider(settings)
    ours = samplers.Guidance(cfg=3.0, stg=1.0, blocks=(1,), rescale=0.7, skip=1)
    expected = theirs.calculate(cond, negative, perturbed, 0.0)
    torch.testing.assert_close(ours(cond, negative, perturbed), expected)
    steps = range(7)
    assert [ours.applies_at(step) for step in steps] == [
        not theirs.should_skip_step(step) for step in steps
    ]


def test_a_batch_equals_single_windows(models, latents):
    """Matrix products of another size round differently, so that the results are nearly equal."""
    noise = torch.randn(2, 20, 128, generator=torch.Generator().manual_seed(3))
    pairs = [torch.cat([latent, latent.flip(-1)]) for latent in latents]

    def drawn(number):
        ours = tokens.empty_grid(SIZE, RATE, start=torch.zeros(len(number), 128, *SIZE))
        for pair, at in zip(pairs, KEYFRAMES, strict=True):
            ours = ours.with_keyframe(pair[number], at, RATE)
        denoiser = samplers.Denoiser(models.velocity, ours, models.context())
        begin = ours.add_noise(noise[number], 1.0)
        return ours.grid_latents(samplers.euler(begin, samplers.DISTILLED_SIGMAS, denoiser))

    alone = torch.cat([drawn([0]), drawn([1])])
    torch.testing.assert_close(drawn([0, 1]), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-2)
