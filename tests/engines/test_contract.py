"""The contract that every engine keeps, whatever it draws by."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction as F

import numpy as np
import pytest
from support.pictures import FORMATS, drawings, moving, video, windows

from ltxfilter import engines
from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame
from ltxfilter.windows.window import Interval, Join, Window

NAMES = [name for name in engines.engine_names() if not engines.engine_class(name).files]
EVERY = pytest.mark.parametrize("name", NAMES)  # those with model files: see ltx/test_engines.py


@EVERY
@pytest.mark.parametrize("fmt", FORMATS)
def test_pictures_have_the_streams_format(name, fmt):
    info = video(fmt)
    for window, drawn in drawings(name, info, moving(info, 4)):
        assert len(drawn) == len(list(window.to_draw()))
        for picture in drawn:
            assert [(p.shape, p.dtype) for p in picture.planes] == [
                ((s.height, s.width), s.dtype) for s in info.layout
            ]
            assert picture.psnr_db is None or np.isfinite(picture.psnr_db)
            top = (1 << info.depth) - 1
            assert all(int(p.max()) <= top for p in picture.planes)


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (17, 33), (64, 48), (130, 7)])
def test_any_size_will_do(name, size):
    info = video("yuv420p", *size)
    drawn = [p for _, pictures in drawings(name, info, moving(info, 4)) for p in pictures]
    assert len(drawn) == 7


@EVERY
@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le"])
def test_a_still_picture_stays_as_it_is(name, fmt):
    info = video(fmt)
    frames = moving(info, 5, speed=0.0)
    for _, drawn in drawings(name, info, frames):
        for picture in drawn:
            pairs = zip(picture.planes, frames[0].planes, strict=True)
            assert all(np.array_equal(p, q) for p, q in pairs)


@EVERY
def test_a_second_time_and_from_several_threads_alike(name):
    info = video(width=192, height=160)
    frames = moving(info, 8)
    engine = engines.build(name)
    shape = engine.open(info, F(60), threads=4)
    work = [(window, engine.prepare(window)) for window in windows(frames, shape)]

    def draw(item):
        return [p.planes for p in engine.draw(*item)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, work))
        again = list(pool.map(draw, reversed(work)))[::-1]
    alone = [[p.planes for p in drawn] for _, drawn in drawings(name, info, frames)]
    engine.close()
    for a, b, c in zip(together, again, alone, strict=True):
        for x, y, z in zip(a, b, c, strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(x, y, strict=True))
            assert all(np.array_equal(p, q) for p, q in zip(x, z, strict=True))


@EVERY
def test_keyframes_are_left_alone(name):
    info = video()
    frames = moving(info, 5)
    copies = [[p.copy() for p in frame.planes] for frame in frames]
    for frame in frames:
        for p in frame.planes:
            p.flags.writeable = False
    drawings(name, info, frames)
    for frame, planes in zip(frames, copies, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(frame.planes, planes, strict=True))


@EVERY
def test_padded_rows_are_no_trouble(name):
    info = video()
    frames = moving(info, 4)
    padded = []
    for frame in frames:
        planes = [np.pad(p, ((0, 0), (0, 13)), constant_values=255) for p in frame.planes]
        views = tuple(p[:, :-13] for p in planes)
        padded.append(Frame(frame.time, views))
    for (_, a), (_, b) in zip(
        drawings(name, info, frames), drawings(name, info, padded), strict=True
    ):
        for x, y in zip(a, b, strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(x.planes, y.planes, strict=True))


@EVERY
def test_a_window_that_only_holds_draws_nothing(name):
    info = video()
    frames = tuple(moving(info, 2))
    engine = engines.build(name)
    engine.open(info, F(60))
    for intervals in ((Interval(Join.CUT, True),), (Interval(Join.DUPLICATE, False),)):
        window = Window(0, frames, 0, 1, intervals, ())
        assert list(engine.draw(window, engine.prepare(window))) == []
    end = Window(1, frames[1:], 0, 0, (), ())
    assert list(engine.draw(end, engine.prepare(end))) == []
    engine.close()


@pytest.mark.parametrize("name", engines.ENGINES)
def test_options_are_documented_and_checked(name):
    kind = engines.engine_class(name)
    assert kind.name == name
    assert kind.summary
    for option in kind.options:
        assert option.help.endswith(".")  # a whole sentence
        assert option.parse(str(option.default)) == option.default
    with pytest.raises(OptionError, match="no option"):
        engines.build(f"{name}:nonsense=1")


@pytest.mark.parametrize(("name", "least"), [("blend", 0), ("flow", 8)])
def test_motion_is_followed(name, least):
    """What is drawn half way is nearer to the truth than a cross-fade by `least` dB."""
    info = video(width=256, height=192)
    truth = moving(info, 13, speed=4.0)
    kept = [Frame(F(n, 25), truth[2 * n].planes) for n in range(7)]

    def psnr(engine):
        errors = []
        for window, drawn in drawings(engine, info, kept, F(50)):
            for slot, picture in zip(window.to_draw(), drawn, strict=True):
                expected = truth[int(slot.time * 50)].planes[0].astype(float)
                inner = np.s_[24:-24, 24:-24]
                errors.append(np.square(picture.planes[0][inner] - expected[inner]).mean())
        return 10 * np.log10(255**2 / max(np.mean(errors), 1e-3))

    assert psnr(name) >= psnr("blend") + least
