"""The maths of motion: grids, search, projection, trajectories, fields."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scenes import scene

from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.motion import kernels
from ltxfilter.motion.estimate import Estimator, PairFlow, project
from ltxfilter.motion.grid import MotionGrid, choose_sizes, mask_for
from ltxfilter.motion.plane_drawer import ALONE, Calibration, expected_psnr
from ltxfilter.motion.pyramid import (
    Effort,
    LumaPyramid,
    SearchSettings,
    at,
    find_flow,
    luma_pyramid,
    patch_places,
    pyramid,
    resized,
)
from ltxfilter.motion.trajectory import (
    FlowContext,
    bounces,
    moment,
    travelled,
    unsteadiness,
    warp_field,
)


def moved(x: float, y: float, seed: int = 1, size: tuple[int, int] = (320, 180)) -> np.ndarray:
    """Return a view of a scene, [H, W] uint8, seen (x, y) further on."""
    move = np.array([[1, 0, -20 - x], [0, 1, -10 - y]], np.float32)
    picture = cv2.warpAffine(scene(seed).astype(np.float32), move, size, flags=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_grids_cover_the_picture(width: int, height: int) -> None:
    grid = MotionGrid(width, height, choose_sizes(width * height)[0])
    assert grid.columns * grid.cell >= width
    assert grid.rows * grid.cell >= height
    assert min(grid.columns, grid.rows) >= 8


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_shrinking_keeps_the_mean(depth: int) -> None:
    luma = moved(0, 0)
    deep = luma.astype(np.uint16 if depth > 8 else np.uint8) << (depth - 8)
    small = luma_pyramid(deep, depth, MotionGrid(320, 180, 2))
    assert small.levels[0].shape == (90, 160)
    assert small.coarse.shape == (45, 80)
    assert abs(float(small.coarse.mean()) - luma.mean()) < 1.5


@settings(max_examples=10)
@given(st.floats(-12, 12), st.floats(-8, 8))
def test_the_search_finds_a_shift(x: float, y: float) -> None:
    levels = pyramid(moved(0, 0)), pyramid(moved(x, y))
    found = find_flow(levels, None, [Effort()])
    inner = found[24:-24, 24:-24]
    np.testing.assert_allclose(np.median(inner, axis=(0, 1)), [-x, -y], atol=0.15)


def test_a_prior_helps_where_motion_is_too_fast_to_find() -> None:
    a, b = pyramid(moved(0, 0)), pyramid(moved(90, 0))
    prior = np.full((180, 320, 2), (-88.0, 0.0), np.float32)
    found = find_flow((a, b), prior, [Effort()])[30:-30, 110:-10]
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), [-90, 0], atol=0.3)


def test_flow_keeps_its_meaning_at_other_sizes() -> None:
    flow = np.full((40, 60, 2), (3.0, -2.0), np.float32)
    np.testing.assert_allclose(resized(flow, (20, 30)), 0.5 * flow[:20, :30])
    np.testing.assert_allclose(resized(flow, (80, 120))[5], 2 * np.full((120, 2), (3.0, -2.0)))
    places = patch_places((80, 120), 8)
    assert (at(flow, (80, 120), places) == (6.0, -4.0)).all()


def test_splat_of_zero_flow_is_identity() -> None:
    weight = np.random.default_rng(0).random((9, 13), np.float32)
    sums = kernels.splat(np.zeros((9, 13, 2), np.float32), weight)
    np.testing.assert_allclose(sums[2], weight, atol=0.5 / 1024)
    np.testing.assert_array_equal(kernels.fill(sums), np.zeros((9, 13, 2)))


@given(st.integers(-4, 4), st.integers(-4, 4))
def test_splat_keeps_all_weight_inside(x: int, y: int) -> None:
    flow = np.full((20, 20, 2), (x, y), np.float32)
    weight = np.zeros((20, 20), np.float32)
    weight[5:15, 5:15] = 1
    sums = kernels.splat(flow, weight)
    assert sums[2].sum() == 100
    np.testing.assert_array_equal(sums[2, 5 + y : 15 + y, 5 + x : 15 + x], 1)


def test_projection_turns_flow_round_and_fills_holes() -> None:
    flow = np.full((30, 40, 2), (6.0, 0.0), np.float32)
    back = project(flow)
    np.testing.assert_allclose(back, -flow, atol=1e-5)


def test_agreement_is_one_where_flow_returns_and_low_where_not() -> None:
    there = np.full((20, 30, 2), (2.0, 1.0), np.float32)
    np.testing.assert_allclose(kernels.agree(there, -there), 1)
    assert kernels.agree(there, there).max() < 0.1


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 3), st.floats(0.01, 0.99))
def test_trajectories_pass_through_all_keyframes(
    speed: float, acceleration: float, span: float, passed: float
) -> None:
    def place(p: float) -> np.ndarray:
        x = speed * p + acceleration * p * p
        return np.full((2, 2, 2), x, np.float32)

    sure = np.ones((2, 2), np.float32)
    found = travelled(place(1), (place(-span), sure, span), passed)
    np.testing.assert_allclose(found, place(passed), atol=1e-4)


def test_an_unsure_neighbour_bends_less() -> None:
    ahead, behind = np.full((1, 1, 2), 4, np.float32), np.zeros((1, 1, 2), np.float32)
    straight = travelled(ahead, None, 0.5)
    bent = [
        travelled(ahead, (behind, np.full((1, 1), sure, np.float32), 1.0), 0.5)
        for sure in (0.0, 0.5, 1.0)
    ]
    np.testing.assert_allclose(bent[0], straight)
    assert bent[2][0, 0, 0] < bent[1][0, 0, 0] < straight[0, 0, 0]


def pair_flow(grid: MotionGrid, left: LumaPyramid, right: LumaPyramid) -> PairFlow:
    """Return the motion between two pictures, found with ordinary effort."""
    estimator = Estimator(grid, SearchSettings([Effort()]))
    return estimator.refine(estimator.search(left, right, None), left, right)


@pytest.mark.parametrize("tau", [0.2, 0.5, 0.8])
def test_a_moment_lies_between_its_keyframes(tau: float) -> None:
    grid = MotionGrid(320, 180, 1)
    left, right = (luma_pyramid(moved(x, 0), 8, grid) for x in (0, 6))
    pair = pair_flow(grid, left, right)
    at_tau = moment(FlowContext(pair), tau)
    inner = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(np.median(at_tau.to_left[inner], (0, 1)), [3 * tau, 0], atol=0.1)
    np.testing.assert_allclose(
        np.median(at_tau.to_right[inner], (0, 1)), [-3 * (1 - tau), 0], atol=0.1
    )
    assert abs(float(np.median(at_tau.share)) - (1 - tau)) < 0.02


def test_a_field_scales_with_subsampling() -> None:
    grid = MotionGrid(320, 180, 2)
    left, right = (luma_pyramid(moved(x, 0), 8, grid) for x in (0, 6))
    at_half = moment(FlowContext(pair_flow(grid, left, right)), 0.5)
    luma, chroma = warp_field(at_half, grid, 0, 0), warp_field(at_half, grid, 1, 1)
    assert luma.shape == (5, grid.rows + 2, grid.columns + 2)
    assert np.abs(luma[:4].astype(int) - 2 * chroma[:4]).max() <= 1
    np.testing.assert_array_equal(luma[4], chroma[4])


def test_less_disagreement_promises_more() -> None:
    calibration = Calibration()
    promised = [calibration.psnr(apart, 100) for apart in (0, 1, 5, 20)]
    assert promised == sorted(promised, reverse=True)
    assert 45 < promised[1] < 55
    assert calibration.psnr(1, 20) < promised[1] < calibration.psnr(1, 200)


def test_unsteady_motion_promises_less() -> None:
    assert expected_psnr(3, 100, None) == ALONE.psnr(3, 100)
    promised = [expected_psnr(3, 100, change) for change in (0, 4, 20, 100, 1000)]
    assert promised == sorted(set(promised), reverse=True)
    assert abs(promised[1] - ALONE.psnr(3, 100)) < 1


def context_of(*positions: float) -> tuple[FlowContext, tuple[LumaPyramid, LumaPyramid]]:
    """Return the motion of a scene that is at four places, x, one after the other."""
    grid = MotionGrid(320, 180, 2)
    seen = [luma_pyramid(moved(x, 0), 8, grid) for x in positions]
    before, pair, after = (pair_flow(grid, a, b) for a, b in pairwise(seen))
    return FlowContext(pair, before, after), (seen[1], seen[2])


def test_steady_motion_is_told_from_jerks() -> None:
    steady, slower, back = (
        unsteadiness(*context_of(*places))
        for places in ((0, 6, 12, 18), (0, 9, 15, 18), (0, 8, 0, 8))
    )
    assert steady is not None
    assert slower is not None
    assert back is not None
    assert steady < 4
    assert 3 * steady < slower < back


def test_one_neighbour_is_enough_to_tell_jerks_and_none_is_too_few() -> None:
    context, pictures = context_of(0, 6, 12, 4)
    known = [
        unsteadiness(replace(context, before=before, after=after), pictures)
        for before in (None, context.before)
        for after in (None, context.after)
    ]
    assert known[0] is None
    assert known[3] == (known[1] + known[2]) / 2
    assert known[2] < 4 < known[1]


@pytest.mark.parametrize("width", [6, 7])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv411p", "yuv440p", "yuv444p"])
def test_the_static_mask_of_another_plane_is_thinned(pix_fmt: str, width: int) -> None:
    static = np.random.default_rng(3).integers(0, 2, (5, width), np.uint8) * np.uint8(255)
    for shape in plane_shapes(pix_fmt, width, 5):
        mask = mask_for(static, shape)
        assert mask is not None
        assert mask.flags.c_contiguous
        assert mask.dtype == np.uint8
        step_y, step_x = 1 << shape.shift_y, 1 << shape.shift_x
        np.testing.assert_array_equal(mask, static[::step_y, ::step_x])
        assert mask_for(None, shape) is None


def test_what_turns_back_between_keyframes_bounces_and_what_speeds_up_does_not() -> None:
    cells = np.array([20, 25]), np.array([30, 40])
    places = {"bounces": (0, 20, 22, 2), "is steady": (0, 20, 40, 60), "stops": (0, 20, 20, 20)}
    places |= {"speeds up": (0, 2, 22, 60), "turns at a keyframe": (0, 20, 0, 0)}
    for what, where in places.items():
        context, _ = context_of(*where)
        found = bounces(context, moment(context, 0.5), cells, 3)
        np.testing.assert_array_equal(found, what == "bounces", err_msg=what)
    for alone in (replace(context, before=None), replace(context, after=None)):
        assert not bounces(alone, moment(alone, 0.5), cells, -100).any()


def test_a_neighbour_that_lasts_longer_may_move_further() -> None:
    context, pictures = context_of(0, 12, 18, 30)
    even = unsteadiness(context, pictures)
    spans = replace(context, span_before=2.0, span_after=2.0)
    assert unsteadiness(spans, pictures) < even / 2
