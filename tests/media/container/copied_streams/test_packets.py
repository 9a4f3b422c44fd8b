"""What goes along with the video: sound, subtitles, chapters, attachments, covers, rotation."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support.media import (
    QUARTER_TURN,
    audio_packets,
    convert_repeating,
    facts,
    make_video,
    shown,
    sound_lag,
    write_repeating,
)
from support.rich_media import jpeg, make_subtitled
from support.tools import ffmpeg, run_pipe

from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.media.container.copied_streams.packet_queue import PACKET_OBJECT, PacketQueue
from ltxfilter.media.pyav_compat import side_data_of
from ltxfilter.options import InputOptions, OutputOptions

F = Fraction


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        found = [p for p in container.demux(stream) if p.size and p.pts is not None]
        return [(p.pts * p.time_base, bytes(p)) for p in found if bytes(p) != b"\0\0"]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_everything_goes_along_in_its_own_container(
    rich: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    path, out = rich[suffix], tmp_path / f"out.{suffix}"
    convert_repeating(path, out, "50")
    before, after = facts(path), facts(out)
    for key in ("kinds", "languages", "dispositions", "attachments"):
        assert after[key] == before[key]
    assert after["tags"]["title"] == "A film"
    assert {k.lower(): v for k, v in after["tags"].items()}["comment"] == "kept"
    assert after["chapters"] == [("one", 0, 1), ("two", 1, 2)]
    assert audio_packets(out) == audio_packets(path)
    assert packets(out, "subtitle") == packets(path, "subtitle")
    assert sound_lag(out) == pytest.approx(sound_lag(path), abs=1e-4)
    assert shown(out).duration == shown(path).duration == 2


@pytest.mark.parametrize(("source", "suffix"), [("mkv", "mp4"), ("mp4", "mkv")])
def test_cover_changes_its_form_with_the_container(
    rich: dict[str, Path], tmp_path: Path, source: str, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    convert_repeating(rich[source], out, "50")
    with av.open(str(out)) as container:
        cover = next(s for s in container.streams.video if s.disposition & 1024)
        picture = next(bytes(p) for p in container.demux(cover) if p.size)
    assert picture == jpeg()
    with av.open(str(out)) as container:
        assert len(container.streams.video) == 2


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_chapters_are_cut_with_the_file(rich: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    convert_repeating(rich[suffix], out, "50", reading={"start": F("0.5"), "end": F("1.5")})
    assert facts(out)["chapters"] == [("one", 0, F(1, 2)), ("two", F(1, 2), 1)]
    assert [text for _, text in packets(out, "subtitle")][:1] != [b"hello"]


def test_pipe_carries_its_sound_along(rich: dict[str, Path], tmp_path: Path) -> None:
    """A container on a pipe is read once; packets met on the way wait for the sink."""
    pipe = OnlyForwards(rich["mkv"].read_bytes())
    source = ContainerSource(InputOptions(path="-"), file=pipe, format="matroska")
    out = tmp_path / "out.mkv"
    with ContainerSink(
        OutputOptions(path=str(out), encoder={"preset": "ultrafast"}), source, F(50)
    ) as sink:
        write_repeating(source, sink, F(50))
    source.close()
    assert audio_packets(out) == audio_packets(rich["mkv"])
    assert packets(out, "subtitle") == packets(rich["mkv"], "subtitle")
    assert facts(out)["attachments"].keys() == {"font.ttf"}
    assert source.other_streams.queue.nbytes == 0
    assert shown(out).duration == 2


def test_pipe_out_carries_sound_in_nut(rich: dict[str, Path], tmp_path: Path) -> None:
    source = ContainerSource(InputOptions(path=str(rich["mp4"])))
    out = (tmp_path / "out.nut").open("wb")
    options = OutputOptions(path="-", codec="rawvideo")
    with out, ContainerSink(options, source, F(50), file=Pipe(out), format="nut") as sink:
        write_repeating(source, sink, F(50))
    source.close()
    assert audio_packets(tmp_path / "out.nut") == audio_packets(rich["mp4"])
    assert len(shown(tmp_path / "out.nut").times) == 100


@pytest.mark.parametrize("codec", ["subrip", "ass", "dvd_subtitle"])
def test_subtitles_of_every_kind_go_along_byte_for_byte(tmp_path: Path, codec: str) -> None:
    path = make_subtitled(tmp_path / "in.mkv", codec)
    convert_repeating(path, tmp_path / "out.mkv", "50")
    before, after = packets(path, "subtitle"), packets(tmp_path / "out.mkv", "subtitle")
    assert after == before
    assert len(before) == 3


def test_subtitles_of_real_files(clips: Path, tmp_path: Path) -> None:
    for name in ("sample_with_srt", "sample_with_ass_subtitles", "sample_with_vobsub"):
        path = clips / "formats" / f"{name}.mkv"
        convert_repeating(path, tmp_path / "out.mkv", "60", overwrite=True)
        before, after = packets(path, "subtitle"), packets(tmp_path / "out.mkv", "subtitle")
        assert after == before
        assert before


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rotation_is_kept(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / "in.mp4", matrix=QUARTER_TURN)
    assert matrix(path)
    convert_repeating(path, tmp_path / f"out.{suffix}", "50")
    assert matrix(tmp_path / f"out.{suffix}") == matrix(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rotation_of_a_real_file_is_kept(clips: Path, tmp_path: Path, suffix: str) -> None:
    path = clips / "formats" / "sample_rotate_and_reflect.mp4"
    convert_repeating(path, tmp_path / f"out.{suffix}", "60")
    assert matrix(tmp_path / f"out.{suffix}") == matrix(path)


def matrix(path: Path) -> bytes:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return side_data_of(frame, "DISPLAYMATRIX") or b""


def test_packets_never_stand_still(tmp_path: Path) -> None:
    """Sound whose stamps repeat is pushed on, as muxers ask for; no packet is lost."""
    path = make_video(tmp_path / "in.mkv", 25, codec="mpeg4", audio=True)
    broken = tmp_path / "broken.mkv"
    with av.open(str(path)) as source, av.open(str(broken), "w") as copy:
        streams = [copy.add_stream_from_template(s, opaque=True) for s in source.streams]
        late = 0
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                late += 1
                packet.pts = packet.dts = packet.dts - (21 if late == 9 else 0)
            packet.stream = streams[packet.stream.index]
            copy.mux(packet)
    convert_repeating(broken, tmp_path / "out.mp4", "50")
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(path)


def test_queue_keeps_only_what_is_wanted() -> None:
    queue = PacketQueue()
    container = av.open(io.BytesIO(), "w", format="matroska")
    streams = [container.add_mux_stream("subrip") for _ in range(2)]
    for index in (0, 1, 0):
        packet = av.Packet(bytes(10 + index))
        packet.stream = streams[index]
        queue.put(packet)
    assert queue.nbytes == 31 + 3 * PACKET_OBJECT
    queue.want({1})
    assert queue.nbytes == 11 + PACKET_OBJECT
    assert [packet.size for packet in queue] == [11]
    assert queue.nbytes == 0


class OnlyForwards(io.RawIOBase):
    """Bytes that can be read once, in pieces, as from a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def cancel(self) -> None:
        self._data = io.BytesIO()

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 1000) if size >= 0 else -1)


class Pipe:
    """A writable end without seek."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)


@pytest.mark.parametrize("reading", [{}, {"duration": F(1)}, {"start": F("0.4"), "end": F("1.4")}])
def test_text_that_outlasts_the_part_is_cut(tmp_path: Path, reading: dict[str, F]) -> None:
    """In a short mp4 a fragment holds everything, and the muxer counted the last text twice."""
    words = tmp_path / "a.srt"
    words.write_text("1\n00:00:00,600 --> 00:00:06,000\nHello\n")
    path, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    video = make_video(tmp_path / "v.mp4", 50)
    codecs = ["-c:v", "copy", "-c:s", "mov_text"]
    assert run_pipe(ffmpeg("-y", "-i", video, "-i", words, *codecs, path)).codes == [0]
    convert_repeating(path, out, "50", reading=reading)
    with av.open(str(out)) as container:
        stream = container.streams.subtitles[0]
        assert stream.duration is not None
        end = stream.duration * stream.time_base
    assert end == pytest.approx(F(1) if reading else F(6), abs=1e-3)
    assert [data for _, data in packets(out, "subtitle")] == [b"\0\5Hello"]
