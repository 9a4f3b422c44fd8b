"""Which video is read where a file has several: stills, thumbnails, -map in FFmpeg's forms."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support.media import convert_repeating, decoded, make_video, ramp
from support.rich_media import jpeg

from ltxfilter.errors import OptionError
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.stream_choice.programs import read_programs
from ltxfilter.media.container.stream_choice.stream_specifiers import matched
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run

STILL, SMALL, LARGE = (32, 32), (64, 48), (96, 64)  # sizes of the test's streams, pixels
DEFAULT = av.stream.Disposition.default


def make_videos(
    path: Path,
    *sizes: tuple[int, int],
    codec: str = "mpeg4",
    marked: int | None = None,
    **tags: str,
) -> Path:
    """Write a second of several videos; one of size STILL holds one picture.

    marked: the stream that is marked as default, if only one is. tags: of the last stream.
    """
    with av.open(str(path), "w") as container:
        streams = []
        for index, size in enumerate(sizes):
            stream = container.add_stream("mjpeg" if size == STILL and codec == "mpeg4" else codec)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if stream.codec_context.name == "mjpeg" else "yuv420p"
            stream.codec_context.framerate = 25
            stream.codec_context.time_base = Fraction(1, 25)
            if marked is not None:
                stream.disposition = DEFAULT if marked == index else av.stream.Disposition(0)
            streams.append(stream)
        streams[-1].metadata.update(tags)
        for index in range(25):
            for stream in streams:
                size = (stream.width, stream.height)
                if size == STILL and index:
                    continue
                picture = ramp(index, size, str(stream.pix_fmt))
                picture.pts, picture.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def size_read(path: Path, *maps: str) -> tuple[int, int]:
    with closing(ContainerSource(InputOptions(path=str(path), maps=maps))) as source:
        return source.info.width, source.info.height


def streams_of(path: Path) -> list[tuple[int, int]]:
    """Return the width and the number of pictures of each video of a file."""
    with av.open(str(path)) as container:
        videos = container.streams.video
        counts = dict.fromkeys((video.index for video in videos), 0)
        for packet in container.demux(*videos):
            counts[packet.stream.index] += bool(packet.size)
        return [(video.width, counts[video.index]) for video in videos]


@pytest.mark.parametrize("suffix", ["mov", "mkv", "avi"])
def test_a_still_before_the_video_is_not_the_video(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_videos(tmp_path / f"in.{suffix}", STILL, SMALL)
    assert size_read(path) == SMALL
    convert_repeating(path, tmp_path / "out.mkv", "50")
    assert streams_of(tmp_path / "out.mkv") == [(64, 50)]
    assert "stream 0 (video, mjpeg) is left out: it holds one still picture" in caplog.text
    convert_repeating(path, tmp_path / "both.mkv", "50", maps=("0",))
    assert streams_of(tmp_path / "both.mkv") == [(32, 1), (64, 50)]


def test_a_still_before_the_video_on_a_pipe(tmp_path: Path) -> None:
    """What is read to know it reaches the output all the same."""
    path = make_videos(tmp_path / "in.mkv", STILL, SMALL)
    with path.open("rb") as pipe:
        source = ContainerSource(InputOptions(path="-"), file=OnlyForwards(pipe), format="matroska")
        with closing(source):
            assert (source.info.width, len(list(source.frames()))) == (64, 25)


def test_avif_sequence_is_read_and_not_its_still_item(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.avif", codec="libsvtav1", options={"preset": "10"})
    assert streams_of(path) == [(64, 1), (64, 10)]
    convert_repeating(path, tmp_path / "out.mkv", "50")
    assert streams_of(tmp_path / "out.mkv") == [(64, 20)]


def test_the_larger_video_is_read_unless_another_is_marked(tmp_path: Path) -> None:
    path = make_videos(tmp_path / "in.mkv", SMALL, LARGE, marked=7)
    assert size_read(path) == LARGE
    path = make_videos(tmp_path / "marked.mkv", SMALL, LARGE, marked=0)
    assert size_read(path) == SMALL


@pytest.mark.parametrize(
    ("maps", "found"),
    [
        (("0:v:1",), [(96, 50)]),
        (("0:1",), [(96, 50)]),
        (("0:v:0",), [(64, 50)]),
        (("0:v:1", "0:v:0"), [(96, 50), (64, 25)]),
        (("0:v:0", "0:v:1"), [(64, 50), (96, 25)]),
        (("0", "-0:v:0"), [(96, 50)]),
        (("0:V",), [(64, 25), (96, 50)]),
        (("0:m:title:wide",), [(96, 50)]),
        (("0:m:TITLE",), [(96, 50)]),
        (("0:u:1",), [(96, 50)]),
        (("0:a?", "0:v:1?"), [(96, 50)]),
        (("0:a?",), [(96, 50)]),
    ],
)
def test_the_video_that_is_mapped_is_interpolated_and_the_others_are_copied(
    tmp_path: Path, maps: tuple[str, ...], found: list[tuple[int, int]]
) -> None:
    path = make_videos(tmp_path / "in.mkv", SMALL, LARGE, title="wide", marked=7)
    out = tmp_path / "out.mkv"
    options = Options(
        input=InputOptions(path=str(path)),
        output=OutputOptions(path=str(out), codec="mpeg4", maps=maps),
        fps="50",
        engine="hold",
    )
    with Run(options) as run:
        run.go()
    assert streams_of(out) == found


def test_a_still_is_read_where_it_alone_is_mapped(tmp_path: Path) -> None:
    path = make_videos(tmp_path / "in.mkv", STILL, SMALL)
    assert size_read(path, "0:v:0") == STILL
    assert size_read(path, "0:v:0", "0:v:1") == SMALL


def test_a_map_without_video_left_is_refused(tmp_path: Path) -> None:
    path = make_videos(tmp_path / "in.mkv", SMALL, LARGE)
    with pytest.raises(OptionError, match="leaves no video to interpolate; add -map 0:v"):
        size_read(path, "0", "-0:v")


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("0:v", [0, 1, 2]),
        ("0:V", [0, 1]),
        ("0:v:2", [2]),
        ("0:#2", [1]),
        ("0:#0x2", [1]),
        ("0:i:2", [1]),
        ("0:i:2:v", [1]),
        ("0:m:handler_name", [0, 1]),
        ("0:disp:attached_pic", [2]),
        ("0:v:disp:default", [0]),
        ("0:a", []),
    ],
)
def test_specifiers_mean_what_they_mean_to_ffmpeg(
    tmp_path: Path, text: str, indices: list[int]
) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for video in videos:
            video.width, video.height = SMALL
        videos[0].disposition, videos[1].disposition = DEFAULT, av.stream.Disposition(0)
        art = container.add_mux_stream("mjpeg", width=32, height=32)
        art.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        for video in videos:
            container.mux([*video.encode(ramp(0, SMALL)), *video.encode(None)])
        cover = av.Packet(jpeg())
        cover.stream, cover.pts, cover.dts, cover.time_base = art, 0, 0, Fraction(1, 25)
        container.mux(cover)
    with av.open(str(path)) as container:
        assert matched(container, text, text) == indices


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0:i:x", "'x' is no number"),
        ("0:disp:pretty", "'pretty' is none of default"),
        ("0:p:1", "programs are known of a transport stream in a file only"),
        ("0:p", "write 0, 0:a, 0:v:1"),
        ("[out]", "names the output of a filter"),
    ],
)
def test_a_specifier_that_cannot_be_read_is_refused(
    tmp_path: Path, spec: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        size_read(make_video(tmp_path / "in.mkv"), spec)


def test_programs_of_a_transport_stream(tmp_path: Path) -> None:
    """Two programs, made by hand of one: FFmpeg's muxer cannot be asked for them through PyAV."""
    path = make_videos(tmp_path / "in.ts", SMALL, LARGE, codec="mpeg2video")
    data = two_programs(path.read_bytes())
    assert read_programs(data) == {1: {256}, 2: {257}}
    assert read_programs(b"junk" + data) == {1: {256}, 2: {257}}
    assert read_programs(b"G" * 7) == {}
    path.write_bytes(data)
    assert size_read(path, "0:p:1") == SMALL
    assert size_read(path, "0:p:2:v") == LARGE
    assert size_read(path, "0:#0x100") == SMALL
    with pytest.raises(OptionError, match="no program 3; it has 1, 2"):
        size_read(path, "0:p:3")


@pytest.mark.parametrize("index", [0, 1])
def test_no_frame_is_lost_of_a_later_stream_of_a_transport_stream(
    tmp_path: Path, index: int
) -> None:
    """The decoder is drained whatever the number of the stream."""
    path = make_videos(tmp_path / "in.ts", SMALL, LARGE, codec="libx264")
    reading = InputOptions(path=str(path), maps=(f"0:v:{index}",))
    with closing(ContainerSource(reading)) as source:
        assert len(list(source.frames())) == 25
    assert len(list(decoded(path))) == 25


class OnlyForwards:
    """A pipe: nobody can go back in it."""

    name = "standard input"

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return bytes(self._file.read(size))

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


def two_programs(data: bytes) -> bytes:
    """Replace the tables of a transport stream of two streams by those of two programs."""
    pat = section(0, bytes.fromhex("0001f000 0002f001"))
    maps = [
        section(2, bytes.fromhex(f"e1{low:02x}f000 02e1{low:02x}f000"), 1 + low) for low in (0, 1)
    ]
    tables = ts_packet(0, pat) + ts_packet(0x1000, maps[0]) + ts_packet(0x1001, maps[1])
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    pids = ((p[1] & 0x1F) << 8 | p[2] for p in packets)
    return tables + b"".join(
        p for p, pid in zip(packets, pids, strict=True) if pid >= 0x100 and pid < 0x1000
    )


def section(table: int, body: bytes, number: int = 1) -> bytes:
    """Return a table's section with its checksum."""
    head = bytes([table, 0xB0, len(body) + 9, 0, number, 0xC1, 0, 0])
    crc = 0xFFFFFFFF
    for byte in head + body:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    return head + body + crc.to_bytes(4, "big")


def ts_packet(pid: int, payload: bytes) -> bytes:
    head = bytes([0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10, 0])
    return (head + payload).ljust(188, b"\xff")
