"""Whether the files of a run fit each other and the engine, before anything is loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import ltx_layouts as layouts
from support import tiny_ltx
from support.ltx import flags

from ltxfilter import engines
from ltxfilter.cli import main
from ltxfilter.engines.ltx.diffusion.two_stage import downscaled
from ltxfilter.engines.ltx.weights.files import FileKind, read_header
from ltxfilter.engines.ltx.weights.fits import check_generations, few_step_options
from ltxfilter.engines.ltx.weights.generations import generation, takes_few_steps
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

LAYER = "diffusion_model.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def lora(path: Path) -> str:
    zeros = {
        f"{LAYER}.lora_A.weight": torch.zeros(4, 48),
        f"{LAYER}.lora_B.weight": torch.zeros(48, 4),
    }
    tiny_ltx.write(path, zeros, {})
    return str(path)


def run(words: list[str], clip: Path, folder: Path, capsys: Any) -> tuple[int, str]:
    code = main.run([*words, "-i", str(clip), "-t", "0.2", "-y", str(folder / "out.mp4")])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--engine ltx-motion --spatial-upsampler /x", "it is for ltx-keyframe:stages=2, ltx-ref"),
        ("--engine ltx-motion --context /x", "engine ltx-motion does not use it; add source=dit"),
        (
            "--engine ltx-motion --checkpoint /x --vae /x",
            "engine ltx-motion does not use it; all that it takes of one has a flag of its own",
        ),
        ("--engine ltx-motion --lora /x", "--lora /x: engine ltx-motion does not use it"),
        ("--engine ltx-motion --distilled-lora /x", "add source=dit, or leave it out"),
        ("--engine ltx-motion --tiny-vae /x", "add vae=tiny, or leave it out"),
        ("--engine ltx-keyframe:stages=1 --spatial-upsampler /x", "add stages=2, or leave it out"),
        ("--engine ltx-keyframe --temporal-upsampler /x", "it is for ltx-motion, ltx-temporal"),
        ("--engine flow --checkpoint /x", "engine flow does not use it; it is for ltx-keyframe"),
        ("--engine auto --spatial-upsampler /x", "engine auto does not use it"),
        ("--engine ltx-keyframe:cfg=4", "cfg=4.0: it does nothing with mode=distilled; add mode=g"),
        (
            "--engine ltx-keyframe:steps=40",
            "mode=distilled takes at most 8; mode=guided",
        ),
        ("--engine ltx-keyframe:stages=1:refine=1", "it does nothing with stages=1"),
        ("--engine ltx-motion:steps=4", "it does nothing with source=latent; add source=dit"),
        ("--engine ltx-temporal:seed=3", "it does nothing with refine=0"),
    ],
)
def test_what_a_run_does_not_use_is_an_error(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
):
    code, said = run(words.split(), clip, tmp_path, capsys)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1


def test_what_the_settings_name_for_other_engines_is_ignored(
    models: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = f'context = "{models.context}"\nspatial-upsampler = "{models.spatial_upsampler}"\n'
    (tmp_path / "ltxfilter.toml").write_text(text)
    words = ["--engine", "ltx-temporal", *flags(models, "ltx-temporal")]
    assert run(words, clip, tmp_path, capsys)[0] == 0


def test_a_checkpoint_whose_parts_are_all_named_is_not_used(models: ModelOptions):
    engine = engines.build("ltx-motion", replace(models, vae=models.checkpoint))
    assert "checkpoint" not in engine.used_files
    assert "checkpoint" in engines.build("ltx-motion", models).used_files


def test_all_that_is_missing_is_named_at_once(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, said = run(["--engine", "ltx-keyframe"], clip, tmp_path, capsys)
    assert code == 5
    for flag in ("--transformer", "--vae", "--spatial-upsampler", "--context"):
        assert f"{flag} FILE is needed" in said


def test_upsamplers_of_another_generation_are_refused(models: ModelOptions, tmp_path: Path):
    other = tmp_path / "ltx-2-temporal-upscaler-x2-1.0.safetensors"
    other.symlink_to(str(models.temporal_upsampler))
    engine = engines.build("ltx-temporal", replace(models, temporal_upsampler=str(other)))
    from support.pictures import video

    with pytest.raises(EngineUnavailableError, match=r"of LTX-2, and .* of LTX-2\.3 is used with"):
        engine.open(video(), Fraction(50))


def test_a_generation_that_is_not_known_fits_all(models: ModelOptions, tmp_path: Path):
    path = tmp_path / "temporal.safetensors"
    sizes = {"config": tiny_ltx.json.dumps(tiny_ltx.TEMPORAL), "model_version": "2.4.0"}
    tiny_ltx.write(path, tiny_ltx.read(str(models.temporal_upsampler)), sizes)
    assert generation(read_header(str(path))) == "2.4"
    parts = ModelParts(replace(models, temporal_upsampler=str(path)))
    check_generations(parts, (FileKind.VAE, FileKind.TEMPORAL))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ltx-2.3-22b-distilled-1.1", True),
        ("ltx-2.3-22b-dev-fp8", False),
        ("LTX-2.3-22B-dev-Q4_K_M", False),
        ("checkpoint", None),
        ("developed", None),
    ],
)
def test_what_takes_few_steps(
    models: ModelOptions, tmp_path: Path, name: str, expected: bool | None
):
    path = tmp_path / f"{name}.safetensors"
    path.symlink_to(str(models.checkpoint))
    file = read_header(str(path))
    assert takes_few_steps(file) is expected
    assert generation(file) == "2.3"


def test_a_dev_checkpoint_takes_few_steps_with_its_lora(
    models: ModelOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "ltx-2.3-22b-dev.safetensors"
    path.symlink_to(str(models.checkpoint))
    options = replace(models, checkpoint=str(path))
    with pytest.raises(EngineUnavailableError, match=r"a dev checkpoint, .* --distilled-lora FILE"):
        few_step_options(options)
    own = lora(tmp_path / "x.safetensors")
    named = few_step_options(replace(options, distilled_lora=(own, 0.8)))
    assert (named.loras, named.distilled_lora) == (((own, 0.8),), None)
    folder = tmp_path / "folder"
    folder.mkdir()
    found = lora(folder / "ltx-2.3-22b-distilled-lora-384.safetensors")
    with caplog.at_level(logging.WARNING):
        taken = few_step_options(replace(options, models=str(folder)))
    assert taken.loras == ((found, 1.0),)
    assert "is a dev checkpoint" in caplog.text
    assert few_step_options(models) == models


def test_doctor_says_of_a_command_that_a_dev_checkpoint_lacks_its_lora(
    models: ModelOptions, tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "ltx-2.3-22b-dev.safetensors"
    path.symlink_to(str(models.checkpoint))
    options = replace(models, checkpoint=str(path))
    for mode, code in (("distilled", 5), ("guided", 0)):
        spec = f"ltx-keyframe:stages=1:mode={mode}"
        line = ["--engine", spec, *flags(options, spec), "-i", str(clip), str(tmp_path / "o.mp4")]
        assert main.run(["doctor", "--", *line]) == code
        said = capsys.readouterr().out
        lacks = "engine ltx-keyframe lacks: --distilled-lora FILE (for few steps of a dev check"
        assert (lacks in said) == (code != 0)


def test_the_smaller_spatial_upsampler_works(
    models: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    smaller = tiny_ltx.with_smaller_upsampler(models, tmp_path)
    spec = "ltx-keyframe:steps=1:refine=1"
    words = ["--engine", spec, *flags(smaller, spec)]
    code, said = run(words, clip, tmp_path, capsys)
    assert code == 0, said
    assert "NaN" not in said


def test_pictures_are_scaled_by_a_fraction():
    ramp = torch.arange(96.0).expand(3, 96, 96)
    small = downscaled(ramp, Fraction(3, 2))
    assert small.shape == (3, 64, 64)
    centres = (torch.arange(64.0) + 0.5) * 1.5 - 0.5
    assert torch.allclose(small[0, 0], centres, atol=0.2)
    assert torch.allclose(small.mean(), ramp.mean())
    assert torch.equal(downscaled(ramp, Fraction(2))[0, 0], torch.arange(48.0) * 2 + 0.5)


def test_an_autoencoder_and_an_upsampler_are_enough(
    models: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "folder"
    bare = layouts.under(tiny_ltx.read(str(models.checkpoint)), "vae.")
    layouts.write(folder / "one.safetensors", bare, tiny_ltx.CONFIG)
    (folder / "two.safetensors").symlink_to(str(models.temporal_upsampler))
    for engine in ("ltx-motion", "ltx-temporal", "auto"):
        words = ["--models", str(folder), "--device", "cpu", "--engine", engine]
        code, said = run(words, clip, tmp_path, capsys)
        assert code == 0, said
        assert "NaN" not in said
