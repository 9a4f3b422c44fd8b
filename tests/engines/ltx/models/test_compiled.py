"""A transformer whose blocks torch compiles, alone and inside CUDA graphs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx

from ltxfilter import engines
from ltxfilter.engines.ltx.models import resident
from ltxfilter.engines.ltx.models.cuda_graphs import WARMUPS, GraphCache, Replay, uncaptured
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions

needs_compiler = pytest.mark.skipif(
    not shutil.which("c++"), reason="torch compiles for CPUs with a C++ compiler"
)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep tqdm and torch from starting threads that would outlive the test."""
    from torch._inductor import config

    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    with config.patch(compile_threads=1):
        yield


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step(models: Models, seed: int, skipped: tuple[int, ...]) -> torch.Tensor:
    """Denoise 12 tokens once."""
    sigma = torch.full((1,), 0.7)
    return models.velocity(
        random(1, 12, 128, seed=seed),
        sigma,
        sigma.reshape(1, 1, 1).expand(1, 12, 1),
        random(1, 3, 12, 2, seed=1).abs(),
        models.context(),
        skipped=skipped,
    )


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
@pytest.mark.usefixtures("_quiet")
def test_it_computes_the_same(options: ModelOptions):
    plain, compiled = Models(options), Models(options, compiled=True)
    for skipped in ((), (1,)):
        expected = step(plain, 0, skipped)
        assert torch.allclose(step(compiled, 0, skipped), expected, atol=1e-5)


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_quiet")
def test_it_is_captured_once_it_is_compiled(options: ModelOptions, monkeypatch: pytest.MonkeyPatch):
    """A capture cannot compile: all that it runs was compiled for its buffers before."""

    def capture(function: Replay) -> Replay:
        for _ in range(WARMUPS):
            function()
        with torch.compiler.set_stance("fail_on_recompile"):
            function()
        return function

    steps = [(seed, skipped) for skipped in ((), (1,)) for seed in range(4)]
    plain, graphs = Models(options), GraphCache(capture)
    expected = [step(plain, *given) for given in steps]
    monkeypatch.setattr(resident, "choose_graphs", lambda *_: graphs)
    compiled = Models(options, compiled=True)
    for given, result in zip(steps, expected, strict=True):
        assert torch.allclose(step(compiled, *given), result, atol=1e-5)
    assert len(graphs) == 2


def test_offloaded_blocks_are_not_compiled():
    with pytest.raises(OptionError, match="exclude each other"):
        engines.build("ltx-keyframe:offload=1:compile=1", ModelOptions())


@pytest.mark.filterwarnings("ignore")
def test_steps_of_compiled_blocks_are_replayed(
    options: ModelOptions, monkeypatch: pytest.MonkeyPatch
):
    expected = [step(Models(options), seed, ()) for seed in range(3)]
    graphs = GraphCache(uncaptured)
    monkeypatch.setattr(resident, "choose_graphs", lambda *_: graphs)
    models = Models(options, compiled=True)
    with torch.compiler.set_stance("force_eager"):  # compiling takes a minute
        found = [step(models, seed, ()) for seed in range(3)]
    assert len(graphs) == 1
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
