"""Rates and times that are found in packets, without decoding."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media import (
    make_video,
)

from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.timing.packet_timing import scan
from ltxfilter.options import InputOptions

F = Fraction


RATES = {
    "bbb60_1080_overlay.webm": F(60),
    "tos332_multishot.webm": F(24),
    "car432.mp4": F(25, 2),
    "cups720.mp4": F(30000, 1001),
    "sample_with_ass_subtitles.mkv": F(30),
    "sample_with_srt.mkv": F(30),
    "sample_with_pgs_subtitles.mkv": None,  # stamped 1 and 2 ms apart
    "sample_with_chapters.mkv": F(30),
    "sample_with_vorbis_audio.mkv": F(30),
    "sample_with_chapters.mp4": F(30000, 1001),
    "bt601.mov": F(30000, 1001),
    "sample.avi": F(24000, 1001),
    "bbb_2500ms.ts": F(24),
    "hdr10-video-with-sdr-container.mp4": None,
    "pixel7_videoOnly_cleaned.mp4": None,
}


@pytest.mark.parametrize("name", RATES)
def test_rate_of_real_files_is_found(clips: Path, name: str) -> None:
    path = next(clips.glob(f"*/{name}"))
    found = scan(InputOptions(path=str(path)))
    assert found is not None
    assert found.cadence.rate == RATES[name]


@settings(max_examples=12)
@given(
    rate=st.sampled_from([F(24), F(24000, 1001), F(25), F(30000, 1001), F(48), F(60000, 1001)]),
    gaps=st.lists(st.integers(1, 2), min_size=40, max_size=60),
)
def test_rounded_times_find_their_way_back(
    tmp_path_factory, rate: Fraction, gaps: list[int]
) -> None:
    steps = [sum(gaps[:i]) for i in range(len(gaps))]
    if sorted(gaps[:-1])[len(gaps) // 2] != 1:
        gaps = [1] * len(gaps)
        steps = list(range(len(gaps)))
    path = tmp_path_factory.mktemp("rate") / "a.mkv"
    make_video(
        path,
        len(gaps),
        size=(16, 16),
        rate=rate,
        codec="mpeg4",
        pts=lambda i: steps[i],
    )
    found = scan(InputOptions(path=str(path)))
    assert found is not None
    assert found.cadence.rate == rate
    times = found.frame_times(found.cadence, Trim(F(0)))
    assert times is not None
    assert times.times == [k / rate for k in steps]


def test_scan_obeys_trimming(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 50)
    source = ContainerSource(InputOptions(path=str(path), start=F(1), end=F("1.5")))
    found = source.frame_times()
    times = [frame.time for frame in source.frames()]
    source.close()
    assert found is not None
    assert times == [F(25 + i, 25) for i in range(13)]
    assert found.times == [F(i, 25) for i in range(13)]
    assert found.duration == F("0.52")


class Pipe:
    """Bytes that come once, without seek."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()

    def read(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        self._data = b""


def test_pipe_looks_ahead_for_its_rate(tmp_path: Path) -> None:
    """The header of this file says 60 frames per second."""
    path = make_video(tmp_path / "in.mkv", 40, rate=F(60), pts=lambda index: 2 * index)
    with av.open(str(path)) as container:
        assert container.streams.video[0].guessed_rate == 60
    assert pipe_times(path) == [F(index, 30) for index in range(40)]


@pytest.mark.parametrize("name", ["sample_with_srt.mkv", "sample_with_vorbis_audio.mkv"])
def test_pipe_looks_ahead_in_real_files(clips: Path, name: str) -> None:
    """The headers of these files say 60."""
    times = pipe_times(clips / "formats" / name)
    assert times == [times[0] + F(i, 30) for i in range(30)]


def pipe_times(path: Path) -> list[F]:
    """Return the times of the frames of a Matroska that is read from a pipe."""
    source = ContainerSource(InputOptions(path="-"), file=Pipe(path), format="matroska")
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == 30
    return times
