"""Products in 8 bits are tried on a device before they are relied on."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx

from ltxfilter.engines.ltx import device as ltx_device
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import fp8, load
from ltxfilter.errors import EngineUnavailableError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZES = frozenset({(48, 192), (192, 48)})


@pytest.fixture(autouse=True)
def _anew():
    fp8.least_rows.cache_clear()
    yield
    fp8.least_rows.cache_clear()


def refuse(monkeypatch: pytest.MonkeyPatch, refused, error: type = RuntimeError) -> None:
    """Let products fail whose rows and inputs `refused` returns True for."""
    multiply = torch._scaled_mm

    def scaled_mm(left, right, **given):
        if refused(len(left), left.shape[1]):
            raise error("CUBLAS_STATUS_NOT_SUPPORTED when calling cublasLtMatmul\nand more")
        return multiply(left, right, **given)

    monkeypatch.setattr(torch, "_scaled_mm", scaled_mm)


def layer(rows: int) -> fp8.RowwiseLinear:
    exact = torch.randn(64, 48, generator=torch.Generator().manual_seed(1))
    made = fp8.RowwiseLinear(64, 48, True)
    made.weight, scale = fp8.quantize_rows(exact)
    made.weight_scale, made.bias = scale.t().contiguous(), torch.ones(64)
    made.least_rows = rows
    return made


def test_what_works_is_used_as_it_is():
    assert fp8.least_rows(CPU, SIZES) == 1


def test_few_rows_are_filled_up_where_a_library_refuses_them(monkeypatch, caplog):
    refuse(monkeypatch, lambda rows, inputs: rows <= 256 and inputs == 192)
    assert fp8.least_rows(CPU, SIZES) == fp8.MANY > 256
    assert not caplog.records


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, ValueError])
@pytest.mark.parametrize("least", [0, 200])
def test_a_device_that_refuses_is_named_once(monkeypatch, caplog, error, least):
    refuse(monkeypatch, lambda rows, inputs: rows >= least, error)
    assert fp8.least_rows(CPU, SIZES) is None
    assert fp8.least_rows(CPU, SIZES) is None
    (record,) = caplog.records
    assert "does not multiply 48x192 in 8 bits" in record.message
    assert "\n" not in record.message


def test_a_wrong_product_counts_as_refused(monkeypatch):
    multiply = torch._scaled_mm
    monkeypatch.setattr(torch, "_scaled_mm", lambda *a, **k: multiply(*a, **k) * 2)
    assert fp8.product_refused(CPU, 16, 48, 64) == "the result is wrong"


@pytest.mark.parametrize("rows", [1, 5, 100, 272, 300])
def test_rows_that_fill_up_change_nothing(rows):
    value = torch.randn(2, rows, 48, generator=torch.Generator().manual_seed(rows))
    plain, filled = layer(1), layer(fp8.MANY)
    assert torch.equal(filled(value), plain(value))
    assert filled(value).shape == (2, rows, 64)


def test_few_rows_reach_the_product_as_many(monkeypatch):
    refuse(monkeypatch, lambda rows, _: rows < fp8.MANY)
    value = torch.randn(3, 48)
    with pytest.raises(RuntimeError):
        layer(1)(value)
    assert layer(fp8.MANY)(value).shape == (3, 64)


def test_a_bias_that_is_added_in_the_product_is_the_same_bias():
    value = torch.randn(20, 48, generator=torch.Generator().manual_seed(3))
    apart, fused = layer(1), layer(1)
    fused.fused_bias = True
    assert not fp8.RowwiseLinear.fused_bias  # until it has been measured to be faster
    torch.testing.assert_close(fused(value), apart(value), atol=2e-2, rtol=1e-2)


class TestModels:
    """What a device's refusal means for the models on it."""

    @pytest.fixture
    def options(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
        return replace(tiny_ltx.build(tmp_path), device=None)

    @staticmethod
    def models(options, monkeypatch, refused, mode):
        monkeypatch.setattr(fp8, "product_refused", lambda _, rows, *size: refused(rows))
        monkeypatch.setattr(ltx_device, "computed_in", lambda _: torch.bfloat16)
        properties = type("Properties", (), {"total_memory": 1 << 10})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        return Models(options, device=CUDA, dtype=torch.bfloat16, fp8=mode)

    def test_auto_goes_back_to_cast(self, options, monkeypatch):
        assert self.models(options, monkeypatch, lambda _: "no", "auto")._fp8_mode() == "cast"

    def test_auto_multiplies_where_it_works(self, options, monkeypatch):
        models = self.models(options, monkeypatch, lambda _: None, "auto")
        assert models._fp8_mode() == "rowwise"
        assert models._least_rows() == 1

    def test_what_is_asked_for_and_does_not_work_is_an_error(self, options, monkeypatch):
        models = self.models(options, monkeypatch, lambda _: "no", "rowwise")
        with pytest.raises(EngineUnavailableError, match="fp8=rowwise: cuda does not multiply"):
            models._fp8_mode()

    def test_the_sizes_of_the_file_are_tried(self, options, monkeypatch):
        tried = []
        monkeypatch.setattr(
            fp8, "product_refused", lambda _, rows, *size: tried.append((rows, *size))
        )
        models = Models(options, device=CUDA, dtype=torch.bfloat16, fp8="rowwise")
        assert models._fp8_mode() == "rowwise"
        sizes = load.quantized_sizes(models.transformer_file)
        assert {tuple(size) for _, *size in tried} == sizes
        assert (tiny_ltx.WIDTH, 4 * tiny_ltx.WIDTH) in sizes

    def test_an_older_gpu_is_not_tried(self, options, monkeypatch, caplog):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
        models = self.models(options, monkeypatch, pytest.fail, "auto")
        assert models._fp8_mode() == "cast"
        assert not caplog.records


@pytest.mark.parametrize(("capability", "kind"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_a_gpu_older_than_bfloat16_computes_in_32_bits(monkeypatch, caplog, capability, kind):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
    assert ltx_device.computed_in(CUDA) == getattr(torch, kind)
    assert len(caplog.records) == (kind == "float32")
