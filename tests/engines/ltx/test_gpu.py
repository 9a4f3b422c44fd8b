"""The LTX engines on a CUDA device: the same results as on a CPU, and the same each time.

Run with `pytest -m gpu`; LTXFILTER_REQUIRE_CUDA=1 makes a missing device a failure.
"""

from __future__ import annotations

import gc
import os
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.exact import exact_float32
from support.ltx import drawings, equal
from support.pictures import moving, video

import ltxfilter
from ltxfilter.color import Converter
from ltxfilter.device_plane import DevicePlane
from ltxfilter.engines.ltx.guides.contract import GuideClip
from ltxfilter.engines.ltx.guides.ltx_source import GuideGrid, LtxSource
from ltxfilter.engines.ltx.models.offload import OffloadedBlocks
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import fp8

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
MOTION = ["ltx-motion", "ltx-motion:source=latent+dit:steps=2:batch=2:fp8=off"]
SPECS = ["ltx-keyframe:fp8=off", "ltx-keyframe:stages=1:fp8=rowwise", "ltx-temporal", *MOTION]


@pytest.fixture(autouse=True)
def _cuda():
    if not torch.cuda.is_available():
        if os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1":
            pytest.fail("no CUDA device")
        pytest.skip("no CUDA device")


@pytest.fixture(autouse=True)
def _float32_is_not_tf32():
    """Let a GPU multiply and convolve float32 as it is, as the CPU does."""
    with exact_float32():
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "gbrp", "gray16le"])
def test_pictures_come_back_sample_for_sample(fmt):
    info = video(fmt, 70, 50)
    rng = np.random.default_rng(1)
    planes = tuple(
        rng.integers(0, 1 << s.depth, (s.height, s.width)).astype(s.dtype) for s in info.layout
    )
    converter = Converter(info, "cuda", 32)
    assert equal(converter.to_planes(converter.to_rgb(planes)), planes)


@pytest.mark.parametrize("spec", SPECS)
def test_a_second_run_gives_the_same_pictures(models, spec):
    info = video(width=128, height=96)
    frames = moving(info, 12)
    first, again = (
        drawings(spec, replace(models, device="cuda"), info, frames, F(60)) for _ in range(2)
    )
    assert sum(len(drawn) for _, drawn in first) == 24
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert all(equal(x.planes, y.planes) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("vae", ["full", "tiny"])
def test_guides_equal_those_of_the_cpu(models, tmp_path, vae):
    files = tiny_ltx.with_tiny_vae(models, tmp_path)
    grid = GuideGrid(width=64, height=32, parts=2, intervals=8, batch=1)
    pictures = torch.rand(3, 9, 32, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    times = tuple(F(number, 25) for number in range(9))

    def guides(name):
        there = Models(files, device=torch.device(name), dtype=torch.float32, tiny=vae == "tiny")
        source = LtxSource(there, grid, upsampled=True, sigmas=(0.725, 0.0), seed=0)
        return source.draw([GuideClip(pictures.to(name), times, 25.0)]).cpu()

    torch.testing.assert_close(guides("cuda"), guides("cpu"), atol=5e-3, rtol=5e-3)


def test_a_velocity_equals_that_of_the_cpu(models):
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(1, 24, 128, generator=generator)
    sigma, own = torch.tensor([0.7]), torch.full((1, 24, 1), 0.7)
    positions = torch.rand(1, 3, 24, 2, generator=generator)

    def velocity(name, dtype):
        there = Models(models, device=torch.device(name), dtype=dtype)
        given = [value.to(name) for value in (latent, sigma, own, positions)]
        return there.velocity(*given, there.context()).cpu()

    exact = velocity("cpu", torch.float32)
    torch.testing.assert_close(velocity("cuda", torch.float32), exact, atol=2e-3, rtol=2e-3)
    rough = velocity("cuda", torch.bfloat16)
    assert ((rough - exact).norm() / exact.norm()).item() < 0.05


def step(models, seed=0, tokens=24):
    """Denoise once on the models' device."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(1, tokens, 128, generator=generator).to(models.device)
    own = torch.full((1, tokens, 1), 0.7, device=models.device)
    positions = torch.rand(1, 3, tokens, 2, generator=generator).to(models.device)
    return models.velocity(latent, 0.7, own, positions, models.context())


@pytest.mark.parametrize("mode", ["off", "rowwise"])
def test_offloaded_blocks_compute_the_same(models, mode):
    resident = Models(replace(models, device="cuda"), fp8=mode, graphs="off")
    streamed = Models(replace(models, device="cuda"), fp8=mode, offload=True)
    for seed in range(5):
        assert torch.equal(step(streamed, seed), step(resident, seed))


def test_blocks_are_not_overwritten_while_they_compute():
    """Once a block takes longer to compute than to copy, once the other way round."""
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(torch.nn.Linear(2048, 2048) for _ in range(9)).requires_grad_(
        False
    )
    for rows in (1, 32768):
        value = torch.randn(rows, 2048, device="cuda")
        expected = value
        for block in blocks:
            expected = torch.nn.functional.linear(expected, block.weight.cuda(), block.bias.cuda())
        stream = OffloadedBlocks(torch.nn.ModuleList(deepcopy(block) for block in blocks), CUDA)
        for _ in range(4):
            found = value
            for block in stream._blocks:
                found = block(found)
            assert torch.equal(found, expected)
        assert all(home.is_pinned() for homes in stream._host for home in homes)
        del block, stream  # while the first block is copied again
        gc.collect()
        other = torch.zeros(4, 2048, 2048, device="cuda")
        torch.cuda.synchronize()
        assert not other.any()


def test_a_failed_block_does_not_disturb_later_ones():
    blocks = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(4)).requires_grad_(False)
    value = torch.randn(8, 64, device="cuda")
    stream = OffloadedBlocks(blocks, CUDA)

    def run():
        found = value
        for block in stream._blocks:
            found = block(found)
        return found

    first = run()
    with pytest.raises(RuntimeError):
        stream._blocks[2](torch.zeros(1, 3, device="cuda"))
    for _ in range(3):
        assert torch.equal(run(), first)


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_in_8_bits_equals_that_of_the_cpu(bias):
    torch.manual_seed(0)
    value = torch.randn(100, 256, dtype=torch.bfloat16)
    exact = torch.nn.Linear(256, 512, bias=bias, dtype=torch.bfloat16).requires_grad_(False)
    layer = fp8.RowwiseLinear(512, 256, bias)
    layer.weight, scale = fp8.quantize_rows(exact.weight)
    layer.weight_scale, layer.bias = scale.t().contiguous(), exact.bias
    on_cpu = layer(value).float()
    on_gpu = layer.to("cuda")(value.cuda()).cpu().float()
    wanted = exact(value).float()
    assert ((on_gpu - on_cpu).norm() / on_cpu.norm()).item() < 0.01
    assert ((on_gpu - wanted).norm() / wanted.norm()).item() < 0.05


@pytest.mark.parametrize("mode", ["off", "rowwise"])
@pytest.mark.parametrize("text", [0.0, 1.0])
def test_replayed_steps_are_the_same(models, mode, text, caplog):
    files = replace(models, device="cuda")
    plain = Models(files, fp8=mode, graphs="off", text_memory=0)
    replayed = Models(files, fp8=mode, graphs="on", text_memory=text)
    for tokens in (24, 36):
        for seed in range(4):
            found, expected = (step(each, seed, tokens) for each in (replayed, plain))
            torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2)
    runner = replayed._transformer("transformer")
    assert len(runner._graphs) == 2
    assert not caplog.records


def test_a_replayed_window_is_the_same(models):
    info = video("gbrp16le", 64, 64)
    frames = moving(info, 20)
    found = [
        [p.planes for _, drawn in drawings(f"ltx-keyframe:batch=2:fp8=off:graphs={mode}",
         replace(models, device="cuda"), info, frames) for p in drawn]
        for mode in ("on", "off")
    ]  # fmt: skip
    for a, b in zip(*found, strict=True):
        for x, y in zip(a, b, strict=True):
            assert np.abs(x.astype(int) - y).max() < 0.02 * 65535


@pytest.mark.parametrize("kind", [torch.uint8, torch.float16])
def test_pictures_on_the_gpu_stay_there(models, kind, monkeypatch):
    monkeypatch.setattr(DevicePlane, "__array__", lambda *_: pytest.fail("copied to the host"))
    ramp = torch.arange(64, device="cuda")[:, None] + torch.arange(96, device="cuda")
    given = [(60 + (ramp + 3 * n) // 2)[..., None].expand(-1, -1, 3) for n in range(6)]
    given = [p.to(torch.uint8) if kind == torch.uint8 else (p / 255).to(kind) for p in given]
    files = replace(models, device="cuda")
    found = list(ltxfilter.interpolate(given, 24, 48, engine="ltx-temporal", models=files))
    assert len(found) == 12
    assert all((p.device.type, p.dtype) == ("cuda", kind) for p in found)
