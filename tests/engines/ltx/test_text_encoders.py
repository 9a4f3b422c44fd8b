"""Text encoders in the forms that people have, wrong tokenizers, `--prompt` on a run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from support import ltx_layouts as layouts
from support import tiny_ltx
from support.ltx import flags
from support.ltx_layouts import Tensors, under, write

from ltxfilter.cli import main
from ltxfilter.engines.ltx import prompts
from ltxfilter.engines.ltx.models.text import gemma_weights
from ltxfilter.engines.ltx.models.text.gemma import TextEncoder, load_gemma
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

CPU = torch.device("cpu")
PROMPT = "w260 w261 w270"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    made = tiny_ltx.build(tmp_path_factory.mktemp("ltx"))
    return tiny_ltx.with_text(made, tmp_path_factory.mktemp("text"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def encoded(options: ModelOptions) -> torch.Tensor:
    return TextEncoder(ModelParts(options), str(options.gemma), "cpu")(PROMPT)


def text_model(options: ModelOptions) -> Tensors:
    """Return the text encoder's tensors under the names of its text model alone."""
    whole = tiny_ltx.read(str(Path(str(options.gemma)) / "model.safetensors"))
    found = {gemma_weights.gemma_name(name): value for name, value in whole.items()}
    return {name: value.to(torch.bfloat16) for name, value in found.items() if name}


def with_tokenizer(options: ModelOptions, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(str(options.gemma)) / name, folder)
    return folder


def one_file(options: ModelOptions, folder: Path, prefix: str = "model.") -> str:
    own = under(text_model(options), "", prefix)
    return str(write(with_tokenizer(options, folder) / "gemma.safetensors", own))


def in_shards(options: ModelOptions, folder: Path) -> str:
    own = under(text_model(options), "", "language_model.model.")
    return str(layouts.sharded(with_tokenizer(options, folder), own, None))


def of_diffusers(options: ModelOptions, folder: Path) -> str:
    with_tokenizer(options, folder / "tokenizer")
    own = under(text_model(options), "", "model.language_model.")
    write(folder / "text_encoder" / "model.safetensors", own)
    return str(folder)


FORMS: dict[str, Callable[[ModelOptions, Path], str]] = {
    "one file": one_file,
    "one file, bare": lambda options, folder: one_file(options, folder, ""),
    "shards": in_shards,
    "diffusers": of_diffusers,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by_layer", [False, True])
def test_a_text_encoder_in_any_form_gives_the_same(
    options: ModelOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    by_layer: bool,
):
    if by_layer:
        monkeypatch.setattr(gemma_weights, "free_memory", lambda device: 1000)
    path = FORMS[form](options, tmp_path / "gemma")
    assert torch.equal(encoded(replace(options, gemma=path)), encoded(options))


def fresh(name: str) -> Any:
    """Return a module as it is in its file, whatever tests have changed in it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


def test_the_configuration_for_bare_weights_is_ltx_cores():
    if find_spec("ltx_core.text_encoders.gemma.config") is None:
        pytest.skip("ltx_core 1.2 has none of its own")
    theirs = fresh("ltx_core.text_encoders.gemma.config").GEMMA3_CONFIG_FOR_LTX.to_dict()
    ours = fresh("ltxfilter.engines.ltx.models.text.gemma_3_12b").CONFIG
    for part in ("text_config", "vision_config"):
        assert ours[part].items() <= theirs.pop(part).items()
    assert {name: ours[name] for name in ours if name in theirs} == {
        name: value for name, value in theirs.items() if name in ours
    }


def test_layer_by_layer_holds_one_layer(options: ModelOptions):
    file = gemma_weights.find_gemma(str(options.gemma))
    model = gemma_weights.load_text_model(file, CPU, by_layer=True)
    assert all(value.is_meta for value in model.layers.parameters())
    held = []
    for layer in model.layers:
        layer.register_forward_pre_hook(
            lambda *_: held.append(sum(not v.is_meta for v in model.layers.parameters()))
        )
    model(input_ids=torch.ones(1, 4, dtype=torch.long), use_cache=False)
    assert set(held) == {len(list(model.layers[0].parameters()))}
    assert all(value.is_meta for value in model.layers.parameters())


def test_a_text_encoder_in_8_bits(options: ModelOptions, tmp_path: Path):
    own = {}
    for name, value in under(text_model(options), "", "model.").items():
        small = name.endswith("proj.weight")
        own |= (
            layouts.fp8_tensor(name.removesuffix(".weight"), value.float())
            if small
            else {name: value}
        )
    path = write(with_tokenizer(options, tmp_path / "g") / "gemma_fp8.safetensors", own)
    found, right = encoded(replace(options, gemma=str(path))), encoded(options)
    assert 0 < float((found.float() - right.float()).norm() / right.float().norm()) < 0.2


@pytest.mark.parametrize("words", [300, 290])
def test_a_text_encoder_in_gguf(options: ModelOptions, tmp_path: Path, words: int):
    """llama.cpp adds one to the weights of norms, and names everything otherwise.

    It leaves out embeddings that no word belongs to.
    """
    pytest.importorskip("gguf", reason="the gguf extra is not installed")
    inside = {new: old for old, new in gemma_weights.GGUF_INSIDE}
    begins = {new: old for old, new in gemma_weights.GGUF}
    own = {}
    for name, value in text_model(options).items():
        for new, old in begins.items():
            if name.startswith(new):
                name = old + name.removeprefix(new)
        for new, old in inside.items():
            name = name.replace(new, old)
        own[name] = value.float() + 1 if name.endswith("norm.weight") else value.float()
    own["token_embd.weight"] = own["token_embd.weight"][:words]
    path = with_tokenizer(options, tmp_path / "g") / "gemma-3-12b-it.gguf"
    layouts.write_gguf(path, own, "Q8_0")
    assert "blk.0.attn_q.weight" in own
    assert torch.equal(encoded(replace(options, gemma=str(path))), encoded(options))


@pytest.mark.parametrize("how", ["none", "another"])
def test_a_tokenizer_that_is_not_right_is_refused(options: ModelOptions, tmp_path: Path, how: str):
    """transformers makes one of 5 tokens where there is none, which takes all prompts for one."""
    path = Path(one_file(options, tmp_path / "g"))
    told = json.loads((path.parent / "tokenizer.json").read_text())
    if how == "none":
        (path.parent / "tokenizer.json").unlink()
        message = "no tokenizer beside it; put tokenizer.json"
    else:
        words = told["model"]["vocab"]
        told["model"]["vocab"] = {word: n for word, n in words.items() if n < 5}
        (path.parent / "tokenizer.json").write_text(json.dumps(told))
        message = "its tokenizer knows 5 tokens, and the model 300"
    with pytest.raises(EngineUnavailableError, match=message):
        load_gemma(str(path), CPU)


def test_prompts_that_come_out_alike_are_refused(options: ModelOptions):
    given = prompts.parse_schedule("0 a boat\n5 the sea\n", "x")  # words that it does not know
    with pytest.raises(EngineUnavailableError, match="come out alike"):
        prompts.make(given, None, replace(options, device="cpu"))


def test_a_context_belongs_to_its_text_encoder(options: ModelOptions, tmp_path: Path):
    first = prompts.CachedEncoder(options)(PROMPT)
    other = text_model(options)
    other["norm.weight"] = other["norm.weight"] + 1
    folder = with_tokenizer(options, tmp_path / "other")
    path = write(folder / "gemma.safetensors", under(other, "", "model."))
    second = prompts.CachedEncoder(replace(options, gemma=str(path)))(PROMPT)
    assert not torch.equal(first, second)
    assert torch.equal(prompts.CachedEncoder(options)(PROMPT), first)
    latest = prompts.CachedEncoder(replace(options, gemma=None))(PROMPT)
    assert torch.equal(latest, second)


def test_the_text_projection_may_be_a_file_of_its_own(options: ModelOptions, tmp_path: Path):
    whole = tiny_ltx.read(str(options.checkpoint))
    rest = under(whole, layouts.PREFIX, layouts.PREFIX)
    text = under(whole, "text_embedding_projection.", "text_embedding_projection.")
    split = replace(
        options,
        checkpoint=None,
        transformer=str(write(tmp_path / "t.safetensors", rest, tiny_ltx.CONFIG)),
        text_projection=str(write(tmp_path / "p.safetensors", text)),
    )
    assert torch.equal(encoded(split), encoded(options))
    with pytest.raises(EngineUnavailableError, match="--text-projection FILE is needed"):
        encoded(replace(split, text_projection=None))


def with_projection(options: ModelOptions, folder: Path, made: Tensors) -> ModelOptions:
    """Return models whose text projection is a file of its own."""
    whole = tiny_ltx.read(str(options.checkpoint))
    rest = under(whole, layouts.PREFIX, layouts.PREFIX)
    return replace(
        options,
        checkpoint=None,
        transformer=str(write(folder / "t.safetensors", rest, tiny_ltx.CONFIG)),
        text_projection=str(write(folder / "p.safetensors", made)),
    )


@pytest.mark.parametrize("kind", ["of another Gemma", "of LTX-2"])
def test_a_text_projection_that_does_not_fit_is_refused_before_gemma_is_read(
    options: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    whole = tiny_ltx.read(str(options.checkpoint))
    own = under(whole, "text_embedding_projection.", "text_embedding_projection.")
    if kind == "of LTX-2":
        own = {"text_embedding_projection.aggregate_embed.weight": torch.zeros(40, 96)}
        message = r"--text-projection .* is of LTX-2, and a transformer of LTX-2\.3 is used"
    else:
        own = {n: v[:, :64].contiguous() if v.ndim == 2 else v for n, v in own.items()}
        message = "its text projection takes 64 numbers per token, and --gemma .* makes 96; "
    monkeypatch.setattr(gemma_weights, "read_tensors", None)
    with pytest.raises(EngineUnavailableError, match=message):
        encoded(with_projection(options, tmp_path, own))


@pytest.mark.parametrize("kind", ["gemma3_text", "t5", "llama", "smaller"])
def test_the_configuration_beside_a_text_encoder(options: ModelOptions, tmp_path: Path, kind: str):
    """A text model's own counts as well; one of another program counts for a folder alone."""
    path = Path(one_file(options, tmp_path / "g"))
    told = json.loads((Path(str(options.gemma)) / "config.json").read_text())
    if kind == "smaller":
        told["text_config"]["num_hidden_layers"] = 1
    else:
        told = (told["text_config"] if kind == "gemma3_text" else {}) | {"model_type": kind}
    (path.parent / "config.json").write_text(json.dumps(told))
    refused = {
        "llama": "its config.json says that it is llama; LTX-2 and LTX-2.3 take Gemma 3 12B",
        "smaller": "takes 96 numbers per token, and --gemma .* makes 64; LTX-2 and",
    }
    given = replace(options, gemma=str(path if kind == "t5" else path.parent))
    if kind in refused:
        with pytest.raises(EngineUnavailableError, match=refused[kind]):
            encoded(given)
    else:
        assert torch.equal(encoded(given), encoded(options))


@pytest.mark.parametrize("how", ["fewer layers", "narrower"])
def test_another_gemma_is_refused_before_it_is_read(
    options: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    path = Path(one_file(options, tmp_path / "g"))
    own = tiny_ltx.read(str(path))
    if how == "narrower":
        own = {name: value[..., :16].contiguous() for name, value in own.items()}
    else:
        own = {name: value for name, value in own.items() if "layers.1." not in name}
    write(path, own)
    message = {
        "fewer layers": r"it lacks layers\.1\..* more; LTX-2 and LTX-2\.3 take Gemma 3 12B",
        "narrower": "embed_tokens.weight is 300 by 16 there and 300 by 32 in the model; LTX-2",
    }[how]
    monkeypatch.setattr(gemma_weights, "read_tensors", None)
    with pytest.raises(EngineUnavailableError, match=message):
        encoded(replace(options, gemma=str(path)))


@pytest.mark.parametrize(
    "spec", ["ltx-keyframe:steps=1:refine=1", "ltx-keyframe:mode=guided:steps=1"]
)
def test_a_prompt_on_a_run(
    options: ModelOptions,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spec: str,
):
    """Guidance leads away from an empty prompt, so that it works without a negative one."""
    asked = replace(options, context=None, prompt=PROMPT)
    words = ["--engine", spec, *flags(asked, spec), "-i", str(clip), "-t", "0.2"]
    words += ["-c:v", "ffv1"]
    assert main.run([*words, str(tmp_path / "a.mkv")]) == 0, capsys.readouterr().err
    without = [word for word in words if word not in ("--gemma", str(options.gemma))]
    assert main.run([*without, str(tmp_path / "b.mkv")]) == 0, capsys.readouterr().err
    both = [*words, "--context", str(options.context), str(tmp_path / "c.mkv")]
    assert main.run(both) == 2
    assert "--prompt and --context: give one of them" in capsys.readouterr().err


def test_a_run_without_a_prompt_says_what_to_do(
    options: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = replace(options, context=None, gemma=None)
    words = ["--engine", "ltx-keyframe", *flags(asked, "ltx-keyframe"), "-i", str(clip)]
    assert main.run([*words, str(tmp_path / "a.mkv")]) == 5
    said = capsys.readouterr().err
    assert "make one with ltxfilter context, or give --prompt TEXT --gemma FILE" in said


def test_doctor_says_what_a_prompt_lacks(
    options: ModelOptions, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Nothing once the prompt was encoded, whatever became of the text encoder."""
    whole = tiny_ltx.read(str(options.checkpoint))
    bare = {name: value for name, value in whole.items() if "text_embedding" not in name}
    path = write(tmp_path / "bare.safetensors", bare, tiny_ltx.CONFIG)
    spec, asked = "ltx-keyframe:stages=1:steps=1", replace(options, context=None, prompt=PROMPT)

    def said(models: ModelOptions) -> str:
        end = ["-i", str(clip), "-t", "0.1", str(tmp_path / "a.mkv")]
        main.run(["doctor", "--", "--engine", spec, *flags(models, spec), *end])
        return capsys.readouterr().out

    lacks = "engine ltx-keyframe lacks: --gemma FILE (10 to 24 GB)"
    assert f"{lacks}, --text-projection FILE (2.3 GB)" in said(
        replace(asked, checkpoint=str(path), gemma=None)
    )
    wrong = replace(asked, gemma=str(options.context))
    told = said(wrong)  # of the file, and of the engine that takes it
    assert told.count("it holds a text context, not a Gemma text encoder") == 2
    assert "engine ltx-keyframe cannot run: --gemma" in told
    assert "this command        will work" in said(asked)
    prompts.with_context(asked)
    assert "this command        will work" in said(replace(asked, gemma=None))
