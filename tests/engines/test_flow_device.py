"""What `flow:device=cuda` says where it cannot run: one line, before any work."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from support.flow import info

import ltxfilter.motion.cuda
from ltxfilter import engines
from ltxfilter.engines.flow import Flow
from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.motion.cuda import device


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(device, "find_spec", lambda name: None if name == package else find(name))


@pytest.mark.parametrize("package", ["torch", "triton"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec("torch") is not None
    hide(monkeypatch, package)
    if package == "triton" and not known:
        pytest.skip("torch, which is asked for first, is missing")
    with pytest.raises(EngineUnavailableError, match=f"pip install {package}") as caught:
        Flow(device="cuda").open(info(), None)
    assert "\n" not in str(caught.value)


def test_a_missing_device_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr(device, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineUnavailableError, match="finds no CUDA device; use device=cpu"):
        Flow(device="cuda").open(info(), None)


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, version: str = "2.13.0"):
    """Let a GPU seem to be there, whose memory is the host's."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr(device, "INTERPRETED", False)
    monkeypatch.setattr(device, "NAME", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "__version__", version)


def test_an_old_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch, "2.9.1+cu126")
    with pytest.raises(EngineUnavailableError, match=r"torch 2\.9\.1\+cu126 is older than 2\.10"):
        Flow(device="cuda").open(info(), None)


def test_a_compiler_that_triton_does_not_find_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before work starts, in one line: Triton itself fails at its first kernel, in a traceback."""
    on_a_gpu(monkeypatch)

    class Kernel:
        def __getitem__(self, grid: object) -> object:
            raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    stub = ModuleType("picture_kernels")
    stub.company_kernel = Kernel()  # type: ignore[attr-defined]
    name = "ltxfilter.motion.cuda.picture_kernels"
    monkeypatch.setitem(sys.modules, name, stub)
    monkeypatch.setattr(ltxfilter.motion.cuda, "picture_kernels", stub, raising=False)
    with pytest.raises(EngineUnavailableError) as caught:
        Flow(device="cuda").open(info(), None)
    assert "apt install gcc python3-dev; use device=cpu" in str(caught.value)
    assert "Failed to find C compiler." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_devices_are_refused() -> None:
    with pytest.raises(OptionError, match="one of cpu, cuda"):
        engines.build("flow:device=tpu")
