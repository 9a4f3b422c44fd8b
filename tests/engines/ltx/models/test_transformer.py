"""Steps of the transformer with cached text, and replayed on fixed buffers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx

from ltxfilter.engines.ltx.models import text_cache, upstream
from ltxfilter.engines.ltx.models.cuda_graphs import GraphCache, choose_graphs, uncaptured
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.models.text_cache import TextProjection
from ltxfilter.engines.ltx.models.transformer import Transformer
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

CPU = torch.device("cpu")
PROMPT = 2 * 2 * tiny_ltx.TOKENS * tiny_ltx.WIDTH * 4  # bytes: 2 blocks, keys and values, float32
SIGMAS = (0.9, 0.5)


@pytest.fixture(scope="module", params=["LTX-2.3", "LTX-2", "LTX-2.5"])
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    torch.set_num_threads(1)
    config = tiny_ltx.generation(request.param)
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


POSITIONS = random(1, 3, 12, 2, seed=1).abs()


class Steps:
    """A transformer, and its steps."""

    first = 4  # tokens of the first latent frame, of twelve

    def __init__(self, options: ModelOptions, text: int | None, graphs: GraphCache | None = None):
        self.models = Models(options)
        self.runner = Transformer(self.models._module("transformer"), text, graphs)

    def __call__(self, sigma, seed=0, batch=1, context=None, skipped=()):
        if context is None:
            context = self.models.context()
        with torch.no_grad():
            return self.runner.velocity(
                random(batch, 12, 128, seed=seed),
                sigma,
                torch.full((batch, 12, 1), float(sigma)),
                POSITIONS.expand(batch, -1, -1, -1),
                context=context,
                first=self.first,
                skipped=skipped,
            )


def everything(step):
    """Return three windows of two guided steps each, in the order of a window's loop."""
    found = []
    for seed in range(3):
        for sigma in SIGMAS:
            found += [step(sigma, seed, 2), step(sigma, seed, 2, skipped=(1,))]
            found.append(step(sigma, seed, 2, context=-step.models.context()))
    return found


@pytest.mark.parametrize(
    "text", [None, 1, 2 * PROMPT, 100 * PROMPT], ids=["no cache", "none", "two", "all"]
)
@pytest.mark.parametrize("graphs", [False, True])
def test_the_result_does_not_depend_on_the_cache(options, text, graphs):
    plain = everything(Steps(options, 0))
    step = Steps(options, text, GraphCache(uncaptured) if graphs else None)
    assert all(torch.equal(a, b) for a, b in zip(everything(step), plain, strict=True))
    assert text is None or step.runner.text.nbytes <= text


def test_the_result_is_that_of_the_model_itself(options):
    untouched, step = Models(options)._module("transformer"), Steps(options, 1 << 20)
    assert not any(isinstance(layer, TextProjection) for layer in untouched.modules())
    plain = Transformer(untouched, None)
    for _ in range(2):
        for sigma in SIGMAS:
            given = random(1, 12, 128), sigma, torch.full((1, 12, 1), sigma), POSITIONS
            with torch.no_grad():
                expected = plain.velocity(*given, context=step.models.context(), first=step.first)
            assert torch.equal(step(sigma), expected)


def test_text_is_computed_once_per_prompt_and_sigma(options):
    step = Steps(options, 1 << 20)
    first = next(m for m in step.runner._module.modules() if isinstance(m, TextProjection))
    rows = []
    first.layer.register_forward_hook(lambda layer, given, found: rows.append(len(found)))
    for seed in range(3):
        for sigma in SIGMAS:
            step(sigma, seed, batch=3)
    settings = step.models.transformer_file.config["transformer"]
    levels = len(SIGMAS) if settings.get("cross_attention_adaln") else 1
    assert rows == [1] * levels
    assert step.runner.text.nbytes == PROMPT * levels


def test_different_prompts_in_a_batch(options):
    step = Steps(options, 1 << 20)
    one, other = step.models.context(), -step.models.context()
    both = step(0.5, batch=2, context=torch.cat([one, other]))
    torch.testing.assert_close(both[:1], step(0.5, batch=2, context=one)[:1])
    torch.testing.assert_close(both[1:], step(0.5, batch=2, context=other)[1:])
    assert not torch.allclose(both[1:], step(0.5, batch=2, context=one)[1:])


def test_a_small_cache_keeps_its_first_entries(tmp_path):
    step = Steps(tiny_ltx.build(tmp_path), 3 * PROMPT)
    text, found = step.runner.text, []
    for _ in range(4):
        for sigma in (0.9, 0.7, 0.5, 0.3, 0.1):
            found.append(text.find(step.models.context(), sigma) is not None)
            step(sigma)
            assert text.nbytes <= 3 * PROMPT
    assert sum(found[5:]) >= 2 * 3  # two of five in every later round
    assert not any(found[:5])


def test_prompts_of_earlier_scenes_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(text_cache, "STALE", 3)
    step = Steps(tiny_ltx.build(tmp_path), 2 * PROMPT)
    scenes = [step.models.context() * factor for factor in (1.0, 2.0)]
    for scene in scenes:
        for _ in range(4):
            for sigma in SIGMAS:
                step(sigma, context=scene)
    for sigma in SIGMAS:
        assert step.runner.text.find(scenes[1], sigma) is not None
        assert step.runner.text.find(scenes[0], sigma) is None


def test_a_changed_tensor_is_another_prompt(tmp_path):
    step = Steps(tiny_ltx.build(tmp_path), 1 << 20)
    context = step.models.context().clone()
    before = step(0.5, context=context)
    context.neg_()
    changed = step(0.5, context=context)
    assert torch.equal(changed, step(0.5, context=context.clone()))
    assert not torch.equal(changed, before)


@pytest.mark.parametrize("text", [None, 0, 1 << 20])
def test_a_repeated_step_is_replayed(tmp_path, text):
    captured = []

    def capture(function):
        captured.append(function)
        return function

    graphs = GraphCache(capture)
    step = Steps(tiny_ltx.build(tmp_path), text, graphs)
    for batch in (1, 2):
        for seed in range(4):
            for sigma in SIGMAS:
                step(sigma, seed, batch)
    assert len(graphs) == len(captured) == 2  # one per size, whatever the sigma
    step(0.5, batch=2, skipped=(0,))
    step(0.5, batch=2, skipped=(0,))
    assert len(graphs) == 3


def test_what_cannot_be_captured_runs_as_usual(tmp_path, caplog):
    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    options = tiny_ltx.build(tmp_path)
    step = Steps(options, 1 << 20, GraphCache(refuse))
    found = everything(step)
    assert all(torch.equal(a, b) for a, b in zip(found, everything(Steps(options, 0)), strict=True))
    (record,) = caplog.records
    assert record.message.endswith("slower: operation not permitted when stream is capturing")


def test_large_steps_are_not_replayed(tmp_path):
    graphs = GraphCache(uncaptured, max_tokens=20)
    step = Steps(tiny_ltx.build(tmp_path), 1 << 20, graphs)
    for seed in range(3):
        step(0.5, seed, batch=2)
    assert not len(graphs)
    for seed in range(3):
        step(0.5, seed, batch=1)
    assert len(graphs) == 1


def test_the_cache_works_in_inference_mode(tmp_path):
    models = Models(tiny_ltx.build(tmp_path), text_memory=0.01)
    step = Steps(models.options, 0)
    models._loaded["running transformer"] = Transformer(
        models._module("transformer"), 1 << 20, GraphCache(uncaptured)
    )
    for seed, mode in enumerate((True, False, True, False)):
        given = random(1, 12, 128, seed=seed), 0.5, torch.full((1, 12, 1), 0.5), POSITIONS
        with torch.inference_mode(mode=mode):
            found = models.velocity(*given, models.context())
        assert torch.equal(found, step(0.5, seed))


def test_several_threads_get_the_same_results(tmp_path):
    options = tiny_ltx.build(tmp_path)
    step, plain = Steps(options, 3 * PROMPT, GraphCache(uncaptured)), Steps(options, 0)
    work = [(sigma, seed) for seed in range(6) for sigma in (0.9, 0.7, 0.5, 0.3)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda item: step(*item), work))
    assert all(torch.equal(a, plain(*item)) for a, item in zip(found, work, strict=True))


def test_no_block_to_skip_is_said_to_ltx_core_1_2(monkeypatch):
    """Its models would make the same at every step, out of host memory, which no graph captures."""

    class Batched:
        def __init__(self, perturbations, num_blocks, device, dtype):
            self.made = perturbations, num_blocks, device, dtype

    model = torch.nn.Module()
    model.transformer_blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(3))
    latent = torch.zeros(2, 12, 128)
    monkeypatch.setattr(upstream, "BatchedPerturbationConfig", lambda perturbations: perturbations)
    assert upstream.skip_attention((), model, latent) is None
    monkeypatch.setattr(upstream, "BatchedPerturbationConfig", Batched)
    windows, blocks, device, kind = upstream.skip_attention((), model, latent).made
    assert [window.perturbations for window in windows] == [[], []]
    assert (blocks, device, kind) == (3, latent.device, latent.dtype)


def test_what_a_step_skips_is_made_once(tmp_path, monkeypatch):
    made = []
    plain = upstream.skip_attention

    def counted(blocks, *rest):
        made.append(blocks)
        return plain(blocks, *rest)

    monkeypatch.setattr(upstream, "skip_attention", counted)
    everything(Steps(tiny_ltx.build(tmp_path), 1 << 20, GraphCache(uncaptured)))
    assert sorted(made) == [(), (1,)]


def test_a_window_is_tried_until_its_steps_are_captured(tmp_path):
    """So that the memory of graphs is taken before work starts, and counted."""
    graphs = GraphCache(uncaptured)
    step = Steps(tiny_ltx.build(tmp_path), 1 << 20, graphs)
    found = []
    for _ in range(4):
        for sigma in SIGMAS:
            step(sigma)
        found.append((step.runner.captures_later, len(graphs)))
    assert found == [(True, 0), (False, 1), (False, 1), (False, 1)]
    assert not Steps(step.models.options, 1 << 20).runner.captures_later


def test_a_trial_takes_as_many_windows_as_it_must(monkeypatch):
    from support.pictures import video

    from ltxfilter.engines.ltx import memory_check
    from ltxfilter.windows.window import WindowShape

    drawn, answers = [], iter([True, False, True])
    engine = SimpleNamespace(
        name="test", prepare=lambda _: None, draw=lambda *_: drawn.append(1) or []
    )
    given = engine, video(width=32, height=32), None, WindowShape(2), "advice"
    memory_check.check_window_fits(*given, again=lambda: next(answers))
    assert len(drawn) == 2
    memory_check.check_window_fits(*given, again=lambda: True)
    assert len(drawn) == 2 + memory_check.TRIALS


def test_memory_that_runs_out_drops_graphs_too(tmp_path, caplog):
    models = Models(tiny_ltx.build(tmp_path))
    graphs = GraphCache(uncaptured)
    step = Steps(models.options, 0, graphs)
    models._loaded["running transformer"] = step.runner
    for seed in range(3):
        step(0.5, seed)
    assert graphs.nbytes

    def draw():
        if graphs.nbytes:
            raise torch.OutOfMemoryError
        return "drawn"

    assert models.retry_without_text(draw) == "drawn"
    assert "not replayed" in caplog.text
    step(0.5)
    assert not len(graphs)


def test_graphs_need_a_gpu(tmp_path):
    assert choose_graphs("auto", CPU) is choose_graphs("off", CPU) is None
    with pytest.raises(EngineUnavailableError, match="graphs=on: cpu has no CUDA graphs"):
        Models(tiny_ltx.build(tmp_path), graphs="on")


def test_memory_for_text_is_stated(tmp_path):
    options = tiny_ltx.build(tmp_path)
    plain, remembering = Models(options), Models(options, text_memory=0.5)
    assert remembering.host_bytes - plain.host_bytes == 500_000_000


def test_models_on_a_cpu_take_no_memory_of_a_device(tmp_path):
    models = Models(tiny_ltx.build(tmp_path))
    models.load("encoder", "decoder")
    assert models.device_bytes == 0
    models.close()
