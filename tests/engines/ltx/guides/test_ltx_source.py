"""The sources of guides on a random tiny checkpoint: their guides, and what these depend on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx

from ltxfilter.engines.ltx.diffusion import samplers
from ltxfilter.engines.ltx.guides.contract import GuideClip, GuideSource
from ltxfilter.engines.ltx.guides.ltx_source import (
    LtxSource,
    choose_grid,
    choose_sigmas,
    guide_size,
    open_source,
)
from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt, read_contexts
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights.files import read_header
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.options import ModelOptions

PLAIN = {
    "source": "latent",
    "steps": 4,
    "size": "64x32",
    "parts": 0,
    "intervals": 8,
    "batch": 2,
    "vae": "full",
    "seed": 0,
    "fp8": "off",
    "graphs": "auto",
    "text_memory": -1.0,
    "offload": False,
}
KINDS = ["latent", "dit", "latent+dit"]
EVERY = pytest.mark.parametrize("source", KINDS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ltx")
    return tiny_ltx.with_tiny_vae(tiny_ltx.build(folder), folder)


def opened(models: ModelOptions, pace: F = F(2), **options: object) -> LtxSource:
    return open_source(models, PLAIN | options, (640, 320), pace)


def clip(
    source: GuideSource, seed: int = 0, start: F = F(0), steps: list[F] | None = None
) -> GuideClip:
    count = source.before + source.intervals + source.after + 1
    generator = torch.Generator().manual_seed(seed)
    size = (3, count, source.height, source.width)
    times = [start]
    for step in steps or [F(1, 25)] * (count - 1):
        times.append(times[-1] + step)
    return GuideClip(torch.rand(size, generator=generator) * 2 - 1, tuple(times), 25.0)


@EVERY
@pytest.mark.parametrize(("pace", "parts"), [(F(2), 2), (F(12, 5), 2), (F(4), 4), (F(24), 8)])
def test_guides_divide_every_interval(models, source, pace, parts):
    here = opened(models, pace, source=source, steps=1, batch=1)
    assert here.parts == parts
    guides = here.draw([clip(here)])
    assert guides.shape == (1, 3, 8 * parts + 1, 32, 64)
    assert bool(torch.isfinite(guides).all())
    here.close()
    here.close()


@EVERY
def test_an_interval_of_sixteen_parts(models, source):
    here = opened(models, F(24), source=source, steps=1, batch=1, parts=16, intervals=0)
    assert here.intervals == (1 if source == "dit" else 8)
    assert here.draw([clip(here)]).shape == (1, 3, 16 * here.intervals + 1, 32, 64)
    here.close()


@pytest.mark.parametrize(
    ("source", "steps"),
    [("dit", n) for n in (1, 2, 3, 4, 8)] + [("latent+dit", n) for n in (1, 2, 3, 4)],
)
def test_every_number_of_steps(models, source, steps, monkeypatch):
    taken = []
    velocity = Models.velocity

    def counted(self, latent, sigma, *rest, **more):
        taken.append(float(torch.as_tensor(sigma).flatten()[0]))
        return velocity(self, latent, sigma, *rest, **more)

    monkeypatch.setattr(Models, "velocity", counted)
    here = opened(models, source=source, steps=steps, batch=1)
    assert here.draw([clip(here)]).shape == (1, 3, 17, 32, 64)
    assert len(taken) == steps
    assert taken == sorted(taken, reverse=True)
    assert (taken[0] == 1) == (source == "dit")


# Products of matrices round differently by batch on some processors: 1.1e-5 was seen.
ROUNDED = 5e-5


@pytest.mark.parametrize("vae", ["full", "tiny"])
@EVERY
def test_guides_do_not_depend_on_the_rest_of_a_batch(models, source, vae):
    three = opened(models, source=source, steps=2, batch=3, vae=vae)
    one = opened(models, source=source, steps=2, batch=1, vae=vae)
    clips = [clip(three, seed, F(seed)) for seed in range(3)]
    together = three.draw(clips)
    apart = torch.cat([one.draw([part]) for part in clips])
    torch.testing.assert_close(together, apart, atol=ROUNDED, rtol=ROUNDED)
    again = three.draw([clips[0], clips[0], clips[0]])
    torch.testing.assert_close(together[:1].expand_as(again), again, atol=ROUNDED, rtol=ROUNDED)
    assert torch.equal(three.draw(clips), together)


@EVERY
def test_guides_depend_on_no_time_but_the_clips(models, source):
    here = opened(models, source=source, steps=2, batch=1)
    even = clip(here)
    uneven = clip(
        here, steps=[F(1, 24), F(1, 60), F(1, 30), F(1, 12), F(1, 50), F(1, 7), F(1, 9), F(1)]
    )
    assert torch.equal(here.draw([even]), here.draw([uneven]))
    later = clip(here, start=F(5))
    assert torch.equal(here.draw([even]), here.draw([later])) == (source == "latent")
    slower = replace(even, rate=12.5)
    assert torch.equal(here.draw([even]), here.draw([slower])) == (source == "latent")


def test_guides_depend_on_the_seed(models):
    here, other = (opened(models, source="dit", steps=1, batch=1, seed=seed) for seed in (0, 1))
    assert not torch.equal(here.draw([clip(here)]), other.draw([clip(here)]))


def test_every_clip_has_the_prompt_of_its_time(models, tmp_path):
    """Also if the clips of a batch have different prompts."""
    file = read_header(str(models.context))
    one = read_contexts(file).positive
    other = torch.randn(one.shape, generator=torch.Generator().manual_seed(3))
    prompts = (Prompt(F(0), "a quay"), Prompt(F(10), "a boat"))
    path = tmp_path / "two.safetensors"
    Contexts(prompts, torch.cat([one, other]), None).write(path)
    Contexts(prompts[:1], other, None).write(tmp_path / "other.safetensors")
    both, first, second = (
        opened(replace(models, context=str(name)), source="dit", steps=2)
        for name in (path, models.context, tmp_path / "other.safetensors")
    )
    clips = [clip(both), clip(both, start=F(10))]
    found = both.draw(clips)
    torch.testing.assert_close(found[0], first.draw(clips)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], second.draw(clips)[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[1], first.draw(clips)[1], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "same"),
    [({"text_memory": 0.1}, True), ({"offload": True}, True), ({"fp8": "rowwise"}, False)],
)
@pytest.mark.parametrize("source", ["dit", "latent+dit"])
def test_how_the_transformer_runs_can_be_chosen(models, source, options, same):
    plain, other = (opened(models, source=source, steps=2, **more) for more in ({}, options))
    clips = [clip(plain), clip(plain, 1, F(1))]
    first, second = plain.draw(clips), [other.draw(clips) for _ in range(2)]
    assert torch.equal(second[0], second[1])
    assert torch.equal(first, second[0]) == same
    assert ((first - second[0]).norm() / first.norm()).item() < 0.05


def test_latents_alone_need_neither_transformer_nor_prompt(models, tmp_path):
    tensors = tiny_ltx.read(models.checkpoint)
    left = {name: value for name, value in tensors.items() if name.startswith("vae.")}
    path = tmp_path / "vae.safetensors"
    tiny_ltx.write(path, left, {"config": tiny_ltx.json.dumps(tiny_ltx.CONFIG)})
    lean = ModelOptions(
        checkpoint=str(path), temporal_upsampler=models.temporal_upsampler, device="cpu"
    )
    here, whole = opened(lean, batch=1), opened(models, batch=1)
    assert torch.equal(here.draw([clip(here)]), whole.draw([clip(whole)]))


class NoVelocity(Models):
    """Models whose transformer returns a velocity of zero: noisy tokens stay as they are."""

    def velocity(self, latent, *rest, **more):
        return torch.zeros_like(latent)

    def decode(self, latents):
        return latents


def test_denoising_starts_from_upsampled_latents_and_keeps_keyframes(models):
    constant = NoVelocity(models)
    grid = choose_grid(PLAIN | {"batch": 1}, (640, 320), F(2))
    doubled = LtxSource(constant, grid, upsampled=True, sigmas=(), seed=0)
    given = clip(doubled)
    latents = doubled.draw([given])
    sigma = 0.725
    begun = LtxSource(constant, grid, upsampled=True, sigmas=(sigma, 0.0), seed=0).draw([given])
    first = constant.encode(given.keyframes[None, :, :1])
    torch.testing.assert_close(begun[:, :, :1], first)
    noise = (begun - (1 - sigma) * latents)[:, :, 1:] / sigma
    assert abs(noise.mean().item()) < 0.1
    assert abs(noise.std().item() - 1) < 0.1
    alone = LtxSource(constant, grid, upsampled=False, sigmas=(1.0, 0.0), seed=0).draw([given])
    torch.testing.assert_close(alone[:, :, 1:], noise, atol=1e-5, rtol=1e-5)


def test_keyframes_have_the_positions_of_their_frames(models, monkeypatch):
    seen = []
    velocity = Models.velocity

    def recorded(self, latent, sigma, timesteps, positions, context, **more):
        seen.append((timesteps, positions))
        return velocity(self, latent, sigma, timesteps, positions, context, **more)

    monkeypatch.setattr(Models, "velocity", recorded)
    here = opened(models, source="dit", steps=1, batch=1, intervals=4, parts=2)
    here.draw([clip(here)])
    timesteps, positions = seen[0]
    cells = 2  # latents of a latent frame
    assert timesteps.shape == (1, (2 + 4) * cells, 1)
    assert timesteps[0, :, 0].tolist() == [0.0] * cells + [1.0] * cells + [0.0] * 4 * cells
    seconds = positions[0, 0, ::cells]  # begin and end
    at = torch.tensor([[0, 1], [1, 9], [2, 3], [4, 5], [6, 7], [8, 9]]) / 50
    torch.testing.assert_close(seconds, at)


@pytest.mark.parametrize(
    ("source", "vae", "lacking"),
    [
        ("latent", "full", "checkpoint"),
        ("latent", "full", "temporal_upsampler"),
        ("dit", "full", "context"),
        ("latent+dit", "full", "context"),
        ("latent+dit", "full", "temporal_upsampler"),
        ("latent", "tiny", "tiny_vae"),
        ("dit", "tiny", "tiny_vae"),
    ],
)
def test_a_missing_file_is_named(models, source, vae, lacking):
    field = "vae" if lacking == "checkpoint" else lacking
    flag = f"--{field.replace('_', '-')} FILE is needed"
    with pytest.raises(EngineUnavailableError, match=flag):
        opened(replace(models, **{lacking: None}), source=source, vae=vae)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "latent+dit", "steps": 8}, "latent\\+dit takes one of 1, 2, 3, 4$"),
        ({"source": "dit", "steps": 5}, "source=dit takes one of 1, 2, 3, 4, 8$"),
        ({"parts": 3}, "parts=3: not one of 0, 2, 4, 8, 16$"),
        ({"size": "100x64"}, "not multiples of 32"),
        ({"intervals": 4}, "not a multiple of 8"),
        ({"source": "dit", "intervals": 3, "parts": 4}, "not a multiple of 2"),
    ],
)
def test_options_that_are_refused(models, options, message):
    with pytest.raises(OptionError, match=message):
        opened(models, **options)


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_guide_sizes_are_small_and_have_the_videos_shape(width, height):
    found = guide_size((width, height), "")
    assert all(side % 32 == 0 and side > 0 for side in found)
    if 1 / 4 < width / height < 4:
        assert found[0] * found[1] <= 1.35 * 448 * 256
        if min(found) > 64:
            assert found[0] / found[1] == pytest.approx(width / height, rel=0.3)


def test_the_guide_size_of_usual_videos():
    assert guide_size((1920, 1080), "") == guide_size((1024, 576), "") == (448, 256)
    assert guide_size((1080, 1920), "") == (256, 448)
    assert guide_size((64, 48), "") == (64, 64)
    assert guide_size((1920, 1080), "768x448") == (768, 448)


@given(
    st.sampled_from(KINDS),
    st.fractions(F(1, 2), 200),
    st.sampled_from([0, 2, 4, 8, 16]),
)
def test_grids_fill_whole_latents(source, pace, parts):
    options = PLAIN | {"source": source, "parts": parts, "intervals": 0}
    grid = choose_grid(options, (640, 320), pace)
    assert (grid.frames - 1) % 8 == 0
    assert grid.size[0] == (grid.frames - 1) // 8 + 1
    assert source == "dit" or grid.intervals % 8 == 0
    assert 2**grid.rounds == grid.parts


def test_sigmas_are_those_of_the_distilled_models():
    for steps in (1, 2, 3, 4):
        for upsampled in (False, True):
            sigmas = choose_sigmas(steps, upsampled=upsampled)
            assert len(sigmas) == steps + 1
            assert set(sigmas) <= set(samplers.DISTILLED_SIGMAS)
            assert (sigmas[0] < 1) == upsampled
