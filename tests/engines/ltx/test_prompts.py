"""Prompts: schedules, context files, the cache, and the text encoder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx
from support.tools import TIMEOUT, wait_until

from ltxfilter.cli import main
from ltxfilter.engines.ltx import prompts as context
from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import files
from ltxfilter.errors import EngineUnavailableError, OptionError, OutputError
from ltxfilter.options import ModelOptions

ROOT = Path(main.__file__).parents[2]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_a_schedule():
    text = "# harbour\n0 a quay at dawn\n\n00:00:10 a boat leaves\n1:02:03.5 night: \tfog\n"
    assert context.parse_schedule(text, "x") == (
        Prompt(Fraction(0), "a quay at dawn"),
        Prompt(Fraction(10), "a boat leaves"),
        Prompt(Fraction(7447, 2), "night: \tfog"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10 a\n5 b", "line 2: times must ascend, 5 does not"),
        ("10 a\n10 b", "line 2: times must ascend"),
        ("a boat", "line 1: time 'a'"),
        ("0 a\n7", "line 2: write a time, a space and a prompt"),
        ("# nothing\n", "no prompt in it"),
    ],
)
def test_a_wrong_schedule(text: str, message: str):
    with pytest.raises(OptionError, match=message):
        context.parse_schedule(text, "prompts.txt")


def contexts(count: int, negative: bool = False) -> Contexts:
    made = torch.arange(count * 128 * 48.0).reshape(count, 128, 48)
    prompts = tuple(Prompt(Fraction(10 * number, 3), f"p{number}") for number in range(count))
    return Contexts(prompts, made, made[:1] + 1 if negative else None)


def test_contexts_survive_their_file(options: ModelOptions, tmp_path: Path):
    made = contexts(3, negative=True)
    made.write(tmp_path / "c.safetensors")
    models = Models(replace(options, context=str(tmp_path / "c.safetensors")))
    for time, number in ((-1, 0), (0, 0), (3.3, 0), (Fraction(10, 3), 1), (6, 1), (1000, 2)):
        assert torch.equal(models.context(Fraction(time)), made.positive[number : number + 1])
    found = models.negative_context()
    assert found is not None
    assert torch.equal(found, made.positive[:1] + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_file_of_another_program(options: ModelOptions, tmp_path: Path):
    for shape in ((128, 48), (1, 128, 48)):
        path = tmp_path / f"{len(shape)}.safetensors"
        tiny_ltx.write(
            path, {"video_context": torch.ones(shape), "audio_context": torch.ones(3)}, {}
        )
        models = Models(replace(options, context=str(path)))
        assert torch.equal(models.context(), torch.ones(1, 128, 48))
        assert models.negative_context() is None


def test_prompts_and_contexts_that_do_not_match(options: ModelOptions, tmp_path: Path):
    path = tmp_path / "c.safetensors"
    words = json.dumps([["0", "a"], ["1", "b"]])
    tiny_ltx.write(path, {"video_context": torch.ones(1, 128, 48)}, {"prompts": words})
    with pytest.raises(EngineUnavailableError, match="1 contexts for 2 prompts"):
        Models(replace(options, context=str(path))).context()


@pytest.mark.parametrize(
    "prompts",
    ['[["1/0","a"]]', '[["1e999999999","a"]]', '[[3,"a"]]', '{"0":1}', "[" * 100_000, '["0"]', "5"],
    ids=lambda prompts: prompts[:14],
)
def test_odd_prompts_in_a_context_file_are_refused(
    options: ModelOptions, tmp_path: Path, prompts: str
):
    path = tmp_path / "c.safetensors"
    tiny_ltx.write(path, {"video_context": torch.ones(1, 128, 48)}, {"prompts": prompts})
    with pytest.raises(EngineUnavailableError, match="1 contexts for 0 prompts"):
        Models(replace(options, context=str(path))).context()


def test_a_header_that_safetensors_refuses_is_named(options: ModelOptions, tmp_path: Path):
    header = b'{"video_context":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}'
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(EngineUnavailableError, match="not a safetensors file"):
        Models(replace(options, context=str(path))).context()


def test_a_text_encoder_brings_no_code_and_no_pickles(
    text_options: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its weights are read by the tensor, so that only its tokenizer comes from transformers."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from ltxfilter.engines.ltx.models.text.gemma import load_gemma

    asked = []

    def load(*_: object, **words: object) -> list[int]:
        asked.append(words)
        return []

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", load)
    with pytest.raises(EngineUnavailableError, match="its tokenizer knows 0 tokens"):
        load_gemma(str(text_options.gemma), torch.device("cpu"))
    assert [(each["trust_remote_code"], each["local_files_only"]) for each in asked] == [
        (False, True)
    ]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EngineUnavailableError, match=r"without a \.safetensors or \.gguf file"):
        load_gemma(str(tmp_path), torch.device("cpu"))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", '{"model_type": 5}', '{"model_type": "gemma3"}']
)
def test_an_odd_text_encoder_is_refused(text_options: ModelOptions, tmp_path: Path, text: str):
    pytest.importorskip("transformers", reason="transformers is not installed")
    from ltxfilter.engines.ltx.models.text.gemma import load_gemma

    for path in Path(str(text_options.gemma)).iterdir():
        if path.name.startswith(("model", "tokenizer")):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineUnavailableError, match="--gemma "):
        load_gemma(str(tmp_path), torch.device("cpu"))


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(OutputError, match="No such file"):
        contexts(1).write(tmp_path / "none" / "c.safetensors")


def test_fingerprints_tell_checkpoints_apart(options: ModelOptions, tmp_path: Path):
    def of(path: str | None) -> str:
        assert path
        return context.fingerprint(files.read_header(path))

    other = tiny_ltx.build(tmp_path, seed=1)
    assert of(options.checkpoint) != of(other.checkpoint)
    assert of(options.checkpoint) == of(options.checkpoint)


@pytest.fixture(scope="module")
def text_options(options: ModelOptions, tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    pytest.importorskip("transformers", reason="transformers is not installed")
    return tiny_ltx.with_text(options, tmp_path_factory.mktemp("text"))


def run(options: ModelOptions, out: Path, *words: str, gemma: bool = True) -> int:
    line = ["context", "--checkpoint", str(options.checkpoint), "-o", str(out), "--device", "cpu"]
    return main.run([*line, *words, *(["--gemma", str(options.gemma)] if gemma else [])])


def test_from_a_prompt_to_a_step(text_options: ModelOptions, tmp_path: Path):
    out = tmp_path / "scene.safetensors"
    assert run(text_options, out, "--prompt", "w260 w261 hello", "--negative", "w262") == 0
    models = Models(replace(text_options, context=str(out)))
    found, away = models.context(), models.negative_context()
    assert found.shape == (1, 1024, 48)
    assert torch.isfinite(found).all()
    assert away is not None
    assert not torch.equal(found, away)


def test_the_cache_needs_no_text_encoder(
    text_options: ModelOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    assert run(text_options, first, "--prompt", "w270") == 0
    assert run(text_options, second, "--prompt", "w270", gemma=False) == 0
    assert first.read_bytes() == second.read_bytes()
    assert run(text_options, second, "-y", "--prompt", "w271", gemma=False) == 5
    assert "--gemma FOLDER is needed" in capsys.readouterr().err


def test_a_prompt_file(text_options: ModelOptions, tmp_path: Path):
    schedule = tmp_path / "prompts.txt"
    schedule.write_text("0 w260\n10 w261\n")
    out = tmp_path / "scene.safetensors"
    assert run(text_options, out, "--prompt-file", str(schedule)) == 0
    models = Models(replace(text_options, context=str(out)))
    assert not torch.equal(models.context(), models.context(Fraction(10)))


def test_upstreams_text_encoder_gives_the_same(text_options: ModelOptions, tmp_path: Path):
    """Upstream's own loader of Gemma runs on transformers 4; its layers after Gemma on any."""
    transformers = pytest.importorskip("transformers")
    from ltx_core.loader.single_gpu_model_builder import SingleGPUModelBuilder
    from ltx_core.text_encoders.gemma import (
        EMBEDDINGS_PROCESSOR_KEY_OPS,
        EmbeddingsProcessorConfigurator,
    )

    out = tmp_path / "scene.safetensors"
    assert run(text_options, out, "--prompt", "w260 w261") == 0
    gemma = transformers.Gemma3ForConditionalGeneration.from_pretrained(
        text_options.gemma, dtype=torch.bfloat16
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_options.gemma)
    tokenizer.padding_side = "left"
    given = tokenizer("w260 w261", padding="max_length", max_length=1024, return_tensors="pt")
    configurator = EmbeddingsProcessorConfigurator
    if hasattr(configurator, "with_gemma_model_path"):  # ltx_core 1.2 asks for all of a folder
        (Path(str(text_options.gemma)) / "processor_config.json").write_text("{}")
        configurator = configurator.with_gemma_model_path(str(text_options.gemma))
    processor = SingleGPUModelBuilder(
        model_class_configurator=configurator,
        model_path=text_options.checkpoint,
        model_sd_ops=EMBEDDINGS_PROCESSOR_KEY_OPS,
    ).build(device=torch.device("cpu"), dtype=torch.bfloat16)
    with torch.no_grad():
        states = gemma.model(**given, output_hidden_states=True).hidden_states
        expected = processor.process_hidden_states(states, given.attention_mask).video_encoding
    found = Models(replace(text_options, context=str(out)), dtype=torch.bfloat16).context()
    assert torch.equal(found, expected)


def test_a_broken_torchaudio_does_not_matter(tmp_path: Path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "torchaudio.py").write_text("raise OSError('libtorch_cuda.so: not here')")
    code = """
from types import SimpleNamespace
from support import tiny_ltx
from support.tools import TIMEOUT, wait_until
from ltxfilter.engines.ltx.models import upstream
gemma = SimpleNamespace(hidden_size=32, num_hidden_layers=2)
print(type(upstream.meta_module("text", tiny_ltx.CONFIG, {}, gemma)).__name__)
"""
    before = os.environ.get("PYTHONPATH", "")  # where an ltx_core of a checkout is
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "tests"), str(ROOT), before])
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "EmbeddingsProcessor\n", found.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "give --prompt or --prompt-file"),
        (("--prompt", "a", "--prompt-file", "b"), 2, "give --prompt or --prompt-file"),
        (("--prompt-file", "/no/such"), 3, "No such file"),
        (("--prompt", "a", "--gemma", "/no/such"), 5, "--gemma /no/such: No such file"),
        (("--prompt", "a", "--checkpoint", "/no/such"), 5, "--checkpoint /no/such: No such file"),
    ],
)
def test_errors_of_the_context_command(
    options: ModelOptions,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    message: str,
):
    if "--gemma" in words:
        pytest.importorskip("transformers", reason="transformers is not installed")
    assert run(options, tmp_path / "out.safetensors", *words, gemma=False) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


SLOW = """
import sys, time
from pathlib import Path
from ltxfilter.cli import main
from ltxfilter.media import output_file
def make(*given):
    Path(sys.argv[1]).touch()
    time.sleep(60)
class Output(output_file.OutputFile):
    def __init__(self, *given):
        super().__init__(*given)
        from ltxfilter.engines.ltx import prompts  # torch is imported by the command
        prompts.make = make
output_file.OutputFile = Output
sys.exit(main.run(sys.argv[2:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_encoding_and_leaves_nothing(
    options: ModelOptions, tmp_path: Path, number: int, code: int
):
    begun, out = tmp_path / "begun", tmp_path / "out" / "c.safetensors"
    out.parent.mkdir()
    words = ["context", "--prompt", "a", "--checkpoint", str(options.checkpoint), "-o", str(out)]
    command = [sys.executable, "-c", SLOW, str(begun), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until(begun.exists, "the prompt was not encoded")
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code
    assert f"stopped by signal {number}" in errors.decode()
    assert not list(out.parent.iterdir())
