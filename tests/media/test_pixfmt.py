"""Pixel formats: packed ones rearranged without loss, and those that cannot be held."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support.media import (
    NOISE_SIZE,
    noise_frame,
)

from ltxfilter.errors import InputError
from ltxfilter.media.avframe import reshape, view
from ltxfilter.media.pixfmt import PLANAR_TWINS, planar_name, plane_shapes

BIG_ENDIAN = ["yuv420p10be", "gray10be", "gbrp12be", "gray16be", "yuva444p12be"]


FULL = ["yuvj420p", "yuvj422p", "yuvj444p"]


EXACT = sorted(set(PLANAR_TWINS) - {"pal8", "monow", "monob", "x2rgb10le"})


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize("pix_fmt", EXACT)
def test_packed_formats_come_apart_and_together_again(pix_fmt: str, span: int) -> None:
    size = (64, 32)  # rows without padding: planes compare as a whole
    frame = noise_frame(pix_fmt, size)
    frame.color_range, frame.colorspace = span, 1
    planar = reshape(frame, *size, PLANAR_TWINS[pix_fmt])
    back = reshape(planar, *size, pix_fmt)
    assert planar.color_range == span
    for before, after in zip(frame.planes, back.planes, strict=True):
        assert bytes(before) == bytes(after)


@pytest.mark.parametrize("pix_fmt", BIG_ENDIAN + FULL)
def test_twins_hold_the_same_samples(pix_fmt: str) -> None:
    frame = noise_frame(pix_fmt)
    twin = planar_name(pix_fmt)
    shaped = reshape(frame, *NOISE_SIZE, twin)
    order = ">u2" if pix_fmt.endswith("be") else np.uint8
    planes = view(shaped, plane_shapes(twin, *NOISE_SIZE))
    for plane, samples in zip(frame.planes, planes, strict=True):
        raw = np.frombuffer(plane, order).reshape(plane.height, -1)[:, : plane.width]
        np.testing.assert_array_equal(samples, raw)
    assert shaped.color_range == (2 if pix_fmt in FULL else 0)


def test_ten_bits_of_packed_rgb() -> None:
    frame = av.VideoFrame(*NOISE_SIZE, "x2rgb10le")
    values = np.random.default_rng(1).integers(
        0, 1 << 30, (NOISE_SIZE[1], NOISE_SIZE[0]), dtype=np.uint32
    )
    words = np.frombuffer(frame.planes[0], np.uint32).reshape(NOISE_SIZE[1], -1)
    words[:, : NOISE_SIZE[0]] = values
    planar = reshape(frame, *NOISE_SIZE, "gbrp10le")
    green, blue, red = view(planar, plane_shapes("gbrp10le", *NOISE_SIZE))
    np.testing.assert_array_equal(red, values >> 20)
    np.testing.assert_array_equal(green, values >> 10 & 1023)
    np.testing.assert_array_equal(blue, values & 1023)


@pytest.mark.parametrize("name", ["yuv410p9", "nosuch", "yuv420p16f", "grayf32le", "bayer_bggr8"])
def test_formats_that_cannot_be_held_are_named(name: str) -> None:
    with pytest.raises(InputError, match=name):
        plane_shapes(name, 64, 64)
