"""The fusion draws uncertain tiles again, and nothing else."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.motion import fusion, kernels
from ltxfilter.motion.fusion import Fusion, checked_layers, mark, most_tiles, uncertain
from ltxfilter.motion.grid import MotionGrid
from ltxfilter.motion.plane_drawer import PlaneDrawer
from ltxfilter.motion.trajectory import Moment


def scene(pix_fmt: str = "yuv420p", width: int = 152, height: int = 104) -> tuple[Any, ...]:
    """Return what a picture is drawn from whose right half was found at a wrong place.

    At last, how far apart both ends are in each tile.
    """
    rng = np.random.default_rng(7)
    layout = plane_shapes(pix_fmt, width, height)
    info = VideoInfo(width, height, pix_fmt, layout, Fraction(25))
    ends: list[Planes] = []
    for _ in range(2):
        ends.append(
            tuple(
                rng.integers(40, 200 << (shape.depth - 8), (shape.height, shape.width)).astype(
                    shape.dtype
                )
                for shape in layout
            )
        )
    ends[1] = tuple(
        np.concatenate([a[:, : a.shape[1] // 2], b[:, a.shape[1] // 2 :]], axis=1)
        for a, b in zip(*ends, strict=True)
    )
    grid = MotionGrid(width, height, 2)
    shape = grid.rows, grid.columns
    none = np.zeros((*shape, 2), np.float32)
    at = Moment(none, none.copy(), np.full(shape, 0.5, np.float32))
    return info, grid, tuple(ends), at, apart(info, grid, ends, at)


def apart(info: VideoInfo, grid: MotionGrid, ends: Any, at: Moment, static: Any = None) -> Any:
    """Return how far apart both ends are in each tile."""
    return PlaneDrawer(info, grid).draw(*ends, at, static, 0.5)[1]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p10le", "gray", "gbrp"])
@pytest.mark.parametrize("masked", [False, True])
def test_only_uncertain_tiles_change_and_nothing_static(pix_fmt: str, masked: bool) -> None:
    info, grid, ends, at, squares = scene(pix_fmt)
    static = None
    if masked:
        static = np.zeros((info.height, info.width), np.uint8)
        static[: info.height // 2] = 255
        squares = apart(info, grid, ends, at, static)
    drawn = tuple((a // 2 + b // 2).astype(a.dtype) for a, b in zip(*ends, strict=True))
    before = tuple(plane.copy() for plane in drawn)
    Fusion(info.layout, grid, 1.0).improve(drawn, ends, at, squares, static, 16384)
    tiles = mark(at, squares, grid, most_tiles(grid, 1.0))
    assert 0 < len(tiles.tiles) < tiles.shape[0] * tiles.shape[1]
    chosen = np.repeat(np.repeat(tiles.index >= 0, 16, 0), 16, 1)
    changed = [a != b for a, b in zip(drawn, before, strict=True)]
    assert changed[0].any()
    for shape, where in zip(info.layout, changed, strict=True):
        inside = chosen[:: 1 << shape.shift_y, :: 1 << shape.shift_x]
        assert not where[~inside[: shape.height, : shape.width]].any()
        if masked:
            assert not where[: shape.height // 2].any()


def test_transparency_stays_as_it_was_drawn() -> None:
    info, grid, ends, at, squares = scene("yuva420p")
    drawn = tuple((a // 2 + b // 2).astype(a.dtype) for a, b in zip(*ends, strict=True))
    before = tuple(plane.copy() for plane in drawn)
    Fusion(info.layout, grid, 1.0).improve(drawn, ends, at, squares, None, 16384)
    np.testing.assert_array_equal(drawn[3], before[3])
    assert (drawn[1] != before[1]).any()


def test_keyframes_that_agree_leave_the_picture_alone() -> None:
    info, grid, ends, at, _ = scene()
    same_ends = ends[0], ends[0]
    squares = apart(info, grid, same_ends, at)
    drawn = tuple(plane.copy() for plane in ends[0])
    Fusion(info.layout, grid, 1.0).improve(drawn, same_ends, at, squares, None, 16384)
    for found, expected in zip(drawn, ends[0], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_most_uncertain_tiles_are_marked_up_to_a_number() -> None:
    scores = np.array([[900, 100, 5000], [900, 4000, 300]])
    found = [uncertain(scores, 256, most) for most in (2, 3, 6)]
    np.testing.assert_array_equal(found[0], [[0, 2], [1, 1]])
    np.testing.assert_array_equal(found[1], found[0])  # ties are left out
    np.testing.assert_array_equal(found[2], [[0, 0], [0, 2], [1, 0], [1, 1], [1, 2]])
    assert len(uncertain(np.full((4, 5), 256), 256, 20)) == 0


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "gbrp"])
def test_what_it_takes_is_stated(pix_fmt: str) -> None:
    info, grid, ends, at, squares = scene(pix_fmt, 640, 480)
    fused = Fusion(info.layout, grid, 1.0)
    drawn = tuple((a // 2 + b // 2).astype(a.dtype) for a, b in zip(*ends, strict=True))
    fused.improve(drawn, ends, at, squares, None, 16384)
    tracemalloc.start()
    fused.improve(drawn, ends, at, squares, None, 16384)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if kernels.compiled is not None:
        assert peak <= fused.draw_bytes


def test_layers_of_another_shape_or_type_or_that_can_overflow_are_refused() -> None:
    good = {
        f"{name}_{number}": array
        for number, layer in enumerate(fusion.load_layers(), 1)
        for name, array in zip(("weights", "bias"), layer, strict=True)
    }
    assert len(checked_layers(good)) == 4
    wrong = {
        "another shape": {"weights_2": good["weights_1"]},
        "another type": {"bias_3": good["bias_3"].astype(np.int64)},
        "can overflow": {"weights_4": np.full_like(good["weights_4"], 32767)},
    }
    for reason, change in wrong.items():
        with pytest.raises(ValueError, match=reason):
            checked_layers(good | change)


def test_fewer_tiles_are_marked_where_arrays_would_be_too_large() -> None:
    huge = MotionGrid(1 << 14, 1 << 14, 1)
    assert most_tiles(huge, 1.0) == (1 << 16) - 1
    assert most_tiles(replace(huge, scale=8), 1.0) * 13 * 64 * 64 <= 1 << 28
    assert most_tiles(MotionGrid(16, 16, 1), 0.07) == 1
