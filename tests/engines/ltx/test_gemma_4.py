"""Prompts of LTX-2.5, which Gemma 4 encodes: with the classes of ltx_core 1.2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from support import tiny_gemma_4, tiny_ltx

from ltxfilter.cli import main
from ltxfilter.engines.ltx import prompts
from ltxfilter.engines.ltx.models.contexts import read_contexts
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

WORKS = (5, 8) <= tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 15)
Built = tuple[ModelOptions, Any, torch.nn.Module]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    config = tiny_ltx.generation("LTX-2.5")
    if not WORKS:
        pytest.skip("ltx_core 1.2 runs Gemma 4 with transformers 5.8 to 5.14")
    torch.set_num_threads(1)
    options = tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config)
    return tiny_gemma_4.build(options, tmp_path_factory.mktemp("text"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def context(options: ModelOptions, out: Path, prompt: str) -> torch.Tensor:
    words = ["context", "--checkpoint", str(options.checkpoint), "--gemma", str(options.gemma)]
    assert main.run([*words, "--device", "cpu", "--prompt", prompt, "-o", str(out)]) == 0
    return read_contexts(files.open_file(str(out), FileKind.CONTEXT, "--context")).positive


def test_a_context_equals_that_of_transformers(built: Built, tmp_path: Path):
    """The beginning's token first, padding on the left, every layer's states."""
    options, encoder, layers = built
    found = context(options, tmp_path / "c.safetensors", "w260 w261")
    ids = torch.zeros(1, 1024, dtype=torch.int64)
    ids[0, -3:] = torch.tensor([2, 260, 261])
    mask = (torch.arange(1024) >= 1021).long()[None]
    with torch.no_grad():
        states = encoder.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        expected = layers.process_hidden_states(states, mask).video_encoding
    assert torch.equal(found, expected)
    assert not torch.equal(found, context(options, tmp_path / "d.safetensors", "w262"))


def test_a_step_with_a_prompt(built: Built, tmp_path: Path):
    options = built[0]
    context(options, tmp_path / "c.safetensors", "w260 w261")
    models = Models(replace(options, context=str(tmp_path / "c.safetensors")))
    latent, ones = torch.randn(1, 12, 128), torch.ones(1, 12, 1)
    found = models.velocity(latent, 1.0, ones, torch.rand(1, 3, 12, 2), models.context(), first=4)
    assert torch.isfinite(found).all()


def test_what_the_file_is(built: Built):
    file = files.read_header(str(built[0].gemma))
    assert file.kind is FileKind.GEMMA
    assert file.holds == {FileKind.GEMMA, FileKind.TEXT}


@pytest.fixture(scope="module")
def gemma_3(built: Built, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of Gemma 3, after it is known that the tests run."""
    folder = tmp_path_factory.mktemp("older")
    tiny_ltx.with_text(tiny_ltx.build(folder), folder)
    (folder / "processor_config.json").write_text("{}")
    return str(folder)


def test_gemma_3_is_refused(built: Built, gemma_3: str):
    """Its states have the same size, and would go through."""
    wrong = replace(built[0], gemma=gemma_3)
    with pytest.raises(EngineUnavailableError, match=r"holds gemma3, and LTX-2\.5 reads"):
        prompts.CachedEncoder(wrong)("w260")


def test_another_version_is_refused(built: Built, tmp_path: Path):
    tensors = tiny_ltx.read(str(built[0].gemma))
    other = {"gemma_config": json.dumps(tiny_gemma_4.CONFIG | {"gemma_version": "another"})}
    tiny_ltx.write(tmp_path / "g.safetensors", tensors, other)
    wrong = replace(built[0], gemma=str(tmp_path / "g.safetensors"))
    with pytest.raises(EngineUnavailableError, match="Gemma version mismatch"):
        prompts.CachedEncoder(wrong)("w260")


@pytest.mark.parametrize("lost", ["model.norm.weight", "text_embedding_projection."])
def test_a_missing_weight_is_refused(built: Built, tmp_path: Path, lost: str):
    options = built[0]
    own = tiny_ltx.read(str(options.gemma))
    kept = {name: value for name, value in own.items() if not name.startswith(lost)}
    told = {"gemma_config": json.dumps(tiny_gemma_4.CONFIG)}
    tiny_ltx.write(tmp_path / "g.safetensors", kept, told)
    with pytest.raises(EngineUnavailableError, match="it lacks "):
        prompts.CachedEncoder(replace(options, gemma=str(tmp_path / "g.safetensors")))("w260")


def test_what_is_needed_is_said(built: Built):
    with pytest.raises(EngineUnavailableError, match=r"--gemma FILE is needed: .* gemma4-12b"):
        prompts.CachedEncoder(replace(built[0], gemma=None))("w260")
