"""The flow engine on moving pictures: places, resets, formats, and its own opinion of itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support.flow import HEIGHT, WIDTH, draw, info, pan, sequence, windows

from ltxfilter import interpolate
from ltxfilter.engines import engine_class
from ltxfilter.engines.flow import Flow
from ltxfilter.engines.flow_options import PRESET_VALUES, PRESETS, resolved
from ltxfilter.errors import EngineError, OptionError
from ltxfilter.frame import Frame, PlaneShape, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.flow import MotionError
from ltxfilter.motion.kernels import numpy_grids, numpy_search
from ltxfilter.windows.window import Join


def psnr(a: np.ndarray, b: np.ndarray, depth: int = 8, margin: int = 24) -> float:
    """Return PSNR in dB away from the picture's border."""
    inner = np.s_[margin:-margin, margin:-margin] if min(a.shape) > 3 * margin else np.s_[:, :]
    error = np.square(a[inner].astype(float) - b[inner]).mean()
    return 10 * np.log10(((1 << depth) - 1) ** 2 / max(error, 1e-9))


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_a_pan_is_followed(preset: str) -> None:
    video = info()
    drawn = draw(video, windows(sequence(video, [0, 6, 12, 18])), preset=preset)
    for k, place in enumerate([3, 9, 15]):
        truth = pan(video, place)
        for made, plane in zip(drawn[k][0].planes, truth, strict=True):
            assert psnr(made, plane) > 40


def test_any_tau_is_drawn_where_it_belongs() -> None:
    video = info()
    taus = tuple(Fraction(k, 5) for k in range(1, 5))
    drawn = draw(video, windows(sequence(video, [0, 10, 20]), taus=taus))
    for k in range(2):
        for tau, made in zip(taus, drawn[k], strict=True):
            assert psnr(made.planes[0], pan(video, 10 * (k + float(tau)))[0]) > 38


def test_acceleration_is_followed() -> None:
    video = info()
    places = [3 * k * k for k in range(-2, 4)]
    made = windows(sequence(video, places))
    truth = pan(video, 3 * 0.25)[0]
    curved = psnr(draw(video, made)[2][0].planes[0], truth)
    straight = psnr(draw(video, made, curved=False)[2][0].planes[0], truth)
    assert curved > straight + 3


@pytest.mark.parametrize("neighbour", [Join.CUT, Join.DUPLICATE, Join.PAUSE])
def test_a_pair_beside_a_break_moves_in_a_line(neighbour: Join) -> None:
    video = info()
    frames = sequence(video, [0, 6, 12, 18])
    if neighbour is Join.CUT:
        frames[3] = Frame(frames[3].time, pan(video, 0, seed=2))
    if neighbour is Join.DUPLICATE:
        frames[3] = Frame(frames[3].time, frames[2].planes)
    drawn = draw(video, windows(frames, {2: neighbour}))
    linear = draw(video, windows(frames, {2: neighbour}), curved=False)
    truth = pan(video, 9)[0]
    assert not drawn[2]
    assert psnr(drawn[1][0].planes[0], truth) > psnr(linear[1][0].planes[0], truth) - 0.1


def test_a_run_from_a_reset_draws_what_the_whole_stream_draws() -> None:
    video = info()
    frames = sequence(video, [0, 4, 9, 15, 22, 30, 39])
    whole = draw(video, windows(frames, resets=(3,)))
    late = draw(video, windows(frames[3:]))
    for a, b in zip(whole[3:], late, strict=True):
        for one, other in zip(a[0].planes, b[0].planes, strict=True):
            np.testing.assert_array_equal(one, other)
        assert a[0].psnr_db == b[0].psnr_db


def test_drawing_again_and_out_of_order_gives_the_same() -> None:
    video = info()
    made = windows(sequence(video, [0, 4, 9, 15]), taus=(Fraction(1, 3), Fraction(2, 3)))
    engine = Flow()
    engine.open(video, Fraction(60))
    first = []
    motions = []
    for window in made:
        motions.append(engine.prepare(window))
        first.append(list(engine.draw(window, motions[-1])))
    for k in (2, 0, 1):
        again = list(engine.draw(made[k], motions[k]))
        for a, b in zip(first[k], again, strict=True):
            np.testing.assert_array_equal(a.planes[0], b.planes[0])


@pytest.mark.parametrize(
    ("roles", "depth", "shift_x", "shift_y"),
    [
        ("yuv", 8, 1, 1),
        ("yuv", 8, 1, 0),
        ("yuv", 8, 0, 0),
        ("yuv", 8, 2, 0),
        ("yuv", 8, 2, 2),
        ("yuva", 8, 1, 1),
        ("yuv", 10, 1, 1),
        ("yuv", 12, 1, 0),
        ("yuv", 16, 0, 0),
        ("gbr", 8, 0, 0),
        ("gbra", 10, 0, 0),
        ("y", 8, 0, 0),
        ("ya", 16, 0, 0),
    ],
)
def test_every_layout(roles: str, depth: int, shift_x: int, shift_y: int) -> None:
    video = info(depth, shift_x, shift_y, roles)
    drawn = draw(video, windows(sequence(video, [0, 4, 8])))
    for shape, made, truth in zip(video.layout, drawn[0][0].planes, pan(video, 2), strict=True):
        assert made.dtype == shape.dtype
        assert made.shape == (shape.height, shape.width)
        assert psnr(made, truth, depth, 24 >> max(shape.shift_x, shape.shift_y)) > 36


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 5), (17, 130), (64, 48), (258, 146)])
def test_any_size(size: tuple[int, int]) -> None:
    video = info(width=size[0], height=size[1])
    drawn = draw(video, windows(sequence(video, [0, 1, 2])))
    assert [plane.shape for plane in drawn[0][0].planes] == [
        (shape.height, shape.width) for shape in video.layout
    ]


@pytest.mark.parametrize("size", [(40_000, 8), (8, 40_000), (32_769, 16)])
def test_a_long_side_is_followed_too(size: tuple[int, int]) -> None:
    long, short = max(size), min(size)
    noise = np.random.default_rng(2).integers(0, 255, (short // 8, long // 8 + 3), np.uint8)
    wide = np.kron(noise, np.ones((8, 8), np.uint8))
    pictures = [wide[:, 4 * n : 4 * n + long] for n in range(4)]
    if size[1] > size[0]:
        pictures = [picture.T for picture in pictures]
    made = list(interpolate(pictures[::2], 25, 50, engine="flow", cuts=False))[1]
    held = np.abs(pictures[0].astype(int) - pictures[1]).mean()
    assert np.abs(made.astype(int) - pictures[1]).mean() < held / 2


@pytest.mark.parametrize("size", [(65_537, 1), (1, 65_537), (65_536, 4097)])
def test_a_picture_that_is_too_large_is_refused_before_work(size: tuple[int, int]) -> None:
    layout = (PlaneShape("y", *size, 0, 0, 8),)
    video = VideoInfo(*size, "gray", layout, Fraction(25))
    with pytest.raises(EngineError, match=r"65536 pixels along each side.*--engine blend"):
        Flow(**resolved({})).open(video, Fraction(50))


def test_rows_may_be_padded() -> None:
    video = info()
    tight = sequence(video, [0, 5, 10])
    loose = []
    for frame in tight:
        planes = []
        for plane in frame.planes:
            wide = np.full((plane.shape[0], plane.shape[1] + 32), 77, plane.dtype)
            wide[:, : plane.shape[1]] = plane
            planes.append(wide[:, : plane.shape[1]])
        loose.append(Frame(frame.time, tuple(planes)))
    for a, b in zip(draw(video, windows(tight)), draw(video, windows(loose)), strict=True):
        for one, other in zip(a[0].planes, b[0].planes, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(kernels.compiled is None, reason="kernels are not compiled")
@pytest.mark.parametrize("depth", [8, 10])
def test_plain_kernels_draw_the_same(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    video = info(depth)
    made = windows(sequence(video, [0, 5, 12, 20]))
    compiled = draw(video, made)
    for module in (numpy_grids, numpy_search):
        for name in set(kernels.__all__) & set(vars(module)):
            monkeypatch.setattr(kernels, name, getattr(module, name))
    for a, b in zip(compiled, draw(video, made), strict=True):
        for one, other in zip(a[0].planes, b[0].planes, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_static_picture_stays_as_it_is() -> None:
    video = info()
    drawn = draw(video, windows(sequence(video, [0, 0, 0])))
    for made, truth in zip(drawn[0][0].planes, pan(video, 0), strict=True):
        np.testing.assert_array_equal(made, truth)


def test_mean_luma_keeps_to_its_neighbours_through_noise() -> None:
    video = info()
    rng = np.random.default_rng(3)
    frames = []
    for k in range(4):
        planes = tuple(
            np.clip(plane + rng.normal(0, 3, plane.shape), 0, 255).round().astype(np.uint8)
            for plane in pan(video, 0)
        )
        frames.append(Frame(Fraction(k, 25), planes))
    for k, made in enumerate(draw(video, windows(frames))):
        between = (frames[k].planes[0].mean() + frames[k + 1].planes[0].mean()) / 2
        assert abs(made[0].planes[0].mean() - between) < 0.05


def test_burned_in_text_is_protected() -> None:
    import cv2

    video = info()
    frames, mask = [], np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(mask, "LIVE 12:34", (20, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3)
    for k in range(4):
        planes = list(pan(video, 7 * k))
        planes[0] = np.where(mask > 0, np.uint8(235), planes[0])
        frames.append(Frame(Fraction(k, 25), tuple(planes)))
    made = draw(video, windows(frames))[1][0].planes[0]
    core = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    assert np.abs(made[core].astype(int) - 235).mean() < 1


def test_it_knows_when_it_does_well() -> None:
    video = info()
    easy = draw(video, windows(sequence(video, [0, 4, 8])))[0][0].psnr_db
    frames = sequence(video, [0, 4, 8])
    frames[1] = Frame(frames[1].time, pan(video, 0, seed=5))
    hard = draw(video, windows(frames))[0][0].psnr_db
    assert easy > hard + 10


def test_missing_kernels_are_said_once(monkeypatch, caplog) -> None:
    monkeypatch.setattr(kernels, "compiled", None)
    monkeypatch.setattr(kernels, "wanted", True)
    kernels.warn_if_missing.cache_clear()
    for _ in range(2):
        Flow().open(info(), Fraction(50))
    assert len(caplog.messages) == 1
    assert "about 30 times as long" in caplog.messages[0]
    assert caplog.records[0].name == "ltxfilter.motion"
    kernels.warn_if_missing.cache_clear()


def test_who_asks_for_numpy_is_not_warned(monkeypatch, caplog) -> None:
    monkeypatch.setattr(kernels, "compiled", None)
    monkeypatch.setattr(kernels, "wanted", False)
    kernels.warn_if_missing.cache_clear()
    Flow().open(info(), Fraction(50))
    assert not caplog.messages
    kernels.warn_if_missing.cache_clear()


@pytest.mark.parametrize("method", ["prepare", "draw"])
def test_what_stops_motion_is_an_error_of_the_engine(method, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MotionError("CUDA out of memory")

    video = info()
    engine = Flow()
    engine.open(video, Fraction(50))
    window = windows(sequence(video, [0, 4]))[0]
    motion = engine.prepare(window)
    engine.close()
    engine.open(video, Fraction(50))
    monkeypatch.setattr(engine._backend, method, fail)
    with pytest.raises(EngineError, match=r"^engine flow: CUDA out of memory; use device=cpu, or"):
        engine.prepare(window) if method == "prepare" else list(engine.draw(window, motion))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fill_in_what_is_not_given(preset: str) -> None:
    values = resolved({"preset": preset, "polish": 5})
    number = PRESETS.index(preset)
    expected = {name: by_preset[number] for name, by_preset in PRESET_VALUES.items()}
    assert {name: values[name] for name in PRESET_VALUES} == expected | {"polish": 5}


@pytest.mark.parametrize(("name", "value"), [("scale", 3), ("step", 5), ("coarse_step", 0)])
def test_values_that_mean_nothing_are_refused(name: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"option {name}={value}: not one of"):
        Flow(**{name: value})


def test_users_see_few_options_and_experts_all() -> None:
    for engine, names in (("flow", set()), ("auto", {"with", "hard"})):
        options = engine_class(engine).options
        seen = {option.name for option in options if not option.expert}
        assert seen == names | {"preset", "device", "still", "lookahead", "curved"}


def test_nothing_is_drawn_without_slots() -> None:
    video = info()
    assert draw(video, windows(sequence(video, [0, 4, 8]), taus=(Fraction(0),))) == [[], []]
