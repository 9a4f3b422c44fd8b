"""Pictures as an output: encoders and pixel formats by name, palettes, ranges, animations."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.media import convert_repeating, decoded, make_video, ramp

from ltxfilter.media.format_names import IMAGE_SUFFIXES
from ltxfilter.media.many_files.picture_formats import ENCODERS, PaletteMaker


def converted(path: Path, output: Path, **options: Any) -> list[av.VideoFrame]:
    """Convert a clip to pictures and return what FFmpeg reads back."""
    convert_repeating(path, output, "50", codec=None, encoder={}, **options)
    if "%" not in output.name:
        return list(decoded(output))
    with av.open(str(output), format="image2") as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(
    ("ending", "source", "pix_fmt"),
    [
        ("png", "yuv420p", "rgb24"),
        ("png", "yuv420p10le", "rgb48be"),
        ("png", "yuva420p", "rgba"),
        ("png", "gray", "gray"),
        ("png", "gray10le", "gray16be"),
        ("tiff", "yuv422p10le", "rgb48le"),
        ("tif", "bgr0", "rgb24"),
        ("exr", "yuv420p", "gbrpf32le"),
        ("jpg", "yuv420p", "yuvj420p"),
        ("jpeg", "yuv444p", "yuvj444p"),
        ("webp", "yuv420p", "yuv420p"),
        ("bmp", "yuv420p", "bgr24"),
        ("ppm", "yuv420p", "rgb24"),
    ],
)
def test_the_ending_names_the_encoder_and_the_source_the_depth(
    tmp_path: Path, ending: str, source: str, pix_fmt: str
) -> None:
    path = make_video(tmp_path / "in.mkv", 3, codec="ffv1", pix_fmt=source)
    frames = converted(path, tmp_path / f"%d.{ending}")
    assert len(frames) == 6
    assert {frame.format.name for frame in frames} == {pix_fmt}


@pytest.mark.parametrize("ending", ["png", "tiff", "exr", "jpg", "bmp"])
@pytest.mark.parametrize("source", ["yuv420p", "yuv420p10le"])
def test_white_stays_white(tmp_path: Path, ending: str, source: str) -> None:
    """Video of limited range becomes pictures of the full one."""
    path = tmp_path / "white.mkv"
    white = np.full((48, 64, 3), 255, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, source
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(white, format="rgb24").reformat(format=source)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for frame in converted(path, tmp_path / f"%d.{ending}"):
        assert frame.to_ndarray(format="rgb24").min() >= 253


@pytest.mark.parametrize(("ending", "codec"), [("gif", "gif"), ("apng", "apng"), ("avif", "av1")])
def test_animations_have_every_frame_and_repeat(tmp_path: Path, ending: str, codec: str) -> None:
    path, out = make_video(tmp_path / "in.mp4", 5, audio=True), tmp_path / f"out.{ending}"
    frames = converted(path, out)
    if ending == "avif":
        with av.open(str(out)) as container:
            assert [video.frames for video in container.streams.video] == [1, 10]
            assert {
                video.codec_context.codec.canonical_name for video in container.streams.video
            } == {codec}
        return
    assert len(frames) == 10
    times = [frame.pts * frame.time_base for frame in frames if frame.pts is not None]
    assert times == [Fraction(n, 50) for n in range(10)]
    marks = {"gif": b"NETSCAPE2.0\x03\x01\x00\x00", "apng": b"acTL\0\0\0\x0a\0\0\0\0"}
    assert marks[ending] in out.read_bytes()


def test_webp_has_every_frame_and_repeats(tmp_path: Path) -> None:
    """FFmpeg does not read animated WebP; its chunks tell."""
    path, out = make_video(tmp_path / "in.mp4", 5), tmp_path / "out.webp"
    convert_repeating(path, out, "50", codec=None, encoder={})
    data = out.read_bytes()
    assert data[8:12] == b"WEBP"
    at = data.index(b"ANIM")
    assert data[at + 12 : at + 14] == b"\0\0"  # loops for ever
    shown = [data[place + 20 : place + 23] for place in places(data, b"ANMF")]
    assert sum(int.from_bytes(ms, "little") for ms in shown) == 200


def places(data: bytes, word: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(word), data)]


def test_sound_beside_pictures_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    converted(make_video(tmp_path / "in.mp4", 3, audio=True), tmp_path / "out.gif")
    assert "stream 1 (audio, aac) is left out: gif holds nothing but pictures" in caplog.text


def test_a_gif_that_browsers_slow_down_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(tmp_path / "in.mp4", 3)
    convert_repeating(path, tmp_path / "50.gif", "50", codec=None, encoder={})
    assert "browsers" not in caplog.text
    convert_repeating(path, tmp_path / "60.gif", "60", codec=None, encoder={})
    assert "--fps 50 plays everywhere" in caplog.text


def test_every_ending_of_pictures_has_an_encoder() -> None:
    assert set(ENCODERS) == IMAGE_SUFFIXES


def test_every_picture_has_the_palette_that_suits_it() -> None:
    """Gradients of 200 colours come back nearly as they were, which no fixed palette can do."""
    maker = PaletteMaker(64, 48)
    for index in range(3):
        picture = ramp(index, (64, 48), "rgba")
        colors = picture.to_ndarray()[..., :3].astype(int) // 32 * 32
        colors[..., 2] = 40 * index
        reduced = maker.reduce(
            av.VideoFrame.from_ndarray(
                np.dstack([colors, np.full((48, 64, 1), 255)]).astype(np.uint8), format="rgba"
            )
        )
        assert reduced.format.name == "pal8"
        np.testing.assert_allclose(reduced.to_ndarray(format="rgb24"), colors, atol=4)
