"""Model files: how kinds are recognised, and what `doctor` says about them; needs no torch."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from ltxfilter.cli import main
from ltxfilter.engines.ltx.weights.describe_files import describe_files
from ltxfilter.engines.ltx.weights.files import FileKind, read_header
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

ENGINES = {"flow": (), "ltx-a": ("checkpoint", "context"), "ltx-b": ("checkpoint",)}
TENSORS = {
    FileKind.CHECKPOINT: ["model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"],
    FileKind.SPATIAL: ["initial_conv.weight", "upsampler.0.weight"],
    FileKind.TEMPORAL: ["initial_conv.weight", "upsampler.0.weight"],
    FileKind.LORA: ["diffusion_model.patchify_proj.lora_A.weight"],
    FileKind.CONTEXT: ["video_context"],
    FileKind.TINY_VAE: ["encoder.0.weight", "decoder.1.weight"],
    FileKind.OTHER: ["weight"],
}
CONFIGS = {
    FileKind.CHECKPOINT: {"transformer": {"num_layers": 48}},
    FileKind.SPATIAL: {"spatial_upsample": True, "temporal_upsample": False},
    FileKind.TEMPORAL: {"spatial_upsample": False, "temporal_upsample": True},
}


def write(path: Path, kind: FileKind, dtype: str = "BF16", config: dict | None = None) -> str:
    """Write a file of a kind without safetensors; its tensors are 2x3."""
    header: dict = {}
    for number, name in enumerate(TENSORS[kind]):
        offsets = [12 * number, 12 * number + 12]
        header[name] = {"dtype": dtype, "shape": [2, 3], "data_offsets": offsets}
    config = config or CONFIGS.get(kind)
    if config:
        header["__metadata__"] = {"config": json.dumps(config), "model_version": "2.3.0"}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(12 * len(TENSORS[kind])))
    return str(path)


@pytest.mark.parametrize("kind", FileKind)
def test_kinds_are_recognised(tmp_path: Path, kind: FileKind):
    assert read_header(write(tmp_path / "x.safetensors", kind)).kind is kind


DEEP = b"[" * 100_000


def entry(shape: str = "[1]", offsets: str = "[0,4]", dtype: str = '"F32"') -> bytes:
    tensor = f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'
    return f'{{"weight":{tensor}}}'.encode()


def configured(config: object) -> bytes:
    return json.dumps({"__metadata__": {"config": config}}).encode()


BROKEN = {  # what a header is
    "a list": b"[]",
    "nested too deeply": DEEP,
    "with a section nested too deeply": b'{"weight":' + DEEP,
    "with a huge number": entry(shape=f"[{'9' * 5000}]"),
    "with an entry that is none": b'{"weight":3}',
    "with a shape of text": entry(shape='["x"]'),
    "with a negative shape": entry(shape="[-1]"),
    "with a shape of infinity": entry(shape="[Infinity]"),
    "with offsets backwards": entry(offsets="[4,0]"),
    "with a type of number": entry(dtype="3"),
    "with metadata as a list": b'{"__metadata__":[]}',
    "with a number as metadata": configured(3),
    "with a list as config": configured("[]"),
    "with a deep config": configured("[" * 100_000),
    "with a text as transformer": configured('{"transformer":"x"}'),
    "with layers in words": configured('{"transformer":{"num_layers":"x"}}'),
    "with no layers": configured('{"transformer":{"num_layers":-1}}'),
    "of bytes": b"\xff\xfe\x00\x01",
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_odd_header_is_refused_in_one_line(tmp_path: Path, case: str):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(BROKEN[case])) + BROKEN[case] + bytes(8))
    with pytest.raises(EngineUnavailableError, match=r"^--lora .*: not a safetensors file$"):
        read_header(str(path), "--lora")


def found(models: ModelOptions) -> dict[str, tuple[str, str]]:
    return {name: (good, bad) for name, good, bad in describe_files(models, ENGINES)}


def test_what_each_file_holds(tmp_path: Path):
    models = ModelOptions(
        checkpoint=write(tmp_path / "c.safetensors", FileKind.CHECKPOINT),
        spatial_upsampler=write(tmp_path / "s.safetensors", FileKind.SPATIAL),
        loras=((write(tmp_path / "l.safetensors", FileKind.LORA), 0.5),),
    )
    report = found(models)
    assert "LTX 2.3.0" in report["checkpoint"][0]
    assert "16 bits" in report["checkpoint"][0]
    assert "a spatial upsampler" in report["spatial_upsampler"][0]
    assert "strength 0.5" in report["lora"][0]
    assert report["context"] == (
        "",
        "a text context, for ltx-a; --context FILE or LTXFILTER_CONTEXT",
    )
    assert "temporal_upsampler" not in report  # no engine needs it


def test_a_checkpoint_in_8_bits(tmp_path: Path):
    path = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT, "F8_E4M3")
    assert "8 bits" in found(ModelOptions(checkpoint=path))["checkpoint"][0]


def test_files_in_each_others_place(tmp_path: Path):
    spatial = write(tmp_path / "s.safetensors", FileKind.SPATIAL)
    temporal = write(tmp_path / "t.safetensors", FileKind.TEMPORAL)
    report = found(ModelOptions(spatial_upsampler=temporal, temporal_upsampler=spatial))
    assert "it holds a temporal upsampler, not a spatial" in report["spatial_upsampler"][1]
    assert "that goes to --spatial-upsampler" in report["temporal_upsampler"][1]


def test_a_newer_generation(tmp_path: Path):
    config = {"transformer": {"ff_bias": False}}
    path = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT, config=config)
    assert "LTX-2.5" in found(ModelOptions(checkpoint=path))["checkpoint"][1]


def test_a_tiny_autoencoder_of_another_model(tmp_path: Path):
    path = write(tmp_path / "t.safetensors", FileKind.TINY_VAE)
    good, bad = found(ModelOptions(tiny_vae=path))["tiny_vae"]
    assert not good
    assert "reads taeltx_2 and taeltx2_3" in bad
    assert "tiny_vae" not in found(ModelOptions())  # no engine needs it


def test_truncated_and_missing(tmp_path: Path):
    path = Path(write(tmp_path / "c.safetensors", FileKind.CHECKPOINT))
    path.write_bytes(path.read_bytes()[:-1])
    report = found(ModelOptions(checkpoint=str(path), context="/no/such"))
    assert "truncated, 11 of 12 bytes" in report["checkpoint"][1]
    assert report["context"] == ("", "--context /no/such: No such file or directory")


def test_the_doctor_looks_at_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = write(tmp_path / "c.safetensors", FileKind.CONTEXT)
    assert main.run(["doctor", "--checkpoint", path]) == 0
    said = capsys.readouterr().out
    assert f"missing: --checkpoint {path}: it holds" in said
    assert "it holds a text context" in said
    monkeypatch.setenv("LTXFILTER_CONTEXT", path)
    assert main.run(["doctor"]) == 0
    assert "c.safetensors, " in capsys.readouterr().out


def test_a_file_is_looked_at_once_per_flag(tmp_path: Path):
    lora = write(tmp_path / "l.safetensors", FileKind.LORA)
    models = replace(ModelOptions(), loras=((lora, 1.0), (lora, -1.0)))
    strengths = [good for name, good, _ in describe_files(models, ENGINES) if name == "lora"]
    assert [text.rpartition(" ")[2] for text in strengths] == ["1", "-1"]
