"""Frames of a generator as chunks of tensors: interpolated and encoded without files between."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx

import ltxfilter
from examples import after_generation
from ltxfilter.device_plane import DevicePlane


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


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
    with pytest.raises(ltxfilter.EngineUnavailableError, match="--vae FILE is needed"):
        list(ltxfilter.interpolate(pictures, 24, 48, engine="ltx-temporal"))


KINDS = ["uint8", "uint16", "float16", "float32", "channels first", "alpha", "gray"]


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("ltx-keyframe:stages=1:steps=2", "uint8"), *(("ltx-temporal", kind) for kind in KINDS)],
)
def test_tensors_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, kind: str
):
    """Only a few samples are copied to host memory, and the pictures equal those from arrays."""
    models = tiny_ltx.build(tmp_path)
    given = [picture for chunk in chunks(6, 4) for picture in chunk]
    if kind == "uint16":
        given = [(picture.int() * 257).to(torch.uint16) for picture in given]
    elif kind.startswith("float"):
        given = [(picture / 255).to(getattr(torch, kind)) for picture in given]
    elif kind == "channels first":
        given = [picture.permute(2, 0, 1) for picture in given]
    elif kind == "alpha":
        given = [torch.cat([picture, picture[..., :1]], -1) for picture in given]
    elif kind == "gray":
        given = [picture[..., 0] for picture in given]
    arrays = [
        picture.float().numpy() if kind == "float16" else picture.numpy() for picture in given
    ]
    expected = list(ltxfilter.interpolate(arrays, 24, 48, engine=engine, models=models))
    copied = []
    array = DevicePlane.__array__

    def watched(self, dtype=None, copy=None):
        copied.append(self.shape)
        return array(self, dtype, copy)

    monkeypatch.setattr(DevicePlane, "__array__", watched)
    found = list(ltxfilter.interpolate(given, 24, 48, engine=engine, models=models))
    assert len(found) == 12
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == given[0].dtype
        assert torch.equal(one, torch.from_numpy(other).to(one.dtype))
    assert not copied or kind == "alpha"  # which is cross-faded


def test_a_plane_on_a_device_behaves_like_an_array():
    codes = torch.arange(24, dtype=torch.int32).reshape(4, 6) * 2500
    plane, array = DevicePlane(codes), codes.numpy().astype(np.uint16)
    assert (plane.shape, plane.dtype, plane.size) == (array.shape, array.dtype, array.size)
    assert plane.nbytes == codes.nbytes
    assert np.array_equal(plane[::2, 1::3], array[::2, 1::3])
    assert np.array_equal(plane, array)
    assert np.asarray(plane) is not array
    assert np.asarray(plane, np.float32).dtype == np.float32
    assert np.array_equal(plane[1:], array[1:])


def test_other_engines_get_tensors_as_arrays():
    given = [picture for chunk in chunks(10, 7) for picture in chunk]
    for engine in ("flow", "blend", "hold"):
        arrays = [picture.numpy() for picture in given]
        expected = list(ltxfilter.interpolate(arrays, 24, 60, engine=engine))
        found = list(ltxfilter.interpolate(given, 24, 60, engine=engine))
        pairs = zip(found, expected, strict=True)
        assert all(torch.equal(one, torch.from_numpy(other)) for one, other in pairs)


def test_the_fallback_gets_tensors_as_arrays(tmp_path: Path, caplog):
    models = tiny_ltx.build(tmp_path)
    broken = tiny_ltx.read(str(models.checkpoint))
    for key in broken:
        if key.startswith("vae.decoder.") and key.endswith("conv_out.conv.weight"):
            broken[key].fill_(float("nan"))
    header = {"config": tiny_ltx.json.dumps(tiny_ltx.CONFIG), "model_version": "2.3.0"}
    tiny_ltx.write(Path(str(models.checkpoint)), broken, header)
    given = [picture for chunk in chunks(6, 7) for picture in chunk]
    found = list(ltxfilter.interpolate(given, 24, 48, engine="ltx-temporal", models=models))
    expected = list(ltxfilter.interpolate(given, 24, 48, engine="flow"))
    assert all(
        (one.int() - other.int()).abs().max() <= 2
        for one, other in zip(found, expected, strict=True)
    )
    assert "NaN" in caplog.text
