"""Animated WebP: pictures laid onto a canvas, their times, and files that are damaged."""

from __future__ import annotations

import io
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import convert_repeating, make_video, shown

import ltxfilter
from ltxfilter.errors import InputError
from ltxfilter.media.opening import open_source
from ltxfilter.media.pipe.animated_webp import AnimatedWebp
from ltxfilter.media.pipe.sniff import foreign, identify
from ltxfilter.options import InputOptions

RED, BLUE, CLEAR = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)
HALF_BLUE = (0, 0, 255, 128)
NO_BLENDING, DISPOSE = 2, 1


def number(value: int, size: int = 3) -> bytes:
    return value.to_bytes(size, "little")


def chunk(name: bytes, body: bytes) -> bytes:
    return name + number(len(body), 4) + body + bytes(len(body) % 2)


def lossless(color: tuple[int, ...], width: int, height: int) -> bytes:
    """Return the chunk of a picture of one colour."""
    encoder = av.CodecContext.create("libwebp", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "bgra"
    encoder.time_base, encoder.options = Fraction(1, 25), {"lossless": "1"}
    pixels = np.full((height, width, 4), color, np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="bgra")
    frame.pts = 0
    file = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    at = file.index(b"VP8L")
    size = int.from_bytes(file[at + 4 : at + 8], "little")
    return chunk(b"VP8L", file[at + 8 : at + 8 + size])


def animation(*pictures: bytes, alpha: bool = True) -> bytes:
    """Return a file of 8x8 pixels."""
    flags = 0x02 | (0x10 if alpha else 0)
    head = chunk(b"VP8X", bytes([flags, 0, 0, 0]) + number(7) + number(7))
    body = b"WEBP" + head + chunk(b"ANIM", bytes(6)) + b"".join(pictures)
    return b"RIFF" + number(len(body), 4) + body


def picture(
    color: tuple[int, ...], duration: int, flags: int = 0, left: int = 0, size: int = 8
) -> bytes:
    """Return a square picture that is shown for `duration` milliseconds."""
    place = number(left // 2) + number(0) + number(size - 1) + number(size - 1)
    return chunk(b"ANMF", place + number(duration) + bytes([flags]) + lossless(color, size, size))


def read(data: bytes) -> list[tuple[Fraction, np.ndarray]]:
    """Return when each picture is shown, and its upper row, RGBA."""
    nut = io.BytesIO()
    stream = AnimatedWebp(Forwards(data), "a.webp")
    while part := stream.read(1000):
        nut.write(part)
    nut.seek(0)
    with av.open(nut) as container:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgba")[0])
            for frame in container.decode(video=0)
            if frame.pts is not None
        ]


class Forwards(io.BytesIO):
    def cancel(self) -> None:
        pass


def test_pictures_are_laid_onto_the_canvas() -> None:
    found = read(
        animation(
            picture(RED, 40),
            picture(HALF_BLUE, 100, left=4, size=4),
            picture(HALF_BLUE, 40, NO_BLENDING | DISPOSE, left=4, size=4),
            picture(BLUE, 40, left=0, size=4),
        )
    )
    assert [time for time, _ in found] == [0, Fraction(1, 25), Fraction(7, 50), Fraction(9, 50)]
    rows = [row for _, row in found]
    np.testing.assert_array_equal(rows[0], [RED] * 8)
    np.testing.assert_array_equal(rows[1], [RED] * 4 + [(127, 0, 128, 255)] * 4)
    np.testing.assert_array_equal(rows[2], [RED] * 4 + [HALF_BLUE] * 4)
    np.testing.assert_array_equal(rows[3], [BLUE] * 4 + [CLEAR] * 4)


@pytest.mark.parametrize("width", [80, 81, 82, 83, 84, 90])
def test_lossy_pictures_are_whole_up_to_their_last_column(tmp_path: Path, width: int) -> None:
    path = tmp_path / "a.webp"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libwebp_anim", rate=25, width=width, height=20)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt, stream.options = "yuva420p", {"lossless": "0"}
        for color in (RED, HALF_BLUE):
            frame = av.VideoFrame.from_ndarray(np.full((20, width, 4), color, np.uint8), "rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for (_, row), color in zip(read(path.read_bytes()), (RED, HALF_BLUE), strict=True):
        assert np.abs(row.astype(int) - color).max() <= 12


def test_a_picture_without_a_duration_is_shown_as_browsers_do() -> None:
    times = [time for time, _ in read(animation(*[picture(c, 0) for c in (RED, BLUE, RED)]))]
    assert times == [0, Fraction(1, 10), Fraction(1, 5)]


def test_the_last_picture_lasts_as_long_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(animation(picture(RED, 40), picture(BLUE, 40), picture(RED, 200)))
    with closing(open_source(InputOptions(path=str(path)))) as source:
        durations = [frame.duration for frame in source.frames()]
    assert durations == [Fraction(1, 25), Fraction(1, 25), Fraction(1, 5)]
    ltxfilter.convert(path, tmp_path / "a.mkv", engine="hold", fps="50")
    assert len(shown(tmp_path / "a.mkv").times) == 14


def test_alpha_is_dropped_where_the_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(animation(picture(RED, 40), picture(BLUE, 40), alpha=False))
    with closing(open_source(InputOptions(path=str(path)))) as source:
        assert (source.info.pix_fmt, source.info.rate) == ("gbrp", 25)
        assert len(list(source.frames())) == 2


def test_what_we_write_we_read(tmp_path: Path) -> None:
    out = tmp_path / "out.webp"
    convert_repeating(make_video(tmp_path / "in.mp4", 10), out, "25", codec=None, encoder={})
    with closing(open_source(InputOptions(path=str(out)))) as source:
        frames = list(source.frames())
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(10)]
    assert frames[-1].duration == Fraction(1, 25)


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_that_breaks_off_ends_there(kept: float) -> None:
    data = animation(picture(RED, 40), picture(BLUE, 40), picture(RED, 40))
    assert 1 <= len(read(data[: int(len(data) * kept)])) <= 2


def test_a_damaged_header_is_refused() -> None:
    with pytest.raises(InputError, match="is damaged at its start"):
        read(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0")
    with pytest.raises(InputError, match="over the limit"):
        read(b"RIFF\0\0\0\0WEBP" + chunk(b"VP8X", b"\x02\0\0\0" + b"\xff" * 6))


def test_a_damaged_picture_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    over_the_edge = picture(BLUE, 60, left=6)
    found = read(animation(picture(RED, 40), over_the_edge, picture(BLUE, 40)))
    assert [time for time, _ in found] == [0, Fraction(1, 10)]
    assert "a.webp: a damaged picture is left out" in caplog.text


def test_stills_and_animations_are_told_apart() -> None:
    data = animation(picture(RED, 40))
    assert identify(data) == "webp"
    still = b"RIFF\0\0\0\0WEBP" + lossless(RED, 8, 8)
    assert identify(still) is None
    assert foreign(still) == "a WebP picture"
