"""Frames into the models and pictures out: sizes, tone, alpha, NaN."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

from support.pictures import moving, video

from ltxfilter.engines.ltx.diffusion.canvas import Canvas, ToneMatcher, cell_means


def test_frames_are_read_as_rgb_and_come_back():
    info = video("yuva420p", 70, 50)
    canvas = Canvas(info, torch.device("cpu"), 32)
    left, right = moving(info, 2)
    picture = canvas.read(left)
    assert picture.shape == (3, 64, 96) == (3, canvas.height, canvas.width)
    level = picture[:, :50, :70].mean().item()  # its chroma is about grey
    assert level == pytest.approx((left.planes[0].mean() - 16) / 219 * 2 - 1, abs=0.1)
    drawn = canvas.to_drawn(picture, (left, right), 0.5)
    for ours, theirs in zip(drawn.planes[:3], left.planes, strict=False):
        assert np.array_equal(ours, theirs)
    halfway = (left.planes[3].astype(float) + right.planes[3]) / 2
    assert np.abs(drawn.planes[3] - halfway).max() <= 0.5


def test_nan_is_reported_once_and_left_to_other_engines(caplog):
    info = video("yuv420p", 32, 32)
    canvas = Canvas(info, torch.device("cpu"), 32)
    ends = tuple(moving(info, 2))
    for bad in (float("nan"), float("inf")):
        picture = canvas.read(ends[0])
        picture[1, 3, 4] = bad
        assert canvas.to_drawn(picture, ends, 0.5).planes == ()
    assert len(caplog.records) == 1


def pan(count, step=1.0, size=(96, 160)):
    """A picture that moves steadily: [3, count, height, width]."""
    y = torch.linspace(0, 3, size[0])[:, None]
    x = torch.arange(size[1])[None] / 30
    return torch.stack(
        [
            torch.stack([torch.sin(x + y * c - n * step / 30) for n in range(count)])
            for c in (1, 2, 3)
        ]
    )


@pytest.mark.parametrize("places", [(0.0, 8.0), (-0.4, 2.0), (1.6, 4.0), (6.8, 9.2)])
def test_a_cast_is_undone_wherever_the_keyframes_lie(places):
    truth = pan(12)
    cast = torch.linspace(-0.2, 0.1, 160) + torch.tensor([0.1, 0.0, -0.1])[:, None, None]
    tone = ToneMatcher((truth + cast[:, None])[:, :9])

    def keyframe(place):
        low = int(place // 1)
        below = truth[:, max(low, 0)]
        return below if place < 0 else below + (truth[:, low + 1] - below) * (place - low)

    ends = [(place, keyframe(place)) for place in places]
    for number in (1, 4, 7):
        matched = tone.match(truth[:, number] + cast, 0.3, ends)
        assert (matched - truth[:, number]).abs().mean() < 0.15 * cast.abs().mean()


def test_a_keyframe_outside_the_pictures_changes_no_tone():
    truth = pan(9)
    tone = ToneMatcher(truth)
    far = [(-3.0, truth[:, 0] + 1), (12.0, truth[:, 0] + 1)]
    assert torch.equal(tone.match(truth[:, 2], 0.5, far), truth[:, 2])
    one = [(-3.0, truth[:, 0]), (8.0, truth[:, 8] + 0.5)]
    torch.testing.assert_close(tone.match(truth[:, 2], 0.5, one), truth[:, 2] + 0.5)


@pytest.mark.parametrize("size", [(32, 32), (32, 128), (1088, 1920)])
def test_cells_are_about_square(size):
    found = cell_means(torch.zeros(3, *size))
    assert found.shape[1] == round(size[0] / (min(size) / 8))
    assert found.shape[2] == round(size[1] / (min(size) / 8))
