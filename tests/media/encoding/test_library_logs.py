"""Encoders that write to standard error by themselves obey the log level."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.tools import ltxfilter, make_clip, run_pipe

from ltxfilter.cli.terminal import logging_level
from ltxfilter.media.encoding.library_logs import quiet_svt, x265_log_level
from ltxfilter.values import LEVELS


@pytest.mark.parametrize(
    ("level", "x265", "svt"),
    [
        ("quiet", "none", "0"),
        ("fatal", "none", "0"),
        ("error", "error", "1"),
        ("warning", "error", "1"),
        ("info", "error", "1"),
        ("debug", "info", "3"),
    ],
)
def test_levels_of_x265_and_svt(
    level: str, x265: str, svt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("ltxfilter")
    before = logger.level
    monkeypatch.setenv("SVT_LOG", "")
    monkeypatch.delenv("SVT_LOG")
    try:
        logger.setLevel(logging_level(LEVELS[level]))
        assert x265_log_level() == x265
        quiet_svt()
    finally:
        logger.setLevel(before)
    import os

    assert os.environ["SVT_LOG"] == svt


def test_the_users_environment_goes_before_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("SVT_LOG", "4")
    quiet_svt()
    assert os.environ["SVT_LOG"] == "4"


@pytest.mark.parametrize("codec", ["hevc", "libx265", "av1"])
def test_nothing_is_written_where_nothing_is_asked_for(codec: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.y4m", seconds=0.2)
    out = tmp_path / "out.mkv"
    words = ("-v", "quiet", "-i", clip, "--engine", "hold", "-c:v", codec, out)
    done = run_pipe(ltxfilter(*words))
    assert (done.codes, done.err) == ([0], "")
    assert out.stat().st_size


def test_x265_speaks_where_everything_is_asked_for(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.y4m", seconds=0.2)
    words = ("-v", "debug", "-i", clip, "--engine", "hold", "-c:v", "hevc", tmp_path / "out.mkv")
    assert "x265 [info]" in run_pipe(ltxfilter(*words)).err
