"""Every example runs as its docstring says."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from support.tools import ROOT, TIMEOUT, make_clip, wait_until

from ltxfilter.cli.parse import parse

EXAMPLES = ROOT / "examples"


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


def test_cuda_frames(clip: Path, tmp_path: Path):
    out = tmp_path / "out.mp4"
    assert example("cuda_frames.py", clip, out, "libx264").startswith("50 frames, on the ")
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 50


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


def with_path(tmp_path: Path, ffmpeg: str) -> dict[str, str]:
    """Return an environment in which `ltxfilter` and `ffmpeg` are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(ffmpeg)
    program = folder / "ltxfilter"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ltxfilter "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "LTXFILTER_FFMPEG": ffmpeg, "PYTHONPATH": str(ROOT)}


WRAPPED = {  # a command line of ffmpeg's -> output frames in its second
    "-y -hide_banner -i file:{clip} -c:v libx264 -c:a copy {out}": 50,
    "-y -ss 0.4 -t 0.4 -i {clip} -codec:v:0 libx264 {out}": 20,
    "-y -ss 0.4 -i {clip} -copyts -vcodec mpeg4 -f matroska {out}": 30,
    "-y -i {clip} -c:v copy {out}": 25,
    "-y -i {clip} {out}": 25,
    "-y -i {clip} -i {clip} -map 0:v -map 1:a -c:v libx264 {out}": 25,
    "-y -f lavfi -i testsrc2=s=64x48:r=25:d=1 -c:v libx264 {out}": 25,
}


@pytest.mark.skipif(sys.platform == "win32", reason="a script of bash")
@pytest.mark.parametrize("line", WRAPPED)
def test_ffmpeg_wrapper(line: str, clip: Path, tmp_path: Path, ffmpeg: str):
    out = tmp_path / "out.mkv"
    words = line.format(clip=clip, out=out).split()
    environment = {**with_path(tmp_path, ffmpeg), "LTXFILTER_OPTIONS": "--fps 2x --engine hold"}
    done = subprocess.run(
        ["bash", EXAMPLES / "ffmpeg_wrapper.sh", "-v", "error", *words],
        env=environment, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    with av.open(str(out)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == WRAPPED[line]
    if "-copyts" in line:
        assert frames[0].time == pytest.approx(0.4, abs=0.01)


def test_ffmpeg_wrapper_fails_where_ltxfilter_does(tmp_path: Path, ffmpeg: str, clip: Path):
    environment = {**with_path(tmp_path, ffmpeg), "LTXFILTER_OPTIONS": "--fps fast"}
    words = ["bash", EXAMPLES / "ffmpeg_wrapper.sh", "-v", "quiet", "-i", clip]
    done = subprocess.run(
        [*words, "-c:v", "libx264", tmp_path / "out.mkv"], env=environment, capture_output=True
    )
    assert done.returncode
    assert b"--fps: frame rate 'fast'" in done.stderr
    version = subprocess.run(
        ["bash", EXAMPLES / "ffmpeg_wrapper.sh", "-version"], env=environment, capture_output=True
    )
    assert version.stdout.startswith(b"ffmpeg version")


class Player:
    """An mpv without a display, asked through its socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        wait_until(path.exists, "mpv opens no socket")
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def ask(self, *command: object) -> Any:
        self._socket.sendall(json.dumps({"command": command}).encode() + b"\n")
        while True:
            answer = json.loads(self._file.readline())
            if "error" in answer:
                return answer.get("data")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.skipif(shutil.which("mpv") is None, reason="no mpv")
def test_mpv_goes_over_and_back(tmp_path: Path, ffmpeg: str):
    clip = make_clip(tmp_path / "clip.mkv", "-c:v", "libx264", seconds=30)
    place = tmp_path / "socket"
    script = EXAMPLES / "mpv" / "ltxfilter.lua"
    command = ["mpv", "--no-config", "--vo=null", "--ao=null", "--no-terminal",
               f"--script={script}", "--script-opts=ltxfilter-options=--fps 50 --engine hold",
               f"--input-ipc-server={place}", "--start=5", clip]  # fmt: skip
    with subprocess.Popen(command, env=with_path(tmp_path, ffmpeg)) as process:
        try:
            player = Player(place)
            wait_until(lambda: player.ask("get_property", "time-pos"), "mpv does not play")
            player.ask("keypress", "Ctrl+i")
            wait_until(
                lambda: player.ask("get_property", "container-fps") == 50, "not interpolated"
            )
            assert player.ask("get_property", "path") != str(clip)
            player.ask("keypress", "Ctrl+i")
            wait_until(lambda: player.ask("get_property", "container-fps") == 25, "no way back")
            wait_until(lambda: player.ask("get_property", "time-pos"), "mpv does not play")
            assert 5 <= player.ask("get_property", "time-pos") < 20
            assert player.ask("get_property", "path") == str(clip)
            player.ask("quit")
            player.close()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path):
    text = (EXAMPLES / "systemd" / "ltxfilter@.service").read_text()
    for name in ("ltxfilter@.service", "ltxfilter@door.service"):
        (tmp_path / name).write_text(text.replace("/usr/local/bin/ltxfilter", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "ltxfilter@door.service"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_s_command_line_is_one_that_ltxfilter_takes(clip: Path, tmp_path: Path):
    text = (EXAMPLES / "systemd" / "ltxfilter@.service").read_text().replace("\\\n", " ")
    line = next(each for each in text.splitlines() if each.startswith("ExecStart="))
    words = line.split()[1:]
    values = {"${INPUT}": "rtsp://camera.lan/stream", "${OUTPUT}": "udp://127.0.0.1:1234"}
    options = parse([values.get(word, word) for word in words]).options
    assert options.input.path == values["${INPUT}"]
    assert options.output.path == values["${OUTPUT}"]


@pytest.mark.parametrize("place", sorted(EXAMPLES.rglob("*")), ids=lambda place: place.name)
def test_every_example_is_named_in_a_test_or_a_page(place: Path):
    if place.is_dir() or "__pycache__" in place.parts or "egg-info" in str(place):
        return
    pages = [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "Makefile"]
    texts = [page.read_text() for page in (*pages, *ROOT.glob("tests/**/*.py"))]
    inside = place.relative_to(EXAMPLES).parts
    assert any(all(part in text for part in inside[:1]) for text in texts), place


def test_the_picture_of_the_readme_is_made_by_its_script(tmp_path: Path):
    """It moves on the right side in every frame, on the left in every fourth."""
    path = tmp_path / "picture.webp"
    words = [sys.executable, "-m", "benchmarks.picture", path]
    subprocess.run(words, check=True, cwd=ROOT, timeout=TIMEOUT, stdout=subprocess.DEVNULL)
    assert path.stat().st_size < 500_000
    assert "docs/picture.webp" in (ROOT / "README.md").read_text()
    with Image.open(path) as picture:
        frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(picture)]
    middle = frames[0].shape[1] // 2
    steps = [abs(b - a) for a, b in pairwise(frames)]
    moved = [(step[:, : middle - 8].mean() > 1, step[:, middle + 8 :].mean() > 1) for step in steps]
    assert [left for left, _ in moved[:8]] == [False, False, False, True] * 2
    assert all(right for _, right in moved)
