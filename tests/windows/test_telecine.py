"""Film that was made into video is told by its pattern of five, and nothing else is."""

from __future__ import annotations

import logging
from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ltxfilter.windows.telecine import TelecineWatch

VIDEO = F(30000, 1001)
Luma = NDArray[np.uint8]


def film(count: int) -> list[Luma]:
    """Return pictures in motion."""
    rows, columns = np.mgrid[0:96, 0:128]
    return [
        (100 + 60 * np.sin((columns + 3 * n) / 6) + 30 * np.cos((rows + n) / 9)).astype(np.uint8)
        for n in range(count)
    ]


def woven(top: Luma, bottom: Luma) -> Luma:
    frame = bottom.copy()
    frame[::2] = top[::2]
    return frame


def in_fields(pictures: list[Luma]) -> list[Luma]:
    """Return film as fields 2:3, as FFmpeg's filter telecine makes them."""
    found = []
    for a, b, c, d in zip(*[iter(pictures)] * 4, strict=True):
        found += [a, woven(a, b), woven(b, c), c, d]
    return found


def in_frames(pictures: list[Luma], pattern: tuple[int, ...]) -> list[Luma]:
    """Return film with each picture shown as often as the pattern says."""
    counts = (pattern[n % len(pattern)] for n in range(len(pictures)))
    return [picture for picture, count in zip(pictures, counts, strict=True) for _ in range(count)]


def watch(frames: list[Luma], rate: F | None = VIDEO, noise: int = 0) -> None:
    rng = np.random.default_rng(1)
    noisy = [
        (frame.astype(int) + rng.integers(-noise, noise + 1, frame.shape)).clip(0, 255)
        for frame in frames
    ]
    found = TelecineWatch(rate, 8)
    for number, (left, right) in enumerate(pairwise(noisy)):
        found.add(left.astype(np.uint8), right.astype(np.uint8), number / VIDEO)


@pytest.mark.parametrize("noise", [0, 1])
def test_fields(caplog: pytest.LogCaptureFixture, noise: int) -> None:
    watch(in_fields(film(48)), noise=noise)
    assert caplog.text.count("hard telecine") == 1
    assert "fieldmatch,decimate" in caplog.text


@pytest.mark.parametrize(("pattern", "rate"), [((1, 1, 1, 2), VIDEO), ((2, 3), F(60000, 1001))])
def test_frames(caplog: pytest.LogCaptureFixture, pattern: tuple[int, ...], rate: F) -> None:
    watch(in_frames(film(48), pattern), rate)
    assert caplog.text.count("hard telecine") == 1
    assert "mpdecimate" in caplog.text


@pytest.mark.parametrize(
    "frames",
    [
        film(60),
        in_frames(film(30), (2,)),
        in_frames(film(40), (1, 2)),
        [film(1)[0]] * 60,
        [woven(a, b) for a, b in pairwise(film(61))],
    ],
)
def test_other_video(caplog: pytest.LogCaptureFixture, frames: list[Luma]) -> None:
    with caplog.at_level(logging.WARNING):
        watch(frames)
        watch(in_fields(film(48)), F(25))
    assert not caplog.text
