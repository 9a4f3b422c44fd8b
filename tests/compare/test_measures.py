from __future__ import annotations

import numpy as np
import pytest

from ltxfilter.compare import measures

FLAT = np.full((32, 48), 100, np.uint8)
NOISE = np.random.default_rng(1).integers(0, 256, (32, 48), dtype=np.uint8)


def test_psnr_is_that_of_the_mean_squared_error():
    assert measures.psnr(FLAT, FLAT + 5, 8) == pytest.approx(10 * np.log10(255**2 / 25))
    half = np.where(np.arange(48) < 24, FLAT + 5, FLAT).astype(np.uint8)
    assert measures.psnr(FLAT, half, 8) == pytest.approx(10 * np.log10(255**2 / 12.5))
    mask = np.broadcast_to(np.arange(48) < 24, FLAT.shape)
    assert measures.psnr(FLAT, half, 8, mask) == pytest.approx(10 * np.log10(255**2 / 25))


def test_equal_planes_have_70_db_at_any_depth():
    for depth in (8, 10, 16):
        plane = FLAT.astype(np.uint16)
        assert measures.psnr(plane, plane, depth) == pytest.approx(70, abs=0.05)


def test_psnr_counts_codes_of_the_depth():
    deep = FLAT.astype(np.uint16) * 4
    assert measures.psnr(deep, deep + 20, 10) == pytest.approx(10 * np.log10(1023**2 / 400))


def test_ssim_is_1_of_equal_planes_and_falls_with_noise_and_blur():
    assert measures.ssim(NOISE, NOISE, 8) == pytest.approx(1)
    near = np.clip(NOISE.astype(int) + 4, 0, 255).astype(np.uint8)
    assert 0.9 < measures.ssim(NOISE, near, 8) < 1
    assert measures.ssim(NOISE, FLAT, 8) < 0.1


def test_flicker_is_the_difference_of_mean_codes_either_way():
    assert measures.flicker(FLAT, FLAT + 3) == measures.flicker(FLAT + 3, FLAT) == 3


def test_pulse_is_0_for_pictures_as_sharp_as_those_around_and_grows_with_blur():
    sharp = measures.sharpness(NOISE)
    assert measures.pulse(sharp, sharp, sharp) == 0
    assert measures.pulse(sharp / 2, sharp, sharp) == pytest.approx(np.log(2))
    assert measures.pulse(sharp * 2, sharp, sharp) == pytest.approx(np.log(2))


def test_sharpness_of_a_flat_plane_is_0_and_pulse_of_it_is_a_number():
    assert measures.sharpness(FLAT) == 0
    assert np.isfinite(measures.pulse(0, 0, 0))
