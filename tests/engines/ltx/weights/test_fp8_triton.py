"""The Triton kernel that rounds rows to 8 bits; without a GPU Triton's interpreter runs it."""

from __future__ import annotations

import os
import sys

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
GPU = torch.cuda.is_available()
REQUIRED = os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1"
pytestmark = [pytest.mark.gpu] if GPU or REQUIRED else []
NAME = "ltxfilter.engines.ltx.weights.fp8_triton"
if not GPU and NAME in sys.modules:
    pytest.skip("the kernel was loaded before it could be interpreted", allow_module_level=True)
with pytest.MonkeyPatch.context() as patch:
    if not GPU:
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="fused rounding needs triton, which is not installed")
    from ltxfilter.engines.ltx.weights import fp8_triton

from ltxfilter.engines.ltx.weights import fp8


@pytest.fixture(autouse=True)
def _device(monkeypatch):
    if REQUIRED and not GPU:
        pytest.fail("no CUDA device")
    if not GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("size", [(1, 16), (5, 48), (3, 4096), (2, 16384), (200, 96)])
def test_rows_are_rounded_as_torch_rounds_them(size, kind):
    generator = torch.Generator().manual_seed(size[1])
    value = (torch.randn(size, generator=generator) * 3).to(kind)
    value[-1] = 0
    there = value.to("cuda" if GPU else "cpu")
    codes, scales = fp8_triton.quantize(there, torch.float32)
    wanted, wanted_scales = fp8.quantize_rows(value)
    assert torch.equal(scales.cpu(), wanted_scales)
    assert torch.equal(codes.cpu().to(fp8.FP8).view(torch.uint8), wanted.view(torch.uint8))
    if GPU:  # the interpreter rounds to 8 bits differently
        codes, _ = fp8_triton.quantize(there)
        assert torch.equal(codes.cpu().view(torch.uint8), wanted.view(torch.uint8))


def test_rows_need_not_be_contiguous():
    value = torch.randn(6, 64, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    there = value.to("cuda" if GPU else "cpu")
    apart = torch.stack([there, there], -1)[..., 1]
    for one, other in zip(fp8_triton.quantize(apart), fp8_triton.quantize(there), strict=True):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))


@pytest.mark.gpu
def test_the_kernel_is_used_on_a_gpu():
    if not GPU:
        pytest.skip("no CUDA device")
    assert fp8.triton_kernel(torch.device("cuda", 0)) is not None
