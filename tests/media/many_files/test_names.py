"""Names that stand for many files: which are patterns, which files they mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.media.many_files.names import (
    as_sequence,
    input_files,
    is_pattern,
    many_files,
    numbered,
)
from ltxfilter.options import InputOptions, OutputOptions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a%d.png", True),
        ("a%06d.png", True),
        ("%3d.png", True),
        ("100%%_%d.png", True),
        ("a.png", False),
        ("100%.png", False),
        ("a%%d.png", False),
        ("a%d_%d.png", False),
        ("a%s.png", False),
    ],
)
def test_a_pattern_has_one_number(name: str, expected: bool) -> None:
    assert is_pattern(name) is expected


def test_numbers_are_those_that_ffmpeg_would_write(tmp_path: Path) -> None:
    names = ["1.png", "2.png", "02.png", "0003.png", "10.png", "x.png", "4.jpg", "12345.png"]
    for name in names:
        (tmp_path / name).touch()
    assert [n for n, _ in numbered(str(tmp_path / "%d.png"))] == [1, 2, 10, 12345]
    assert [n for n, _ in numbered(str(tmp_path / "%02d.png"))] == [2, 10, 12345]
    assert [n for n, _ in numbered(str(tmp_path / "%04d.png"))] == [3, 12345]
    assert numbered(str(tmp_path / "nowhere" / "%d.png")) == []


@given(st.integers(0, 10**7), st.integers(0, 8), st.sampled_from(["", "a+(b)", "100%%_"]))
def test_what_a_pattern_writes_it_finds_again(
    tmp_path_factory: pytest.TempPathFactory, number: int, width: int, before: str
) -> None:
    folder = tmp_path_factory.mktemp("p")
    pattern = f"{before}%0{width}d.png" if width else f"{before}%d.png"
    path = folder / (pattern % number)
    path.touch()
    assert numbered(str(folder / pattern)) == [(number, str(path))]


def test_a_file_of_the_very_name_is_that_file(tmp_path: Path) -> None:
    name = str(tmp_path / "a%d.mkv")
    assert as_sequence(InputOptions(path=name)).format == "image2"
    Path(name).touch()
    assert as_sequence(InputOptions(path=name)).format is None
    assert input_files(InputOptions(path=name)) == [name]


def test_glob_patterns_have_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "b.png").touch()
    pattern = str(tmp_path / "*.png")
    assert as_sequence(InputOptions(path=pattern)).format is None
    named = as_sequence(InputOptions(path=pattern, format="image2"))
    assert named.demuxer == {"pattern_type": "glob"}
    assert input_files(named) == [str(tmp_path / "b.png")]


@pytest.mark.parametrize(
    ("output", "muxer", "existing"),
    [
        ("a%02d.png", {}, ["a07.png"]),
        ("v.m3u8", {}, ["v.m3u8", "v0.ts", "v12.ts"]),
        ("v.m3u8", {"hls_segment_type": "fmp4"}, ["init.mp4", "v.m3u8", "v1.m4s"]),
        ("v.m3u8", {"hls_segment_filename": "s%03d.ts"}, ["s001.ts", "v.m3u8"]),
        ("v.mpd", {}, ["chunk-stream0-00001.m4s", "init-stream1.m4s", "v.mpd"]),
    ],
)
def test_files_that_exist_are_found(
    tmp_path: Path, output: str, muxer: dict[str, str], existing: list[str]
) -> None:
    others = ["a7.png", "b07.png", "v.ts", "chunk.m4s", "other.mp4"]
    for name in [*existing, *others]:
        (tmp_path / name).touch()
    muxer = {key: str(tmp_path / value) if "%" in value else value for key, value in muxer.items()}
    found = many_files(OutputOptions(path=str(tmp_path / output), muxer=muxer))
    assert found is not None
    assert sorted(Path(file).name for file in found) == existing


def test_one_file_is_not_many(tmp_path: Path) -> None:
    assert many_files(OutputOptions(path=str(tmp_path / "a.mkv"))) is None
    assert many_files(OutputOptions(path=str(tmp_path / "a%d.mkv"))) is None
    assert many_files(OutputOptions(path="-")) is None
