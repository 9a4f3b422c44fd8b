from __future__ import annotations

import itertools
from fractions import Fraction as F

import numpy as np
import pytest

from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.pipeline.record.signs import PATTERN, TEXT, SignFinder, pattern_share, repeats
from ltxfilter.windows.window import Interval, Join, Window

H, W = 144, 256
INFO = VideoInfo(W, H, "gray", plane_shapes("gray", W, H), F(25))


def noise(seed: int = 1) -> np.ndarray:
    """Soft texture that never repeats, wider than the picture."""
    rows = np.random.default_rng(seed).normal(0, 1, (H, 4 * W))
    for axis in (0, 1):
        rows = sum(np.roll(rows, shift, axis) for shift in range(-3, 4))
    return 128 + 40 * rows / rows.std()


def stripes(period: int) -> np.ndarray:
    return np.tile(40.0 + 160 * (np.arange(4 * W) % period < period / 2), (H, 1))


def found(wide: np.ndarray, speed: int, text: bool = False, seconds: float = 3) -> list[str]:
    """Return the signs in a pan over `wide`, with letters that stay if text is True."""
    letters = np.zeros((H, W), bool)
    letters[100:124, 20:200] = (np.arange(180) // 7 % 2 == 0)[None, :]
    finder = SignFinder(INFO)
    kinds: list[str] = []
    frames = []
    for number in range(int(25 * seconds)):
        at = number * speed % (2 * W)
        picture = np.clip(wide[:, at : at + W], 0, 255)
        if text:
            picture = np.where(letters, 235, picture)
        frames.append(Frame(F(number, 25), (picture.astype(np.uint8),)))
    for left, right in itertools.pairwise(frames):
        window = Window(0, (left, right), 0, 1, (Interval(Join.INTERPOLATE, False),), ())
        kinds += [sign.kind for sign in finder.look(window)]
    return kinds


def test_moving_stripes_are_a_repeating_pattern():
    assert set(found(stripes(12), 5)) == {PATTERN}


@pytest.mark.parametrize("speed", [0, 4])
def test_texture_and_what_stands_still_are_none(speed: int):
    assert found(noise(), speed) == []
    assert found(stripes(12), 0) == []


def test_letters_that_stay_while_the_picture_moves_are_told():
    kinds = found(noise(), 6, text=True)
    assert set(kinds) == {TEXT}
    assert len(kinds) >= 3
    assert TEXT not in found(noise(), 0, text=True)


def test_an_edge_is_no_pattern():
    edge = np.where(np.add.outer(np.arange(64), np.arange(64)) > 60, 200, 40).astype(np.float32)
    assert not repeats(edge)
    assert repeats(stripes(16)[:64, :64].astype(np.float32))


def test_small_pictures_are_looked_at_too():
    tiny = np.zeros((9, 13), np.float32)
    assert pattern_share(tiny, tiny) == 0.0
