"""`ltxfilter doctor -- COMMAND LINE` says what the command itself would come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tools import ltxfilter, run_pipe

from ltxfilter.cli.main import run
from ltxfilter.media.container import hardware
from ltxfilter.media.encoding import ffmpeg_build

FAILING = {  # a command line, and what doctor says of which part
    "--fps fast -i {clip} {new}": "",
    "-i {clip} {old}": "output * already exists; add -y to overwrite it",
    "-i {clip} {folder}/none/a.mkv": "output * cannot be written",
    "-i {clip} {folder}/a.xyz": "output * its ending names no format",
    "-i {folder}/none.mkv {new}": "input * none.mkv",
    "-i {old} {new}": "input * ",
    "-i {clip} -y {clip}": "options * is the input",
    "-i {clip} --engine nothing {new}": "engine * no engine 'nothing'",
    "-i {clip} --engine flow:fast=1 {new}": "engine * has no option 'fast'",
    "-i {clip} --engine onnx {new}": "engine * engine onnx",
    "-i {clip} --engine flow --onnx-model x.onnx {new}": "options * does not use it",
    "-i {clip} --memory 1M {new}": "memory * is too little",
    "-i {clip} -c:v libnothing {new}": "output * libnothing",
}


@pytest.fixture
def names(clip: Path, tmp_path: Path) -> dict[str, Path]:
    old = tmp_path / "old.mkv"
    old.write_bytes(b"something else")
    return {"clip": clip, "old": old, "new": tmp_path / "new.mkv", "folder": tmp_path}


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run(["doctor", *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("line", FAILING)
def test_what_fails_is_named_with_the_exit_code_of_the_command(
    line: str, names: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = line.format(**names).split()
    before = sorted(tmp_path.rglob("*"))
    code, said = doctor(capsys, "--", *words)
    assert sorted(tmp_path.rglob("*")) == before
    assert code == run(words)
    assert code
    part, _, reason = FAILING[line].partition(" * ")
    wrong = [each for each in said.splitlines() if "will not work: " in each]
    if part:
        assert wrong[0].startswith(part)
        assert reason in wrong[0]
        assert said.splitlines()[-1].split(None, 2) == ["this", "command", "will not work"]


def test_all_that_is_wrong_is_named_at_once(
    names: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    line = "-i {folder}/none.mkv --engine nothing {old}".format(**names)
    said = doctor(capsys, "--", *line.split())[1]
    assert [each.split()[0] for each in said.splitlines() if "will not work: " in each] == [
        "engine",
        "input",
        "output",
    ]


@pytest.mark.parametrize(
    "line", ["-- -i {clip} {new}", "-- ltxfilter -i {clip} {new}", "-i {clip}"]
)
def test_what_works_leaves_nothing_behind(
    line: str, names: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(tmp_path.rglob("*"))
    code, said = doctor(capsys, *line.format(**names).split())
    assert code == 0
    assert "160x120 yuv420p, 25 fps, 1.000 s" in said
    assert "will work" in said.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pipe_is_not_read(capsys: pytest.CaptureFixture[str]):
    done = run_pipe(ltxfilter("doctor", "--", "--fps", 60, "-f", "nut", "-"), stdin=b"no video")
    assert done.codes == [0]
    assert b"standard input, which is looked at when it runs" in done.out


def test_what_several_parts_find_is_said_once(
    names: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    line = "-i {clip} --engine onnx:batch=no --onnx-model x.onnx {new}".format(**names)
    said = doctor(capsys, "--", *line.split())[1]
    failures = [each.partition(": ")[2] for each in said.splitlines() if "will not work:" in each]
    assert failures
    assert len(set(failures)) == len(failures)


def test_hardware_for_video_is_listed_as_what_to_type(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hardware, "working_devices", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(ffmpeg_build, "on_hardware", lambda _: ["hevc_nvenc"])
    lines = doctor(capsys)[1].splitlines()
    assert "hardware decoders   -hwaccel cuda, -hwaccel vaapi" in lines
    assert "hardware encoders   -c:v hevc_nvenc" in lines


def test_hardware_that_is_not_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hardware, "missing", lambda _: "no such device")
    monkeypatch.setattr(ffmpeg_build, "_why_not", lambda _: "no such device")
    told = {line[:20].strip(): line[20:] for line in doctor(capsys)[1].splitlines()}
    assert told["hardware decoders"].startswith("none: no device of ")
    assert told["hardware decoders"].endswith("; -hwaccel auto decodes on the CPU")
    assert told["hardware encoders"].endswith("; the default encoders need none")


def test_what_the_command_would_warn_of_is_said_once(
    names: dict[str, Path], capfd: pytest.CaptureFixture[str]
):
    words = f"-hwaccel nonsense -i {names['clip']} --engine hold {names['new']}".split()
    assert run(["doctor", "--", *words]) == 0
    said = capfd.readouterr()
    (line,) = [line for line in said.out.splitlines() if "nonsense" in line]
    assert line.startswith("warning             -hwaccel nonsense: FFmpeg knows no such device")
    assert not said.err
