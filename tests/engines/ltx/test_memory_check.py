"""The trial window before work starts, and the error where the device's memory is too small."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.pictures import Same, moving, video

from ltxfilter import engines
from ltxfilter.engines.ltx.memory_check import check_window_fits, grey_window
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineError, EngineUnavailableError
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import WindowShape

EVERY = pytest.mark.parametrize("name", ["ltx-keyframe", "ltx-temporal"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.mark.parametrize("rate", [F(50), F(60), None])
@pytest.mark.parametrize("shape", [WindowShape(9, 0, 0), WindowShape(10, 3, 2), WindowShape(2)])
def test_a_grey_window_is_as_large_as_any(shape, rate):
    info = video("yuv420p10le", 32, 32)
    rolling = RollingWindow(shape, rate, Same(), F(1, 25))
    others = [window for frame in moving(info, 60) for window in rolling.push(frame)]
    window = grey_window(info, rate, shape)
    assert window.last - window.first == shape.keyframes - 1
    assert len(window.slots) == len(others[0].slots) == max(len(w.slots) for w in others)
    assert window.keyframes[0].planes[0].mean() == 512


@EVERY
def test_the_trial_window_changes_nothing_after_it(models, name):
    info = video(width=64, height=64)

    def drawn(tried):
        engine = engines.build(name, models)
        shape = engine.open(info, F(50))
        if tried:
            engine._check_device_memory(info, F(50), shape)
        window = grey_window(info, F(50), shape)
        found = [
            picture.planes[0].tobytes() for picture in engine.draw(window, engine.prepare(window))
        ]
        engine.close()
        return found

    assert drawn(tried=True) == drawn(tried=False)


@EVERY
def test_too_little_memory_is_reported_with_advice(models, name, monkeypatch):
    info = video(width=64, height=64)
    engine = engines.build(name, models)
    shape = engine.open(info, F(50))

    def full(self, latents):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Models, "decode", full)
    window = grey_window(info, F(50), shape)
    with pytest.raises(EngineError, match=f"engine {name}: .* too small .* tile=512"):
        list(engine.draw(window, engine.prepare(window)))
    with pytest.raises(EngineUnavailableError, match="tile=512"):
        check_window_fits(engine, info, F(50), shape, "draw with tile=512")
    engine.close()
