"""Float32 on a GPU is compared with a CPU's only where it is not rounded to TF32 first."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

from support.exact import exact_float32


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_products_and_convolutions_are_not_rounded_to_tf32():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True  # as a program may ask for
    try:
        assert flags() == (True, True)
        with exact_float32():
            assert flags() == (False, False)
        assert flags() == (True, True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_every_comparison_on_a_gpu_asks_for_it():
    text = (Path(__file__).parent / "test_gpu.py").read_text()
    assert "with exact_float32():" in text
    assert "@pytest.fixture(autouse=True)\ndef _float32_is_not_tf32" in text
