"""Frames of a generator, as tensors in chunks, on their way into a file without touching disk."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

import tiny_ltx

import ltxfilter
from examples import after_generation


def chunks(frames: int, size: int):
    """Yield a moving gradient as ltx_pipelines yields video: [F, H, W, 3], 8 bits, 7 at a time."""
    ramp = torch.arange(64)[None, :, None] + torch.arange(96)[None, None, :]
    for begin in range(0, frames, size):
        times = torch.arange(begin, min(begin + size, frames))[:, None, None]
        yield (60 + (ramp + 3 * times) // 2)[..., None].expand(-1, -1, -1, 3).to(torch.uint8)


@pytest.mark.parametrize("engine", ["flow", "ltx-temporal"])
def test_generated_frames_are_interpolated_and_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
):
    files = tiny_ltx.build(tmp_path)
    monkeypatch.setenv("LTXFILTER_CHECKPOINT", str(files.checkpoint))
    monkeypatch.setenv("LTXFILTER_TEMPORAL_UPSAMPLER", str(files.temporal_upsampler))
    monkeypatch.setenv("LTXFILTER_DEVICE", "cpu")
    out = tmp_path / "out.mp4"
    assert after_generation.save(chunks(17, 7), str(out), engine=engine) == 34
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 48
        means = [
            float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(stream)
        ]
    assert len(means) == 34
    assert means == sorted(means) or engine != "flow"
    assert means[-1] - means[0] > 15


def test_models_are_named_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    models = tiny_ltx.build(tmp_path)
    pictures = [picture for chunk in chunks(9, 9) for picture in chunk]
    found = list(ltxfilter.interpolate(pictures, 24, 48, engine="ltx-temporal", models=models))
    assert len(found) == 18
    assert all(kept is given for kept, given in zip(found[::2], pictures, strict=True))
    assert all(picture.shape == (64, 96, 3) for picture in found)
    with pytest.raises(ltxfilter.EngineUnavailableError, match="--checkpoint FILE is needed"):
        list(ltxfilter.interpolate(pictures, 24, 48, engine="ltx-temporal"))
