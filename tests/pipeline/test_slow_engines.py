"""An engine that takes many times as long as the video lasts is said to, before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltxfilter import engines
from ltxfilter.engines.blend import Blend
from ltxfilter.engines.onnx.engine import Onnx
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run

FPS = {"50": 25, "60": 55, "source": 25, "75": 50}  # --fps -> pictures to make a second, from 25


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("slow", [True, False])
def test_what_takes_over_ten_times_the_length_is_said(
    fps: str, slow: bool, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    seconds = (10.1 if slow else 9.9) / FPS[fps]
    monkeypatch.setattr(Blend, "seconds_per_picture", seconds)
    output = OutputOptions(path=str(tmp_path / "out.mkv"))
    options = Options(input=InputOptions(path=str(clip)), output=output, fps=fps, engine="blend")
    with Run(options):
        said = [message for message in caplog.messages if "as long as the video" in message]
    assert len(said) == slow
    if slow:
        assert "10 times as long as the video lasts, about 0 h 00 min in all" in said[0]


def test_auto_asks_its_partner_for_a_part_of_the_pictures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Blend, "seconds_per_picture", 8.0)
    assert engines.build("auto:with=blend").seconds_per_picture == 2.0
    assert engines.build("auto").seconds_per_picture is None
    assert engines.build("flow").seconds_per_picture is None


def test_a_network_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from fractions import Fraction

    from support.onnx_graphs import build
    from support.pictures import video

    path = build(tmp_path / "a.onnx", "two-time")
    engine = engines.build(f"onnx:model={path}")
    assert engine.seconds_per_picture is None
    engine.open(video(), Fraction(50))
    assert 0 < engine.seconds_per_picture < 60
    engine.close()
    clock = iter([0.0, 1.0, 5.0, 5.75])
    monkeypatch.setattr("ltxfilter.engines.onnx.engine.perf_counter", lambda: next(clock))
    engine.open(video(), Fraction(50))
    assert isinstance(engine, Onnx)
    assert engine.seconds_per_picture == 0.75  # the first one is a slow start
    engine.close()
