"""Frames of files that say when they are decoded, and not when they are shown: none is lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.media import make_video, ramp

from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.timing.stamps import PacketStamps, StampGuess
from ltxfilter.options import InputOptions

F = Fraction
FRAMES = 30


def times_of(path: Path, frames: int = FRAMES, **options: object) -> tuple[list[F], F | None]:
    """Return the times of a file's frames and its rate; the plan has to agree with both."""
    source = ContainerSource(InputOptions(path=str(path), **options))  # type: ignore[arg-type]
    planned = source.frame_times()
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.counts.out_of_order == 0
    assert len(times) == frames
    assert planned is not None
    assert planned.times == [time - times[0] for time in times]
    return times, source.info.rate


@pytest.mark.parametrize("rate", [F(24000, 1001), F(25), F(50)])
@pytest.mark.parametrize(
    ("codec", "options", "name"),
    [
        ("libx264", {"bf": "3", "preset": "fast"}, "a.avi"),
        ("libx264", {"bf": "5", "x264-params": "b-pyramid=normal:b-adapt=0"}, "a.avi"),
        ("libx264", {"bf": "0"}, "a.avi"),
        ("mpeg4", {"bf": "2"}, "a.avi"),
        ("mpeg4", {"bf": "0"}, "a.avi"),
        ("mpeg2video", {"bf": "2"}, "a.avi"),
        ("libx264", {"bf": "3"}, "a.h264"),
        ("libx265", {"x265-params": "log-level=none:bframes=3"}, "a.hevc"),
        ("mpeg4", {"bf": "2"}, "a.m4v"),
        ("mpeg2video", {"bf": "2"}, "a.m2v"),
        ("mpeg2video", {"bf": "2"}, "a.vob"),
        ("libx264", {"bf": "3"}, "a.flv"),
        ("libx264", {"bf": "3"}, "a.ts"),
    ],
)
def test_every_frame_comes_at_the_rate(
    tmp_path: Path, codec: str, options: dict[str, str], name: str, rate: F
) -> None:
    path = make_video(tmp_path / name, FRAMES, rate=rate, codec=codec, options=options)
    times, found = times_of(path)
    assert found == rate
    assert times == [times[0] + number / rate for number in range(FRAMES)]


@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_keep_their_order_without_times_of_showing(tmp_path: Path, threads: int) -> None:
    path = make_video(tmp_path / "a.avi", FRAMES, options={"bf": "3", "qp": "0"})
    source = ContainerSource(InputOptions(path=str(path), threads=threads))
    means = [float(frame.planes[0].mean()) for frame in source.frames()]
    source.close()
    wanted = [float(ramp(number, (64, 48)).to_ndarray()[:48].mean()) for number in range(FRAMES)]
    assert means == pytest.approx(wanted, abs=1)


def test_a_part_of_a_file_without_times_of_showing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", 50, options={"bf": "3", "g": "10"})
    whole = times_of(path, 50)[0]
    kept = [time for time in whole if 1 <= time < F("1.6")]
    times, _ = times_of(path, len(kept), start=F(1), duration=F("0.6"))
    assert len(kept) == 15
    assert times == kept


def test_vfw_in_matroska(tmp_path: Path) -> None:
    """In this mode the times of blocks are those of decoding."""
    path = tmp_path / "vfw.mkv"
    source = make_video(tmp_path / "a.m4v", FRAMES, codec="mpeg4", options={"bf": "2"})
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        video = read.streams.video[0]
        stream = container.add_stream_from_template(video, opaque=True)
        header = bitmap_header(video.width, video.height) + bytes(video.codec_context.extradata)
        stream.codec_context.extradata = header
        for number, packet in enumerate(p for p in read.demux(video) if p.size):
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = F(1, 25), stream
            container.mux(packet)
    data = path.read_bytes()
    assert data.count(b"V_MPEG4/ISO/ASP") == 1
    path.write_bytes(data.replace(b"V_MPEG4/ISO/ASP", b"V_MS/VFW/FOURCC"))
    times, rate = times_of(path)
    assert rate == 25
    assert times == [times[0] + F(number, 25) for number in range(FRAMES)]


def bitmap_header(width: int, height: int) -> bytes:
    """Return the BITMAPINFOHEADER of an MPEG-4 stream."""
    fields = [40, width, height, 1 | 24 << 16, int.from_bytes(b"XVID", "little")]
    return b"".join(field.to_bytes(4, "little") for field in [*fields, *[0] * 5])


def test_packed_b_frames(tmp_path: Path) -> None:
    """Such a packet holds two pictures, and an empty one follows it (DivX 5, Xvid)."""
    path = tmp_path / "packed.avi"
    source = make_video(tmp_path / "a.m4v", FRAMES, codec="mpeg4", options={"bf": "1"})
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        video = read.streams.video[0]
        stream = container.add_stream_from_template(video, opaque=True)
        for number, data in enumerate(packed([bytes(p) for p in read.demux(video) if p.size])):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = F(1, 25), stream
            packet.is_keyframe = number == 0
            container.mux(packet)
    with av.open(str(path)) as container:
        shown = sum(1 for _ in container.decode(video=0))
    assert shown >= FRAMES - 1
    times, rate = times_of(path, shown)
    assert rate == 25
    assert times == [times[0] + F(number, 25) for number in range(shown)]


def packed(packets: list[bytes]) -> list[bytes]:
    """Return packets of I P B P B ... with each P and its B in one."""
    mark = b"\0\0\1\xb2DivX503b1393p"
    first = packets[0].index(b"\0\0\1\xb6")
    found, number = [packets[0][:first] + mark + packets[0][first:]], 1
    while number < len(packets):
        picture = packets[number].find(b"\0\0\1\xb6") + 4
        following = packets[number + 1] if number + 1 < len(packets) else b""
        kind = following[following.find(b"\0\0\1\xb6") + 4] >> 6 if following else 0
        assert picture > 3
        if kind == 2:  # a B-frame
            found += [packets[number] + following, b"\0\0\1\xb6\x50\x40\x7f"]
            number += 2
        else:
            found.append(packets[number])
            number += 1
    return found


def test_stamps_that_go_backwards_are_believed_no_more() -> None:
    guess = StampGuess()
    wrong = [0, 1, 4, 2, 3, 7, 5, 6, 10, 8, 9]
    found = [guess.guess(pts, dts) for dts, pts in enumerate(wrong)]
    assert found[4:] == list(range(4, 11))
    guess = StampGuess()
    assert [guess.guess(pts, 0) for pts in range(5)] == list(range(5))
    assert guess.guess(None, None) is None


def test_packets_without_any_stamp_have_no_times() -> None:
    stamps = PacketStamps()
    stamps.add(av.Packet(b"a"))
    assert stamps.count == 1
    assert stamps.times(0, complete=True) is None
