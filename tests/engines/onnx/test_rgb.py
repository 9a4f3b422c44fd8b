"""Planes <-> RGB in NumPy: nothing is lost, and it agrees with the twin in torch."""

from __future__ import annotations

from fractions import Fraction as F
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.engines.onnx.rgb import RgbConverter, doubled, halved
from ltxfilter.engines.onnx.tiles import Tiling, starts
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes

FORMATS = [
    "yuv420p", "yuv420p10le", "yuv422p", "yuv444p16le", "yuv410p", "yuv411p", "yuv440p", "gray",
    "gray16le", "gbrp", "gbrp10le", "yuva420p", "gbrap",
]  # fmt: skip


def video(fmt, width, height, **color):
    layout = plane_shapes(fmt, width, height)
    return VideoInfo(width, height, fmt, layout, F(25), color=ColorInfo(**color))


def noise(info):
    chance = np.random.default_rng(0)
    return tuple(
        chance.integers(0, 1 << s.depth, (s.height, s.width)).astype(s.dtype) for s in info.layout
    )


@settings(max_examples=60)
@given(
    st.sampled_from(FORMATS),
    st.integers(1, 37),
    st.integers(1, 37),
    st.sampled_from([0, 1, 2, 4, 6, 7, 8, 9, 10]),
    st.sampled_from([0, 1, 2]),
    st.integers(0, 6),
)
def test_a_picture_comes_back_sample_for_sample(fmt, width, height, matrix, coded, location):
    info = video(fmt, width, height, matrix=matrix, range=coded, chroma_location=location)
    planes = noise(info)
    converter = RgbConverter(info)
    alpha = None if converter.alpha is None else planes[converter.alpha]
    back = converter.to_planes(converter.to_rgb(planes), alpha)
    for ours, theirs in zip(back, planes, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("location", [0, 2, 3, 6])
def test_it_is_the_twin_of_the_converter_in_torch(fmt, location):
    from ltxfilter.color import Converter

    info = video(fmt, 34, 18, matrix=9, range=1, chroma_location=location)
    planes = noise(info)
    ours, theirs = RgbConverter(info).to_rgb(planes), Converter(info).to_rgb(planes).numpy()
    assert np.abs(ours - theirs[:, : ours.shape[1], : ours.shape[2]]).max() < 1e-5


@pytest.mark.parametrize("site", ["start", "middle", "end"])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_halving_undoes_doubling(site, count):
    x = np.random.default_rng(count).normal(size=(3, count))
    assert doubled(x, site).shape == (3, 2 * count)
    assert halved(doubled(x, site), site) == pytest.approx(x)


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(100, 64, 16), (64, 64, 8), (65, 64, 32), (1000, 64, 0)]
)
def test_tiles_cover_a_side_and_overlap(length, tile, overlap):
    begins = starts(length, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] + tile >= length
    assert all(b - a <= tile - overlap for a, b in pairwise(begins))


def test_seams_fade_between_tiles_that_differ():
    """Tiles that are off by a code each way join without a step."""
    tiling = Tiling(64, 200, 64, 96, 32)
    tiles = [np.full((3, 64, 96), value, np.float32) for value in (0.0, 1.0, 0.0)]
    joined = tiling.join(tiles[: len(tiling.corners())])
    assert np.abs(np.diff(joined, axis=2)).max() < 0.05
    picture = np.random.default_rng(1).random((3, 64, 200), np.float32)
    again = tiling.join([tiling.cut(picture, corner) for corner in tiling.corners()])
    assert again == pytest.approx(picture, abs=1e-6)
