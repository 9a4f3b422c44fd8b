"""What `flow:device=cuda` says where it cannot run: one line, before any work."""

from __future__ import annotations

import importlib.util

import pytest
from support.flow import info

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


def test_other_devices_are_refused() -> None:
    with pytest.raises(OptionError, match="one of cpu, cuda"):
        engines.build("flow:device=tpu")
