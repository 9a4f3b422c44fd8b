"""`benchmarks.loading` counts what loading reads and holds, and leaves no file behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.tools import ROOT

pytest.importorskip("ltx_core", reason="the extra [ltx] is not installed")

from support.tiny_ltx import TRANSFORMER

from benchmarks import loading
from benchmarks import ltx_sizes as sizes


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "TRANSFORMER", TRANSFORMER)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mode", ["off", "rowwise"])
def test_a_sink_that_discards_sees_what_a_model_would_hold(tmp_path: Path, mode: str):
    path = tmp_path / "transformer.safetensors"
    loading._write(path, blocks=1)
    thrown, kept = loading.discarded(path, mode), loading.loaded(path, mode)
    assert thrown["made"] == kept["resident"]
    assert thrown["file"] == path.stat().st_size
    assert 0.9 < thrown["read over file"] <= 1


def test_the_full_size_is_refused_where_the_disk_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=29 * 10**9))
    monkeypatch.setattr(loading, "_write", lambda *_: pytest.fail("written all the same"))
    with pytest.raises(SystemExit):
        loading.main(["--full", "--folder", str(tmp_path)])
    assert f"needs 30 GB of disk and {tmp_path} has 29.0" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_its_file_goes_when_loading_fails(tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError):
        loading._rows(str(tmp_path), ["no such mode"], 1, full=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_its_file_goes_when_it_is_stopped(tmp_path: Path, number: signal.Signals):
    code = (
        "import time; from benchmarks import loading\n"
        "def write(path, blocks):\n"
        "    path.write_bytes(b'x'); print('written', flush=True); time.sleep(60)\n"
        "loading._write = write; loading.main()"
    )
    command = [sys.executable, "-c", code, "--folder", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert list(tmp_path.rglob("*.safetensors"))
        process.send_signal(number)
        assert process.wait(30)
    assert not list(tmp_path.iterdir())
