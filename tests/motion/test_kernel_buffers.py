"""The compiled kernels refuse every buffer and number that would lead them out of bounds.

`make sanitize` runs this file and test_kernels.py against a build with AddressSanitizer and UBSan,
where reading one byte too far ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.motion import kernels
from ltxfilter.motion.kernels.fusion_sizes import HALVINGS

ROWS, COLUMNS = 13, 21
HIGH, WIDE = 2 * ROWS, 2 * COLUMNS
compiled: Any = kernels.compiled
pytestmark = pytest.mark.skipif(compiled is None, reason="kernels are not compiled")


def floats(*shape: int) -> np.ndarray:
    return np.full(shape, 0.25, np.float32)


def codes(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)


def flow() -> np.ndarray:
    return floats(ROWS, COLUMNS, 2)


def plane() -> tuple[np.ndarray, ...]:
    return codes(HIGH, WIDE), codes(HIGH, WIDE), codes(HIGH, WIDE)


def sums() -> np.ndarray:
    return np.zeros((2, 3), np.int64)


def blocks() -> np.ndarray:
    return np.full((5, 9, 13), 40, np.int16)


def motions() -> np.ndarray:
    return np.full((2, 20, 4, 4), 40, np.int16)


def shown() -> np.ndarray:
    return np.full((2, 13, 16, 16), 900, np.int16)


def network() -> list[np.ndarray]:
    sizes = 49, 48, 48, 48, 18
    return [
        array
        for inputs, outputs in pairwise(sizes)
        for array in (np.ones((inputs, outputs), np.int16), np.ones(outputs, np.int32))
    ]


TILES = np.array([[0, 0], [1, 2]], np.int32)
SHIFTS = np.array([[3, 0], [0, -6], [-16, 16]], np.int32)
CALLS: dict[str, Callable[[], list[Any]]] = {  # arguments that each function takes
    "agree": lambda: [flow(), flow(), floats(ROWS, COLUMNS)],
    "align_ends": lambda: [
        codes(HIGH, WIDE), codes(HIGH, WIDE), flow(), flow(), floats(ROWS, COLUMNS), 0.5, 3,
        flow(), flow(),
    ],
    "fill": lambda: [floats(3, ROWS, COLUMNS), flow()],
    "limit_change": lambda: [np.full((2, 12, 4, 4), 2000, np.int16), shown(), 8],
    "make_field": lambda: [
        flow(), flow(), floats(ROWS, COLUMNS), 64.0, 32.0,
        np.zeros((5, ROWS + 2, COLUMNS + 2), np.int16),
    ],
    "polish": lambda: [codes(ROWS, COLUMNS), codes(ROWS, COLUMNS), flow(), 3, flow()],
    "propagate": lambda: [
        codes(ROWS, COLUMNS), codes(ROWS, COLUMNS), flow(), flow(), SHIFTS.copy(), 2048,
        np.zeros((ROWS, COLUMNS, 2), np.int16),
    ],
    "search": lambda: [
        codes(ROWS, COLUMNS), codes(ROWS, COLUMNS), floats(2, 3, 5, 2), 4, 2, 3, flow()
    ],
    "share_of_left": lambda: [
        floats(3, ROWS, COLUMNS), floats(3, ROWS, COLUMNS), 0.3, 0.7, floats(ROWS, COLUMNS)
    ],
    "splat": lambda: [flow(), floats(ROWS, COLUMNS), floats(3, ROWS, COLUMNS)],
    "static_mask": lambda: [plane(), codes(HIGH, WIDE), codes(HIGH, WIDE)],
    "tile_features": lambda: [
        shown(), motions(), blocks(), TILES.copy(), 2, 3, codes(HIGH, WIDE), 8, 9000,
        np.zeros((2, 16, 49), np.int16),
    ],
    "tile_mix": lambda: [
        codes(HIGH, WIDE), shown(), np.full((2, 12, 4, 4), 2000, np.int16),
        np.ones((2, 16), np.int16), TILES.copy(),
        np.array([[0, -1, -1], [-1, -1, 1]], np.int32),
        codes(HIGH, WIDE), 8, 500,
    ],
    "tile_motions": lambda: [blocks(), TILES.copy(), motions()],
    "tile_samples": lambda: [
        ((*plane(), shown()), (*plane(), shown())), motions(), TILES.copy(), kernels.CUBIC.copy(),
        4, 4, 0, 0, 0,
    ],
    "tile_weights": lambda: [
        np.ones((2, 16, 49), np.int16), blocks(), TILES.copy(), *network(),
        HALVINGS.copy(), np.zeros((2, 12, 4, 4), np.int16), np.zeros((2, 16), np.int16),
    ],
    "travel": lambda: [flow(), flow(), floats(ROWS, COLUMNS), 0.3, 1.0, -0.1, flow()],
    "warp": lambda: [
        ((*plane(), sums()), (*plane(), sums())),
        np.zeros((5, ROWS + 2, COLUMNS + 2), np.int16), kernels.CUBIC.copy(),
        2, 2, 8, codes(HIGH, WIDE), 16000, 16,
    ],
}  # fmt: skip
OPTIONAL = {  # may be None
    ("propagate", 3), ("static_mask", 1), ("tile_features", 6), ("tile_mix", 3), ("tile_mix", 6),
    ("warp", 6),
}  # fmt: skip
FREE = {  # sizes that nothing else has to match
    ("propagate", (4,), 0), ("search", (2,), 0),
    *[(name, (at,), axis) for name, at in (("tile_motions", 0),
      ("tile_features", 2), ("tile_weights", 1)) for axis in (1, 2)],
    *[("tile_features", (6,), axis) for axis in (0, 1)],
}  # fmt: skip
LARGER = {  # what may reach further than it must
    ("warp", (1,)),
    ("tile_mix", (5,)),
}
OUTPUTS = {  # where each function writes
    "agree": [(2,)],
    "align_ends": [(7,), (8,)],
    "fill": [(1,)],
    "limit_change": [(0,)],
    "make_field": [(5,)],
    "polish": [(4,)],
    "propagate": [(6,)],
    "search": [(6,)],
    "share_of_left": [(4,)],
    "splat": [(2,)],
    "static_mask": [(1,), (2,)],
    "tile_features": [(9,)],
    "tile_mix": [(0,)],
    "tile_motions": [(2,)],
    "tile_samples": [(0, 0, 3), (0, 1, 3)],
    "tile_weights": [(12,), (13,)],
    "travel": [(6,)],
    "warp": [(0, k, at) for k in (0, 1) for at in (2, 3)],
}
PADDED = {  # arguments whose rows may lie apart
    ("static_mask", 0), ("tile_mix", 6), ("tile_samples", 0), ("warp", 0),
}  # fmt: skip
Path = tuple[int, ...]


def leaves(values: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every argument, those inside tuples too, with the way to it."""
    for k, value in enumerate(values):
        if isinstance(value, tuple):
            yield from leaves(value, (*path, k))
        else:
            yield (*path, k), value


def rows_may_lie_apart(name: str, path: Path) -> bool:
    last = name, *path[2:]
    return (name, path[0]) in PADDED and last not in {("tile_samples", 3), ("warp", 3)}


def get(values: Any, path: Path) -> Any:
    return get(values[path[0]], path[1:]) if path else values


def put(values: Any, path: Path, value: Any) -> Any:
    """Return the arguments with one of them replaced."""
    if not path:
        return value
    changed = list(values)
    changed[path[0]] = put(values[path[0]], path[1:], value)
    return tuple(changed) if isinstance(values, tuple) else changed


ALL = [(name, path) for name, make in CALLS.items() for path, _ in leaves(make())]
BUFFERS = [(name, path) for name, path in ALL if isinstance(get(CALLS[name](), path), np.ndarray)]
NUMBERS = [key for key in ALL if key not in BUFFERS]


def refused(name: str, path: Path, value: Any, error: type[Exception], reason: str = "") -> None:
    arguments = put(CALLS[name](), path, value)
    with pytest.raises(error, match=rf"^kernels\.{name}: .*{reason}"):
        getattr(compiled, name)(*arguments)


def own(name: str, path: Path) -> np.ndarray:
    return get(CALLS[name](), path)


@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_taken(name: str) -> None:
    getattr(compiled, name)(*CALLS[name]())


@pytest.mark.skipif("LTXFILTER_SANITIZED" not in os.environ, reason="only `make sanitize` sets it")
def test_the_build_under_test_is_the_sanitized_one() -> None:
    assert compiled.__file__.startswith(os.environ["LTXFILTER_SANITIZED"])


def test_every_function_is_tested() -> None:
    functions = {name for name, value in vars(compiled).items() if callable(value)}
    assert functions - {"__loader__", "__spec__"} == set(CALLS)


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_transposed(name: str, path: Path) -> None:
    array = own(name, path)
    if array.ndim == 1:
        return  # it has only one axis
    refused(name, path, array.T, ValueError)
    reason = "row that are not adjacent" if rows_may_lie_apart(name, path) else "not C-contiguous"
    refused(name, path, np.asfortranarray(array), ValueError, reason)


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_strided(name: str, path: Path) -> None:
    array = own(name, path)
    refused(name, path, np.repeat(array, 2, axis=-1)[..., ::2], ValueError)
    refused(name, path, array[..., ::-1], ValueError)
    padded = np.repeat(array, 2, axis=0)[::2]
    if rows_may_lie_apart(name, path):
        getattr(compiled, name)(*put(CALLS[name](), path, padded))
        getattr(compiled, name)(*put(CALLS[name](), path, array[::-1]))
    else:
        refused(name, path, padded, ValueError, "not C-contiguous")
        refused(name, path, array[::-1], ValueError, "not C-contiguous")


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_too_short_too_long_and_of_other_dimensions(name: str, path: Path) -> None:
    array = own(name, path)
    for axis in range(array.ndim):
        if (name, path, axis) in FREE:
            continue
        less = np.ascontiguousarray(np.delete(array, 0, axis))
        refused(name, path, less, ValueError)
        if (name, path) not in LARGER or (name == "warp" and axis == 0):
            refused(name, path, np.concatenate([array, less], axis), ValueError)
    if array.ndim > 1:
        refused(name, path, array.ravel(), ValueError, "has shape")
    refused(name, path, array[None], ValueError, "has shape")
    refused(name, path, np.zeros((), array.dtype), ValueError, "has shape")


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_of_another_type(name: str, path: Path) -> None:
    array = own(name, path)
    for dtype in (np.float64, np.float32, np.int8, np.uint8, np.uint16, np.int64, np.bool_, "S4"):
        if np.dtype(dtype) != array.dtype:
            refused(name, path, array.astype(dtype), TypeError, "must be")
    if array.itemsize > 1:
        refused(name, path, array.astype(array.dtype.newbyteorder()), TypeError, "must be")
    for value in (3, "text", object(), [1.0, 2.0], None):
        if value is not None or (name, path[0]) not in OPTIONAL:
            refused(name, path, value, TypeError, "must be")


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_empty(name: str, path: Path) -> None:
    array = own(name, path)
    for axis in range(array.ndim):
        refused(name, path, array[(slice(None),) * axis + (slice(0),)], ValueError, "is empty")


@pytest.mark.parametrize(
    ("name", "path"), [(n, path) for n, paths in OUTPUTS.items() for path in paths]
)
def test_outputs_that_are_read_only_or_read_as_well(name: str, path: Path) -> None:
    array = own(name, path)
    array.flags.writeable = False
    refused(name, path, array, ValueError, "is read-only")
    arguments = CALLS[name]()
    for other, value in leaves(arguments):
        alike = isinstance(value, np.ndarray) and value.dtype == array.dtype
        if other != path and alike and value.shape == array.shape:
            with pytest.raises(ValueError, match="overlaps another argument"):
                getattr(compiled, name)(*put(arguments, path, value))


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_not_aligned(name: str, path: Path) -> None:
    array = own(name, path)
    if array.itemsize > 1:
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        refused(name, path, memory.view(array.dtype).reshape(array.shape), (TypeError, ValueError))


@pytest.mark.parametrize(("name", "path"), BUFFERS)
def test_too_large(name: str, path: Path) -> None:
    array = own(name, path)
    shape = (*array.shape[:-1], (1 << 16) + 1)
    refused(name, path, np.broadcast_to(array[..., :1], shape), ValueError, "is too large")


@pytest.mark.parametrize(("name", "path"), NUMBERS)
def test_numbers_out_of_range_and_of_other_types(name: str, path: Path) -> None:
    whole = isinstance(get(CALLS[name](), path), int)
    for value in (-(10**30), 10**30, 10**9 * 10**10):
        refused(name, path, value, ValueError, "must be from")
    for value in ("text", None, object(), [1], *((0.5,) if whole else ())):
        refused(name, path, value, TypeError, "must be")
    if not whole:
        for value in (np.nan, np.inf, -np.inf):
            refused(name, path, value, ValueError, "must be from")


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("search", 3, 3),
        ("search", 3, 9),
        ("search", 4, 17),
        ("search", 5, -1),
        ("polish", 3, 65),
        ("align_ends", 5, 1.1),
        ("warp", 3, 0),
        ("warp", 3, 3),
        ("warp", 4, 512),
        ("warp", 5, 7),
        ("warp", 7, 32768),
        ("warp", 8, 8),
        ("warp", 8, 24),
    ],
)
def test_numbers_at_their_bounds(name: str, place: int, value: float) -> None:
    refused(name, (place,), value, ValueError)


@pytest.mark.parametrize("name", CALLS)
def test_wrong_numbers_of_arguments(name: str) -> None:
    arguments = CALLS[name]()
    for wrong in ([], arguments[:-1], [*arguments, 1]):
        with pytest.raises(TypeError, match=rf"^kernels\.{name}: "):
            getattr(compiled, name)(*wrong)


@pytest.mark.parametrize(
    ("name", "planes", "error"),
    [
        ("warp", (), ValueError),
        ("warp", ((*plane(), sums()),) * 5, ValueError),
        ("warp", [(*plane(), sums())], TypeError),
        ("warp", (plane(),), TypeError),
        ("warp", ([*plane(), sums()],), TypeError),
        ("warp", None, TypeError),
        ("static_mask", (codes(HIGH, WIDE),), ValueError),
        ("static_mask", (codes(HIGH, WIDE),) * 5, ValueError),
        ("static_mask", [codes(HIGH, WIDE)] * 2, TypeError),
        ("static_mask", (codes(HIGH, WIDE), 3), TypeError),
    ],
)
def test_wrong_tuples_of_planes(name: str, planes: Any, error: type[Exception]) -> None:
    refused(name, (0,), planes, error)


def test_shifts_that_reach_too_far() -> None:
    for value in (17, -17, 2**31 - 1, -(2**31)):
        shifts = SHIFTS.copy()
        shifts[1, 0] = value
        refused("propagate", (4,), shifts, ValueError, "shifts")
    refused("propagate", (4,), np.zeros((254, 2), np.int32), ValueError, "shifts")


def test_a_field_that_does_not_cover_its_planes() -> None:
    refused("warp", (1,), np.zeros((5, ROWS + 1, COLUMNS + 2), np.int16), ValueError, "field")
    refused("warp", (1,), np.zeros((5, ROWS + 2, COLUMNS + 1), np.int16), ValueError, "field")
    refused("warp", (1,), np.zeros((5, 1, 1), np.int16), ValueError, "field")


def test_taps_that_are_no_filter() -> None:
    taps = kernels.CUBIC.copy()
    taps[3] = 127, -127, 127, -63
    refused("warp", (2,), taps, ValueError, "taps")
    refused("warp", (2,), np.zeros((16, 4), np.int8), ValueError, "taps")


@pytest.mark.parametrize(
    ("name", "at"),
    [("tile_features", 3), ("tile_mix", 4), ("tile_motions", 1), ("tile_samples", 2),
     ("tile_weights", 2)],
)  # fmt: skip
def test_tiles_beyond_the_picture(name: str, at: int) -> None:
    for value in (-1, 1 << 20):
        refused(name, (at,), np.array([[0, 0], [0, value]], np.int32), ValueError, "lie in")


def test_numbers_of_the_fusion() -> None:
    refused("tile_mix", (5,), np.full((2, 3), 2, np.int32), ValueError, "must hold numbers")
    refused("tile_weights", (11,), np.ones(256, np.int32), ValueError, "between 16384 and 32768")
    refused("tile_samples", (3,), np.ones((16, 4), np.int8), ValueError, "must sum to 64")
    refused("tile_samples", (4,), 3, ValueError, "power of two")
    refused("tile_samples", (4,), 8, ValueError, "four blocks along each side")
    odd = np.zeros((2, 13, 12, 12), np.int16)
    refused("tile_mix", (1,), odd, ValueError, "power of two")
    refused("tile_features", (0,), odd, ValueError, "power of two")
    refused("limit_change", (1,), odd, ValueError, "power of two")
    thin = np.zeros((5, 2, 5), np.int16)
    for name, at in (("tile_motions", 0), ("tile_features", 2), ("tile_weights", 1)):
        refused(name, (at,), thin, ValueError, "inside its border")


def test_deep_planes_need_deep_samples() -> None:
    refused("tile_mix", (7,), 10, TypeError, "must be uint16")
    refused("tile_samples", (8,), 1, TypeError, "must be uint16")
    refused("tile_features", (7,), 10, TypeError, "must be int32")
    refused("limit_change", (2,), 10, TypeError, "must be int32")
    refused("warp", (5,), 10, TypeError, "must be uint16")


CHECKED = {  # arguments whose values the functions check
    ("propagate", (4,)), ("tile_features", (3,)), ("tile_mix", (4,)), ("tile_mix", (5,)),
    ("tile_motions", (1,)), ("tile_samples", (2,)), ("tile_samples", (3,)), ("tile_weights", (2,)),
    ("tile_weights", (11,)), ("warp", (2,)),
}  # fmt: skip
WILD = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9, 0.0, -0.5]


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_samples_and_flow_of_any_value_stay_within_bounds(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arguments = CALLS[name]()
    for path, value in leaves(arguments):
        if not isinstance(value, np.ndarray) or (name, path) in CHECKED:
            continue
        if value.dtype == np.float32:
            value[:] = rng.choice(WILD, value.shape)
        else:
            limits = np.iinfo(value.dtype)
            value[:] = rng.integers(limits.min, limits.max, value.shape, endpoint=True)
    getattr(compiled, name)(*arguments)


@settings(max_examples=200)
@given(data=st.data())
def test_buffers_of_any_shape_are_taken_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CALLS)))
    arguments = CALLS[name]()
    for path, value in list(leaves(arguments)):
        if isinstance(value, np.ndarray) and data.draw(st.booleans()):
            shape = [max(side + data.draw(st.integers(-2, 2)), 0) for side in value.shape]
            arguments = put(arguments, path, np.zeros(shape, value.dtype))
    with suppress(ValueError):
        getattr(compiled, name)(*arguments)
