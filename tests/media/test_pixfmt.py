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


FIVE_BITS = {"rgb555le", "bgr555le", "rgb565le", "bgr565le"}
SPARE_BITS = ["v30xle", "vuyx", "x2bgr10le", "x2rgb10le", "xv30le", "xv36le", "xv48le"]
ONE_WAY = {"pal8", "monow", "monob", "ya8", "ya16le"}  # swscale does not write them exactly
EXACT = sorted(set(PLANAR_TWINS) - {*ONE_WAY, *FIVE_BITS, *SPARE_BITS})


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


@pytest.mark.parametrize("pix_fmt", SPARE_BITS)
def test_packed_formats_with_spare_bits_hold_all_samples_of_their_twins(pix_fmt: str) -> None:
    twin = planar_name(pix_fmt)
    planar = noise_frame(twin, (64, 32))
    back = reshape(reshape(planar, 64, 32, pix_fmt), 64, 32, twin)
    for before, after in zip(planar.planes, back.planes, strict=True):
        assert bytes(before) == bytes(after)


@pytest.mark.parametrize("pix_fmt", ["rgb48be", "rgba64be", "p010be", "ya16be"])
def test_packed_formats_of_the_other_byte_order(pix_fmt: str) -> None:
    little = noise_frame(pix_fmt[:-2] + "le", (64, 32))
    big = reshape(little, 64, 32, pix_fmt)
    twin = planar_name(pix_fmt)
    planes = reshape(big, 64, 32, twin).planes
    for one, other in zip(planes, reshape(little, 64, 32, twin).planes, strict=True):
        assert bytes(one) == bytes(other)


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


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("name", ["rgb555", "bgr555", "rgb565", "bgr565"])
def test_samples_of_five_bits_keep_their_bits_and_white(name: str, order: str) -> None:
    frame = av.VideoFrame(256, 256, name + order)
    words = np.arange(1 << 16).reshape(256, 256) & (0x7FFF if "555" in name else 0xFFFF)
    frame.planes[0].update(words.astype("<u2" if order == "le" else ">u2").tobytes())
    planar = reshape(frame, 256, 256, planar_name(name + order))
    green, blue, red = view(planar, plane_shapes("gbrp", 256, 256))
    greens = int(name[4])
    for plane, shift, bits in ((red, 5 + greens, 5), (green, 5, greens), (blue, 0, 5)):
        if name[0] == "b":
            shift = 5 + greens - shift if bits == 5 and plane is not green else shift
        codes = words >> shift & (1 << bits) - 1
        np.testing.assert_array_equal(plane >> (8 - bits), codes)
        assert set(plane[codes == (1 << bits) - 1]) == {255}


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize(("pix_fmt", "kind"), [("ya8", "u1"), ("ya16le", "<u2"), ("ya16be", ">u2")])
def test_gray_with_alpha_keeps_both(pix_fmt: str, kind: str, span: int) -> None:
    frame = noise_frame(pix_fmt, (64, 32))
    frame.color_range = span
    twin = planar_name(pix_fmt)
    planes = view(reshape(frame, 64, 32, twin), plane_shapes(twin, 64, 32))
    pairs = np.frombuffer(frame.planes[0], kind).reshape(32, 64, 2)
    np.testing.assert_array_equal(planes[0], pairs[..., 0])
    np.testing.assert_array_equal(planes[3], pairs[..., 1])
    assert set(np.ravel(planes[1:3])) == {128 if kind == "u1" else 32768}


@pytest.mark.parametrize("name", ["yuv410p9", "nosuch", "yuv420p16f", "grayf32le", "bayer_bggr8"])
def test_formats_that_cannot_be_held_are_named(name: str) -> None:
    with pytest.raises(InputError, match=name):
        plane_shapes(name, 64, 64)
