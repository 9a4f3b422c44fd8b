"""The pool of a Ray cluster.

Everything that is asked of an actor is a call with a function that takes its answer: `events` waits
for the next answers and passes them on. So one thread serves all actors. Each actor always has one
call of its own `events` under way, which fails when it dies; another actor takes its place.

A segment that was made where the work folder is not seen is fetched in parts, and so is the input
sent. Few such transfers run at a time, so what is in hand stays bounded.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ltxfilter.engines.model_files import complete
from ltxfilter.errors import EngineError, EngineUnavailableError, InputError, OutputError, Stopped
from ltxfilter.jobs.journal import identity
from ltxfilter.jobs.pool import Event
from ltxfilter.jobs.ray_cluster.actor import Assignment, Sight, version
from ltxfilter.jobs.ray_cluster.cluster import Cluster
from ltxfilter.jobs.ray_cluster.member import Fetch, Member, State
from ltxfilter.jobs.ray_cluster.placement import place, share_of, wants_gpu
from ltxfilter.options import ModelOptions, Options
from ltxfilter.pipeline.run_files import model_files_of
from ltxfilter.values import MIB
from ltxfilter.windows.segment import Segment

log = logging.getLogger("ltxfilter.jobs")

PART_BYTES = 8 * MIB  # of a file that are sent at a time
TRANSFERS = 4  # that run at a time
START_SECONDS = 60  # for all actors to come up; later ones are taken when they come
WAIT = 10.0  # seconds that an actor waits for something to tell
DEATHS = 3  # of an actor, one after the other, until no further one takes its place
ANSWERS = 200  # reports of progress in a second, of all actors; a driver takes about 1,000 calls
OFTEN = 0.3  # seconds between two reports of one actor at least


class RayPool:
    """Actors on a Ray cluster; one that dies is replaced."""

    name, names = "actor", "actors"

    def __init__(self, options: Options, segments: int, folder: Path, own_bytes: int) -> None:
        """Join the cluster and wait until its actors are up and have what they need.

        segments: of the job. folder: where they are kept. own_bytes: of memory that the job itself
        uses. Raises EngineUnavailableError, InputError, OptionError, OutputError.
        """
        assert options.job.ray is not None
        self._source = Path(options.input.path).absolute()
        self._input = identity(str(self._source))
        self._token = folder.absolute() / f"ray-{secrets.token_hex(8)}.segment-token"
        self._stopping = threading.Event()
        self._killing: threading.Thread | None = None
        self._calls: dict[Any, tuple[Member, Callable[[Any], None]]] = {}
        self._found: list[Event] = []
        self._transfers: list[Callable[[], None]] = []  # that wait for their turn
        self._moving: set[int] = set()  # numbers of actors with a transfer under way
        self._cluster = Cluster(options.job.ray)
        self._members: list[Member] = []
        try:
            self._begin(options, segments, own_bytes)
        except BaseException:
            self.close()
            raise

    def _begin(self, options: Options, segments: int, own_bytes: int) -> None:
        nodes = self._cluster.nodes()
        asked = options.job.workers
        gpus = wants_gpu(options.models.device)
        self._placement = place(nodes, asked, segments, gpus=gpus)
        self.size = self._placement.actors
        share = _with_absolute_names(share_of(options, self._placement, own_bytes), self._source)
        files = {path: _known(path) for path in model_files_of(share.models, settings=False)}
        text = secrets.token_hex(16)
        self._write_token(text)
        self._assignment = Assignment(
            share,
            {**files, str(self._source): self._input},
            (str(self._token), text),
            max(OFTEN, self.size / ANSWERS),
        )
        self._members = [Member(number) for number in range(self.size)]
        for member in self._members:
            self._start(member)
        self._wait_for_actors()

    def idle(self) -> list[int]:
        """Return the actors that have nothing to do."""
        return [member.number for member in self._members if member.state is State.IDLE]

    def give(self, worker: int, segment: Segment, path: Path) -> None:
        """Let an actor that is idle store a segment in `path`. Raises Stopped."""
        if self._stopping.is_set():
            raise Stopped
        member = self._members[worker]
        member.begin(segment, path.absolute())
        seen = str(member.path) if member.sees_folder else None
        self._call(member, member.actor.give.remote(segment, seen, member.tag))

    def events(self, timeout: float) -> list[Event]:
        """Return what happened; wait up to `timeout` seconds for something.

        Raises Stopped, EngineError if no actor is left, OutputError.
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
        for member in self._members:
            member.forget()
        self._token.unlink(missing_ok=True)
        self._cluster.leave()

    def _kill(self) -> None:
        for member in self._members:
            if member.actor is not None:
                self._cluster.kill(member.actor)

    def _call(
        self, member: Member, call: Any, then: Callable[[Any], None] = lambda _: None
    ) -> None:
        """Let `then` have the answer of an actor when it comes."""
        self._calls[call] = member, then

    def _serve(self, timeout: float) -> None:
        """Wait for answers and pass them on."""
        if self._stopping.is_set():
            raise Stopped
        if all(member.state is State.GONE for member in self._members):
            raise EngineError(f"no actor is left: {self._members[0].reason}")
        for call in self._cluster.ready(list(self._calls), timeout):
            if self._stopping.is_set():
                raise Stopped
            if call not in self._calls:  # of an actor that died, as an earlier answer told
                continue
            member, then = self._calls.pop(call)
            try:
                answer = self._cluster.answer(call)
            except Exception as error:
                self._lose(member, error)
            else:
                then(answer)

    def _start(self, member: Member) -> None:
        member.start(self._cluster.start(self._assignment, self._placement))
        self._call(member, member.actor.look.remote(), partial(self._looked, member))

    def _wait_for_actors(self) -> None:
        """Wait until all actors are up. Raises EngineUnavailableError, InputError."""
        end = monotonic() + START_SECONDS
        while any(member.state is State.COMING for member in self._members):
            if monotonic() > end:
                break
            self._serve(0.2)
        up = [member for member in self._members if member.sight is not None]
        if not up:
            raise EngineUnavailableError(
                f"no actor has come up in {START_SECONDS} s: the Ray cluster has no "
                f"{self._placement.cpus:g} CPUs free, or cannot start one; see its logs"
            )
        for member in up:
            if member.state is State.GONE:
                raise EngineUnavailableError(member.reason)
        nodes = len({member.node for member in up})
        log.info(
            "Ray: %d actors on %d %s, each with %g %s",
            len(up),
            nodes,
            "node" if nodes == 1 else "nodes",
            self._placement.gpus or self._placement.cpus,
            "GPU" if self._placement.gpus else "CPUs",
        )

    def _looked(self, member: Member, seen: tuple[str, Sight]) -> None:
        """Take an actor that has come up, or leave it out."""
        member.node, member.sight = seen
        sight = member.sight
        if sight.version != version():
            self._leave_out(member, f"has {sight.version}, and this is {version()}")
        elif sight.lacking:
            self._leave_out(member, f"lacks model files: {', '.join(sight.lacking)}")
        else:
            self._listen(member)
            member.state = State.IDLE if sight.sees_input else State.WANTING
            self._supply(member.node)

    def _leave_out(self, member: Member, why: str) -> None:
        assert member.sight is not None
        member.leave(f"node {member.sight.node} {why}")
        self._cluster.kill(member.actor)
        log.warning("%s", member.reason)

    def _listen(self, member: Member) -> None:
        self._call(member, member.actor.events.remote(WAIT), partial(self._heard, member))

    def _heard(self, member: Member, told: list[tuple[str, Any, Exception | None]]) -> None:
        """Pass on what an actor tells."""
        self._listen(member)
        for kind, values, error in told:
            if kind == "stored" and not member.sees_folder:
                self._transfer(member, partial(self._fetch, member, values))
                continue
            number = -1 if member.segment is None else member.segment.number
            if kind in ("stored", "failed"):
                member.end()
            self._found.append(Event(kind, member.number, number, values, error))

    def _lose(self, member: Member, error: Exception) -> None:
        """Let another actor take the place of one that is gone."""
        self._calls = {call: each for call, each in self._calls.items() if each[0] is not member}
        self._cluster.kill(member.actor)
        why = EngineError(f"{member.place} is gone: {self._cluster.reason(error, member.node)}")
        if member.segment is not None:
            number = member.segment.number
            self._found.append(Event("died", member.number, number, error=why))
        node = member.node
        member.die()
        self._moved(member)
        if member.deaths >= DEATHS:
            member.leave(str(why))
            log.warning("%s; no other takes its place", why)
        else:
            self._start(member)
        self._supply(node)

    def _fetch(self, member: Member, values: dict[str, Any]) -> None:
        """Begin to fetch a segment that was stored on its node."""
        assert member.segment is not None
        assert member.path is not None
        member.fetch = Fetch(member.path, values["bytes"])
        self._fetch_part(member, values, b"")

    def _fetch_part(self, member: Member, values: dict[str, Any], data: bytes) -> None:
        """Write a part of a segment and ask for the next one."""
        assert member.segment is not None
        assert member.fetch is not None
        number = member.segment.number
        if not member.fetch.put(data):
            call = member.actor.read.remote(number, member.fetch.offset, PART_BYTES)
            self._call(member, call, partial(self._fetch_part, member, values))
            return
        self._call(member, member.actor.drop.remote(number))
        member.fetch = None
        member.end()
        self._moved(member)
        self._found.append(Event("stored", member.number, number, values))

    def _supply(self, node: str) -> None:
        """Let the actors of a node that lack the input have it."""
        here = [each for each in self._members if each.node == node]
        wanting = [each for each in here if each.state is State.WANTING]
        if not wanting:
            return
        owners = [each for each in here if each.input_path is not None]
        if owners:
            for member in wanting:
                member.state = State.COPYING
                call = member.actor.share_input.remote(owners[0].input_path)
                self._call(member, call, partial(self._has_input, member))
        elif not any(each.state is State.COPYING for each in here):
            self._copy(wanting[0])

    def _copy(self, member: Member) -> None:
        """Begin to copy the input to the node of an actor, if there is room."""
        assert member.sight is not None
        size, free = self._input["bytes"], member.sight.free
        if size > free:
            what = f"{self._source} ({size // MIB} MB), has {free // MIB} MB free for a copy"
            self._leave_out(member, f"does not see {what}")
            self._supply(member.node)
            return
        log.info(
            "node %s does not see %s: %d MB are copied there",
            member.sight.node,
            self._source,
            -(-size // MIB),
        )
        member.state = State.COPYING
        self._transfer(member, partial(self._copy_part, member, 0))

    def _copy_part(self, member: Member, offset: int, where: str | None = None) -> None:
        """Send the next part of the input, until its last one tells where it is."""
        if where is not None:
            self._moved(member)
            self._has_input(member, where)
            return
        try:
            with self._source.open("rb") as file:
                file.seek(offset)
                data = file.read(PART_BYTES)
        except OSError as error:
            raise InputError(f"{self._source}: {error.strerror}") from error
        end = offset + len(data)
        call = member.actor.put_input.remote(offset, data, end >= self._input["bytes"] or not data)
        self._call(member, call, partial(self._copy_part, member, end))

    def _has_input(self, member: Member, where: str | None) -> None:
        member.input_path = where
        member.state = State.WANTING if where is None else State.IDLE
        self._supply(member.node)

    def _transfer(self, member: Member, begin: Callable[[], None]) -> None:
        """Begin a transfer, now or when another one has ended."""
        if len(self._moving) < TRANSFERS:
            self._moving.add(member.number)
            begin()
        else:
            self._waiting.append((member, member.tag, begin))

    def _moved(self, member: Member) -> None:
        """Let the next transfer begin, in place of one that has ended."""
        self._moving.discard(member.number)

    def _write_token(self, text: str) -> None:
        try:
            self._token.write_text(text)
        except OSError as error:
            raise OutputError(f"{self._token}: {error.strerror}") from error
