"""Tags, chapters and dispositions as the user wants them; what the output cannot keep is named."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import pytest
from support.rich_media import make_rich

import ltxfilter
from ltxfilter.errors import OptionError


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rich(tmp_path_factory.mktemp("edits") / "rich.mkv", frames=4)


def tags_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_tags_of_the_file_are_set_and_removed(rich: Path, tmp_path: Path, ending: str):
    out = tmp_path / f"out.{ending}"
    before = tags_of(rich)
    assert "title" in before
    ltxfilter.convert(rich, out, engine="hold", metadata={"comment": "New", "title": ""})
    after = tags_of(out)
    assert after["comment"] == "New"
    assert "title" not in after


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_the_tags_of_the_input_can_be_left_out(rich: Path, tmp_path: Path, ending: str):
    out = tmp_path / f"out.{ending}"
    ltxfilter.convert(rich, out, engine="hold", tags=False, data=False, metadata={"title": "Mine"})
    assert tags_of(out)["title"] == "Mine"
    assert not set(tags_of(out)) & (set(tags_of(rich)) - {"title", "encoder"})
    with av.open(str(out)) as container:
        assert all("title" not in stream.metadata for stream in container.streams.audio)
        assert all(not chapter["metadata"].get("title") for chapter in container.chapters())
        assert len(container.chapters()) == 2


def test_chapters_can_be_left_out(rich: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    ltxfilter.convert(rich, out, engine="hold", chapters=False)
    with av.open(str(out)) as container:
        assert container.chapters() == []


def test_streams_get_tags_and_dispositions(rich: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    ltxfilter.convert(
        rich,
        out,
        engine="hold",
        metadata={"s:a:0:language": "fre", "s:v:title": "Film", "s:1:comment": "Second"},
        disposition={"a:0": "default+comment", "s": "0", "v": "-default"},
    )
    flags = av.stream.Disposition
    with av.open(str(out)) as container:
        audio, video = container.streams.audio[0], container.streams.video[0]
        tags = {key.lower(): value for key, value in audio.metadata.items()}
        assert (tags["language"], tags["comment"]) == ("fre", "Second")
        assert {key.lower(): value for key, value in video.metadata.items()}["title"] == "Film"
        assert audio.disposition & (flags.default | flags.comment)
        assert not container.streams.subtitles[0].disposition & flags.default


def test_a_tag_that_the_container_does_not_keep_is_named(
    rich: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, "ltxfilter"):
        ltxfilter.convert(
            rich, tmp_path / "out.mp4", engine="hold", metadata={"lens": "35 mm"}, tags=False
        )
    assert "the tags lens: left out" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ltxfilter"):
        ltxfilter.convert(rich, tmp_path / "b.ts", engine="hold", tags=False, chapters=False,
                          subtitles=False)  # fmt: skip
    assert "the tags" not in caplog.text
    assert "chapters" not in caplog.text


def test_what_is_no_stream_and_no_disposition_is_refused(rich: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="use 0, or some of default, dub"):
        ltxfilter.convert(rich, tmp_path / "o.mkv", disposition={"a:0": "loud"})
    with pytest.raises(OptionError, match="-disposition:x: write a:0"):
        ltxfilter.convert(rich, tmp_path / "o.mkv", disposition={"x": "default"})
