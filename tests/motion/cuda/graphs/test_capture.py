"""Captures that fail, are disturbed, or share a stream, on a stand-in for a device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support.queued_device import POOL, FakeStream, QueuedDevice

from ltxfilter.engines.ltx.models import cuda_graphs
from ltxfilter.engines.ltx.models.cuda_graphs import CudaCapture, GraphCache, uncaptured
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.graphs import capture

CPU = torch.device("cpu")
MOMENTS = ["begin", "inside", "end"]


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Iterator[QueuedDevice]:
    with QueuedDevice().installed(monkeypatch) as stand_in, torch.no_grad():
        yield stand_in


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_capture_of_flow_leaves_the_thread_on_its_stream(
    queued: QueuedDevice, moment: str, caplog: pytest.LogCaptureFixture
):
    queued.failing = [moment, moment]
    own, runs = device.Stream(), []
    replayed = device.ReplayedLaunches(lambda: runs.append(queued.current.number))
    with own.used():
        before = queued.current
        for _ in range(3):
            replayed()
            assert queued.current == before
    assert runs[-2:] == [before.number] * 2  # launched one by one, where the thread's work goes
    (record,) = caplog.records
    assert "no CUDA graph of flow (capture failed" in record.message or moment == "begin"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_capture_of_a_step_leaves_the_thread_on_its_stream(
    queued: QueuedDevice, moment: str, caplog: pytest.LogCaptureFixture
):
    queued.failing = [moment, moment]
    cache, before = GraphCache(CudaCapture(CPU)), queued.current
    results = [
        cache.run("step", lambda given, _: given[0] + 1, [torch.ones(2)]).tolist() for _ in "abc"
    ]
    assert queued.current == before
    assert results == [[2.0, 2.0]] * 3
    assert not len(cache)
    assert len(caplog.records) == 1


def test_a_capture_that_another_thread_disturbs_is_tried_again(
    queued: QueuedDevice, caplog: pytest.LogCaptureFixture
):
    """As a program's own torch.cuda.synchronize() does."""
    queued.failing = ["end"]
    replayed = device.ReplayedLaunches(lambda: None)
    replayed()
    assert replayed._graph is not None
    assert queued.captures == 2
    assert not caplog.records


def test_too_little_memory_is_not_tried_again(queued: QueuedDevice):
    tries = []

    def launches() -> None:
        tries.append(1)
        raise torch.OutOfMemoryError("too little")

    with pytest.raises(RuntimeError):
        capture.capture(launches)
    assert len(tries) == queued.captures == 1


def test_engines_that_share_a_stream_do_not_capture_each_other(queued: QueuedDevice):
    """Torch has 32 streams: the engine that asks for the next one gets another engine's."""
    own = device.Stream()
    others = [device.Stream() for _ in range(POOL)]
    shared = next(stream for stream in others if stream._stream == own._stream)
    foreign = torch.zeros(1)

    def launches() -> None:
        queued.launch(None, 1, buffer)
        with shared.used():  # as another thread would at this moment
            queued.launch(None, 1, foreign)

    buffer = torch.zeros(1)
    replayed = device.ReplayedLaunches(launches)
    with own.used():
        replayed()
    used = {use.memory for use in replayed._graph.uses}
    assert queued.memory(foreign) not in used
    assert used == {queued.memory(buffer)}


def test_all_captures_have_one_stream(queued: QueuedDevice):
    streams = {capture.capture_stream() for _ in range(3)}
    assert len(streams) == 1
    assert streams.isdisjoint(FakeStream(queued) for _ in range(POOL))


@pytest.mark.parametrize(
    ("version", "works"), [("2.12.1", False), ("2.13.0+cu130", True), ("3.0", True)]
)
def test_an_old_torch_captures_nothing(
    queued: QueuedDevice, version: str, works: bool, monkeypatch, caplog
):
    monkeypatch.setattr(torch, "__version__", version)
    device.ReplayedLaunches(lambda: None)()
    cache = GraphCache(CudaCapture(CPU))
    for _ in range(3):
        cache.run("step", lambda given, _: given[0] + 1, [torch.ones(2)])
    assert len(cache) == works
    assert queued.captures == (2 if works else 0)
    assert len(caplog.records) == (0 if works else 2)


def ran(cache: GraphCache, *lengths: int) -> None:
    for length in lengths:
        cache.run("step", lambda given, constants: given[0] + constants[0], [torch.ones(length)],
                  [torch.ones(length)])  # fmt: skip


def test_graphs_stay_within_their_budget(caplog):
    cache = GraphCache(uncaptured, budget=200)
    ran(cache, 4, 4)
    assert len(cache) == 1
    assert cache.nbytes == 2 * 4 * 4
    ran(cache, 40, 40, 41, 41, 4)
    assert len(cache) == 1  # the small one goes on, nothing large is tried again
    assert cache.nbytes == 2 * 4 * 4
    ran(cache, 5, 5)
    assert len(cache) == 2
    (record,) = caplog.records
    assert "no CUDA graphs of steps as large as this" in record.message


def test_what_a_graph_itself_takes_counts(caplog):
    pool = [0]

    def capturing(function):
        pool[0] += 1000
        return function

    cache = GraphCache(capturing, budget=1500, pool_bytes=lambda: pool[0])
    ran(cache, 4, 4)
    assert len(cache) == 1
    ran(cache, 8, 8)
    assert len(cache) == 1
    assert "graphs would take" in caplog.records[0].message


def test_too_little_memory_for_one_graph_keeps_the_others(caplog):
    def capturing(function):
        if function().numel() > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return function

    cache = GraphCache(capturing)
    ran(cache, 4, 4, 20, 20, 20, 5, 5)
    assert len(cache) == 2
    (record,) = caplog.records
    assert record.message.endswith("slower: CUDA out of memory")


def test_memory_on_the_device_bounds_graphs(queued: QueuedDevice, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 << 30, 24 << 30))
    cache = cuda_graphs.choose_graphs("auto", torch.device("cuda"))
    assert cache is not None
    assert cache.budget == 2 << 30
