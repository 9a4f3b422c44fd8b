"""The fusion's compiled kernels compute what the plain ones compute, number for number."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.motion import kernels
from ltxfilter.motion.kernels import numpy_features, numpy_tiles, numpy_weights

needs_compiled = pytest.mark.skipif(kernels.compiled is None, reason="kernels are not compiled")
seeds = st.integers(0, 2**31)


def field_of(rng: np.random.Generator, rows: int, columns: int, block: int) -> np.ndarray:
    reach = rng.choice([0, 1, 30, 400, 4000])
    flow = (rng.normal(0, reach, (2, rows, columns, 2)) / block).astype(np.float32)
    if rng.random() < 0.5:  # of areas that move alike
        flow = np.repeat(np.repeat(flow[:, ::4, ::4], 4, 1), 4, 2)[:, :rows, :columns]
    ends = [np.ascontiguousarray(end) for end in flow]
    share = rng.random((rows, columns)).astype(np.float32)
    return kernels.make_field(*ends, share, (32.0 * block, 32.0 * block))


def planes_of(
    rng: np.random.Generator, height: int, width: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dtype = np.uint8 if depth == 8 else np.uint16
    planes = [rng.integers(0, 1 << depth, (height, width + 5)).astype(dtype) for _ in range(3)]
    if rng.random() < 0.3:
        planes[1][:] = planes[2][:] = rng.integers(0, 1 << depth)
    return np.ascontiguousarray(planes[0][:, :width]), planes[1][:, :width], planes[2][:, :width]


def layers_of(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    sizes = 49, 48, 48, 48, 18
    return [
        (
            rng.integers(-2000, 2000, (sizes[k], sizes[k + 1])).astype(np.int16),
            rng.integers(-30000, 30000, sizes[k + 1]).astype(np.int32),
        )
        for k in range(4)
    ]


def same(name: str, *arguments: Any) -> Any:
    """Run both implementations of a kernel and return what both return."""
    from ltxfilter.motion.kernels import c_fusion

    homes = (numpy_tiles, numpy_features, numpy_weights)
    plain = next(getattr(home, name) for home in homes if hasattr(home, name))
    found, expected = getattr(c_fusion, name)(*arguments), plain(*arguments)
    for a, b in zip(
        *(x if isinstance(x, (tuple, list)) else [x] for x in (found, expected)), strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    return found


@needs_compiled
@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.sampled_from([4, 4, 8, 16]),
    st.sampled_from([8, 8, 10, 16]),
    st.sampled_from([(0, 0), (1, 1), (1, 0), (2, 0), (2, 2)]),
    st.tuples(st.integers(1, 150), st.integers(1, 200)),
)
def test_compiled_and_plain_are_equal(
    seed: int, block: int, depth: int, shifts: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (max(-(-side // block), 8) for side in size)
    field = field_of(rng, rows, columns, block)
    shape = tuple(-(-side // (4 * block)) for side in size)
    chosen = rng.random(shape) < rng.choice([0.1, 0.5, 1])
    chosen[0, 0] = True
    tiles = np.ascontiguousarray(np.argwhere(chosen).astype(np.int32))
    motions = same("tile_motions", field, tiles)
    static = ((rng.random(size) < 0.2) * 255).astype(np.uint8) if rng.random() < 0.5 else None
    luma = planes_of(rng, *size, depth)
    [samples] = same("tile_samples", [luma], motions, tiles, (block, block), (0, 0))
    tau = int(rng.integers(0, 32768))
    features = same("tile_features", samples, motions, field, tiles, static, depth, tau, shape)
    weights, gains = same("tile_weights", features, field, tiles, layers_of(rng))
    weights = limited_alike(weights, samples, depth)
    gains = (gains * rng.choice([0, 1, 1])).astype(np.int16)
    wanted = int(rng.choice([-1, 0, 1]) * rng.choice([0, 3000, 1 << 20, 1 << 40]))
    index = np.full(shape, -1, np.int32)
    index[tiles[:, 0], tiles[:, 1]] = np.arange(len(tiles))
    mixes_alike(luma[0], samples, weights, gains, tiles, index, static, depth, wanted)
    sides = [-(-side // (1 << shift)) for side, shift in zip(size, shifts[::-1], strict=True)]
    chroma = [planes_of(rng, *sides, depth) for _ in range(2)]
    blocks = block >> shifts[0], block >> shifts[1]
    shown = same("tile_samples", chroma, motions, tiles, blocks, shifts)
    mask = None
    if static is not None:
        mask = np.ascontiguousarray(static[:: 1 << shifts[1], :: 1 << shifts[0]])
    mixes_alike(chroma[0][0], shown[0], weights, None, tiles, index, mask, depth)


def limited_alike(weights: np.ndarray, samples: np.ndarray, depth: int) -> np.ndarray:
    from ltxfilter.motion.kernels import c_fusion

    found, expected = weights.copy(), weights.copy()
    c_fusion.limit_change(found, samples, depth)
    numpy_weights.limit_change(expected, samples, depth)
    np.testing.assert_array_equal(found, expected)
    return found


def mixes_alike(picture: np.ndarray, *arguments: Any) -> None:
    from ltxfilter.motion.kernels import c_fusion

    found, expected = picture.copy(), picture.copy()
    c_fusion.tile_mix(found, *arguments)
    numpy_weights.tile_mix(expected, *arguments)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_a_block_changes_by_32_codes_at_most(depth: int) -> None:
    samples = np.zeros((1, 13, 16, 16), np.int16 if depth == 8 else np.int32)
    samples[0, 1] = 16 * 100 << (depth - 8)  # the left keyframe is 100 codes brighter
    samples[0, 1, :, :4] = 16 * 40 << (depth - 8)
    weights = np.zeros((1, 12, 4, 4), np.int16)
    weights[0, 0] = [8192, 8192, 16384, 32767]  # of a quarter, half, and all of it
    kernels.limit_change(weights, samples, depth)
    codes = weights[0, 0] / 32768 * [40, 100, 100, 100]
    np.testing.assert_allclose(codes, np.tile([10, 25, 32, 32], (4, 1)), atol=0.1)


@needs_compiled
def test_both_implementations_take_the_same_arguments() -> None:
    from ltxfilter.motion.kernels import c_fusion

    for module in (numpy_tiles, numpy_features, numpy_weights):
        for name in set(kernels.__all__) & set(vars(module)) - {"CUBIC"}:
            assert signature(getattr(module, name)) == signature(getattr(c_fusion, name)), name
