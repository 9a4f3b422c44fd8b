from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from ltxfilter.frame import ColorInfo, Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.stills.still import Still, still_of, still_of_rgb

# The same red in both matrices, limited range, 8 bits: Y, U, V.
REDS = {1: (63, 102, 240), 5: (81, 90, 240)}


def flat(info: VideoInfo, codes: tuple[int, ...]) -> Planes:
    return tuple(
        np.full((shape.height, shape.width), code << (shape.depth - 8), shape.dtype)
        for shape, code in zip(info.layout, codes, strict=True)
    )


def stream(pix_fmt: str, width: int = 320, height: int = 180, matrix: int = 1, **more: object):
    layout = plane_shapes(pix_fmt, width, height)
    color = ColorInfo(matrix=matrix, range=1)
    return VideoInfo(width, height, pix_fmt, layout, Fraction(25), color=color, **more)  # type: ignore[arg-type]


def decoded(still: Still) -> np.ndarray:
    with av.open(io.BytesIO(still.data)) as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize("matrix", REDS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_colours_are_those_of_the_stream_s_matrix_and_range(matrix: int, pix_fmt: str, kind: str):
    info = stream(pix_fmt, matrix=matrix)
    pixels = decoded(still_of(flat(info, REDS[matrix]), info, kind=kind))
    assert pixels.shape == (180, 320, 3)
    assert np.abs(pixels.reshape(-1, 3).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("size", "aspect", "longest", "expected"),
    [
        ((320, 180), 1, 160, (160, 90)),
        ((320, 180), 1, 480, (320, 180)),  # never larger than it is
        ((180, 320), 1, 160, (90, 160)),
        ((180, 144), Fraction(16, 15), None, (192, 144)),  # square pixels
    ],
)
def test_the_longer_side_is_bounded(
    size: tuple[int, int], aspect: Fraction, longest: int | None, expected: tuple[int, int]
):
    info = stream("yuv420p", *size, sample_aspect=Fraction(aspect))
    still = still_of(flat(info, REDS[1]), info, longest)
    assert (still.width, still.height) == expected
    assert decoded(still).shape[1::-1] == expected


@pytest.mark.parametrize("pix_fmt", ["gray", "gbrp", "yuva420p", "gray12le"])
def test_every_family_of_formats_becomes_a_picture(pix_fmt: str):
    info = stream(pix_fmt)
    assert decoded(still_of(flat(info, (128,) * len(info.layout)), info)).mean() > 90


def test_a_jpeg_is_made_smaller_where_it_would_be_too_large():
    info = stream("gray", 480, 270)
    noise = np.random.default_rng(1).integers(0, 256, (270, 480), np.uint8)
    free = still_of((noise,), info, kind="jpeg")
    bounded = still_of((noise,), info, kind="jpeg", most_bytes=60_000)
    assert len(bounded.data) <= 60_000 < len(free.data)
    assert decoded(bounded).shape == (270, 480, 3)


def test_a_png_of_an_array_is_lossless():
    pixels = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)
    assert np.array_equal(decoded(still_of_rgb(pixels)), pixels)
