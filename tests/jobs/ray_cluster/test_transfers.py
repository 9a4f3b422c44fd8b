"""Files travel in parts, few at a time, and leave nothing behind when they stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ltxfilter.errors import InputError, OutputError
from ltxfilter.jobs.ray_cluster import transfers
from ltxfilter.jobs.ray_cluster.member import Member
from ltxfilter.jobs.ray_cluster.transfers import AT_A_TIME, Transfers
from ltxfilter.windows.segment import Segment


class Remote:
    """A method of an actor that answers when `Answers` gets to it."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def remote(self, *args: Any) -> Callable[[], Any]:
        return lambda: self.method(*args)


class Answers:
    """Stands in for `Calls`: answers one call after the other."""

    def __init__(self) -> None:
        self.left: deque[tuple[Member, Callable[[], Any], Callable[[Any], None]]] = deque()

    def ask(self, member: Member, call: Any, then: Callable[[Any], None] = lambda _: None) -> None:
        self.left.append((member, call, then))

    def step(self) -> None:
        _, call, then = self.left.popleft()
        then(call())


class NodeFiles:
    """An actor that has stored a segment and takes an input."""

    def __init__(self, stored: bytes) -> None:
        self.stored = stored
        self.input = b""
        self.dropped = False
        self.read = Remote(lambda _, offset, size: self.stored[offset : offset + size])
        self.drop = Remote(lambda _: setattr(self, "dropped", True))
        self.put_input = Remote(self._put)

    def _put(self, offset: int, data: bytes, ended: bool) -> str | None:
        assert offset == len(self.input)
        self.input += data
        return "/there/in.mkv" if ended else None


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PART_BYTES", 4)


def made(tmp_path: Path, number: int, stored: bytes = b"0123456789") -> Member:
    member = Member(number)
    member.start(NodeFiles(stored))
    member.begin(Segment(number, start=0), tmp_path / f"{number:06d}.segment")  # type: ignore[arg-type]
    return member


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    source = tmp_path / "in.mkv"
    source.write_bytes(b"the whole input")
    answers = Answers()
    return SimpleNamespace(
        answers=answers,
        source=source,
        transfers=Transfers(answers, source),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("stored", [b"", b"1", b"1234", b"0123456789"])
def test_a_segment_is_fetched_and_dropped_there(
    world: SimpleNamespace, tmp_path: Path, stored: bytes
):
    member, done = made(tmp_path, 0, stored), []
    world.transfers.fetch(member, len(stored), lambda: done.append(1))
    assert (tmp_path / "000000.segment").exists() == (not stored)
    while world.answers.left:
        world.answers.step()
    assert (tmp_path / "000000.segment").read_bytes() == stored
    assert done == [1]
    assert member.actor.dropped
    assert not list(tmp_path.glob("*.part"))


def test_the_input_is_sent(world: SimpleNamespace, tmp_path: Path):
    member, where = made(tmp_path, 0), []
    world.transfers.send(member, where.append)
    while world.answers.left:
        world.answers.step()
    assert member.actor.input == b"the whole input"
    assert where == ["/there/in.mkv"]


def test_few_run_at_a_time_and_all_get_done(world: SimpleNamespace, tmp_path: Path):
    done: list[int] = []
    for number in range(3 * AT_A_TIME):
        world.transfers.fetch(made(tmp_path, number), 10, lambda number=number: done.append(number))
    most = 0
    while world.answers.left:
        most = max(most, len(list(tmp_path.glob("*.part"))))
        world.answers.step()
    assert most == AT_A_TIME
    assert sorted(done) == list(range(3 * AT_A_TIME))


def test_an_actor_that_dies_leaves_no_part_and_makes_room(world: SimpleNamespace, tmp_path: Path):
    done: list[int] = []
    members = [made(tmp_path, number) for number in range(AT_A_TIME + 2)]
    for member in members:
        world.transfers.fetch(member, 10, lambda number=member.number: done.append(number))
    for dead in (members[0], members[-1]):  # one under way, one that waits
        world.answers.left = deque(each for each in world.answers.left if each[0] is not dead)
        world.transfers.forget(dead)
    assert not (tmp_path / "000000.segment.part").exists()
    while world.answers.left:
        world.answers.step()
    assert sorted(done) == list(range(1, AT_A_TIME + 1))


def test_what_is_under_way_is_removed_at_the_end(world: SimpleNamespace, tmp_path: Path):
    world.transfers.fetch(made(tmp_path, 0), 10, lambda: None)
    world.transfers.close()
    world.transfers.close()
    assert not list(tmp_path.glob("*.part"))


def test_files_that_fail_are_named(world: SimpleNamespace, tmp_path: Path):
    with pytest.raises(OutputError, match=r"nowhere.*No such file"):
        world.transfers.fetch(made(tmp_path / "nowhere", 0), 10, lambda: None)
    world.source.unlink()
    with pytest.raises(InputError, match=r"in\.mkv: No such file"):
        world.transfers.send(made(tmp_path, 1), lambda _: None)
