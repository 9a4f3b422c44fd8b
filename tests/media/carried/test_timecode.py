"""Timecodes at another rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import make_clip

import ltxfilter
from ltxfilter.media.carried.timecode import at_rate, converted

F = Fraction
NTSC30, NTSC60 = F(30000, 1001), F(60000, 1001)


@pytest.mark.parametrize(
    ("text", "before", "after", "passed", "expected"),
    [
        ("01:00:00:10", F(25), F(50), F(0), "01:00:00:20"),
        ("01:00:00:10", F(25), F(50), F(2), "01:00:02:20"),
        ("23:59:59:24", F(25), F(50), F(1), "00:00:00:48"),
        ("00:00:00:12", F(24), F(60), F(0), "00:00:00:30"),
        ("00:01:00;02", NTSC30, NTSC60, F(0), "00:01:00;04"),
        ("00:10:00;00", NTSC30, NTSC60, F(0), "00:10:00;00"),
        ("00:01:59;29", NTSC30, NTSC60, F(0), "00:01:59;58"),
        ("01:00:00;00", NTSC30, NTSC30, F(0), "01:00:00;00"),
        ("01:00:00:00", NTSC30, F(50), F(0), "01:00:03:30"),
        ("00:00:00:05", F(25), F(250), F(0), "00:00:00:050"),
        ("no timecode", F(25), F(50), F(0), "no timecode"),
    ],
)
def test_a_moment_keeps_its_place(
    text: str, before: Fraction, after: Fraction, passed: Fraction, expected: str
):
    assert at_rate(text, before, after, passed) == expected


@given(st.integers(0, 24 * 6 * 17982 - 1))
def test_dropped_numbers_come_back(count: int):
    """Every frame of a day at 29.97 has one timecode, which survives doubling and halving."""
    start = "00:00:00;00"
    text = at_rate(start, NTSC30, NTSC30, count / NTSC30)
    minutes, seconds, frames = int(text[3:5]), int(text[6:8]), int(text[9:])
    assert not (minutes % 10 and seconds == 0 and frames < 2)
    assert at_rate(at_rate(text, NTSC30, NTSC60), NTSC60, NTSC30) == text


def test_a_timecode_without_a_rate_is_left_out():
    tags = {"TIMECODE": "00:00:00:01", "title": "A"}
    assert converted(tags, None, F(50), F(0)) == {"title": "A"}
    assert converted(tags, F(25), F(50), F(0)) == {"TIMECODE": "00:00:00:02", "title": "A"}


@pytest.mark.parametrize("suffix", ["mov", "mkv", "mp4"])
def test_a_track_is_written_anew(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture):
    clip = make_clip(tmp_path / "in.mov", "-timecode", "01:00:00:10", seconds=0.6)
    out = tmp_path / f"out.{suffix}"
    ltxfilter.convert(clip, out, engine="hold", start="0.2")
    with av.open(str(out)) as container:
        tags = {**container.metadata, **container.streams.video[0].metadata}
    assert {key.lower(): value for key, value in tags.items()}["timecode"] == "01:00:00:30"
    assert "left out" not in caplog.text
