"""Scene cuts, flashes, duplicates and slow transitions on synthetic shots."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pytest
from support.scenes import scene

from ltxfilter.frame import Frame, PlaneShape, VideoInfo
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.window import Join

WIDTH, HEIGHT = 320, 180


def info(depth: int = 8, width: int = WIDTH, height: int = HEIGHT) -> VideoInfo:
    layout = (PlaneShape("y", width, height, 0, 0, depth),)
    return VideoInfo(width, height, "gray", layout, Fraction(25))


def shot(seed: int, count: int, speed: float = 3.0) -> list[np.ndarray]:
    """Return the pictures of a pan over a scene, in 8-bit codes as floats."""
    picture = scene(seed)
    return [
        picture[50 : 50 + HEIGHT, 20 + round(k * speed) : 20 + round(k * speed) + WIDTH]
        for k in range(count)
    ]


def frames(pictures: list[np.ndarray], depth: int = 8) -> list[Frame]:
    top = (1 << depth) - 1
    dtype = np.uint8 if depth == 8 else np.uint16
    return [
        Frame(Fraction(k, 25), (np.clip(p * (top / 255), 0, top).astype(dtype),))
        for k, p in enumerate(pictures)
    ]


def joins(pictures: list[np.ndarray], depth: int = 8, cuts: bool = True) -> list[Join]:
    detector = CutDetector(info(depth), cuts)
    sequence = frames(pictures, depth)
    return [detector.join(a, b, k == 0) for k, (a, b) in enumerate(pairwise(sequence))]


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_a_cut_between_two_pans_is_found_and_nothing_else(depth: int) -> None:
    found = joins(shot(1, 6) + shot(2, 6), depth)
    assert [k for k, join in enumerate(found) if join is not Join.INTERPOLATE] == [5]
    assert found[5] is Join.CUT


def test_without_cuts_only_duplicates_are_found() -> None:
    pan = shot(1, 3)
    assert joins([*pan, pan[-1], *shot(2, 2)], cuts=False) == [
        Join.INTERPOLATE,
        Join.INTERPOLATE,
        Join.DUPLICATE,
        Join.INTERPOLATE,
        Join.INTERPOLATE,
    ]


def test_a_fast_pan_is_no_cut() -> None:
    assert set(joins(shot(3, 10, speed=28))) == {Join.INTERPOLATE}


@pytest.mark.parametrize("gain", [0.4, 1.6])
def test_a_flash_is_no_cut_and_is_counted(gain: float) -> None:
    pictures = shot(4, 8)
    pictures[4] = pictures[4] * gain
    detector = CutDetector(info())
    sequence = frames(pictures)
    found = [detector.join(a, b, False) for a, b in pairwise(sequence)]
    assert set(found) == {Join.INTERPOLATE}
    assert detector.counts.flashes == 2


def test_exact_and_noisy_duplicates_are_found() -> None:
    pan = shot(5, 6)
    noisy = pan[3] + np.random.default_rng(0).uniform(-0.5, 0.5, pan[3].shape)
    found = joins([pan[0], pan[0], pan[1], pan[2], pan[3], noisy, pan[4]])
    assert [k for k, join in enumerate(found) if join is Join.DUPLICATE] == [0, 4]


def test_slow_motion_is_no_duplicate() -> None:
    picture = scene(6).astype(np.float32)
    shifts = [np.float32([[1, 0, -20 - 0.1 * k], [0, 1, -20]]) for k in range(12)]
    slow = [cv2.warpAffine(picture, shift, (WIDTH, HEIGHT)) for shift in shifts]
    assert set(joins(slow)) == {Join.INTERPOLATE}


def test_fades_and_dissolves_are_counted_not_cut() -> None:
    first, second = shot(7, 60, 0.5), shot(8, 60, 0.5)
    mix = [
        a * (1 - k / 24) + b * (k / 24)
        for k, (a, b) in enumerate(zip(first[:25], second[:25], strict=True))
    ]
    out = [b * (1 - k / 24) for k, b in enumerate(second[25:50])]
    detector = CutDetector(info())
    sequence = frames([first[0]] * 1 + first[:20] + mix + second[25:45] + out)
    found = [detector.join(a, b, False) for a, b in pairwise(sequence)]
    assert Join.CUT not in found
    assert (detector.counts.dissolves, detector.counts.fades) == (1, 1)


def test_a_reset_forgets_what_came_before() -> None:
    pan = frames(shot(9, 12))
    whole, late = CutDetector(info()), CutDetector(info())
    seen = [whole.join(a, b, k == 6) for k, (a, b) in enumerate(pairwise(pan))]
    assert seen[6:] == [late.join(a, b, k == 0) for k, (a, b) in enumerate(pairwise(pan[6:]))]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (16, 9), (64, 48), (3000, 20)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    detector = CutDetector(info(8, *size))
    rng = np.random.default_rng(1)
    a, b = (
        Frame(Fraction(k), (rng.integers(0, 255, size[::-1], dtype=np.uint8),)) for k in range(2)
    )
    assert detector.join(a, b, True) in Join
    assert detector.join(b, b, False) is Join.DUPLICATE


def test_nothing_is_interpolated_between_frames_of_different_sizes() -> None:
    a, b = (Frame(Fraction(k), (np.zeros((8 + k, 8), np.uint8),)) for k in range(2))
    assert CutDetector(info()).join(a, b, False) is Join.CUT
