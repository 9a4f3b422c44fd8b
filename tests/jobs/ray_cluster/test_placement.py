"""How a cluster is divided."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from ltxfilter.errors import EngineUnavailableError, OptionError
from ltxfilter.jobs.ray_cluster.placement import Placement, place, share_of, wants_gpu
from ltxfilter.options import InputOptions, ModelOptions, Options
from ltxfilter.values import MIB


def cpus(*counts: float) -> list[dict[str, float]]:
    return [{"CPU": count} for count in counts]


def gpus(*counts: tuple[float, float]) -> list[dict[str, float]]:
    return [{"CPU": cpu, "GPU": gpu} for cpu, gpu in counts]


@pytest.mark.parametrize(
    ("nodes", "asked", "segments", "expected"),
    [
        (cpus(2), None, 99, (1, 2, 0, 1)),
        (cpus(16), None, 99, (4, 4, 0, 4)),
        (cpus(16), 0, 99, (4, 4, 0, 4)),
        (cpus(16), None, 3, (3, 4, 0, 4)),
        (cpus(16, 6, 0), None, 99, (5, 4, 0, 4)),
        (cpus(16, 2), None, 99, (9, 2, 0, 8)),
        (cpus(16), 2, 99, (2, 8, 0, 2)),
        (cpus(16, 16), 3, 99, (3, 8, 0, 2)),
        (cpus(2), 2, 99, (2, 1, 0, 2)),
        (cpus(2), 3, 99, (3, 0.5, 0, 4)),
        (gpus((32, 4), (32, 4)), None, 99, (8, 8, 1, 4)),
        (gpus((32, 4), (8, 0)), None, 99, (4, 8, 1, 4)),
        (gpus((32, 4)), 2, 99, (2, 8, 1, 4)),
        (gpus((32, 4)), 6, 99, (6, 4, 0.5, 8)),
        (gpus((1, 2)), None, 99, (2, 0.5, 1, 2)),
    ],
)
def test_actors_are_as_many_as_pay(
    nodes: list[dict[str, float]],
    asked: int | None,
    segments: int,
    expected: tuple[float, ...],
) -> None:
    assert astuple(place(nodes, asked, segments, gpus=True)) == expected


def test_what_is_asked_for_fits():
    for count in range(1, 40):
        nodes = cpus(16, 5, 1)
        found = place(nodes, count, 999, gpus=False)
        assert found.actors == count
        assert sum(int(node["CPU"] / found.cpus) for node in nodes) >= count


def test_gpus_are_left_alone_where_the_device_is_the_cpu():
    assert place(gpus((8, 2)), None, 99, gpus=wants_gpu("cpu")).gpus == 0
    assert wants_gpu(None)
    assert wants_gpu("cuda:1,cuda:2")


def test_a_cluster_without_cpus_is_refused():
    with pytest.raises(EngineUnavailableError, match="no node of the Ray cluster has a CPU"):
        place(cpus(0), None, 99, gpus=True)


def test_an_actor_has_the_share_of_its_node():
    options = Options(
        input=InputOptions(path="in.mkv"),
        models=ModelOptions(device="cuda:0,cuda:1"),
        memory=1000 * MIB,
    )
    share = share_of(options, Placement(8, 3, 1, 4), 200 * MIB)
    assert (share.threads, share.input.threads) == (3, 3)
    assert share.models.device == "cuda"  # Ray shows each actor its own GPU alone
    assert share.memory == 200 * MIB
    with pytest.raises(OptionError, match="too little for 8 workers"):
        share_of(options, Placement(8, 3, 0, 8), 600 * MIB)
