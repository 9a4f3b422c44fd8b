"""How many actors a cluster takes, and what each of them has for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.jobs.workers.shares import CORES_PER_WORKER, shared_out
from ltxfilter.options import Options

Resources = Mapping[str, float]  # of one node, by Ray's names


@dataclass(frozen=True, slots=True)
class Placement:
    """What is asked of a cluster."""

    actors: int

    cpus: float
    """Of each actor."""

    gpus: float
    """Of each actor; 0 where the cluster has none."""

    on_a_node: int
    """Actors that one node may get at most."""


def place(nodes: Sequence[Resources], asked: int | None, segments: int, *, gpus: bool) -> Placement:
    """Divide a cluster: an actor for each GPU, else one for every few CPUs.

    asked: how many actors the user wants; None or 0: as many as fit. segments: which is as many as
    are of use. gpus: whether GPUs are wanted. Raises EngineUnavailableError if there is nothing to
    divide.
    """
    if gpus and (with_gpus := [node for node in nodes if node.get("GPU", 0) >= 1]):
        return _place_on_gpus(with_gpus, asked, segments)
    counts = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    if not counts:
        raise EngineUnavailableError("no node of the Ray cluster has a CPU for a worker")
    cpus: float = min(CORES_PER_WORKER, *counts)
    wanted = min(asked or sum(int(count // cpus) for count in counts), segments)
    if asked:
        cpus = _cpus_for(counts, wanted)
    fits = [int(count // cpus) for count in counts]
    return Placement(min(wanted, sum(fits)), cpus, 0, max(fits))


def share_of(options: Options, placement: Placement, own_bytes: int) -> Options:
    """Return the options of an actor; `--memory` is divided among the actors of one node.

    own_bytes: of memory that the job itself uses. Raises OptionError if memory does not suffice.
    """
    threads = max(int(placement.cpus), 1)
    share = shared_out(options, placement.on_a_node, own_bytes)[0]
    device = options.models.device
    return replace(
        share,
        input=replace(share.input, threads=options.input.threads or threads),
        models=replace(share.models, device="cuda" if wants_gpu(device) and device else device),
        threads=threads,
    )


def wants_gpu(device: str | None) -> bool:
    """Return True if `--device` asks for a GPU, or leaves that open."""
    return device is None or device.startswith(("cuda", "auto"))


def _place_on_gpus(nodes: Sequence[Resources], asked: int | None, segments: int) -> Placement:
    """Give every actor a GPU; where more actors are asked for than there are, a part of one."""
    whole = [int(node["GPU"]) for node in nodes]
    wanted = min(asked or sum(whole), segments)
    on_a_gpu = -(-wanted // sum(whole))
    shares = [
        node.get("CPU", 0) / (count * on_a_gpu) for node, count in zip(nodes, whole, strict=True)
    ]
    cpus = min(shares)
    return Placement(wanted, int(cpus) if cpus >= 1 else cpus, 1 / on_a_gpu, max(whole) * on_a_gpu)


def _cpus_for(counts: Sequence[int], wanted: int) -> float:
    """Return the most CPUs that each of so many actors can have; parts of one if need be."""
    for cpus in range(max(counts), 0, -1):
        if sum(count // cpus for count in counts) >= wanted:
            return cpus
    return 1 / -(-wanted // sum(counts))
