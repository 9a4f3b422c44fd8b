"""The LTX engines on a CUDA device: they draw there what they draw on a CPU, the same each time.

Run with `pytest -m gpu`; LTXFILTER_REQUIRE_CUDA=1 makes a missing device a failure.
"""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

import tiny_ltx
from test_engines import moving, video
from test_ltx_engines import drawings, equal

from ltxfilter.color import Converter
from ltxfilter.engines.ltx.models import Models

pytestmark = pytest.mark.gpu
SPECS = ["ltx-keyframe:fp8=off", "ltx-keyframe:stages=1:fp8=rowwise", "ltx-temporal"]


@pytest.fixture(autouse=True)
def _cuda():
    if not torch.cuda.is_available():
        if os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1":
            pytest.fail("no CUDA device")
        pytest.skip("no CUDA device")


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
def test_a_second_run_draws_the_same(models, spec):
    info = video(width=128, height=96)
    frames = moving(info, 12)
    first, again = (
        drawings(spec, replace(models, device="cuda"), info, frames, F(60)) for _ in range(2)
    )
    assert sum(len(drawn) for _, drawn in first) == 24
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert all(equal(x.planes, y.planes) for x, y in zip(a, b, strict=True))


def test_a_velocity_is_that_of_the_cpu(models):
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
