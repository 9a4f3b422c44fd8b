"""The window runner passes source frames through, checks the others, and falls back if it must."""

from fractions import Fraction as F

import numpy as np
import pytest

from ltxfilter import engines
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.blend import Blend
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.frame import Frame, Made, PlaneShape, VideoInfo
from ltxfilter.pipeline.stages import drawn
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, WindowShape

LAYOUT = (
    PlaneShape("y", 64, 48, 0, 0, 8),
    PlaneShape("u", 32, 24, 1, 1, 8),
    PlaneShape("v", 32, 24, 1, 1, 8),
)
INFO = VideoInfo(64, 48, "yuv420p", LAYOUT, F(25), F(1, 25))


class OneShot:
    def join(self, left, right, reset):
        return Join.INTERPOLATE


def frame(number, luma):
    planes = [np.full((shape.height, shape.width), 128, np.uint8) for shape in LAYOUT]
    planes[0] = np.full((48, 64), luma, np.uint8)
    return Frame(F(number, 25), tuple(planes), origin=f"origin {number}")


def output(worker, frames, rate=F(50)):
    rolling = RollingWindow(worker.shape, rate, OneShot(), INFO.interval)
    windows = [window for item in frames for window in rolling.push(item)]
    return list(drawn(windows + list(rolling.finish()), worker))


class Bad(Blend):
    """Makes green pictures in every second window."""

    can_be_wrong = True
    name = "bad"

    def draw(self, window, motion):
        for number, picture in enumerate(super().draw(window, motion)):
            if window.index % 2:
                yield Drawn((picture.planes[0], *(np.zeros_like(p) for p in picture.planes[1:])))
            else:
                yield Drawn(picture.planes, 40.0 + number)


class Absent(Blend):
    @classmethod
    def unavailable(cls):
        return "it needs moonlight; wait for the night"


class Whole(Blend):
    """Insists on all slots of a window at once, and on several keyframes."""

    def open(self, video, rate, threads=1):
        return WindowShape(keyframes=5, slots=0)


@pytest.fixture
def engine(monkeypatch):
    def name(kind):
        monkeypatch.setitem(engines.ENGINES, "odd", f"{__name__}:{kind.__name__}")
        monkeypatch.setattr(engines, "engine_class", lambda spec: kind if spec == "odd" else Blend)
        return "odd"

    return name


def test_source_frames_pass_through_and_the_rest_is_interpolated():
    frames = [frame(n, 50 + n) for n in range(4)]
    out = output(WindowRunner("blend", INFO, F(50)), frames)
    assert [f.made for f in out] == [Made.SOURCE, Made.INTERPOLATED] * 3 + [
        Made.SOURCE,
        Made.REPEATED,
    ]
    assert [f for f in out if f.made is Made.SOURCE] == frames
    assert [f.time for f in out] == [F(k, 50) for k in range(8)]
    assert out[1].planes[0][0, 0] in (50, 51)
    assert out[1].origin == "origin 0"
    assert out[-1].planes is frames[-1].planes


def test_an_implausible_picture_is_made_again_by_a_fallback(engine):
    frames = [frame(n, 50) for n in range(4)]
    worker = WindowRunner(engine(Bad), INFO, F(50))
    out = output(worker, frames)
    assert worker.fallbacks == 1
    assert all((f.planes[1] == 128).all() for f in out)
    assert [f.psnr_db for f in out if f.made is Made.INTERPOLATED][::2] == [40.0, 40.0]
    worker.close()


def test_an_engine_that_cannot_run_says_what_to_do(engine):
    with pytest.raises(EngineUnavailableError, match="engine blend: it needs moonlight"):
        WindowRunner(engine(Absent), INFO, F(50))


def test_many_slots_are_drawn_in_parts_unless_the_engine_wants_them_all(engine):
    frames = [frame(n, 10 * n) for n in range(7)]
    parts = WindowRunner("blend", INFO, F(1000))
    rolling = RollingWindow(parts.shape, F(1000), OneShot(), INFO.interval)
    windows = [window for item in frames for window in rolling.push(item)]
    sizes = [len(p.window.slots) for p in parts.prepare(windows[0])]
    assert sizes == [8, 8, 8, 8, 8]
    assert len(output(parts, frames, F(1000))) == 280

    whole = WindowRunner(engine(Whole), INFO, F(1000))
    rolling = RollingWindow(whole.shape, F(1000), OneShot(), INFO.interval)
    windows = [window for item in frames for window in rolling.push(item)]
    assert [len(p.window.slots) for p in whole.prepare(windows[0])] == [160]
    lone = output(whole, frames, F(1000))
    split = output(parts, frames, F(1000))
    assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(lone, split, strict=True))
