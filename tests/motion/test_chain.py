"""Flow through small pictures between two keyframes, and what a picture is made of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.motion.guided import warp_plan
from ltxfilter.motion.guided.chain import (
    Chain,
    FlowPair,
    compose,
    fetch,
    flow_to_keyframes,
    link,
    place,
    straight,
)

WIDTH, HEIGHT = 160, 96
INSIDE = np.s_[24:-24, 40:-40]
BRIGHT = "y"
LOST = 2 * (np.full((HEIGHT, WIDTH), 16, np.float32),)


def scene(x: float = 0.0, y: float = 0.0, seed: int = 1) -> np.ndarray:
    """Blurred noise, [H, W] float32 codes, that has moved by (x, y)."""
    size = (2 * HEIGHT, 2 * WIDTH)
    noise = np.random.default_rng(seed).integers(0, 256, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    smooth = 128 + (smooth - smooth.mean()) * 3
    shift = np.float32([[1, 0, x - WIDTH / 2], [0, 1, y - HEIGHT / 2]])
    moved = cv2.warpAffine(smooth, shift, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    return np.clip(moved, 0, 255)


def pan(count: int, speed: float, noise: float = 0.0) -> list[np.ndarray]:
    """Pictures of a pan; those between the first and the last are noisy."""
    draws = np.random.default_rng(7)
    pictures = [scene(k * speed, -k * speed / 4) for k in range(count)]
    for picture in pictures[1:-1]:
        picture += draws.normal(0, noise, picture.shape).astype(np.float32) if noise else 0
    return pictures


def chained(pictures: list[np.ndarray]) -> tuple[Chain, warp_plan.Small]:
    return link([warp_plan.to_codes(picture) for picture in pictures]), {BRIGHT: pictures}


def off(flow: np.ndarray, x: float, y: float) -> float:
    """Return by how many samples a flow misses (x, y), in the mean, away from the border."""
    return float(np.hypot(flow[..., 0] - x, flow[..., 1] - y)[INSIDE].mean())


@given(*[st.floats(-9, 9, width=32)] * 4)
@settings(max_examples=20)
def test_even_steps_add_up(ax, ay, bx, by):
    shape = (20, 30, 2)
    step, way = np.empty(shape, np.float32), np.empty(shape, np.float32)
    step[:], way[:] = (ax, ay), (bx, by)
    assert np.allclose(compose(step, way), np.float32([ax, ay]) + np.float32([bx, by]), atol=1e-4)


def test_what_is_seen_along_no_way_is_the_picture():
    picture = scene()
    assert np.array_equal(fetch(picture, np.zeros((*picture.shape, 2), np.float32)), picture)


def test_a_chain_reaches_further_than_its_steps():
    chain, small = chained(pan(9, 5.0, noise=2))
    for number in range(1, 8):
        found = flow_to_keyframes(chain, place(chain, number), chain.pictures[number])
        assert off(found.to_left, -5 * number, 1.25 * number) < 0.5
        assert off(found.to_right, 5 * (8 - number), -1.25 * (8 - number)) < 0.5
    assert len(small[BRIGHT]) == len(chain.pictures)


@pytest.mark.parametrize("at", [0.4, 1.5, 3.75])
def test_between_two_pictures_is_where_they_say(at):
    pictures = pan(5, 3.0)
    chain, _ = chained(pictures)
    here = place(chain, at)
    seen = here.seen_in(pictures)
    assert np.abs(seen - scene(3 * at, -0.75 * at))[INSIDE].mean() < 2
    found = flow_to_keyframes(chain, here, warp_plan.to_codes(seen))
    assert off(found.to_left, -3 * at, 0.75 * at) < 0.4
    assert off(found.to_right, 3 * (4 - at), -0.75 * (4 - at)) < 0.4


def test_on_a_picture_that_picture_is_seen():
    pictures = pan(3, 2.0)
    chain, _ = chained(pictures)
    assert all(place(chain, k).seen_in(pictures) is pictures[k] for k in range(3))


def test_what_stands_still_goes_nowhere():
    picture = warp_plan.to_codes(scene())
    chain = link([picture] * 3)
    assert np.abs(straight(chain, 0.5).to_left).max() < 0.05
    again = link([picture] * 3)
    for a, b in zip(chain.to_left, again.to_left, strict=True):
        assert np.array_equal(a, b)


@given(sigma=st.sampled_from(warp_plan.SIGMAS), noise=st.floats(0, 4), gain=st.floats(0.98, 1.02))
@settings(max_examples=25)
def test_softness_is_found_in_noise(sigma, noise, gain):
    draws = np.random.default_rng(3)
    detail = scene() + draws.normal(0, 12, (HEIGHT, WIDTH)).astype(np.float32)
    drawn = warp_plan.soften(detail, sigma) * gain + 3 + draws.normal(0, noise, detail.shape)
    found = warp_plan.softness(detail, drawn.astype(np.float32))
    assert abs(warp_plan.SIGMAS.index(found) - warp_plan.SIGMAS.index(sigma)) <= 1


def test_noise_and_drift_of_a_guide_change_nothing():
    pictures = pan(5, 4.0, noise=2)
    pictures[2] = pictures[2] * 1.05 + 6
    chain, small = chained(pictures)
    how = warp_plan.plan_warp(chain, small, BRIGHT, 0.5, LOST)
    assert np.abs(how.change[BRIGHT])[INSIDE].mean() < 0.3
    assert how.trust[INSIDE].mean() > 0.99
    assert np.abs(how.shown[BRIGHT] - scene(8, -2))[INSIDE].mean() < 3


def test_light_that_only_the_guide_shows_is_kept():
    pictures = pan(3, 0.0)
    spot = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(spot, (80, 48), 10, 40.0, -1)
    pictures[1] = np.clip(pictures[1] + cv2.GaussianBlur(spot, (0, 0), 3), 0, 255)
    chain, small = chained(pictures)
    how = warp_plan.plan_warp(chain, small, BRIGHT, 0.5, LOST)
    trust, shown = how.trust[48, 80], how.shown[BRIGHT][48, 80]
    lit = pictures[0][48, 80] + how.change[BRIGHT][48, 80]
    assert abs(shown + (lit - shown) * trust - pictures[1][48, 80]) < 6


def test_what_one_keyframe_hides_comes_from_the_other():
    """A box moves over a still ground: ahead of it only the left keyframe shows the ground."""
    pictures = [scene(seed=5) for _ in range(5)]
    texture = scene(seed=9)[:40, :40]
    for number, picture in enumerate(pictures):
        picture[28:68, 30 + 12 * number : 70 + 12 * number] = texture
    chain, small = chained(pictures)
    share = warp_plan.plan_warp(chain, small, BRIGHT, 0.5, LOST).share
    assert share[34:62, 100:114].mean() > 0.8  # it will be covered: gone in the right keyframe
    assert share[34:62, 34:48].mean() < 0.2  # it was covered: not there yet in the left one


@given(tau=st.sampled_from([0.25, 0.5, 0.75]))
@settings(max_examples=3)
def test_keyframes_count_by_how_near_they_are(tau):
    chain, small = chained(pan(5, 2.0))
    how = warp_plan.plan_warp(chain, small, BRIGHT, tau, LOST)
    assert abs(float(how.share[INSIDE].mean()) - (1 - tau)) < 0.1
    assert isinstance(how.flows, FlowPair)


@pytest.mark.parametrize("fine", [0, 6, 40])
def test_lost_detail_is_what_a_guide_cannot_show(fine):
    soft = scene()
    whole = warp_plan.to_codes(cv2.resize(soft, (3 * WIDTH, 3 * HEIGHT)))
    whole = np.clip(whole, fine, 255 - fine)
    detail = np.indices(whole.shape).sum(0) % 2 * 2 * fine - fine
    found = warp_plan.detail_lost((whole + detail).astype(np.uint8), soft)
    assert found.shape == soft.shape
    assert fine * fine - 1 <= np.median(found) <= fine * fine * 1.02 + 1


def test_what_was_warped_wrongly_gives_way_to_a_guide_that_lacks_little():
    pictures = pan(5, 4.0, noise=2)
    pictures[2][40:56, 60:100] = 255 - pictures[2][40:56, 60:100]  # seen in no keyframe
    chain, small = chained(pictures)
    lacking = {}
    for lost in (1.0, 400.0):
        field = np.full((HEIGHT, WIDTH), lost, np.float32)
        lacking[lost] = warp_plan.plan_warp(chain, small, BRIGHT, 0.5, (field, field)).trust
        assert lacking[lost][INSIDE][:12].mean() > 0.97
    assert lacking[1.0][44:52, 66:94].mean() < 0.05
    assert (lacking[1.0] <= lacking[400.0]).all()


def test_nearer_keyframes_promise_more():
    levels = [warp_plan.estimate_psnr(apart) for apart in (0.0, 0.5, 2.0, 8.0)]
    assert levels == sorted(levels, reverse=True)
