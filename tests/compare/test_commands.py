from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.media import decoded
from support.small_clips import moving_clip
from support.tools import TIMEOUT, ltxfilter, wait_until

from ltxfilter.cli.main import run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return moving_clip(tmp_path / "a.y4m", 13)


def compare(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run(["compare", *map(str, words), "--ffmpeg", "/nowhere/ffmpeg"])
    out, err = capfd.readouterr()
    return code, out, err


def test_without_options_the_usual_engines_are_compared(
    clip: Path, capfd: pytest.CaptureFixture[str]
):
    code, out, err = compare(capfd, clip)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["hold", "blend", "flow"]
    assert "PSNR" in out
    assert "higher is nearer" in out
    assert "add -o FOLDER" in err


def test_engines_are_named_as_for_a_run(clip: Path, capfd: pytest.CaptureFixture[str]):
    code, out, _ = compare(
        capfd, clip, "--engines", "flow:preset=fast,blend", "--engines", "hold", "--format", "csv"
    )
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["candidate"] for row in rows] == ["flow:preset=fast", "blend", "hold"]


def test_json_holds_the_scores_of_every_frame(clip: Path, capfd: pytest.CaptureFixture[str]):
    code, out, _ = compare(capfd, clip, "--engines", "blend", "--format", "json")
    assert code == 0
    assert json.loads(out)["candidates"][0]["per_frame"]["frame"] == [1, 3, 5, 7, 9, 11]


def test_two_files_are_two_results_and_vs_is_another_tool(
    tmp_path: Path, clip: Path, capfd: pytest.CaptureFixture[str]
):
    other = moving_clip(tmp_path / "b.y4m", 13)
    rows = {}
    for words in ((clip, other), (clip, "--vs", other, "--engines", "none"), (clip, "--vs", other)):
        code, out, _ = compare(capfd, *words, "--format", "csv")
        assert code == 0
        found = list(csv.DictReader(io.StringIO(out)))
        rows[len(rows)] = [(row["candidate"], row["frames"]) for row in found]
    assert rows[0] == [("b.y4m", "13")]
    assert rows[1] == [("b.y4m", "6")]
    assert [name for name, _ in rows[2]] == ["b.y4m", "hold", "blend", "flow"]


def test_the_folder_is_named_in_the_end(
    tmp_path: Path, clip: Path, capfd: pytest.CaptureFixture[str]
):
    code, _, err = compare(capfd, clip, "--engines", "blend", "-o", tmp_path / "out")
    assert code == 0
    assert f"the page is {tmp_path}/out/index.html" in err
    code, out, err = compare(capfd, clip, "--engines", "blend", "-o", tmp_path / "out")
    assert (code, out) == (4, "")
    assert "already exists; add -y" in err
    assert compare(capfd, clip, "--engines", "blend", "-o", tmp_path / "out", "-y")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engines", "flwo"], 2, "no engine 'flwo'; there are auto, flow"),
        (["--engines", "flow,"], 2, "separate them by commas"),
        (["--engines", "flow:preset=good"], 2, "preset=good"),
        (["--engines", "flow", "hold"], 2, "an engine is named so: --engines flow,hold"),
        (["--engines", "none"], 2, "nothing to compare"),
        (["--step", "1"], 2, "--step 1: write a whole number from 2 to 16"),
        (["--frames", "0"], 2, "--frames 0"),
        (["--skip-end", "-1"], 2, "--skip-end -1"),
        (["--onnx-model", "x.onnx", "--engines", "blend"], 2, "engine blend does not use it"),
        (["--vs", "nothing.mp4"], 3, "nothing.mp4"),
        (["--lora", "a:b:c:"], 2, "lora"),
    ],
)
def test_mistakes_are_told_before_work(
    clip: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int, message: str
):
    found, out, err = compare(capfd, clip, *words)
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_missing_clip_is_told(capfd: pytest.CaptureFixture[str]):
    assert run(["compare"]) == 2
    assert "CLIP" in capfd.readouterr().err
    assert run(["compare", "nothing.mp4"]) == 3
    assert "nothing.mp4: no such file" in capfd.readouterr().err


def preview(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run(["preview", *map(str, words)])
    out, err = capfd.readouterr()
    return code, out, err


def test_a_preview_without_a_terminal_prints_its_name(
    clip: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, _ = preview(capfd, "-i", clip, "--at", "0.2", "--engines", "blend")
    assert code == 0
    assert out.endswith("/a-preview.mp4\n")
    assert len(list(decoded(out.strip()))) > 10


def test_a_preview_that_fails_leaves_no_folder(
    clip: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = preview(capfd, "-i", clip, "--at", "9")
    assert (code, out) == (3, "")
    assert "is beyond its end" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.y4m"]


def test_worst_moments_are_told(clip: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    output = tmp_path / "p.mkv"
    words = ["-i", clip, "--engines", "blend", "--seconds", "0.2", "-o", output]
    code, out, err = preview(capfd, *words, "--worst", "2")
    assert (code, out) == (0, f"{output}\n")
    assert "moments: 00:00." in err
    assert preview(capfd, *words, "-y", "--worst")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a moment with --at 00:01:20"),
        (["--at", "soon"], "--at: time 'soon'"),
        (["--at", "1", "--seconds", "x"], "--seconds: time 'x'"),
        (["--at", "1", "--speed", "0"], "0.01 to 100"),
        (["--worst", "many"], "--worst many"),
        (["--at", "1", "--fps", "fast"], "fast"),
    ],
)
def test_mistakes_in_a_preview_are_told(
    clip: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
):
    code, out, err = preview(capfd, "-i", clip, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_on_a_terminal_with_a_display_the_player_opens_it(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ltxfilter.cli.commands.preview import _opened

    opener, seen = tmp_path / "xdg-open", tmp_path / "seen"
    os.mkfifo(seen)
    opener.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.delenv("DISPLAY", raising=False)
        assert not _opened("x.mp4")
        monkeypatch.setenv("DISPLAY", ":0")
        assert _opened("x.mp4")
        assert seen.read_text() == "x.mp4\n"
    os.close(master)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_signal_ends_a_comparison_and_leaves_no_process(tmp_path: Path):
    clip = moving_clip(tmp_path / "long.y4m", 150, width=320, height=192)
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(
        f"#!{sys.executable}\nimport sys, os\n"
        "if '-h' in sys.argv: sys.exit(print('Filter libvmaf'))\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nsys.stdin.buffer.read()\n"
    )
    ffmpeg.chmod(ffmpeg.stat().st_mode | stat.S_IXUSR)
    words = [clip, "--engines", "flow", "--ffmpeg", ffmpeg, "-o", tmp_path / "out"]
    process = subprocess.Popen(ltxfilter("compare", *words), stderr=subprocess.PIPE)
    wait_until((tmp_path / "pid").exists, "libvmaf was not started")
    wait_until(lambda: (tmp_path / "pid").read_text(), "libvmaf was not started")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 143
    assert b"stopped by signal 15" in errors
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left <= {"side-by-side.mp4.part"}
