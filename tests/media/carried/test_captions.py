"""Captions at another rate: nothing is lost, nothing changes its order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ltxfilter
from ltxfilter.media.carried.captions import CAPTION_CODECS, CaptionQueue, CaptionWriter
from ltxfilter.media.carried.frame_items import CaptionReader

F = Fraction
RATES = [F(24), F(24000, 1001), F(25), F(30000, 1001), F(30), F(50), F(60000, 1001), F(60)]


def pair(number: int, field: int = 0) -> bytes:
    return bytes((0xFC + field, 0x20 + number % 90, 0x20 + number // 90))


def words(triplets: bytes) -> list[bytes]:
    """Return the pairs of EIA-608 with data."""
    found = [triplets[at : at + 3] for at in range(0, len(triplets), 3)]
    return [each for each in found if each[0] in (0xFC, 0xFD) and each[1:] != b"\x80\x80"]


def resampled(writer: CaptionWriter, before: Fraction, after: Fraction, frames: list[bytes]):
    """Return what output frames get of the captions of source frames, and for a second more."""
    out, queue = [], CaptionQueue()
    queue.wanted = True
    for number, triplets in enumerate(frames):
        queue.put(number / before, triplets)
    for tick in range(int((len(frames) / before + 1) * after)):
        writer.add(tick, queue.until(tick / after))
        out.append(writer._frames.get(tick, b""))
    return out


@pytest.mark.parametrize("after", RATES)
@pytest.mark.parametrize("before", RATES[:5])
def test_every_pair_arrives_once_and_in_order(before: Fraction, after: Fraction):
    null = b"\xfc\x80\x80"
    frames = [pair(n) + null + b"\xfa\0\0" * (round(600 / before) - 2) for n in range(100)]
    found = resampled(CaptionWriter("h264", after), before, after, frames)
    assert [triplet for each in found for triplet in words(each)] == [pair(n) for n in range(100)]
    sizes = {len(each) // 3 for each in found if each}
    assert sizes == {min(round(600 / after), 31)}


def test_pairs_are_not_late():
    """A source that fills every frame leaves no backlog, whatever its padding."""
    frames = [pair(n) + b"\xfc\x80\x80" * 2 + b"\xfa\0\0" * 22 for n in range(240)]
    found = resampled(CaptionWriter("h264", F(60)), F(24), F(60), frames)
    late = next(tick for tick, each in enumerate(found) if pair(239) in words(each))
    assert late / 60 - 239 / 24 < 0.2


@given(st.lists(st.sampled_from([pair(1), pair(2, 1), b"\xfe\1\2", b"\xff\3\4"]), max_size=40))
def test_both_kinds_keep_their_order(triplets: list[bytes]):
    writer = CaptionWriter("h264", F(60))
    writer.add(0, b"".join(triplets))
    frames = [writer._frames.get(0, b"")]
    for tick in range(1, 60):
        writer.add(tick, b"")
        frames.append(writer._frames.get(tick, b""))
    for kinds in ((0xFC, 0xFD), (0xFE, 0xFF)):
        sent = [each for each in triplets if each[0] in kinds]
        data = b"".join(frames)
        got = [data[at : at + 3] for at in range(0, len(data), 3) if data[at] in kinds]
        assert got == sent


def write_captioned(path: Path, rate: Fraction, count: int, begin: int = 0) -> list[bytes]:
    """Write a file whose frames from `begin` on carry a pair each, and return the pairs."""
    writer = CaptionWriter("h264", rate)
    sent = [b""] * begin + [pair(number) for number in range(begin, count)]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"bf": "2", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count + 1):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([40 + number]) * plane.buffer_size)
            frame.pts, frame.time_base = number, 1 / rate
            if number < count:
                writer.add(number, sent[number])
            for packet in stream.encode(frame if number < count else None):
                made = av.Packet(writer.into(packet.pts, packet) or bytes(packet))
                made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
                made.is_keyframe, made.stream = packet.is_keyframe, stream
                output.mux(made)
    return sent[begin:]


def read_frames(path: Path) -> list[bytes]:
    """Return what each frame carries."""
    with av.open(str(path)) as container:
        reader = CaptionReader(container.streams.video[0].codec_context.codec.canonical_name)
        packets = reader.watched(container.demux(video=0))
        return [reader.read(frame) for packet in packets for frame in packet.decode()]


def read(path: Path) -> list[bytes]:
    return [word for triplets in read_frames(path) for word in words(triplets)]


def test_captions_that_begin_late_are_read(tmp_path: Path):
    """The captions of all frames are read, where only the last third has any."""
    sent = write_captioned(tmp_path / "in.ts", F(25), 60, begin=40)
    assert sent
    assert read(tmp_path / "in.ts") == sent


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_captions_go_through_a_conversion(tmp_path: Path, codec: str):
    sent = write_captioned(tmp_path / "in.mp4", F(24), 36)
    assert read(tmp_path / "in.mp4") == sent
    video = {"codec": codec}
    ltxfilter.convert(
        tmp_path / "in.mp4", tmp_path / "out.mkv", fps=60, engine="blend", video=video
    )
    assert read(tmp_path / "out.mkv") == sent
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 90


def test_captions_go_through_segments(tmp_path: Path):
    sent = write_captioned(tmp_path / "in.mp4", F(6), 150)
    for name, more in (("plain", {}), ("cut", {"workers": 2, "segment_seconds": 10})):
        ltxfilter.convert(
            tmp_path / "in.mp4", tmp_path / f"{name}.mkv", fps=10, engine="blend", **more
        )
    assert read(tmp_path / "cut.mkv") == sent
    assert places(tmp_path / "cut.mkv") == places(tmp_path / "plain.mkv")


def places(path: Path) -> list[int]:
    """Return the numbers of the frames that carry captions."""
    return [number for number, triplets in enumerate(read_frames(path)) if words(triplets)]


def test_captions_are_left_out_with_the_subtitles(tmp_path: Path):
    write_captioned(tmp_path / "in.mp4", F(25), 5)
    ltxfilter.convert(tmp_path / "in.mp4", tmp_path / "out.mkv", engine="hold", subtitles=False,
                      video={"codec": "ffv1"})  # fmt: skip
    assert read(tmp_path / "out.mkv") == []


def test_captions_that_begin_late_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    plain = tmp_path / "plain.mp4"
    write_captioned(tmp_path / "in.mp4", F(25), 5)
    with av.open(str(plain), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    joined = tmp_path / "joined.h264"
    with av.open(str(joined), "w", format="h264") as output:
        for path in (plain, tmp_path / "in.mp4"):
            with av.open(str(path)) as container:
                video = container.streams.video[0]
                annex_b = av.BitStreamFilterContext("h264_mp4toannexb", video)
                if path == plain:
                    copy = output.add_stream_from_template(video, opaque=True)
                for packet in container.demux(video):
                    if packet.size:
                        for each in annex_b.filter(packet):
                            each.stream = copy
                            each.pts = each.dts = None
                            output.mux(each)
    ltxfilter.convert(
        joined, tmp_path / "out.mkv", engine="hold", video={"codec": "ffv1"}, input_rate=25
    )
    assert "captions begin at 0.200 s and are left out; use -c:v libx264" in caplog.text


def test_codecs_are_named_as_ffmpeg_does():
    assert {av.Codec(name, "r").canonical_name for name in CAPTION_CODECS} == CAPTION_CODECS
