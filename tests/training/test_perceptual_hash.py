"""A hash stays when its picture is scaled, dimmed and made noisy, and differs between pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.perceptual_hash import bits_apart, perceptual_hash

WIDTH, HEIGHT = 320, 180


def picture(seed: int) -> NDArray[np.uint8]:
    """Return luma with structure of every size, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for cells in (3, 6, 12, 24):
        coarse = rng.normal(size=(cells, cells)).astype(np.float32) / cells
        total += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 120 * total, 0, 255).astype(np.uint8)


def test_it_has_64_bits_of_which_half_lie_above_the_median():
    value = perceptual_hash(picture(0))
    assert 0 < value < 1 << 64
    assert value.bit_count() in (31, 32)


def test_the_first_bit_is_the_mean_and_the_next_ones_are_waves_across():
    across = np.cos(np.pi * (np.arange(32) + 0.5) / 32)  # the lowest wave of the transform
    value = perceptual_hash(np.round(128 + 100 * across + np.zeros((32, 1))).astype(np.uint8))
    assert value >> 62 == 0b11
    assert (
        perceptual_hash(np.round(128 - 100 * across + np.zeros((32, 1))).astype(np.uint8)) >> 62
        == 0b10
    )


@pytest.mark.parametrize("size", [(640, 360), (160, 90), (200, 200)])
def test_it_stays_when_the_picture_is_scaled(size: tuple[int, int]):
    scaled = np.asarray(cv2.resize(picture(1), size, interpolation=cv2.INTER_AREA))
    assert bits_apart(perceptual_hash(scaled), perceptual_hash(picture(1))) <= 4


def test_it_stays_when_the_picture_is_dimmed_and_noisy():
    noise = np.random.default_rng(2).normal(0, 6, (HEIGHT, WIDTH))
    worse = np.clip(picture(2) * 0.7 + 20 + noise, 0, 255).astype(np.uint8)
    assert bits_apart(perceptual_hash(worse), perceptual_hash(picture(2))) <= 6


def test_the_depth_does_not_matter():
    deep = picture(3).astype(np.uint16) * 4
    assert perceptual_hash(deep) == perceptual_hash(picture(3))


def test_pictures_differ():
    values = [perceptual_hash(picture(seed)) for seed in range(20)]
    pairs = [bits_apart(a, b) for at, a in enumerate(values) for b in values[:at]]
    assert min(pairs) > 10


def test_bits_are_counted():
    assert bits_apart(0b1011, 0b0001) == 2
