"""Containers as sources that are damaged, hostile, empty or not what they seem."""

from __future__ import annotations

import io
import os
import resource
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import pytest
from support.media import convert_repeating, decoded, make_video, ramp, shown, tone
from support.rich_media import jpeg

from ltxfilter.errors import InputError, Stopped
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.copied_streams.oversized import oversized_attachments
from ltxfilter.media.pixfmt import check_size
from ltxfilter.options import InputOptions

F = Fraction


DENSE = {"qp": "10", "g": "10", "preset": "ultrafast"}


def read(path: Path | str, **options: object) -> ContainerSource:
    """Read a whole file; returns the source, closed."""
    source = ContainerSource(InputOptions(path=str(path), **options))  # type: ignore[arg-type]
    try:
        source.seen = list(source.frames())  # type: ignore[attr-defined]
    finally:
        source.close()
    return source


def fails(path: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value)


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    text, empty = tmp_path / "a.mp4", tmp_path / "b.mp4"
    text.write_text("this is not a film\n" * 100)
    empty.touch()
    assert fails(tmp_path / "no.mp4") == f"{tmp_path}/no.mp4: no such file"
    assert fails(tmp_path) == f"{tmp_path}: is a directory"
    assert fails(empty) == f"{empty}: is empty"
    assert fails(text) == f"{text}: is text, not video"


def test_sound_alone_and_covers_alone_are_not_video(tmp_path: Path) -> None:
    sound, cover = tmp_path / "a.m4a", tmp_path / "b.mkv"
    with av.open(str(sound), "w", format="mp4") as container:
        container.mux(tone(container.add_stream("aac", rate=48000), F(1)))
    with av.open(str(sound)) as source, av.open(str(cover), "w") as container:
        copy = container.add_stream_from_template(source.streams.audio[0], opaque=True)
        container.add_attachment("cover.jpg", "image/jpeg", jpeg())
        for packet in source.demux():
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    assert fails(sound) == f"{sound}: no video stream"
    assert fails(cover) == f"{cover}: no video stream, only a cover picture"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nin.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile in.ts\n"),
        ("cast.mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>'),
        ("art.txt", "\x1b[31mhello\x1b[0m\n" * 50),
        ("one.png", ""),
    ],
)
def test_formats_that_open_other_files_are_refused(tmp_path: Path, name: str, content: str) -> None:
    make_video(tmp_path / "in.ts", 5)
    path = tmp_path / name
    path.write_bytes(content.encode() or jpeg())
    message = fails(path)
    assert message.startswith(f"{path}: is ")
    assert "in.ts" not in message


def test_a_named_format_is_let_in(tmp_path: Path) -> None:
    make_video(tmp_path / "in.ts", 5)
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile in.ts\n")
    assert len(read(tmp_path / "list.ffconcat", format="concat").seen) == 5


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    for name in ("a:b.mkv", "http:x.mkv", "concat:y.mkv", "-z.mkv", "%d é.mkv"):
        path = make_video(tmp_path / "in.mkv", 3).rename(tmp_path / name)
        assert len(read(path).seen) == 3
        out = tmp_path / ("out " + name)
        convert_repeating(path, out, "50")
        assert len(list(decoded(tmp_path / ("out " + name)))) == 6


def test_mp4_without_its_index_says_what_is_missing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 50, options=DENSE)
    path.write_bytes(path.read_bytes()[:-3000])
    assert "incomplete mp4: its index (moov) is missing" in fails(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_cut_files_give_what_they_hold(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"in.{suffix}"
    with av.open(str(path), "w", container_options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options=DENSE)
        stream.width, stream.height = 128, 96
        for index in range(100):
            frame = ramp(index, (128, 96))
            frame.pts, frame.time_base = index, F(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = read(path)
    assert 30 < len(source.seen) < 70
    if suffix != "ts":  # a transport stream declares nothing
        assert "before its declared end" in caplog.text
    convert_repeating(path, tmp_path / f"out.{suffix}", "50")
    sound = [frame for frame in source.seen if not frame.corrupt]
    assert shown(tmp_path / f"out.{suffix}").duration >= F(len(sound) - 1, 25)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_damage_in_the_middle_is_counted_and_passed_over(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(tmp_path / f"in.{suffix}", 100, size=(128, 96), options=DENSE)
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 2, 701):
        data[at] ^= 0x55
    path.write_bytes(data)
    source = read(path)
    assert len(source.seen) > 60
    assert source.counts.corrupt > 0
    assert any(frame.corrupt for frame in source.seen) or len(source.seen) < 100
    assert f"{source.counts.corrupt} damaged packets or frames" in caplog.text


def test_a_file_without_pictures_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=32, height=32)
        stream.codec_context.open()
        container.start_encoding()
    assert fails(path).startswith(f"{path}: no video frames")


@pytest.mark.parametrize("size", [16000, 60000])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "ffv1"), ("nut", "rawvideo"), ("avi", "mpeg4"), ("mp4", "h264")],
)
def test_a_header_that_claims_a_huge_picture_costs_nothing(
    tmp_path: Path, suffix: str, codec: str, size: int
) -> None:
    path = tmp_path / f"in.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream(codec, width=size, height=size)
        stream.time_base = F(1, 25)
        for index in range(3):
            packet = av.Packet(bytes(1000))
            packet.stream, packet.time_base = stream, F(1, 25)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fails(path).startswith(f"{path}: ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_pictures_over_the_limit_are_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", 1, codec="ffv1", size=(16384, 16), pix_fmt="gray")
    assert len(read(path).seen) == 1
    with pytest.raises(InputError, match="100000x100000 is over the limit of 70778880 pixels"):
        check_size("x", 100000, 100000)


def test_reading_ends_soon_after_cancel(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    data = make_video(tmp_path / "in.mkv", 120, options=DENSE).read_bytes()
    os.write(writer, data[: len(data) // 2])

    class Silent(io.RawIOBase):
        stopped = threading.Event()

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            while not self.stopped.is_set():
                import select

                if select.select([reader], [], [], 0.01)[0]:
                    return os.read(reader, min(size, 4096))
            raise Stopped

        def cancel(self) -> None:
            self.stopped.set()

    source = ContainerSource(InputOptions(path="-"), file=Silent(), format="matroska")
    threading.Timer(0.2, source.cancel).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        list(source.frames())
    assert time.monotonic() - began < 30
    source.close()
    os.close(reader)
    os.close(writer)


def test_hardware_that_is_not_there_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(tmp_path / "in.mp4", 5)
    assert len(read(path, hwaccel="cuda").seen) == 5
    assert len(read(path, hwaccel="nonsense").seen) == 5
    assert "-hwaccel nonsense: FFmpeg knows no such device" in caplog.text


def test_an_attachment_too_large_for_ffmpeg_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """libav says so in its log alone; the line is one of FFmpeg 8 for a file of 270 MB."""
    line = "Invalid length 0x1017df80 > 0x10000000 for element with ID 0x465C at 0x1e1\n"
    with oversized_attachments("in.mkv"):
        av.logging.log(av.logging.ERROR, "matroska,webm", line)
        av.logging.log(av.logging.ERROR, "matroska,webm", line)
        av.logging.log(av.logging.ERROR, "matroska,webm", "Duplicate element\n")
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "in.mkv: an attachment of 257 MB is left out: FFmpeg reads none over 256 MB; mkvtoolnix "
        "can add it to the output"
    ]
