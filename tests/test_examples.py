"""Every example runs as its docstring says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str, *words: str | Path) -> str:
    """Run an example as its docstring says; return what it printed."""
    command = [sys.executable, EXAMPLES / name, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_file_to_file(clip: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    said = example("file_to_file.py", clip, out)
    assert said.endswith("5 passed through, 53 interpolated, 2 repeated\n")
    assert out.stat().st_size


def test_push_frames(clip: Path):
    assert example("push_frames.py", clip) == "50 frames at 50 per second\n"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the pipe's writer in /proc")
def test_pipe(clip: Path, tmp_path: Path, ffmpeg: str):
    (tmp_path / "ffmpeg").symlink_to(ffmpeg)
    here = Path(sys.executable).parent
    path = os.pathsep.join([str(tmp_path), str(here), os.environ["PATH"]])
    out = tmp_path / "out.mp4"
    words = ["bash", EXAMPLES / "pipe.sh", clip, out]
    done = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.search(rb"clip\.mp4.*-s 160x120", done.stderr)
    assert out.stat().st_size


def test_after_generation_keeps_nothing_for_training():
    """Frames are generated without autograd, and the mode does not reach what reads them."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    path = EXAMPLES / "after_generation.py"
    spec = spec_from_file_location("after_generation", path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    weight = torch.ones(3, requires_grad=True)

    def pipeline():
        return (weight * number for number in range(3))

    for chunk in module.without_autograd(pipeline):
        assert not chunk.requires_grad
        assert (weight * 2).requires_grad


def test_demo(clip: Path, tmp_path: Path):
    out = tmp_path / "demo.mp4"
    assert "twice the frame rate" in example("demo.py", "-i", clip, out)
    assert out.stat().st_size
