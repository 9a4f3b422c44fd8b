"""Which streams go along: -map, what a container cannot hold, tags that are stale."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import (
    convert_repeating,
    facts,
)

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.media.carried.tags import lasting_tags
from ltxfilter.media.container.copied_streams.plan import plan_streams
from ltxfilter.options import OutputOptions

F = Fraction


def test_what_a_container_cannot_hold_is_named(
    rich: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = convert_repeating(rich["mkv"], tmp_path / "out.mp4", "50")
    dropped = {p.index: p.reason for p in sink.plan if p.action == "drop"}
    assert dropped == {
        2: "mp4 cannot hold subrip subtitle",
        3: "mp4 cannot hold attachments",
    }
    assert "stream 2 (subtitle, subrip) is left out: mp4 cannot hold subrip" in caplog.text
    assert "stream 3 (attachment, font.ttf) is left out" in caplog.text


def test_sound_that_would_be_lost_is_refused_before_any_work(
    rich: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"webm cannot hold aac audio \(stream 1\); add -an"):
        convert_repeating(rich["mkv"], tmp_path / "out.webm", codec="libvpx-vp9", encoder={})
    assert list(tmp_path.iterdir()) == []
    convert_repeating(
        rich["mkv"],
        tmp_path / "out.webm",
        codec="libvpx-vp9",
        encoder={"deadline": "realtime"},
        audio=False,
    )
    assert facts(tmp_path / "out.webm")["kinds"] == ["video"]


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"audio": False}, ["video", "subtitle", "video"]),
        ({"subtitles": False}, ["video", "audio", "video"]),
        ({"maps": ("0:a",)}, ["video", "audio"]),
        ({"maps": ("0", "-0:s", "-0:t", "-0:4")}, ["video", "audio"]),
        ({"maps": ("0:m:language:ita",)}, ["video", "subtitle"]),
        ({"maps": ("0:v", "0:d?")}, ["video", "video"]),
    ],
)
def test_streams_are_chosen(
    rich: dict[str, Path], tmp_path: Path, options: dict[str, Any], kinds: list[str]
) -> None:
    convert_repeating(rich["mkv"], tmp_path / "out.mkv", "50", **options)
    assert facts(tmp_path / "out.mkv")["kinds"] == kinds


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0:a:7", "matches no stream"),
        ("1:a", "there is only input 0"),
        ("0:q", "write 0, 0:a"),
        ("0:a:" + "9" * 5000, "write 0, 0:a"),
        ("0:" + "9" * 5000, "write 0, 0:a"),
        ("0:\u0663", "write 0, 0:a"),
        ("-0:s", "name what to take"),
    ],
)
def test_a_map_that_means_nothing_is_refused(
    rich: dict[str, Path], tmp_path: Path, spec: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        convert_repeating(rich["mkv"], tmp_path / "out.mkv", maps=(spec,))


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=5)))
def test_tags_are_kept_unless_stale(tags: dict[str, str]) -> None:
    stale = {"encoder": "x", "DURATION": "1", "BPS-eng": "2", "_STATISTICS_TAGS": "y"}
    stale["NUMBER_OF_FRAMES"] = "3"
    kept = lasting_tags({**tags, **stale})
    assert not kept.keys() & stale.keys()
    assert all(kept[key] == tags[key] for key in kept)


def test_plan_needs_no_output_file(rich: dict[str, Path]) -> None:
    with av.open(str(rich["mkv"])) as container:
        plans = plan_streams(container, container.streams.video[0], OutputOptions(), "mov")
    assert [plan.action for plan in plans] == ["interpolate", "copy", "drop", "drop", "drop"]
