from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from support.small_clips import info_of, moving

from ltxfilter.compare.pictures.labels import label
from ltxfilter.compare.pictures.panels import WIDEST, Panels
from ltxfilter.compare.pictures.rgb import rgb
from ltxfilter.frame import ColorInfo


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "gray", "gbrp", "yuva444p"])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (35, 27)])
def test_a_panel_holds_the_samples_that_it_shows(pix_fmt: str, width: int, height: int):
    info = info_of(width, height, pix_fmt)
    pictures = moving(3, info)
    panels = Panels(info, 3, Fraction(25))
    assert panels.info.width % 2 == panels.info.height % 2 == 0
    drawn = panels.draw(pictures, ["a", "b", "c"])
    for number, shape in enumerate(info.layout):
        whole = panels.info.layout[number]
        assert drawn[number].shape == (whole.height, whole.width)
        assert drawn[number].dtype == shape.dtype
        bar = drawn[number].shape[0] - (-(-height // 2) * 2 >> shape.shift_y)
        across = whole.width // 3
        for at, picture in enumerate(pictures):
            panel = drawn[number][bar:, at * across :][: shape.height, : shape.width]
            assert np.array_equal(panel, picture[number])


def test_more_than_three_pictures_stand_in_two_rows():
    info = info_of()
    panels = Panels(info, 4, Fraction(25))
    pictures = moving(4, info)
    drawn = panels.draw(pictures, ["a", "b", "c", "d"])
    assert panels.info.width == 2 * 64
    rows = panels.info.height // 2
    assert np.array_equal(drawn[0][2 * rows - 48 :, 64:], pictures[3][0])


def test_wide_pictures_are_made_smaller_together():
    info = info_of(4000, 40)
    panels = Panels(info, 3, Fraction(25))
    assert panels.info.width <= WIDEST
    drawn = panels.draw(moving(3, info), ["a", "b", "c"])
    assert drawn[0].shape == (panels.info.height, panels.info.width)


def test_a_picture_that_is_missing_leaves_its_panel_black():
    info = info_of()
    drawn = Panels(info, 2, Fraction(25)).draw([moving(1, info)[0], None], ["a", "b"])
    assert set(drawn[0][-48:, 64:].ravel()) == {16}
    assert set(drawn[1][-24:, 32:].ravel()) == {128}


def test_labels_are_white_on_black_and_fit():
    long = label("a name of an engine that is far too long " * 3, 80, 16)
    assert long.shape == (16, 80)
    assert long.max() > 200
    assert long[:, -2:].max() == 0
    assert label("\N{GREEK SMALL LETTER ALPHA}", 80, 16).shape == (16, 80)
    assert label("", 80, 16).max() == 0
    assert label("abc", 3, 16).shape == (16, 3)


@pytest.mark.parametrize(
    ("codes", "matrix", "full", "color"),
    [
        ((16, 128, 128), 1, False, (0, 0, 0)),
        ((235, 128, 128), 1, False, (255, 255, 255)),
        ((255, 128, 128), 1, True, (255, 255, 255)),
        ((63, 102, 240), 1, False, (255, 0, 0)),
        ((81, 90, 240), 6, False, (255, 0, 0)),
    ],
)
def test_rgb_follows_matrix_and_range(
    codes: tuple[int, ...], matrix: int, full: bool, color: tuple[int, ...]
):
    info = replace(info_of(), color=ColorInfo(matrix=matrix, range=2 if full else 1))
    planes = tuple(
        np.full((shape.height, shape.width), code, np.uint8)
        for shape, code in zip(info.layout, codes, strict=True)
    )
    picture = rgb(planes, info, 1280)
    assert picture.shape == (48, 64, 3)
    assert np.abs(picture.astype(int) - color).max() <= 2


def test_rgb_is_made_smaller_and_its_pixels_square():
    info = replace(info_of(64, 48), sample_aspect=Fraction(2))
    planes = moving(1, info)[0]
    assert rgb(planes, info, 1280).shape == (48, 128, 3)
    assert rgb(planes, info, 64).shape == (24, 64, 3)
    gray = info_of(64, 48, "gray")
    assert rgb(planes[:1], gray, 1280).shape == (48, 64, 3)
