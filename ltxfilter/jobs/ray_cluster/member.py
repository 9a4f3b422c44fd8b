"""An actor of the pool, as the job sees it."""

from __future__ import annotations

import secrets
from enum import Enum
from pathlib import Path
from typing import Any

from ltxfilter.jobs.ray_cluster.actor import Sight
from ltxfilter.windows.segment import Segment


class State(Enum):
    """What an actor is about."""

    COMING = "it is being started"
    WANTING = "it has no input yet"
    COPYING = "it is being sent the input"
    IDLE = "it has nothing to do"
    BUSY = "it makes a segment, or its segment is being fetched"
    GONE = "it is left out for good"


class Member:
    """One place in the pool, with the actor that has it now."""

    def __init__(self, number: int) -> None:
        """number: from 0."""
        self.number = number
        self.state = State.COMING
        self.actor: Any = None
        self.sight: Sight | None = None  # None until it has come up
        self.tag = ""  # of what this actor writes, unlike any other's
        self.input_path: str | None = None  # of a copy on its node
        self.segment: Segment | None = None
        self.path: Path | None = None  # where the segment is to be stored
        self.deaths = 0  # one after the other
        self.reason = ""  # why it is left out

    @property
    def node(self) -> str:
        """The identifier of its node; empty until that is known."""
        return "" if self.sight is None else self.sight.node

    @property
    def is_up(self) -> bool:
        """True if it has come up."""
        return self.sight is not None

    @property
    def place(self) -> str:
        """What messages call it."""
        where = "" if self.sight is None else f" on node {self.sight.name}"
        return f"actor {self.number + 1}{where}"

    @property
    def sees_folder(self) -> bool:
        """True if it stores segments where they belong."""
        return self.sight is not None and self.sight.sees_folder

    def start(self, actor: Any) -> None:
        """Take an actor that is being started."""
        self.actor = actor
        self.state = State.COMING
        self.sight = self.input_path = None
        self.tag = secrets.token_hex(4)

    def begin(self, segment: Segment, path: Path) -> None:
        """Take a segment to make."""
        self.state, self.segment, self.path = State.BUSY, segment, path

    def end(self) -> None:
        """Have done with a segment."""
        self.state, self.segment, self.path, self.deaths = State.IDLE, None, None, 0

    def die(self) -> None:
        """Lose the actor, and what it has left of a segment."""
        if self.path is not None:
            for left in self.path.parent.glob(f"{self.path.name}-{self.tag}*"):
                left.unlink(missing_ok=True)
        self.deaths += 1
        self.actor = self.segment = self.path = self.input_path = None

    def leave_out(self, reason: str) -> None:
        """Have no actor any more."""
        self.state, self.reason = State.GONE, reason
        self.segment = self.path = self.input_path = None
