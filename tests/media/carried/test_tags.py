"""Which metadata a container keeps."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from support.tools import make_clip

import ltxfilter
from ltxfilter.media.carried.tags import lost_tags, telling_tags

TAGS = {"title": "A", "artist": "B", "lens": "35 mm", "com.apple.quicktime.make": "C"}


@pytest.mark.parametrize(
    ("muxer", "lost"),
    [
        ("matroska", []),
        ("nut", []),
        ("mp4", ["com.apple.quicktime.make", "lens"]),
        ("mov", ["com.apple.quicktime.make", "lens"]),
        ("avi", ["com.apple.quicktime.make", "lens"]),
        ("mpegts", sorted(TAGS)),
        ("yuv4mpegpipe", sorted(TAGS)),
    ],
)
def test_what_is_lost_is_known_before(muxer: str, lost: list[str]):
    assert lost_tags(TAGS, muxer) == lost


def test_any_name_can_be_asked_for():
    assert lost_tags(TAGS, "mp4", any_name=True) == []


def test_what_describes_the_old_file_is_not_missed():
    assert telling_tags({"encoder": "x", "major_brand": "y", "timecode": "z", "title": "A"}) == {
        "title": "A"
    }


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_tags_of_a_camera_are_kept(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture):
    make = ("-movflags", "use_metadata_tags", "-metadata", "com.apple.quicktime.make=Apple")
    clip = make_clip(tmp_path / "in.mov", *make, seconds=0.2)
    out = tmp_path / f"out.{suffix}"
    ltxfilter.convert(clip, out, engine="hold")
    with av.open(str(out)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
    assert tags["com.apple.quicktime.make"] == "Apple"
    assert "left out" not in caplog.text
