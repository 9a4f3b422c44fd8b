"""The Triton kernel that rounds rows to 8 bits; without a GPU Triton's interpreter runs it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
from support import interpreted

GPU = torch.cuda.is_available()
REQUIRED = os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1"
pytestmark = [pytest.mark.gpu] if GPU or REQUIRED else []
NAME = "ltxfilter.engines.ltx.weights.fp8_triton"
if not GPU and "triton" in sys.modules and (NAME in sys.modules or not interpreted.works()):
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


@pytest.mark.filterwarnings("ignore:invalid value")  # of NumPy, in the interpreter
@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_stays_so(spoilt):
    value = torch.ones(3, 64, dtype=torch.bfloat16)
    value[1, 5] = spoilt
    there = value.to("cuda" if GPU else "cpu")
    codes, scales = (found.cpu().float() for found in fp8_triton.quantize(there, torch.float32))
    wanted, wanted_scales = fp8.quantize_rows(value)
    torch.testing.assert_close(scales, wanted_scales, equal_nan=True, atol=0, rtol=0)
    whole, expected = codes * scales, wanted.float() * wanted_scales
    torch.testing.assert_close(whole.isnan(), expected.isnan())
    assert whole[1].isnan().any()
    assert not whole[[0, 2]].isnan().any()


def test_the_kernel_is_launched_where_its_tensor_lies(monkeypatch):
    """Triton itself launches on the thread's current device, whatever it is given."""
    there = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **settings: there.append((current[-1], settings))

    current = ["cuda:0"]

    @contextmanager
    def device(chosen):
        current.append(str(chosen))
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(fp8_triton, "quantize_kernel", Kernel())
    value = torch.ones(2, 16, dtype=torch.bfloat16)
    on_second = SimpleNamespace(is_cuda=True, device="cuda:1")
    monkeypatch.setattr(
        fp8_triton, "on_device", lambda _, real=fp8_triton.on_device: real(on_second)
    )
    fp8_triton.quantize(value)
    ((name, settings),) = there
    assert name == "cuda:1"
    assert settings["enable_fp_fusion"] is False  # or Triton warns, which pytest makes an error


@pytest.mark.gpu
def test_the_kernel_is_used_on_a_gpu():
    if not GPU:
        pytest.skip("no CUDA device")
    assert fp8.triton_kernel(torch.device("cuda", 0)) is not None
