"""The pool of a Ray cluster.

Everything that is asked of an actor is a call with a function that takes its answer, so one thread
serves all actors. Each actor always has one call of its `events` under way, which fails when it
dies; another actor takes its place then.
"""

from __future__ import annotations

import logging
import secrets
import threading
from functools import partial
from pathlib import Path
from time import monotonic

from ltxfilter.errors import EngineError, EngineUnavailableError, OutputError, Stopped
from ltxfilter.jobs.ray_cluster.actor import Assignment, Sight, Told, version
from ltxfilter.jobs.ray_cluster.calls import Calls
from ltxfilter.jobs.ray_cluster.cluster import Cluster
from ltxfilter.jobs.ray_cluster.member import Member, State
from ltxfilter.jobs.ray_cluster.needs import assignment_of
from ltxfilter.jobs.ray_cluster.placement import Placement, place, share_of, wants_gpu
from ltxfilter.jobs.ray_cluster.transfers import Transfers
from ltxfilter.jobs.workers.pool import Event
from ltxfilter.options import Options
from ltxfilter.values import MIB
from ltxfilter.windows.segment import Segment

log = logging.getLogger("ltxfilter.jobs")

START_SECONDS = 60  # for all actors to come up; later ones are taken when they come
WAIT = 10.0  # seconds that an actor waits for something to tell
DEATHS = 3  # of an actor, one after the other, until no further one takes its place
TICK = 0.2  # seconds between two looks at the clock


class RayPool:
    """Actors on a Ray cluster; one that dies is replaced."""

    name, names = "actor", "actors"

    def __init__(self, options: Options, segments: int, folder: Path, own_bytes: int) -> None:
        """Join the cluster, and wait until its actors are up.

        segments: of the job. folder: where they are kept. own_bytes: of memory that the job itself
        uses. Raises EngineUnavailableError, InputError, OptionError, OutputError.
        """
        assert options.job.ray is not None
        self._source = Path(options.input.path).absolute()
        self._token = folder.absolute() / f"ray-{secrets.token_hex(8)}.segment-token"
        self._stopping = threading.Event()
        self._killing: threading.Thread | None = None
        self._found: list[Event] = []
        self._working = False  # the actors that came in time are up
        self._unfit: list[str] = []  # why nodes cannot take part
        self._members: list[Member] = []
        self._cluster = Cluster(options.job.ray)
        self._calls = Calls(self._cluster, self._lose)
        self._transfers = Transfers(self._calls, self._source)
        try:
            gpus = wants_gpu(options.models.device)
            self._placement = place(self._cluster.nodes(), options.job.workers, segments, gpus=gpus)
            self._assignment = self._assigned(share_of(options, self._placement, own_bytes))
            self.size = self._placement.actors
            self._members = [Member(number) for number in range(self.size)]
            for member in self._members:
                self._start(member)
            self._wait_for_actors()
        except BaseException:
            self.close()
            raise

    def idle(self) -> list[int]:
        """Return the actors that have nothing to do."""
        return [member.number for member in self._members if member.state is State.IDLE]

    def give(self, worker: int, segment: Segment, path: Path) -> None:
        """Let an actor that is idle store a segment in `path`. Raises Stopped."""
        if self._stopping.is_set():
            raise Stopped
        member = self._members[worker]
        path = path.absolute()
        member.begin(segment, path)
        where = str(path) if member.sees_folder else None
        self._calls.ask(member, member.actor.give.remote(segment, where, member.tag))

    def events(self, timeout: float) -> list[Event]:
        """Return what happened; wait up to `timeout` seconds for something.

        Raises Stopped, EngineError if no actor is left, InputError, OutputError.
        """
        self._serve(timeout)
        found, self._found = self._found, []
        return found

    def stop(self) -> None:
        """Kill all actors; what they were making is made again another time."""
        self._stopping.set()
        if self._killing is None:  # a thread of its own: a signal may have come inside of Ray
            self._killing = threading.Thread(target=self._kill, daemon=True)
            self._killing.start()

    def close(self) -> None:
        """End all actors and leave the cluster; calling it twice does nothing."""
        self.stop()
        assert self._killing is not None
        self._killing.join()
        self._transfers.close()
        self._token.unlink(missing_ok=True)
        self._cluster.leave()

    def _kill(self) -> None:
        for member in self._members:
            if member.actor is not None:
                self._cluster.kill(member.actor)

    def _assigned(self, share: Options) -> Assignment:
        """Write the token, and return what the actors are told."""
        text = secrets.token_hex(16)
        try:
            self._token.write_text(text)
        except OSError as error:
            raise OutputError(f"{self._token}: {error.strerror}") from error
        return assignment_of(share, self._placement.actors, (str(self._token), text))

    def _serve(self, timeout: float) -> None:
        """Wait for answers and pass them on."""
        if self._stopping.is_set():
            raise Stopped
        self._refuse_none_left()
        try:
            self._calls.serve(timeout)
        except Exception:
            if self._stopping.is_set():
                raise Stopped from None
            raise
        if self._stopping.is_set():
            raise Stopped

    def _refuse_none_left(self) -> None:
        """Raise EngineUnavailableError if there is no actor any more, and none that will come."""
        if all(member.state is State.GONE for member in self._members):
            raise EngineUnavailableError(f"no worker is left: {self._members[-1].reason}")

    def _start(self, member: Member) -> None:
        member.start(self._cluster.start(self._assignment, self._placement))
        self._calls.ask(member, member.actor.look.remote(), partial(self._looked, member))

    def _wait_for_actors(self) -> None:
        """Wait until the actors are up. Raises EngineUnavailableError where one cannot work."""
        end = monotonic() + START_SECONDS
        while any(member.state is State.COMING for member in self._members) and monotonic() < end:
            self._serve(TICK)
        self._working = True
        if self._unfit:
            raise EngineUnavailableError("; ".join(dict.fromkeys(self._unfit)))
        self._refuse_none_left()
        up = [each for each in self._members if each.is_up and each.state is not State.GONE]
        placement = self._placement
        if not up:
            raise EngineUnavailableError(
                f"no actor has come up in {START_SECONDS} s: the Ray cluster has not "
                f"{_what_of(placement)} free for one, or cannot start it"
            )
        nodes = len({member.node for member in up})
        each = f"each with {_what_of(placement)}"
        workers = f"{len(up)} {self.name if len(up) == 1 else self.names}"
        log.info("Ray: %s on %d node%s, %s", workers, nodes, "s" * (nodes > 1), each)

    def _looked(self, member: Member, sight: Sight) -> None:
        """Take an actor that has come up, or leave it out."""
        member.sight = sight
        if sight.version != version():
            self._refuse(member, f"has {sight.version}, this machine {version()}")
        elif sight.lacking:
            self._refuse(member, f"lacks, or has otherwise: {', '.join(sight.lacking)}")
        else:
            self._listen(member)
            member.state = State.IDLE if sight.sees_input else State.WANTING
            self._supply(sight.node)

    def _refuse(self, member: Member, why: str) -> None:
        """Leave out an actor whose node is not as it has to be, which is an error before work."""
        self._leave_out(member, why)
        self._unfit.append(member.reason)

    def _leave_out(self, member: Member, why: str) -> None:
        assert member.sight is not None
        self._calls.forget(member)
        self._cluster.kill(member.actor)
        member.leave_out(f"node {member.sight.name} {why}")
        if self._working:
            log.warning("%s; its actor is left out", member.reason)

    def _listen(self, member: Member) -> None:
        self._calls.ask(member, member.actor.events.remote(WAIT), partial(self._heard, member))

    def _heard(self, member: Member, told: list[Told]) -> None:
        """Pass on what an actor tells."""
        self._listen(member)
        for kind, values, error in told:
            number = -1 if member.segment is None else member.segment.number
            event = Event(kind, member.number, number, values, error)
            if kind == "stored" and not member.sees_folder:
                done = partial(self._ended, member, event)
                self._transfers.fetch(member, values["bytes"], done)
            elif kind in ("stored", "failed"):
                self._ended(member, event)
            else:
                self._found.append(event)

    def _ended(self, member: Member, event: Event) -> None:
        member.end()
        self._found.append(event)

    def _lose(self, member: Member, error: Exception) -> None:
        """Let another actor take the place of one that is gone."""
        node = member.node
        self._cluster.kill(member.actor)
        self._transfers.forget(member)
        why = EngineError(f"{member.place} is gone: {self._cluster.reason(error, node)}")
        if member.segment is not None:
            number = member.segment.number
            self._found.append(Event("died", member.number, number, error=why))
        member.die()
        if member.deaths < DEATHS:
            self._start(member)
        else:
            member.leave_out(str(why))
            log.warning("%s; no other takes its place", why)
        self._supply(node)

    def _supply(self, node: str) -> None:
        """Let the actors of a node that lack the input have it, from each other if they can."""
        here = [each for each in self._members if each.node == node]
        wanting = [each for each in here if each.state is State.WANTING]
        owners = [each for each in here if each.input_path is not None]
        if owners:
            for member in wanting:
                member.state = State.COPYING
                call = member.actor.share_input.remote(owners[0].input_path)
                self._calls.ask(member, call, partial(self._has_input, member))
        elif wanting and not any(each.state is State.COPYING for each in here):
            self._send_input(wanting[0])

    def _send_input(self, member: Member) -> None:
        """Begin to send the input to the node of an actor, if there is room."""
        assert member.sight is not None
        size, free = self._source.stat().st_size, member.sight.free
        what = f"does not see {self._source} ({-(-size // MIB)} MB)"
        if size > free:
            self._leave_out(member, f"{what}, and has {free // MIB} MB of disk free for a copy")
            if not self._working:
                log.warning("%s; its actor is left out", member.reason)
            self._supply(member.node)
            return
        log.info("Ray: node %s %s: it is copied there", member.sight.name, what)
        member.state = State.COPYING
        self._transfers.send(member, partial(self._has_input, member))

    def _has_input(self, member: Member, where: str | None) -> None:
        member.input_path = where
        member.state = State.WANTING if where is None else State.IDLE
        self._supply(member.node)


def _what_of(placement: Placement) -> str:
    """Return what one actor has for itself."""
    if placement.gpus:
        return f"{placement.gpus:g} GPU"
    return f"{placement.cpus:g} CPU" + "s" * (placement.cpus != 1)
