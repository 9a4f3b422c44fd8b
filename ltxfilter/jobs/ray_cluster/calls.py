"""Calls to actors that are under way, each with what takes its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ltxfilter.jobs.ray_cluster.cluster import Cluster
from ltxfilter.jobs.ray_cluster.member import Member

Take = Callable[[Any], None]
Lost = Callable[[Member, Exception], None]


class Calls:
    """Passes answers on, all in the thread that calls `serve`."""

    def __init__(self, cluster: Cluster, lost: Lost) -> None:
        """lost: takes an actor whose call has failed, and why; it is called once for each actor."""
        self._cluster = cluster
        self._lost = lost
        self._under_way: dict[Any, tuple[Member, Take]] = {}

    def ask(self, member: Member, call: Any, then: Take = lambda _: None) -> None:
        """Let `then` have the answer to a call when it comes."""
        self._under_way[call] = member, then

    def serve(self, timeout: float) -> None:
        """Pass on the answers that are there; wait up to `timeout` seconds for one."""
        for call in self._cluster.ready(list(self._under_way), timeout):
            if call not in self._under_way:  # its actor was lost by an earlier answer
                continue
            member, then = self._under_way.pop(call)
            try:
                answer = self._cluster.answer(call)
            except Exception as error:  # whatever it is, nothing more can be expected of the actor
                self.forget(member)
                self._lost(member, error)
            else:
                then(answer)

    def forget(self, member: Member) -> None:
        """Take no further answers of the actor that a member has now."""
        self._under_way = {
            call: each for call, each in self._under_way.items() if each[0] is not member
        }
