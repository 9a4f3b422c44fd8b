"""Float32 on a GPU is compared with a CPU's only where it is not rounded to TF32 first."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

from support.exact import exact_float32


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_products_and_convolutions_are_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    before = flags()
    assert before == (True, True)  # what torch does, or a program may ask for
    with exact_float32():
        assert flags() == (False, False)
    assert flags() == before


def test_every_comparison_on_a_gpu_asks_for_it():
    text = (Path(__file__).parent / "test_gpu.py").read_text()
    assert "with exact_float32():" in text
    assert "@pytest.fixture(autouse=True)\ndef _float32_is_not_tf32" in text
