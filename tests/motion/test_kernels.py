"""The compiled kernels draw what the plain ones draw, sample for sample."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import signature

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.flow import smooth

from ltxfilter.motion import kernels
from ltxfilter.motion.kernels import numpy_grids, numpy_search

needs_compiled = pytest.mark.skipif(kernels.compiled is None, reason="kernels are not compiled")
few = settings(max_examples=40)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 70))
seeds = st.integers(0, 2**31)


@needs_compiled
@few
@given(sizes, seeds, st.sampled_from([0.0, 0.3, 4.0, 1e7]))
def test_propagate(size: tuple[int, int], seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    flow = smooth(rng, *size, reach)
    pictures = tuple(rng.integers(0, 256, size, dtype=np.uint8) for _ in range(2))
    shifts = np.array([[3, 0], [0, -6], [-16, 16]], np.int32)
    expected = numpy_grids.propagate(pictures, flow, shifts, 4096)
    np.testing.assert_array_equal(kernels.propagate(pictures, flow, shifts, 4096), expected)
    former = smooth(rng, *size, reach)
    expected = numpy_grids.propagate(pictures, flow, shifts, 4096, former)
    found = kernels.propagate(pictures, flow, shifts, 4096, former)
    np.testing.assert_array_equal(found, expected)


@needs_compiled
@few
@given(
    sizes,
    seeds,
    st.sampled_from([0.0, 1.5, 30.0]),
    st.sampled_from([4, 8]),
    st.integers(0, 3),
    st.integers(0, 4),
)
@example((9, 45), 185, 30.0, 8, 0, 0)
def test_search(
    size: tuple[int, int], seed: int, reach: float, step: int, rounds: int, steps: int
) -> None:
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (60, 90), dtype=np.uint8), (0, 0), 2)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    move = rng.integers(0, 6, 2)
    seen = np.ascontiguousarray(picture[6 : 6 + size[0], 6 : 6 + size[1]])
    other = np.ascontiguousarray(picture[move[0] :, move[1] :][: size[0], : size[1]])
    patches = [max(-(-(side - 8) // step), 0) + 1 for side in size]
    guesses = np.stack([smooth(rng, *patches, reach) for _ in range(2)])
    expected = numpy_search.search((seen, other), guesses, step, rounds, steps)
    found = kernels.search((seen, other), guesses, step, rounds, steps)
    np.testing.assert_array_equal(found, expected)


@needs_compiled
@few
@given(sizes, seeds, st.sampled_from([0.0, 1.5, 30.0, 1e4]), st.integers(0, 4))
def test_polish(size: tuple[int, int], seed: int, reach: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (60, 90), dtype=np.uint8), (0, 0), 2)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    seen, other = (
        np.ascontiguousarray(picture[off : off + size[0], off : off + size[1]]) for off in (2, 4)
    )
    flow = smooth(rng, *size, reach)
    found = kernels.polish((seen, other), flow, steps)
    np.testing.assert_array_equal(found, numpy_search.polish((seen, other), flow, steps))


@needs_compiled
@few
@given(
    sizes, seeds, st.sampled_from([0.0, 0.7, 8.0, 1e4]), st.floats(0.05, 0.95), st.integers(0, 4)
)
def test_align_ends(size: tuple[int, int], seed: int, reach: float, tau: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (2 * size[0] + 3, 2 * size[1] + 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(texture, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    left = np.ascontiguousarray(texture[: 2 * size[0], : 2 * size[1]])
    right = np.ascontiguousarray(texture[1:-2, 2:-1])
    flows = smooth(rng, *size, reach), smooth(rng, *size, reach)
    share = rng.random(size, np.float32)
    found = kernels.align_ends((left, right), flows, share, tau, steps)
    expected = numpy_search.align_ends((left, right), flows, share, tau, steps)
    np.testing.assert_array_equal(found, expected)


@needs_compiled
@few
@given(sizes, seeds, st.sampled_from([0.0, 0.7, 8.0, 1e4]))
def test_splat(size: tuple[int, int], seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    flow, weight = smooth(rng, *size, reach), rng.random(size, np.float32)
    np.testing.assert_array_equal(kernels.splat(flow, weight), numpy_grids.splat(flow, weight))


@needs_compiled
@few
@given(
    sizes,
    seeds,
    st.sampled_from([8, 10, 12, 16]),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0.0, 0.4, 5.0, 100.0]),
    st.sampled_from([0, 1, 255]),
    st.integers(1, 4),
)
def test_warp(
    size: tuple[int, int],
    seed: int,
    depth: int,
    cell_x: int,
    cell_y: int,
    reach: float,
    masked: int,
    planes: int,
) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if depth == 8 else np.uint16
    noise = rng.integers(0, 1 << depth, (planes, 2, *size), dtype=dtype)
    ends = [(a, b) for a, b in noise]
    rows, columns = -(-size[0] // cell_y) + 2, -(-size[1] // cell_x) + 2
    ways = [smooth(rng, rows, columns, 32 * reach).transpose(2, 0, 1) for _ in range(2)]
    share = rng.uniform(0, 32767, (1, rows, columns))
    field = np.clip(np.concatenate([*ways, share]), -16352, 32767)
    field[:4] = np.clip(field[:4], -16352, 16352)
    field = np.ascontiguousarray(np.rint(field), np.int16)
    static = (rng.random(size) < 0.1).astype(np.uint8) * masked if masked else None
    tau = int(rng.integers(1, 32768))
    tile = int(rng.choice([16, 32, 256]))
    drawn, squares = kernels.warp(ends, field, (cell_x, cell_y), depth, static, tau, tile)
    expected, same = numpy_grids.warp(ends, field, (cell_x, cell_y), depth, static, tau, tile)
    for plane, truth in zip([*drawn, *squares], [*expected, *same], strict=True):
        assert plane.dtype == truth.dtype
        np.testing.assert_array_equal(plane, truth)


@pytest.mark.parametrize("depth", [8, 10])
def test_the_warp_says_how_far_apart_both_ends_are(depth: int) -> None:
    unit = 1 << (depth - 8)
    dtype = np.uint8 if depth == 8 else np.uint16
    left, right = (np.full((8, 20), code * unit, dtype) for code in (10, 13))
    field = np.zeros((5, 4, 7), np.int16)
    _, [squares] = kernels.warp([(left, right)], field, (4, 4), depth, None, 16384, 16)
    np.testing.assert_array_equal(squares, [[8 * 16 * 12**2, 8 * 4 * 12**2]])
    static = np.zeros((8, 20), np.uint8)
    static[:, :5] = 255
    _, [squares] = kernels.warp([(left, right)], field, (4, 4), depth, static, 16384, 16)
    np.testing.assert_array_equal(squares, [[8 * 11 * 12**2, 8 * 4 * 12**2]])


@needs_compiled
@few
@given(sizes, seeds, st.sampled_from([0.0, 0.7, 8.0, 1e4]))
def test_grids(size: tuple[int, int], seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    there, back = smooth(rng, *size, reach), smooth(rng, *size, reach)
    np.testing.assert_array_equal(kernels.agree(there, back), numpy_grids.agree(there, back))
    covered = (rng.random(size) < rng.choice([0.0, 0.02, 0.5, 1.0])).astype(np.float32)
    weights = [rng.random(size, np.float32) * covered for _ in range(2)]
    sums = [
        np.stack([way[..., 0] * weight, way[..., 1] * weight, weight])
        for way, weight in zip((there, back), weights, strict=True)
    ]
    np.testing.assert_array_equal(kernels.fill(sums[0]), numpy_grids.fill(sums[0]))
    share = numpy_grids.share_of_left(*sums, 0.3, 0.7)
    np.testing.assert_array_equal(kernels.share_of_left(*sums, 0.3, 0.7), share)
    steps = (0.3, 1.0, -0.105)
    travelled = kernels.travel(there, back, weights[0], steps)
    np.testing.assert_array_equal(travelled, numpy_grids.travel(there, back, weights[0], steps))
    scales = (64.0, 128.0)
    expected = numpy_grids.make_field(there, back, share, scales)
    np.testing.assert_array_equal(kernels.make_field(there, back, share, scales), expected)


@needs_compiled
@few
@given(sizes, seeds, st.integers(2, 4), st.booleans())
def test_static_mask(size: tuple[int, int], seed: int, count: int, remembers: bool) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, size)
    planes = tuple(
        np.clip(base + rng.integers(-3, 4, size) * (rng.random(size) < 0.5), 0, 255).astype(
            np.uint8
        )
        for _ in range(count)
    )
    seen = rng.integers(0, 3, size, dtype=np.uint8) if remembers else None
    also_seen = None if seen is None else seen.copy()
    expected, expected_count = numpy_grids.static_mask(planes, seen)
    mask, found = kernels.static_mask(planes, also_seen)
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(also_seen, seen)
    assert found == expected_count


def test_taps_sum_to_one_and_mirror() -> None:
    assert (kernels.CUBIC.astype(int).sum(axis=1) == 64).all()
    np.testing.assert_array_equal(kernels.CUBIC[1:], kernels.CUBIC[:0:-1, ::-1])
    np.testing.assert_array_equal(kernels.CUBIC[0], [0, 64, 0, 0])


@needs_compiled
@pytest.mark.parametrize(("setting", "module"), [("", "c_kernels"), ("plain", "numpy_search")])
def test_one_implementation_is_bound_for_the_whole_process(setting: str, module: str) -> None:
    code = "from ltxfilter.motion import kernels; print(kernels.search.__module__)"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "LTXFILTER_KERNELS": setting}
    command = [sys.executable, "-W", "error", "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"ltxfilter.motion.kernels.{module}"
    assert not found.stderr


@needs_compiled
def test_both_implementations_take_the_same_arguments() -> None:
    from ltxfilter.motion.kernels import c_kernels

    for module in (numpy_grids, numpy_search):
        for name in set(kernels.__all__) & set(vars(module)) - {"CUBIC"}:
            twin = signature(getattr(c_kernels, name))
            assert signature(getattr(module, name)) == twin, name
