"""What `doctor` says of six folders that people have, as docs/ltx.md shows it.

The files have the names, headers and sizes of real ones and no contents: they are sparse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support.ltx_layouts import PREFIX, QUANTIZED

from benchmarks import ltx_sizes as sizes
from ltxfilter.cli.commands import doctor
from ltxfilter.cli.commands.doctor import examine
from ltxfilter.engines.ltx.models import tiny_vae, upstream
from ltxfilter.engines.ltx.weights.files import FileKind
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.options import ModelOptions

DOCS = Path(__file__).parents[3] / "docs" / "ltx.md"
CONFIG = {"transformer": sizes.TRANSFORMER, "vae": sizes.VAE}
SIZE = {"BF16": 2, "F8_E4M3": 1, "U8": 1, "F32": 4}

Entry = tuple[str, tuple[int, ...], str]  # name, shape, type


def module(kind: str, config: dict[str, Any], prefix: str) -> Iterator[Entry]:
    for name, value in upstream.meta_module(kind, config, {}).state_dict().items():
        yield prefix + name, tuple(value.shape), "BF16"


def transformer(prefix: str = PREFIX) -> list[Entry]:
    return list(module("transformer", CONFIG, prefix))


def autoencoder(prefix: str = "vae.") -> list[Entry]:
    parts = ("encoder", "decoder")
    both = [entry for part in parts for entry in module(part, CONFIG, f"{prefix}{part}.")]
    own = {name.replace("encoder.per_", "per_"): (shape, kind) for name, shape, kind in both}
    return [(name, *rest) for name, rest in own.items() if "decoder.per_" not in name]


def in_8_bits(entries: list[Entry]) -> list[Entry]:
    found = []
    for name, shape, kind in entries:
        if QUANTIZED.fullmatch(name) and len(shape) == 2 and shape[0] > 64:
            found += [(name, shape, "F8_E4M3"), (name + "_scale", (), "F32")]
        else:
            found.append((name, shape, kind))
    return found


def sparse(path: Path, entries: list[Entry], config: Any = None) -> None:
    """Write a header and no contents."""
    header: dict[str, Any] = {"__metadata__": {"config": json.dumps(config)}} if config else {}
    place = 0
    for name, shape, kind in entries:
        end = place + prod(shape) * SIZE[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)


def upsampler(folder: Path, name: str, config: dict[str, Any]) -> None:
    sparse(folder / name, list(module("upsampler", config, "")), config)


def two_files(folder: Path) -> None:
    sparse(folder / "LTX23_video_vae_bf16.safetensors", autoencoder(""))
    temporal = "ltx-2.3-temporal-upscaler-x2-1.0.safetensors"
    upsampler(folder, temporal, sizes.TEMPORAL)


def official(folder: Path) -> None:
    text = [("text_embedding_projection.video_aggregate_embed.weight", (4096, 188160), "BF16")]
    path = folder / "ltx-2.3-22b-distilled-1.1.safetensors"
    sparse(path, [*transformer(), *autoencoder(), *text], CONFIG)
    upsampler(folder, "ltx-2.3-spatial-upscaler-x2-1.1.safetensors", sizes.SPATIAL)


def comfyui(folder: Path) -> None:
    two_files(folder)
    name = "ltx-2.3-22b-distilled-1.1_transformer_only_fp8_scaled.safetensors"
    sparse(folder / name, in_8_bits(transformer()))
    upsampler(folder, "ltx-2.3-spatial-upscaler-x2-1.1.safetensors", sizes.SPATIAL)
    upsampler(folder, "ltx-2-temporal-upscaler-x2-1.0.safetensors", sizes.TEMPORAL)


def dev(folder: Path) -> None:
    sparse(folder / "ltx-2.3-22b-dev.safetensors", [*transformer(), *autoencoder()], CONFIG)
    temporal = "ltx-2.3-temporal-upscaler-x2-1.0.safetensors"
    upsampler(folder, temporal, sizes.TEMPORAL)


def tiny(folder: Path) -> None:
    two_files(folder)
    own = [
        (name, tuple(value.shape), "BF16")
        for kind in tiny_vae.MODULES
        for name, value in tiny_vae.meta_module(kind).state_dict().items()
    ]
    sparse(folder / "taeltx2_3.safetensors", own)


def downloads(folder: Path) -> None:
    """What a first attempt leaves: a login page, a pointer, half a file, an unknown precision."""
    two_files(folder)
    (folder / "gemma.safetensors").write_bytes(b"<!doctype html><title>Sign in</title>")
    (folder / "lora.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    upsampler(folder, "spatial.safetensors", sizes.SPATIAL)
    with (folder / "spatial.safetensors").open("rb+") as file:
        file.truncate(500_000_000)
    whole = [
        (name, shape, "I8" if QUANTIZED.fullmatch(name) and len(shape) == 2 else kind)
        for name, shape, kind in transformer()
    ]
    SIZE["I8"] = 1
    sparse(folder / "ltx-2.3_int8_convrot.safetensors", whole)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "the two files to begin with": two_files,
    "the two files and a tiny autoencoder": tiny,
    "an official checkpoint and the spatial upscaler": official,
    "the parts that ComfyUI's users have": comfyui,
    "a dev checkpoint": dev,
    "a first attempt": downloads,
}


def said(folder: Path) -> str:
    """Return doctor's lines about files and LTX engines, without the folder's name."""
    lines = [finding.line() for finding in examine(ModelOptions(models=str(folder)))]
    own = [line for line in lines if line.startswith(("found", "models", "engine ltx", "try"))]
    return "\n".join(own).replace(f"{folder}/", "")


@pytest.mark.parametrize("name", FOLDERS)
def test_the_documentation_shows_what_doctor_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_cuda", lambda: "a GPU")
    folder = tmp_path / "ltx"
    folder.mkdir()
    FOLDERS[name](folder)
    shown = f"**{name[0].upper()}{name[1:]}**\n```text\n{said(folder)}\n```\n"
    assert shown in DOCS.read_text(), shown


def test_an_autoencoder_of_a_newer_generation_is_told_by_its_name(tmp_path: Path):
    """Its layers are those of LTX-2.3's; a temporal upscaler of its own goes with it."""
    two_files(tmp_path)
    (tmp_path / "LTX23_video_vae_bf16.safetensors").unlink()
    vae = tmp_path / "ltx-2.5-video-vae-conv-bf16.safetensors"
    sparse(vae, autoencoder(""))
    upsampler(tmp_path, "ltx-2.5-latent-temporal-upscaler-x2.safetensors", sizes.TEMPORAL)
    assert "LTX-2.5, autoencoder of 0.726 billion" in said(tmp_path)
    found = ModelParts(ModelOptions(models=str(tmp_path))).find(FileKind.TEMPORAL)
    assert found.file_name == "ltx-2.5-latent-temporal-upscaler-x2.safetensors"


def test_files_of_two_generations_are_not_ready(tmp_path: Path):
    two_files(tmp_path)
    temporal = tmp_path / "ltx-2.3-temporal-upscaler-x2-1.0.safetensors"
    temporal.rename(tmp_path / "ltx-2-temporal-upscaler-x2-1.0.safetensors")
    lines = said(tmp_path).splitlines()
    for engine in ("ltx-motion", "ltx-temporal"):
        line = next(each for each in lines if each.startswith(f"engine {engine}"))
        assert " cannot run: --temporal-upsampler ltx-2-temporal" in line
        assert line.endswith("take both of one generation")
    assert not any(line.startswith("try first") for line in lines)
