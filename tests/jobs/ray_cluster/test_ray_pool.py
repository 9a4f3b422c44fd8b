"""What the pool does with actors that are not fit, die, or have no room; without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ltxfilter.errors import EngineUnavailableError, Stopped
from ltxfilter.jobs.ray_cluster import ray_pool
from ltxfilter.jobs.ray_cluster.actor import Sight, version
from ltxfilter.jobs.ray_cluster.ray_pool import DEATHS, RayPool
from ltxfilter.options import InputOptions, JobOptions, Options
from ltxfilter.windows.segment import Segment

GOOD = Sight("n1", "one", version(), True, True, (), 1 << 40)
BLIND = replace(GOOD, node="n2", name="two", sees_input=False, free=0)
FILM = b"a film"


@dataclass(frozen=True, eq=False)
class Call:
    """A call that is answered at once, or never if there is no answer."""

    answer: Callable[[], Any] | None


class Method:
    def __init__(self, answer: Callable[..., Any] | None) -> None:
        self.answer = answer

    def remote(self, *args: Any) -> Call:
        return Call(None if self.answer is None else lambda: self.answer(*args))


class MadeUpActor:
    """An actor that sees something, or dies when it looks (an exception)."""

    def __init__(self, sight: Sight | Exception) -> None:
        def look() -> Sight:
            if isinstance(sight, Exception):
                raise sight
            return sight

        self.inputs: list[bytes] = []
        self.told: list[Any] = []
        self.look = Method(look)
        self.events = Method(None)
        self.give = Method(lambda *_: None)
        self.share_input = Method(lambda path: path)
        self.put_input = Method(self._put)

    def _put(self, offset: int, data: bytes, ended: bool) -> str | None:
        self.inputs.append(data)
        return "/there/in.mkv" if ended else None


class MadeUpCluster:
    """A cluster of as many CPUs as there are actors in `sights`; later ones are like the last."""

    sights: list[Sight | Exception]

    def __init__(self, address: str) -> None:
        self.actors: list[MadeUpActor] = []
        self.left = False

    def nodes(self) -> list[dict[str, float]]:
        return [{"CPU": float(len(self.sights))}]

    def start(self, assignment: Any, placement: Any) -> MadeUpActor:
        assert not self.left
        known = self.sights[min(len(self.actors), len(self.sights) - 1)]
        self.actors.append(MadeUpActor(known))
        return self.actors[-1]

    def ready(self, calls: list[Call], timeout: float) -> list[Call]:
        return [call for call in calls if call.answer is not None]

    def answer(self, call: Call) -> Any:
        assert call.answer is not None
        return call.answer()

    def reason(self, error: Exception, node: str) -> str:
        return str(error)

    def kill(self, actor: MadeUpActor) -> None:
        pass

    def leave(self) -> None:
        self.left = True


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RayPool]]:
    """Return what opens a pool whose actors see what is given."""
    monkeypatch.setattr(ray_pool, "Cluster", MadeUpCluster)
    (tmp_path / "in.mkv").write_bytes(FILM)
    pools: list[RayPool] = []

    def open_pool(*sights: Sight | Exception) -> RayPool:
        monkeypatch.setattr(MadeUpCluster, "sights", list(sights), raising=False)
        options = Options(
            input=InputOptions(path=str(tmp_path / "in.mkv")),
            engine="hold",
            job=JobOptions(ray="auto", workers=len(sights)),
        )
        pools.append(RayPool(options, 99, tmp_path, 0))
        return pools[-1]

    yield open_pool
    for pool in pools:
        pool.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    ("sight", "said"),
    [
        (replace(GOOD, lacking=("/m/a.st", "/m/b.st")), "node one lacks.* /m/a.st, /m/b.st"),
        (replace(GOOD, version="ltxfilter 0.0.1, Python 3.9"), "node one has ltxfilter 0.0.1"),
    ],
)
def test_a_node_that_is_not_fit_is_named_before_work(
    sight: Sight, said: str, opened: Callable[..., RayPool]
):
    with pytest.raises(EngineUnavailableError, match=said):
        opened(GOOD, sight)
    with pytest.raises(EngineUnavailableError, match=said):
        opened(sight)


def test_a_node_without_room_for_the_input_is_left_out(
    opened: Callable[..., RayPool], caplog: pytest.LogCaptureFixture
):
    pool = opened(GOOD, BLIND)
    assert pool.idle() == [0]
    said = [record.getMessage() for record in caplog.records]
    assert sum("node two does not see" in text and "left out" in text for text in said) == 1
    with pytest.raises(EngineUnavailableError, match="no worker is left: node two does not see"):
        opened(BLIND).events(0)


def test_actors_of_one_node_share_a_copy_of_the_input(opened: Callable[..., RayPool]):
    roomy = replace(BLIND, free=1 << 40)
    pool = opened(roomy, roomy, roomy)
    for _ in range(5):
        pool.events(0)
    assert pool.idle() == [0, 1, 2]
    sent = [actor.inputs for actor in pool._cluster.actors]  # type: ignore[attr-defined]
    assert sorted(sent) == [[], [], [FILM]]


def test_an_actor_that_dies_is_replaced_and_its_segment_reported(
    opened: Callable[..., RayPool], tmp_path: Path
):
    pool = opened(GOOD)
    segment = Segment(7, Fraction(0))
    pool.give(0, segment, tmp_path / "000007.segment")
    (tmp_path / f"000007.segment-{pool._members[0].tag}.part").write_bytes(b"begun")
    pool._lose(pool._members[0], RuntimeError("out of memory"))
    (died,) = pool.events(0)
    assert (died.kind, died.worker, died.number) == ("died", 0, 7)
    assert str(died.error) == "actor 1 on node one is gone: out of memory"
    assert pool.idle() == [0]
    assert not list(tmp_path.glob("*.part"))


def test_an_actor_that_never_comes_up_is_given_up_at_last(
    opened: Callable[..., RayPool], caplog: pytest.LogCaptureFixture
):
    pool = opened(GOOD, RuntimeError("no such module"))
    assert pool.idle() == [0]
    assert len(pool._cluster.actors) == 1 + DEATHS  # type: ignore[attr-defined]
    assert "actor 2 is gone: no such module; no other takes its place" in caplog.text


def test_a_stopped_pool_gives_nothing_more(opened: Callable[..., RayPool], tmp_path: Path):
    pool = opened(GOOD)
    pool.stop()
    with pytest.raises(Stopped):
        pool.events(0)
    with pytest.raises(Stopped):
        pool.give(0, Segment(0, Fraction(0)), tmp_path / "000000.segment")
