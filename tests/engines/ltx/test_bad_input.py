"""Models that cannot be used: one clear line, the right exit code, no output file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx
from support.ltx import flags

from ltxfilter.cli import main
from ltxfilter.engines.ltx.device import choose_device
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

LAYER = "diffusion_model.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def refuse(
    words: list[str], code: int, clip: Path, capsys: pytest.CaptureFixture[str], folder: Path
) -> str:
    """Run the filter, which must refuse; return its message."""
    out = folder / "out.mp4"
    assert main.run([*words, "-i", str(clip), str(out)]) == code
    said = capsys.readouterr().err
    assert said.startswith("ltxfilter: ")
    assert said.count("\n") == 1, said
    assert not list(folder.glob("out.*"))
    return said


def damaged(models: ModelOptions, folder: Path, how: str) -> ModelOptions:
    """Return models one of which cannot be used."""
    path = folder / "damaged.safetensors"
    whole = Path(str(models.checkpoint))
    if how == "missing file":
        return replace(models, checkpoint="/no/such.safetensors")
    if how == "truncated":
        path.write_bytes(whole.read_bytes()[:-5000])
        return replace(models, checkpoint=str(path))
    if how == "missing tensor":
        tensors = tiny_ltx.read(str(whole))
        del tensors["model.diffusion_model.proj_out.weight"]
        tiny_ltx.write(path, tensors, {"config": json.dumps(tiny_ltx.CONFIG)})
        return replace(models, checkpoint=str(path))
    if how == "wrong kind":
        return replace(models, spatial_upsampler=models.temporal_upsampler)
    if how == "narrow context":
        tiny_ltx.write(path, {"video_context": torch.zeros(1, 128, 16)}, {})
        return replace(models, context=str(path))
    if how == "no such device":
        return replace(models, device="cuda:99")
    if how == "unreadable lora":
        path.write_bytes(b"nothing of the kind")
    else:
        down, up = torch.zeros(4, 7), torch.zeros(48, 4)
        tiny_ltx.write(path, {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}, {})
    return replace(models, loras=((str(path), 1.0),))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing file", "--checkpoint /no/such.safetensors: No such file or directory"),
        ("truncated", "truncated"),
        ("missing tensor", "it lacks proj_out.weight"),
        ("wrong kind", "it holds a temporal upsampler, not a spatial upsampler"),
        ("narrow context", "16 values wide, and this checkpoint wants 48"),
        ("no such device", "--device cuda:99: "),
        ("unreadable lora", "not a safetensors file"),
        ("lora of another model", "is 48 by 7 there and 48 by 48 in the checkpoint"),
    ],
)
def test_models_that_cannot_be_used(
    models: ModelOptions,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: str,
    message: str,
):
    words = ["--engine", "ltx-keyframe", *flags(damaged(models, tmp_path, how), "ltx-keyframe")]
    assert message in refuse(words, 5, clip, capsys, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mps", "models run on CPUs and on CUDA GPUs, not on mps; write auto, cpu or cuda:N"),
        ("xpu:0", "models run on CPUs and on CUDA GPUs, not on xpu; write auto"),
        ("gpu", "--device gpu: write auto, cpu or cuda:N"),
        ("cuda:-2", "--device cuda:-2: write auto, cpu or cuda:N"),
    ],
)
def test_a_device_that_models_do_not_run_on(name: str, message: str):
    with pytest.raises(EngineUnavailableError) as caught:
        choose_device(name)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_gpu_that_is_not_there_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(EngineUnavailableError, match="there are 2 CUDA devices, counted from 0"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engine", "ltx-keyframe"], 5, "is needed: a text context; make one with ltxfilter con"),
        (["--engine", "ltx-temporal"], 5, "--vae FILE is needed"),
        (["--engine", "ltx-temporal:round=2"], 2, "has no option 'round'"),
        (["--engine", "ltx-keyframe:fp8=fast"], 2, "one of auto, rowwise, cast, off"),
        (["--engine", "ltx-keyframe:tile=64"], 2, "tile=64"),
        (["--engine", "ltx-temporal:tile=64"], 2, "tile=64"),
        (["--engine", "ltx-keyframe", "--lora", ""], 2, "--lora"),
    ],
)
def test_options_that_cannot_be_used(
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
):
    assert message in refuse(words, code, clip, capsys, tmp_path)


def test_a_settings_file_that_cannot_be_used(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "ltxfilter.toml").write_text('chekpoint = "x"')
    said = refuse(["--engine", "ltx-temporal"], 2, clip, capsys, tmp_path)
    assert "no setting 'chekpoint'" in said


def test_other_engines_do_not_look_at_settings(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "ltxfilter.toml").write_text("not = [even")
    words = ["--engine", "hold", "-i", str(clip), str(tmp_path / "out.mp4")]
    assert main.run(words) == 0


def test_times_of_prompts_that_do_not_ascend(
    models: ModelOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    schedule = tmp_path / "prompts.txt"
    schedule.write_text("10 a boat\n5 a quay\n")
    out = tmp_path / "out.safetensors"
    words = ["--prompt-file", str(schedule), "--checkpoint", str(models.checkpoint)]
    assert main.run(["context", *words, "-o", str(out)]) == 2
    assert "line 2: times must ascend" in capsys.readouterr().err
    assert not out.exists()


def test_graphs_without_a_gpu_are_refused(
    models: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--engine", "ltx-keyframe:graphs=on", *flags(models, "ltx-keyframe")]
    assert "graphs=auto or off" in refuse(words, 5, clip, capsys, tmp_path)


@pytest.mark.parametrize("option", ["batch=0", "batch=65", "text_memory=-2", "graphs=maybe"])
def test_options_out_of_range_are_refused(
    models: ModelOptions,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
):
    words = ["--engine", f"ltx-keyframe:{option}", *flags(models, "ltx-keyframe")]
    assert f"option {option}: not" in refuse(words, 2, clip, capsys, tmp_path)
