"""Numbered pictures as an input: names, rates, deep samples, and what stays shut."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.media import make_video

from ltxfilter.errors import InputError
from ltxfilter.media.base import Source
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions

SIZE = (16, 8)  # pixels; rows of this width have no padding


def write_pictures(folder: Path, name: str, pix_fmt: str, codec: str, first: int = 0) -> np.ndarray:
    """Write three pictures of noise; return the samples of one, in FFmpeg's order of components."""
    rng = np.random.default_rng(first)
    frame = av.VideoFrame(*SIZE, pix_fmt)
    floating = "f32" in pix_fmt
    samples = []
    for plane in frame.planes:
        data = np.frombuffer(plane, np.float32 if floating else np.uint8)
        data[:] = (
            rng.integers(0, 2049, data.size) / 2048 if floating else rng.integers(0, 256, data.size)
        )
        samples.append(data)
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE, pix_fmt
    encoder.time_base = Fraction(1, 25)
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    picture = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    for number in range(first, first + 3):
        (folder / (name % number)).write_bytes(picture)
    return np.stack(samples) if floating else samples[0]


def opened(path: Path, **options: Any) -> Source:
    return open_source(InputOptions(path=str(path), **options))


@pytest.mark.parametrize(
    ("options", "rate", "last"),
    [
        ({}, 25, Fraction(2, 25)),
        ({"rate": "24000/1001"}, Fraction(24000, 1001), Fraction(2002, 24000)),
    ],
)
def test_pictures_come_at_the_rate_that_is_given(
    tmp_path: Path, options: dict[str, Any], rate: Fraction, last: Fraction
) -> None:
    write_pictures(tmp_path, "a%03d.png", "rgb24", "png")
    with closing(opened(tmp_path / "a%03d.png", **options)) as source:
        assert source.info.rate == rate
        assert source.duration == pytest.approx(3 / rate, abs=1e-6)
        times = [frame.time for frame in source.frames()]
        assert times[-1] - times[0] == last
        assert len(times) == 3


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "ending", "order"),
    [
        ("rgb48be", "png", "png", ">u2"),
        ("rgba64be", "png", "png", ">u2"),
        ("rgb48le", "tiff", "tiff", "<u2"),
    ],
)
def test_samples_of_16_bits_are_read_as_they_are(
    tmp_path: Path, pix_fmt: str, codec: str, ending: str, order: str
) -> None:
    written = write_pictures(tmp_path, f"%d.{ending}", pix_fmt, codec).view(order)
    count = 4 if "a" in pix_fmt else 3
    pixels = written.reshape(SIZE[1], SIZE[0], count)
    with closing(opened(tmp_path / f"%d.{ending}")) as source:
        assert source.info.depth == 16
        frame = next(source.frames())
        for plane, component in zip(frame.planes, (1, 2, 0, 3), strict=False):  # green comes first
            np.testing.assert_array_equal(plane, pixels[..., component])


def test_floating_point_samples_are_rounded_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = write_pictures(tmp_path, "%d.exr", "gbrpf32le", "exr")
    with closing(opened(tmp_path / "%d.exr")) as source:
        frame = next(source.frames())
    for plane, samples in zip(frame.planes, written, strict=True):
        expected = samples.reshape(SIZE[1], -1)[:, : SIZE[0]] * 65535
        np.testing.assert_allclose(plane, expected, atol=33)  # EXR has 11 bits at 1
    assert "gbrpf32le is converted to gbrp16le" in caplog.text


def test_a_first_number_far_from_0_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, "shot.%d.png", "rgb24", "png", first=1001)
    pattern = tmp_path / "shot.%d.png"
    with pytest.raises(
        InputError, match=r"its first picture is shot.1001.png; add -start_number 1001"
    ):
        opened(pattern)
    with closing(opened(pattern, demuxer={"start_number": "1001"})) as source:
        assert len(list(source.frames())) == 3


def test_glob_patterns_are_read_where_their_format_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, "p%d.png", "rgb24", "png")
    with closing(opened(tmp_path / "*.png", format="image2")) as source:
        assert len(list(source.frames())) == 3
    with pytest.raises(InputError, match="no such file; is it a pattern"):
        opened(tmp_path / "*.png")
    with pytest.raises(InputError, match="no file matches it"):
        opened(tmp_path / "*.tiff", format="image2")


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file, with any number for %04d"):
        opened(tmp_path / "%04d.png")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    make_video(tmp_path / "1.mkv", 3)
    path = make_video(tmp_path / "%d.mkv", 5)
    with closing(opened(path)) as source:
        assert len(list(source.frames())) == 5


@pytest.mark.parametrize("codec", ["gif", "apng"])
def test_animations_are_read_from_files_and_pipes(tmp_path: Path, codec: str) -> None:
    pix_fmt = {"gif": "bgr8", "apng": "rgb24"}[codec]
    path = make_video(tmp_path / f"a.{codec}", 5, codec=codec, pix_fmt=pix_fmt)
    with closing(opened(path)) as source:
        assert len(list(source.frames())) == 5
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    with closing(opened(Path(f"/dev/fd/{reading}"))) as source:
        assert len(list(source.frames())) == 5
    os.close(reading)


def test_a_single_picture_is_still_refused_by_name(tmp_path: Path) -> None:
    write_pictures(tmp_path, "%d.png", "rgb24", "png")
    with pytest.raises(InputError, match="is a PNG picture, not video"):
        opened(tmp_path / "0.png")
