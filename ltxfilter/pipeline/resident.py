"""How much memory the process takes, compared with what was stated before work started."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ltxfilter.errors import MemoryLimitError
from ltxfilter.pipeline.memory import BASE_BYTES
from ltxfilter.values import MIB

log = logging.getLogger("ltxfilter.convert")

LOOK_SECONDS = 0.5  # between two looks
TOLERANCE = 1.1  # times `--memory` that a run may take before it is ended
STATUS = Path("/proc/self/status")
RESIDENT = re.compile(rb"RssAnon:\s*(\d+) kB")


def resident_bytes() -> int | None:
    """Return the bytes of memory in use, file mappings left out; None where Linux does not say."""
    try:
        found = RESIDENT.search(STATUS.read_bytes())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


class MemoryWatch:
    """Looks at the memory in use now and then; warns once, or ends the run."""

    def __init__(self, stated: int, limit: int | None, before: int | None) -> None:
        """Begin. stated: bytes. limit: of an explicit `--memory`, bytes; None never ends a run.

        before: bytes in use before the run was opened. What they are over those of an interpreter
        belongs to the program around the run, and does not count.
        """
        self.peak: int | None = None  # bytes in use at most, as far as it was looked
        self._stated = stated
        self._limit = limit
        self._around = max((before or 0) - BASE_BYTES, 0)
        self._next = 0.0  # when to look again, seconds on the caller's clock

    @property
    def exceeded(self) -> bool:
        """True if more was in use than was stated."""
        return self.peak is not None and self.peak > self._stated

    def look(self, now: float) -> None:
        """Look, unless that was done a moment ago; now: seconds. Raises MemoryLimitError."""
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        used = self.measure()
        if used is None or self._limit is None or used <= TOLERANCE * self._limit:
            return
        raise MemoryLimitError(
            f"{used // MIB} MB of memory are in use, more than 10 % above --memory "
            f"{self._limit // MIB}M; give more, or an encoder preset with less lookahead"
        )

    def measure(self) -> int | None:
        """Return the bytes in use now; warn of the first time that they are more than stated."""
        used = resident_bytes()
        if used is None:
            return None
        used = max(used - self._around, 0)
        exceeded = self.exceeded
        self.peak = max(used, self.peak or 0)
        if self.exceeded and not exceeded:
            log.warning(
                "%d MB of memory are in use, and %d MB were stated",
                used // MIB,
                self._stated // MIB,
            )
        return used
