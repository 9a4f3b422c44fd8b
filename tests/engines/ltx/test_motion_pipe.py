"""`ltx-motion` from the command line on a random tiny checkpoint: sources, rates and errors."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.ltx import flags
from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.cli import main
from ltxfilter.options import ModelOptions
from ltxfilter.values import round_half_up

SIZE = 64 * 48 * 3 // 2  # bytes of a picture
SPECS = (
    "ltx-motion",
    "ltx-motion:source=dit:steps=2",
    "ltx-motion:source=latent+dit:steps=1",
    "ltx-motion:vae=tiny",
)
EVERY = pytest.mark.parametrize("spec", SPECS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    folder = tmp_path_factory.mktemp("ltx")
    return tiny_ltx.with_tiny_vae(tiny_ltx.build(folder), folder)


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


def scrolling(path: Path, rate: str = "25", seconds: float = 0.6, times: str = "PTS") -> Path:
    """Write a clip in which everything moves. times: of its frames, for ffmpeg's setpts."""
    shown = f"scroll=h=0.04:v=0.02,settb=1/1000000,setpts={times}"
    timing = ("-fps_mode", "vfr", "-enc_time_base", "1/1000000")
    return make_clip(path, "-vf", shown, *timing, "-c:v", "ffv1", rate=rate, seconds=seconds)


def pictures(data: bytes | Path) -> list[bytes]:
    whole = samples(data)
    assert len(whole) % SIZE == 0
    return [whole[start : start + SIZE] for start in range(0, len(whole), SIZE)]


class Ran(NamedTuple):
    """The result of the command line for a clip."""

    before: list[bytes]
    after: list[bytes]
    said: str
    interpolated: int
    fallbacks: int


def run(clip: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Ran:
    """Interpolate a clip into a file, by the command line within this process."""
    out = clip.with_name("out.mkv")
    assert main.run(["-y", "-i", str(clip), *words, "-c:v", "ffv1", str(out)]) == 0
    said = capsys.readouterr().err
    interpolated = int(re.findall(r"(\d+) interpolated,", said)[0])
    again = re.findall(r"taken from a fallback (\d+)", said)
    return Ran(pictures(clip), pictures(out), said, interpolated, int(again[0]) if again else 0)


@pytest.mark.parametrize(
    ("source", "target", "step"),
    [("25", "50", 2), ("25", "60", 12), ("24000/1001", "60000/1001", 5)],
)
@EVERY
def test_source_frames_are_untouched_at_every_rate(
    models, tmp_path, capsys, spec, source, target, step
):
    """Every `step`-th output frame is a source frame, `apart` source frames after the last one."""
    clip = scrolling(tmp_path / "in.mkv", rate=source, seconds=0.4)
    ran = run(clip, capsys, "--engine", spec, "--fps", target, *flags(models, spec))
    assert len(ran.after) == round_half_up(len(ran.before) * F(target) / F(source))
    apart = round(step * F(source) / F(target))
    shown = ran.after[::step]
    assert shown == ran.before[::apart][: len(shown)]
    assert len(set(shown)) == len(shown) > 1
    assert ran.interpolated > len(ran.after) // 3


@pytest.mark.parametrize("target", ["source", "60"])
@EVERY
def test_a_variable_rate_is_doubled_in_place_or_made_constant(
    models, tmp_path, capsys, spec, target
):
    times = r"(N*40+15*mod(N\,2)+9*mod(N\,3))/1000/TB"  # 7 to 64 ms apart
    clip = scrolling(tmp_path / "vfr.mkv", times=times)
    ran = run(clip, capsys, "--engine", spec, "--fps", target, *flags(models, spec))
    assert len(set(ran.before)) == len(ran.before) == 15
    assert ran.interpolated >= 10
    if target == "source":
        assert ran.after[::2] == ran.before
    else:
        assert 0 < len(set(ran.after) & set(ran.before)) < 15


@pytest.mark.parametrize("spec", SPECS[::2])
def test_the_number_of_threads_changes_no_picture(models, tmp_path, capsys, spec):
    clip = scrolling(tmp_path / "in.mkv", seconds=0.5)
    asked = ["--engine", spec, *flags(models, spec)]
    one, three = (run(clip, capsys, *asked, "-threads", count) for count in "13")
    assert one.after == three.after
    assert one.interpolated == three.interpolated >= 10


def test_between_two_pipes(models, tmp_path):
    clip = scrolling(tmp_path / "in.mkv")
    result = run_pipe(
        ffmpeg("-i", clip, "-f", "yuv4mpegpipe", "-"),
        ltxfilter("--engine", "ltx-motion", *flags(models, "ltx-motion")),
    )
    assert result.codes == [0, 0], result.err
    assert pictures(result.out)[::2] == pictures(clip)
    assert "14 interpolated" in result.err


def broken(models: ModelOptions, folder: Path) -> ModelOptions:
    """Return models whose decoder returns NaN."""
    tensors = tiny_ltx.read(str(models.checkpoint))
    for name, value in tensors.items():
        if name.startswith("vae.decoder.") and name.endswith("conv_out.conv.weight"):
            value.fill_(float("nan"))
    path = folder / "nan.safetensors"
    header = {"config": tiny_ltx.json.dumps(tiny_ltx.CONFIG), "model_version": "2.3.0"}
    tiny_ltx.write(path, tensors, header)
    return replace(models, checkpoint=str(path))


@pytest.mark.parametrize("spec", SPECS[:3])
def test_nan_falls_back_to_flow_and_is_counted(models, tmp_path, capsys, spec):
    clip = scrolling(tmp_path / "in.mkv")
    ran = run(clip, capsys, "--engine", spec, *flags(broken(models, tmp_path), spec))
    assert ran.interpolated == ran.fallbacks == 14
    assert ran.said.count("NaN") == 1
    assert ran.after[::2] == ran.before
    flow = run(clip, capsys, "--engine", "flow:prior=0:curved=0")
    assert ran.after[:5] == flow.after[:5]  # later flow uses a static mask of its own
    for found, expected in zip(ran.after, flow.after, strict=True):
        assert np.abs(np.subtract(list(found), list(expected), dtype=int)).mean() < 1


@pytest.mark.parametrize(
    ("spec", "change", "code", "message"),
    [
        ("ltx-motion", {"checkpoint": None}, 5, "--vae FILE is needed, or a --checkpoint"),
        ("ltx-motion", {"temporal_upsampler": None}, 5, "--temporal-upsampler FILE is needed"),
        ("ltx-motion", {"temporal_upsampler": "spatial_upsampler"}, 5, "it holds a spatial"),
        ("ltx-motion", {"checkpoint": "tiny_vae"}, 5, "that goes to --tiny-vae"),
        ("ltx-motion:source=dit", {"context": None}, 5, "--context FILE is needed"),
        ("ltx-motion:vae=tiny", {"tiny_vae": None}, 5, "--tiny-vae FILE is needed"),
        ("ltx-motion:vae=tiny", {"tiny_vae": "checkpoint"}, 5, "not a tiny autoencoder"),
        ("ltx-motion:source=latent+dit:steps=8", {}, 2, "takes one of 1, 2, 3, 4"),
        ("ltx-motion:source=dit:steps=5", {}, 2, "steps=5"),
        ("ltx-motion:size=100x100", {}, 2, "not multiples of 32"),
        ("ltx-motion:parts=3", {}, 2, "parts=3"),
        ("ltx-motion:source=raw", {}, 2, "latent, dit, latent+dit"),
    ],
)
def test_errors_are_one_clear_line(models, tmp_path, capsys, spec, change, code, message):
    clip = scrolling(tmp_path / "in.mkv", seconds=0.2)
    change = {name: value and getattr(models, value) for name, value in change.items()}
    out = tmp_path / "out.mkv"
    named = ["-i", str(clip), str(out)]
    models = replace(models, **change)
    words = ["--engine", spec, *([] if "raw" in spec else flags(models, spec)), *named]
    assert main.run(words) == code
    said = capsys.readouterr().err
    assert said.startswith("ltxfilter: ")
    assert said.count("\n") == 1, said
    assert message in said
    assert not out.exists()


def test_the_tiny_autoencoder_can_be_named_in_the_environment(
    models, tmp_path, capsys, monkeypatch
):
    clip = scrolling(tmp_path / "in.mkv", seconds=0.2)
    monkeypatch.setenv("LTXFILTER_TINY_VAE", str(models.tiny_vae))
    words = flags(replace(models, tiny_vae=None), "ltx-motion:vae=tiny")
    assert run(clip, capsys, "--engine", "ltx-motion:vae=tiny", *words).interpolated == 4
