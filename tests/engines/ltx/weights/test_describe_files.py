"""Model files: how kinds are recognised, and what `doctor` says about them; needs no torch."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from support.pictures import video

from ltxfilter import engines
from ltxfilter.cli import main
from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.weights.describe_files import describe_files
from ltxfilter.engines.ltx.weights.files import FileKind, read_header
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

USERS = {"transformer": ["ltx-a"], "vae": ["ltx-a", "ltx-b"], "loras": ["ltx-a:mode=x"]}
TRANSFORMER = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"
TENSORS = {
    FileKind.CHECKPOINT: [TRANSFORMER, "vae.encoder.conv_in.conv.weight"],
    FileKind.TRANSFORMER: [TRANSFORMER],
    FileKind.VAE: ["vae.encoder.conv_in.conv.weight"],
    FileKind.TEXT: ["text_embedding_projection.aggregate_embed.weight"],
    FileKind.GEMMA: ["model.layers.0.self_attn.q_proj.weight"],
    FileKind.AUDIO: ["audio_vae.encoder.conv_in.conv.weight"],
    FileKind.SPATIAL: ["initial_conv.weight", "upsampler.0.weight"],
    FileKind.TEMPORAL: ["initial_conv.weight", "upsampler.0.weight"],
    FileKind.LORA: ["diffusion_model.patchify_proj.lora_A.weight"],
    FileKind.CONTEXT: ["video_context"],
    FileKind.TINY_VAE: ["encoder.0.weight", "decoder.1.weight"],
    FileKind.OTHER: ["weight"],
}
CONFIGS = {
    FileKind.CHECKPOINT: {"transformer": {"num_layers": 48}, "vae": {"latent_channels": 128}},
    FileKind.TRANSFORMER: {"transformer": {"num_layers": 48}},
    FileKind.VAE: {"vae": {"latent_channels": 128}},
    FileKind.SPATIAL: {"spatial_upsample": True, "temporal_upsample": False},
    FileKind.TEMPORAL: {"spatial_upsample": False, "temporal_upsample": True},
}


def write(path: Path, kind: FileKind, dtype: str = "BF16", config: dict | None = None) -> str:
    """Write a file of a kind without safetensors; its tensors are 2x3."""
    header: dict = {}
    for number, name in enumerate(TENSORS[kind]):
        offsets = [12 * number, 12 * number + 12]
        shape = [2, 6] if dtype == "F8_E4M3" else [2, 3]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
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
    return {line.field: (line.found, line.wrong) for line in describe_files(models, USERS)}


def test_what_each_file_holds(tmp_path: Path):
    models = ModelOptions(
        checkpoint=write(tmp_path / "ltx-2.3-distilled.safetensors", FileKind.CHECKPOINT),
        vae=write(tmp_path / "v.safetensors", FileKind.VAE),
        spatial_upsampler=write(tmp_path / "s.safetensors", FileKind.SPATIAL),
        loras=((write(tmp_path / "ic-lora.safetensors", FileKind.LORA), 0.5),),
    )
    report = found(models)
    assert "LTX-2, distilled, transformer of 6e-06 million" in report["checkpoint"][0]
    assert "in bf16" in report["checkpoint"][0]
    assert report["checkpoint"][0].endswith("; for ltx-a, ltx-b")
    assert report["vae"][0].endswith("; for ltx-a, ltx-b")
    assert "a spatial upsampler x2; no engine uses it" in report["spatial_upsampler"][0]
    assert "an IC-LoRA; for ltx-a:mode=x, strength 0.5" in report["lora"][0]
    assert "context" not in report  # nobody named one


def test_a_checkpoint_in_8_bits(tmp_path: Path):
    path = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT, "F8_E4M3")
    assert "in fp8" in found(ModelOptions(checkpoint=path))["checkpoint"][0]
    path = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT, "I8")
    assert "is in int8, which is not read" in found(ModelOptions(checkpoint=path))["checkpoint"][1]


def test_files_in_each_others_place(tmp_path: Path):
    spatial = write(tmp_path / "s.safetensors", FileKind.SPATIAL)
    temporal = write(tmp_path / "t.safetensors", FileKind.TEMPORAL)
    report = found(ModelOptions(spatial_upsampler=temporal, temporal_upsampler=spatial))
    assert "it holds a temporal upsampler, not a spatial" in report["spatial_upsampler"][1]
    assert "that goes to --spatial-upsampler" in report["temporal_upsampler"][1]


@pytest.mark.parametrize("old", [True, False])
def test_a_newer_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool):
    monkeypatch.setattr(installed, "builds_2_5", lambda: not old)
    config = {"transformer": {"ff_bias": False}, "vae": {"latent_channels": 128}}
    path = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT, config=config)
    said = found(ModelOptions(checkpoint=path))["checkpoint"][0]
    assert "LTX-2.5" in said
    assert ("whose transformer needs ltx-core 1.2 (pip install" in said) == old
    assert said.endswith("; for ltx-a, ltx-b")  # its autoencoder is of use


def test_a_tiny_autoencoder_of_another_model(tmp_path: Path):
    path = write(tmp_path / "t.safetensors", FileKind.TINY_VAE)
    good, bad = found(ModelOptions(tiny_vae=path))["tiny_vae"]
    assert not good
    assert "reads taeltx_2 and taeltx2_3" in bad


def test_truncated_and_missing(tmp_path: Path):
    path = Path(write(tmp_path / "c.safetensors", FileKind.TRANSFORMER))
    path.write_bytes(path.read_bytes()[:-1])
    report = found(ModelOptions(checkpoint=str(path), context="/no/such"))
    assert "truncated, 11 of 12 bytes" in report["checkpoint"][1]
    assert report["context"] == ("", "--context /no/such: No such file or directory")


def test_the_length_of_a_header_is_not_taken_for_another_format(tmp_path: Path):
    path = Path(write(tmp_path / "c.safetensors", FileKind.CONTEXT))
    whole = path.read_bytes()
    text = whole[8:-12].ljust(0x0280)  # which begins like a pickle
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[-12:])
    assert read_header(str(path)).kind is FileKind.CONTEXT


def test_a_folder_is_searched_by_what_is_in_its_files(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er" / "a.safetensors", FileKind.VAE)
    write(tmp_path / "model (1).safetensors", FileKind.TEMPORAL)
    (tmp_path / "saved.safetensors").write_bytes(b"<html>")
    lines = list(describe_files(ModelOptions(models=str(tmp_path)), USERS))
    assert ["autoencoder" in line.found for line in lines] == [True, False, False]
    assert "a temporal upsampler" in lines[1].found
    assert "a web page" in lines[2].wrong
    assert not any(line.named for line in lines)


def test_two_files_for_one_part_are_refused(tmp_path: Path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.safetensors", FileKind.VAE)
    parts = ModelParts(ModelOptions(models=str(tmp_path)))
    with pytest.raises(
        EngineUnavailableError, match=r"a\.safetensors and .*b\.safetensors .*--vae"
    ):
        parts.find(FileKind.VAE)
    named = ModelParts(ModelOptions(models=str(tmp_path), vae=str(tmp_path / "b.safetensors")))
    assert named.find(FileKind.VAE).path.endswith("b.safetensors")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("", "its index model.safetensors.index.json is missing; download that, too"),
        ("model-00001-of-00002.safetensors", "shard 1 of 2; name their folder, with model.safe"),
    ],
)
def test_shards_without_an_index(tmp_path: Path, named: str, message: str):
    for number in (1, 2):
        write(tmp_path / f"model-0000{number}-of-00002.safetensors", FileKind.TRANSFORMER)
    with pytest.raises(EngineUnavailableError, match=message):
        read_header(str(tmp_path / named))
    parts = ModelParts(ModelOptions(models=str(tmp_path)))
    with pytest.raises(EngineUnavailableError, match="none, but 2 files that cannot be used: see"):
        parts.find(FileKind.TRANSFORMER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version https://git-lfs", "index.json: it is a pointer of Git LFS, .* git lfs pull"),
        ("<!DOCTYPE html>", "index.json: it is a web page"),
        ("", "index.json: it is empty; download it again"),
        ("[1]", "index.json: not an index of shards; download it again"),
    ],
)
def test_an_index_that_is_none_says_what_it_is(tmp_path: Path, text: str, message: str):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(EngineUnavailableError, match=message):
        read_header(str(tmp_path))


def test_the_folder_of_a_pipeline_is_for_another_flag(tmp_path: Path):
    (tmp_path / "transformer").mkdir()
    write(tmp_path / "transformer" / "model.safetensors", FileKind.TRANSFORMER)
    with pytest.raises(EngineUnavailableError, match="in it; name the one that is inside it, or"):
        read_header(str(tmp_path))
    parts = ModelParts(ModelOptions(models=str(tmp_path)))
    assert parts.find(FileKind.TRANSFORMER).file_name == "model.safetensors"


def test_a_part_goes_before_the_one_in_a_checkpoint(tmp_path: Path):
    checkpoint = write(tmp_path / "c.safetensors", FileKind.CHECKPOINT)
    vae = write(tmp_path / "v.safetensors", FileKind.VAE)
    parts = ModelParts(ModelOptions(checkpoint=checkpoint, vae=vae))
    assert parts.find(FileKind.VAE).path == vae
    assert parts.find(FileKind.TRANSFORMER).path == checkpoint
    found_there = ModelParts(ModelOptions(models=str(tmp_path)))
    assert found_there.find(FileKind.VAE).path == vae
    assert found_there.find(FileKind.TRANSFORMER).path == checkpoint


def test_the_doctor_looks_at_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = write(tmp_path / "c.safetensors", FileKind.CONTEXT)
    assert main.run(["doctor", "--checkpoint", path]) == 5
    said = capsys.readouterr().out
    assert f"cannot be used: --checkpoint {path}: it holds a text context" in said
    monkeypatch.setenv("LTXFILTER_CONTEXT", path)
    assert main.run(["doctor"]) == 0
    assert "c.safetensors, " in capsys.readouterr().out
    (tmp_path / "saved.safetensors").write_bytes(b"<html>")
    assert main.run(["doctor", "--models", str(tmp_path)]) == 0  # nobody named that one
    assert "a web page" in capsys.readouterr().out
    assert main.run(["doctor", "--models", "/no/such"]) == 5


def test_a_file_is_looked_at_once_per_flag(tmp_path: Path):
    lora = write(tmp_path / "l.safetensors", FileKind.LORA)
    models = replace(ModelOptions(), loras=((lora, 1.0), (lora, -1.0)))
    lines = [line.found for line in describe_files(models, USERS) if line.field == "lora"]
    assert [text.rpartition(" ")[2] for text in lines] == ["1", "-1"]


def doctor_lines(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Return what doctor says of the engines."""
    main.run(["doctor", *words])
    lines = capsys.readouterr().out.splitlines()
    words = [line.split(None, 2) for line in lines if line.startswith("engine ")]
    return {name: rest for _, name, rest in words}


def test_an_engine_that_lacks_a_file_says_that_another_one_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html><html></html>")
    said = doctor_lines(capsys, "--checkpoint", str(page))
    assert said["ltx-motion"].startswith("lacks: --temporal-upsampler FILE (0.26 GB); and --check")
    assert "it is a web page" in said["ltx-motion"]


def test_an_engine_says_that_a_file_is_too_new_for_ltx_core(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    monkeypatch.setattr(installed, "builds_2_5", lambda: False)
    config = {"transformer": {"ff_bias": False}}
    newer = write(tmp_path / "a.safetensors", FileKind.TRANSFORMER, config=config)
    said = doctor_lines(capsys, "--models", str(tmp_path))["ltx-keyframe"]
    assert said.startswith("lacks: --vae FILE (1.5 GB), --spatial-upsampler FILE")
    assert "--transformer" not in said
    assert f"; and {newer}: its transformer is made for LTX-2.5, which needs ltx-core 1.2; " in said
    assert said.endswith(installed.NEWER)


def test_an_engine_says_that_two_files_could_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    one, other = (write(tmp_path / f"{name}.safetensors", FileKind.VAE) for name in "ab")
    write(tmp_path / "temporal.safetensors", FileKind.TEMPORAL)
    said = doctor_lines(capsys, "--models", str(tmp_path))
    both = f"{one} and {other} hold a video autoencoder each; name one of them by --vae"
    for engine in ("ltx-motion", "ltx-temporal"):
        assert said[engine] == f"cannot run: --models {tmp_path}: {both}"
    line = ["-f", "rawvideo", "-s", "64x64", "-r", "25", "-i", "-", str(tmp_path / "o.mkv")]
    words = ["doctor", "--", "--models", str(tmp_path), "--engine", "ltx-motion", *line]
    assert main.run(words) == 5
    told = capsys.readouterr().out
    assert f"engine ltx-motion cannot run: --models {tmp_path}: {both}" in told
    models = ModelOptions(models=str(tmp_path))
    engines.build("auto", models).open(video(), Fraction(50))
    assert f"ltx-motion cannot run: --models {tmp_path}: {both}" in caplog.text


def test_auto_is_not_ready_where_its_partner_cannot_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html><html></html>")
    temporal = write(tmp_path / "temporal.safetensors", FileKind.TEMPORAL)
    said = doctor_lines(capsys, "--checkpoint", str(page), "--temporal-upsampler", temporal)
    assert said["auto"].startswith(f"cannot run: ltx-motion: --checkpoint {page}: it is a web page")


def test_a_file_that_has_to_be_named_is_told_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    context = write(tmp_path / "context.safetensors", FileKind.CONTEXT)
    checkpoint = write(tmp_path / "checkpoint.safetensors", FileKind.CHECKPOINT)
    said = doctor_lines(capsys, "--models", str(tmp_path))
    assert said["ltx-keyframe"].endswith(f"--context {context} (found, and has to be named)")
    assert f"--checkpoint {checkpoint} (found, and has to be named)" in said["ltx-reference"]
    parts = ModelParts(ModelOptions(models=str(tmp_path)))
    with pytest.raises(EngineUnavailableError, match=f"name {context}, in --models {tmp_path}"):
        parts.find(FileKind.CONTEXT)
    with pytest.raises(EngineUnavailableError, match=f"--models {tmp_path} holds none"):
        parts.find(FileKind.SPATIAL)


def test_an_engine_is_not_ready_with_a_model_that_cannot_be_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
    vae = write(tmp_path / "vae.safetensors", FileKind.VAE, config={"transformer": {}})
    temporal = write(tmp_path / "temporal.safetensors", FileKind.TEMPORAL)
    said = doctor_lines(capsys, "--vae", vae, "--temporal-upsampler", temporal)
    for engine in ("ltx-motion", "ltx-temporal"):
        assert said[engine].startswith(f"cannot run: {vae}: no configuration in its metadata")
