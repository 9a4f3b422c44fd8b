from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from support.small_clips import info_of, moving

from benchmarks import scores
from benchmarks.clips import Clip
from ltxfilter.compare import vmaf
from ltxfilter.compare.vmaf import VmafMeter, find_ffmpeg
from ltxfilter.frame import Planes, VideoInfo

HELP = "Filter libvmaf"


def program(path: Path, code: str) -> str:
    """Write a program that stands for ffmpeg."""
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def measured(
    exe: str, drawn: Sequence[Planes], true: Sequence[Planes], info: VideoInfo
) -> tuple[list[float], str]:
    with closing(VmafMeter(exe, info)) as meter:
        for a, b in zip(drawn, true, strict=True):
            meter.add(a[0], b[0])
        return meter.finish(), meter.missing


@pytest.fixture
def with_vmaf() -> str:
    exe, missing = find_ffmpeg(None)
    if exe is None:
        pytest.skip(missing)
    return exe


@pytest.mark.parametrize(("width", "height"), [(320, 192), (321, 193)])
def test_one_pipe_gives_what_two_files_give(with_vmaf: str, width: int, height: int):
    info = info_of(width, height)
    true, drawn = moving(4, info, step=2.0), moving(4, info, step=2.5)
    values, missing = measured(with_vmaf, drawn, true, info)
    assert missing == ""
    expected = scores.vmaf(drawn, true, Clip("x", info, true))
    assert sum(values) / 4 == pytest.approx(expected, abs=1e-5)


def test_deeper_clips_are_measured_at_their_depth(with_vmaf: str):
    eight, ten = info_of(320, 192), info_of(320, 192, "yuv420p10le")
    shallow, _ = measured(with_vmaf, moving(2, eight, 3), moving(2, eight), eight)
    deep, missing = measured(with_vmaf, moving(2, ten, 3), moving(2, ten), ten)
    assert missing == ""
    assert deep == pytest.approx(shallow, abs=1)


def test_an_ffmpeg_without_libvmaf_is_said_to_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program(tmp_path / "ffmpeg", "print('Unknown filter')")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vmaf, "_packaged", lambda: None)
    exe, missing = find_ffmpeg(None)
    assert exe is None
    assert missing == f"{tmp_path}/ffmpeg has no libvmaf; name one that has with --ffmpeg FILE"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert find_ffmpeg(None)[1].startswith("no ffmpeg on PATH")
    assert find_ffmpeg("/nowhere/ffmpeg") == (None, "/nowhere/ffmpeg has no libvmaf")


def test_the_one_that_is_named_goes_first(tmp_path: Path):
    named = program(tmp_path / "other", f"print('{HELP}')")
    assert find_ffmpeg(named) == (named, "")


def test_an_ffmpeg_that_fails_is_told_and_nothing_is_left(tmp_path: Path):
    exe = program(tmp_path / "ffmpeg", "sys.exit('Invalid argument')")
    info = info_of(640, 480)
    values, missing = measured(exe, moving(6, info), moving(6, info), info)
    assert values == []
    assert missing == "libvmaf failed: Invalid argument"
    silent = program(tmp_path / "silent", "sys.stdin.buffer.read()\nsys.exit(3)")
    assert measured(silent, moving(1, info), moving(1, info), info)[1] == (
        "libvmaf failed: ffmpeg ended with code 3"
    )


def test_an_ffmpeg_that_cannot_be_started_is_told(tmp_path: Path):
    (tmp_path / "ffmpeg").write_text("no program")
    info = info_of()
    _, missing = measured(str(tmp_path / "ffmpeg"), moving(1, info), moving(1, info), info)
    assert "cannot be started" in missing


def test_closing_early_ends_ffmpeg(tmp_path: Path):
    exe = program(tmp_path / "ffmpeg", "sys.stdin.buffer.read()")
    meter = VmafMeter(exe, info_of())
    process = meter._process
    assert process is not None
    meter.close()
    meter.close()
    assert process.poll() is not None


def test_rates_are_no_matter(with_vmaf: str):
    info = info_of(320, 192, rate=50)
    assert info.rate == Fraction(50)
    values, _ = measured(with_vmaf, moving(3, info), moving(3, info), info)
    assert len(values) == 3
    assert min(values) > 90
