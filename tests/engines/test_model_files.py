"""Where model files come from: the command line, then the environment, then the settings file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ltxfilter.cli.parse import parse
from ltxfilter.engines import model_files
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.values import parse_lora


def from_file(folder: Path, text: str) -> dict[str, str]:
    (folder / "set.toml").write_text(text)
    return {"LTXFILTER_CONFIG": str(folder / "set.toml")}


def from_path(path: Path) -> dict[str, str]:
    return {"LTXFILTER_CONFIG": str(path)}


@pytest.fixture
def nothing(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_command_line_names_everything():
    line = "--checkpoint a --spatial-upsampler b -temporal_upsampler c --context d --gemma e "
    line += "--tiny-vae i --onnx-model j "
    line += "--lora f:0.5 --lora g --distilled-lora h:0.6 --device cuda:1 -i in.mp4 out.mp4"
    assert parse(line.split()).options.models == ModelOptions(
        checkpoint="a",
        spatial_upsampler="b",
        temporal_upsampler="c",
        context="d",
        tiny_vae="i",
        onnx_model="j",
        gemma="e",
        loras=(("f", 0.5), ("g", 1.0)),
        distilled_lora=("h", 0.6),
        device="cuda:1",
    )


def test_without_settings_nothing_changes(nothing: dict[str, str]):
    asked = ModelOptions(checkpoint="x")
    assert model_files.complete(asked, nothing) == asked


def test_the_environment_fills_gaps_only(nothing: dict[str, str]):
    said = {"LTXFILTER_CHECKPOINT": "y", "LTXFILTER_LORA": "p:0.5,q", "LTXFILTER_DEVICE": "cpu"}
    found = model_files.complete(ModelOptions(checkpoint="x"), nothing | said)
    assert found == ModelOptions(checkpoint="x", loras=(("p", 0.5), ("q", 1.0)), device="cpu")


def test_the_environment_goes_before_the_file(tmp_path: Path):
    environment = from_file(tmp_path, 'checkpoint = "a"\ncontext = "/b"\ndevice = "cuda"')
    found = model_files.complete(ModelOptions(), environment | {"LTXFILTER_CHECKPOINT": "y"})
    assert found == ModelOptions(checkpoint="y", context="/b", device="cuda")


def test_files_are_found_beside_the_settings_file(tmp_path: Path):
    text = 'temporal-upsampler = "up.safetensors"\nlora = ["one:0.25", "/two"]\n'
    text += 'distilled-lora = "three"'
    found = model_files.complete(ModelOptions(), from_file(tmp_path, text))
    assert found.temporal_upsampler == str(tmp_path / "up.safetensors")
    assert found.loras == ((str(tmp_path / "one"), 0.25), ("/two", 1.0))
    assert found.distilled_lora == (str(tmp_path / "three"), 1.0)


def test_the_settings_file_has_a_usual_place(nothing: dict[str, str], tmp_path: Path):
    assert model_files.settings_file(nothing) == tmp_path / "ltxfilter.toml"
    usual = Path("~/.config/ltxfilter.toml").expanduser()
    assert model_files.settings_file({}) == usual


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('chekpoint = "a"', "no setting 'chekpoint'"),
        ("checkpoint = 3", "checkpoint = 3 is not a text"),
        ("checkpoint = ", "set.toml: "),
        ("lora = [1]", "is not a text"),
    ],
)
def test_a_bad_settings_file_is_said(tmp_path: Path, text: str, message: str):
    with pytest.raises(OptionError, match=re.escape(message)):
        model_files.complete(ModelOptions(), from_file(tmp_path, text))


def test_a_named_settings_file_has_to_be_there(tmp_path: Path):
    with pytest.raises(OptionError, match="no such file"):
        model_files.complete(ModelOptions(), {"LTXFILTER_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", 1.0)),
        ("a:0.5", ("a", 0.5)),
        ("a:-1", ("a", -1.0)),
        (r"C:\a", (r"C:\a", 1.0)),
        ("a:b", ("a:b", 1.0)),
        ("a:.5", ("a", 0.5)),
    ],
)
def test_a_lora_and_its_strength(text: str, expected: tuple[str, float]):
    assert parse_lora(text) == expected


def test_a_lora_needs_a_file():
    with pytest.raises(OptionError, match="PATH:STRENGTH"):
        parse_lora("")


def test_a_user_without_a_home_has_no_settings(monkeypatch: pytest.MonkeyPatch):
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert model_files.settings_file({}) is None
    assert model_files.complete(ModelOptions(), {}) == ModelOptions()


def test_what_is_no_settings_file_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    pipe, folder, loop = tmp_path / "pipe.toml", tmp_path / "folder.toml", tmp_path / "loop.toml"
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    texts = {
        "large.toml": b"#" * (2 << 20),
        "deep.toml": b"checkpoint = " + b"[" * 100_000,
        "number.toml": b"checkpoint = " + b"9" * 5000,
        "binary.toml": b"\xff\xfe",
    }
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
    for path in (pipe, folder, loop, *(tmp_path / name for name in texts)):
        caplog.clear()
        for _ in range(2):
            found = model_files.complete(ModelOptions(device="cpu"), from_path(path))
            assert found == ModelOptions(device="cpu")
        assert [path.name in record.getMessage() for record in caplog.records] == [True]
