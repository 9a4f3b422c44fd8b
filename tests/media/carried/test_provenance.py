"""Outputs say what made them, and never from what, unless they are asked to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import av
import pytest
from support.media import make_video
from support.tools import TIMEOUT, ffmpeg_exe

from ltxfilter import __version__, convert, engines
from ltxfilter.media.carried.marks import UUID_OF_MARKS
from ltxfilter.options import ModelOptions, Options, OutputOptions
from ltxfilter.pipeline.record.provenance import with_provenance

SHORT = f"ltxfilter {__version__}, engine hold"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("secret-folder") / "secret-name.mkv", 8)


def all_tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as file:
        found = dict(file.metadata)
        for stream in file.streams:
            found |= stream.metadata
    return {key.lower(): value for key, value in found.items()}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.mkv", "ltxfilter"),
        ("a.nut", "ltxfilter"),
        ("a.mp4", "handler_name"),
        ("a.mov", "handler_name"),
        ("a.avi", "comment"),
    ],
)
def test_an_output_names_ltxfilter_its_version_and_the_engine(
    clip: Path, tmp_path: Path, name: str, key: str
):
    convert(clip, tmp_path / name, engine="hold")
    tags = all_tags(tmp_path / name)
    assert tags[key] == SHORT
    assert "secret" not in str(tags)
    assert b"secret" not in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi"])
def test_it_can_be_turned_off(clip: Path, tmp_path: Path, name: str):
    convert(clip, tmp_path / name, engine="hold", provenance="none")
    assert b"engine hold" not in (tmp_path / name).read_bytes()


def test_full_provenance_tells_names_and_options(clip: Path, tmp_path: Path):
    out = tmp_path / "a.mkv"
    convert(clip, out, engine="auto:lookahead=0", fps=50, provenance="full", cuts=False)
    said = all_tags(out)["ltxfilter"]
    assert said.startswith(f"ltxfilter {__version__}, engine auto (flow)")
    for part in ("input secret-name.mkv", "options auto:lookahead=0", "fps 50", "no cuts"):
        assert part in said
    assert "secret-folder" not in said


def test_the_seed_is_told_and_the_prompt_only_where_it_is_asked_for():
    models = ModelOptions(prompt="a secret boat", context="secret.safetensors")
    spec = "auto:with=ltx-motion\\:source=dit\\:seed=42"
    for provenance, told in (("short", False), ("full", True)):
        options = Options(engine=spec, models=models, output=OutputOptions(provenance=provenance))
        said = with_provenance(options, engines.build(spec, models)).made_by
        assert said.startswith(f"ltxfilter {__version__}, engine auto (flow, ltx-motion), seed 42")
        assert ("secret" in said) == told


def test_a_comment_of_the_user_stays(tmp_path: Path, clip: Path):
    convert(clip, tmp_path / "a.avi", engine="hold", metadata={"comment": "mine"})
    assert all_tags(tmp_path / "a.avi")["comment"] == "mine"
    source = make_video(tmp_path / "source.avi", 4, codec="mpeg4", title="Title")
    convert(source, tmp_path / "b.avi", engine="hold")
    assert all_tags(tmp_path / "b.avi")["title"] == "Title"


def test_what_made_an_input_is_not_taken_for_what_made_the_output(tmp_path: Path, clip: Path):
    convert(clip, tmp_path / "a.mkv", engine="blend")
    convert(tmp_path / "a.mkv", tmp_path / "b.mkv", engine="hold", fps=200)
    assert all_tags(tmp_path / "b.mkv")["ltxfilter"] == SHORT
    convert(tmp_path / "a.mkv", tmp_path / "c.mkv", engine="hold", fps=200, provenance="none")
    assert "ltxfilter" not in all_tags(tmp_path / "c.mkv")


def marks(path: Path) -> list[str]:
    """Return the texts in the order in which the frames are shown."""
    found = {}
    mark = re.compile(re.escape(UUID_OF_MARKS.bytes) + rb"([ -~]+)")
    with av.open(str(path)) as file:
        for packet in file.demux(video=0):
            for text in mark.findall(bytes(packet)):
                assert packet.pts is not None
                found[packet.pts] = text.decode()
    return [found[pts] for pts in sorted(found)]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("workers", [None, 1])
def test_full_provenance_marks_each_frame(
    clip: Path, tmp_path: Path, codec: str, workers: int | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    out = tmp_path / "a.mkv"
    video = {"codec": codec} | ({"x265-params": "log-level=none"} if codec == "libx265" else {})
    done = convert(
        clip, out, engine="blend", fps=50, provenance="full", workers=workers, segment_seconds=10,
        video=video,
    )  # fmt: skip
    said = marks(out)
    assert len(said) == done.frames_out == 16
    assert said[:2] == [
        f"ltxfilter {__version__}: source frame",
        f"ltxfilter {__version__}: interpolated by blend",
    ]
    assert said[-1] == f"ltxfilter {__version__}: repeated source frame"
    checked = subprocess.run(
        [ffmpeg_exe(), "-v", "warning", "-i", str(out), "-f", "null", "-"],
        capture_output=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert checked.stderr == b""


def test_short_provenance_marks_no_frame(clip: Path, tmp_path: Path):
    convert(clip, tmp_path / "a.mkv", engine="hold")
    assert marks(tmp_path / "a.mkv") == []
