"""Files with everything that a container can carry beside its video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from support.media import ramp, tone


def make_rich(path: Path, *, frames: int = 50, delay: Fraction = Fraction(0)) -> Path:
    """Write a video with sound, subtitles, chapters, a cover and tags; mkv also an attachment.

    delay: seconds by which the picture starts after the sound.
    """
    matroska = path.suffix == ".mkv"
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "A film", "comment": "kept", "encoder": "stale"})
        video = container.add_stream("libx264", rate=25, options={"qp": "0", "g": "12"})
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        video.metadata.update({"language": "ger", "title": "main", "BPS": "123"})
        sound = container.add_stream("aac", rate=48000)
        sound.metadata["language"] = "fre"
        sound.disposition = av.stream.Disposition.default | av.stream.Disposition.original
        words = container.add_mux_stream("subrip" if matroska else "mov_text")
        words.time_base = Fraction(1, 1000)
        words.metadata["language"] = "ita"
        cover = jpeg()
        if matroska:
            container.add_attachment("font.ttf", "application/x-truetype-font", b"not a font" * 9)
            container.add_attachment("cover.jpg", "image/jpeg", cover)
        else:
            art = container.add_mux_stream("mjpeg", width=32, height=32)
            art.disposition = av.stream.Disposition.attached_pic
        container.set_chapters([_chapter(0, 0, 1000, "one"), _chapter(1, 1000, 2000, "two")])
        packets = [*_pictures(video, frames, delay), *_words(words, matroska)]
        packets += tone(sound, Fraction(frames, 25) + delay)
        if not matroska:
            container.mux(_packet(art, cover, 0, 1))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def make_subtitled(path: Path, codec: str) -> Path:
    """Write a Matroska of a second with three subtitles of FFmpeg's `codec`, whatever they say."""
    prefix = b"0,0,Default,,0,0,0,," if codec == "ass" else b""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.codec_context.time_base = 64, 48, Fraction(1, 25)
        words = container.add_mux_stream(codec)
        words.time_base = Fraction(1, 1000)
        packets = list(_pictures(video, 25, Fraction(0)))
        for number, text in enumerate([b"hello", b"again", b"and bye"]):
            packets.append(_packet(words, prefix + text, 100 + 300 * number, 200))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def jpeg() -> bytes:
    """Return a small picture file."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 32, 32, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    frame = ramp(0, (32, 32), "yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _chapter(number: int, start: int, end: int, title: str) -> Any:
    base = Fraction(1, 1000)
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": base,
        "metadata": {"title": title},
    }


def _packet(stream: Any, data: bytes, pts: int, duration: int) -> av.Packet[Any]:
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, stream.time_base or Fraction(1, 1000)
    packet.pts = packet.dts = pts
    packet.duration, packet.is_keyframe = duration, True
    return packet


def _pictures(stream: Any, frames: int, delay: Fraction) -> Iterator[av.Packet[Any]]:
    packets: list[av.Packet[Any]] = []
    for index in range(frames):
        frame = ramp(index, (64, 48))
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += stream.encode(frame)
    for packet in [*packets, *stream.encode(None)]:
        shift = round(delay * 25)
        packet.pts, packet.dts, packet.time_base = (
            packet.pts + shift,
            packet.dts + shift,
            Fraction(1, 25),
        )
        yield packet


def _words(stream: Any, matroska: bool) -> Iterator[av.Packet[Any]]:
    for number, text in enumerate(["hello", "again", "and bye"]):
        data = text.encode() if matroska else len(text).to_bytes(2, "big") + text.encode()
        packet = _packet(stream, data, 200 + 600 * number, 400)
        packet.time_base = Fraction(1, 1000)
        yield packet
