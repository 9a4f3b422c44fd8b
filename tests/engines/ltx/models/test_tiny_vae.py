"""The tiny autoencoder: shapes, causality, the published order of work, wrong files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from torch.nn import functional as nn

from ltxfilter.engines.ltx.models import tiny_vae
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ltx")
    return tiny_ltx.with_tiny_vae(tiny_ltx.build(folder), folder)


@pytest.fixture(scope="module")
def models(options: ModelOptions) -> Models:
    return Models(options, tiny=True)


def clip(frames: int, height: int = 32, width: int = 32, seed: int = 0, batch: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1


def latents(frames: int, seed: int = 0, batch: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 128, frames, 1, 2, generator=generator)


@settings(max_examples=8)
@given(st.integers(0, 2), st.integers(1, 2), st.integers(1, 3))
def test_shapes_are_those_of_the_large_autoencoder(models, spans, rows, columns):
    found = models.encode(clip(8 * spans + 1, 32 * rows, 32 * columns))
    assert found.shape == (1, 128, spans + 1, rows, columns)
    shown = models.decode(found)
    assert shown.shape == (1, 3, 8 * spans + 1, 32 * rows, 32 * columns)
    assert shown.abs().max() <= 1


def test_its_size_is_the_published_one(options):
    parts = [tiny_vae.meta_module(part) for part in tiny_vae.MODULES]
    assert sum(value.numel() for part in parts for value in part.parameters()) == 11_759_728
    assert (
        sum(Models(options, tiny=True).nbytes(part) for part in tiny_vae.MODULES) == 4 * 11_759_728
    )


def test_pictures_do_not_depend_on_later_latents(models):
    whole = latents(4)
    torch.testing.assert_close(models.decode(whole[:, :, :2]), models.decode(whole)[:, :, :9])
    other = torch.cat([whole[:, :, :2], latents(2, seed=1)], 2)
    torch.testing.assert_close(models.decode(other)[:, :, :9], models.decode(whole)[:, :, :9])
    assert not torch.allclose(models.decode(other)[:, :, 9:], models.decode(whole)[:, :, 9:])


def test_a_latent_depends_on_nothing_after_its_eight_frames(models):
    frames = clip(25)
    torch.testing.assert_close(
        models.encode(frames)[:, :, :2], models.encode(frames[:, :, :17])[:, :, :2]
    )
    other = torch.cat([frames[:, :, :16], clip(9, seed=1)], 2)
    found, changed = models.encode(frames), models.encode(other)
    torch.testing.assert_close(found[:, :, :2], changed[:, :, :2])
    assert not torch.allclose(found[:, :, 2:], changed[:, :, 2:])


def test_a_batch_is_its_parts(models):
    frames = torch.cat([clip(9), clip(9, seed=1), clip(9, seed=2)])
    apart = torch.cat([models.encode(part) for part in frames.split(1)])
    torch.testing.assert_close(models.encode(frames), apart, atol=1e-5, rtol=1e-5)
    values = latents(2, batch=3)
    apart = torch.cat([models.decode(part) for part in values.split(1)])
    torch.testing.assert_close(models.decode(values), apart, atol=1e-5, rtol=1e-5)


class FrameByFrame:
    """Works as published: one frame at a time, while each block keeps the frame before."""

    LAYOUT: ClassVar[dict[str, str]] = {
        "encoder": "crpsmmmpsmmmpsmmmc",  # c conv, r relu, p pool, s stride, m memory block
        "decoder": "bcrmmmugcmmmugcmmmugcrc",  # b soft clamp, u upsample, g grow
    }

    def __init__(self, weights, kind):
        self.layout, self.weights, self.kind = self.LAYOUT[kind], weights, kind
        self.kept = [[] for _ in self.layout]

    def __call__(self, frame, number=0):
        """Yield the frames that follow from one more frame."""
        if number == len(self.layout):
            yield frame
            return
        for found in self.step(self.layout[number], number, frame):
            yield from self(found, number + 1)

    def step(self, kind, number, frame):
        if kind in "cs":
            return [self.conv(f"{number}", frame, stride=2 if kind == "s" else 1)]
        if kind == "m":
            return [self.memory(number, frame)]
        if kind == "p":
            self.kept[number].append(frame)
            if len(self.kept[number]) < 2:
                return []
            both, self.kept[number] = torch.cat(self.kept[number], 1), []
            return [self.conv(f"{number}.conv", both)]
        if kind == "g":
            return self.conv(f"{number}.conv", frame).chunk(2, 1)
        if kind == "u":
            return [frame.repeat_interleave(2, -1).repeat_interleave(2, -2)]
        return [frame.relu() if kind == "r" else torch.tanh(frame / 3) * 3]

    def memory(self, number, frame):
        before = self.kept[number][0] if self.kept[number] else torch.zeros_like(frame)
        self.kept[number] = [frame]
        first = self.conv(f"{number}.conv.0", torch.cat([frame, before], 1)).relu()
        second = self.conv(f"{number}.conv.2", first).relu()
        return (self.conv(f"{number}.conv.4", second) + frame).relu()

    def conv(self, name, frame, stride=1):
        weight = self.weights[f"{self.kind}.{name}.weight"]
        bias = self.weights.get(f"{self.kind}.{name}.bias")
        return nn.conv2d(frame, weight, bias, stride, weight.shape[-1] // 2)


def test_it_works_as_published(models, options):
    weights = {name: value.float() for name, value in tiny_ltx.read(options.tiny_vae).items()}
    frames = clip(9, 32, 64)
    shown = [frames[:, :, min(number, 8)] for number in range(16)]
    given = [nn.pixel_unshuffle((frame + 1) / 2, 4) for frame in shown]
    walk = FrameByFrame(weights, "encoder")
    found = [latent for frame in given for latent in walk(frame)]
    torch.testing.assert_close(models.encode(frames), torch.stack(found, 2), atol=1e-4, rtol=1e-4)
    values = latents(2)
    walk = FrameByFrame(weights, "decoder")
    found = [frame for latent in values.unbind(2) for frame in walk(latent)]
    shown = [nn.pixel_shuffle(frame, 4).clamp(0, 1) * 2 - 1 for frame in found[7:]]
    torch.testing.assert_close(models.decode(values), torch.stack(shown, 2), atol=1e-4, rtol=1e-4)


def test_its_file_is_required(options):
    lacking = Models(replace(options, tiny_vae=None), tiny=True)
    with pytest.raises(EngineUnavailableError, match="--tiny-vae FILE is needed: a tiny auto"):
        lacking.load("encoder")


def test_the_large_autoencoder_is_not_needed(options, tmp_path):
    tensors = tiny_ltx.read(options.checkpoint)
    left = {name: t for name, t in tensors.items() if ".encoder." not in name}
    path = tmp_path / "without.safetensors"
    tiny_ltx.write(path, left, {"config": tiny_ltx.json.dumps(tiny_ltx.CONFIG)})
    without = replace(options, checkpoint=str(path))
    assert Models(without, tiny=True).encode(clip(1)).shape == (1, 128, 1, 1, 1)
    with pytest.raises(EngineUnavailableError, match="it lacks"):
        Models(without).encode(clip(1))


def test_wrong_files_are_refused(options, tmp_path):
    weights = tiny_ltx.read(options.tiny_vae)
    path = tmp_path / "tae.safetensors"
    other = weights | {"decoder.1.weight": torch.zeros(256, 16, 3, 3)}
    wider = weights | {"decoder.4.pool.0.weight": torch.zeros(64, 64, 1, 1)}
    torn = {name: value for name, value in weights.items() if name != "decoder.22.bias"}
    for tensors, message in (
        (other, "made for another model or size; ltxfilter reads taeltx_2 and taeltx2_3"),
        (wider, "made for another model or size"),
        (torn, "it lacks decoder.22.bias"),
        ({"some.weight": torch.zeros(1)}, "none of the files"),
    ):
        tiny_ltx.write(path, tensors, {})
        with pytest.raises(EngineUnavailableError, match=message):
            Models(replace(options, tiny_vae=str(path)), tiny=True).load("decoder")
    with pytest.raises(EngineUnavailableError, match="it holds a tiny autoencoder, not an LTX-2"):
        Models(replace(options, checkpoint=options.tiny_vae)).load("decoder")
    torch.save(weights, Path(tmp_path / "tae.pth"))
    with pytest.raises(EngineUnavailableError, match=r"it is a pickle of PyTorch; ltxfilter reads"):
        Models(replace(options, tiny_vae=str(tmp_path / "tae.pth")), tiny=True).load("decoder")
