"""Which jobs were begun on this machine: one small file each, in the user's state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from ltxfilter.jobs.journal import is_locked, read_journal
from ltxfilter.user_folders import NAME, user_folder


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job of this user, as far as its file in the index tells."""

    entry: Path
    """The file in the index."""

    output: str

    folder: Path
    """Where its segments are."""

    details: Mapping[str, Any]

    @property
    def planned(self) -> int:
        """Segments that it has."""
        return int(self.details.get("planned", 0))

    @property
    def stored(self) -> int:
        """Segments that are stored."""
        found = set()
        for line in read_journal(self.folder):
            if "lost" in line:
                found.discard(line["lost"])
            if "segment" in line:
                found.add(line["segment"])
        return len(found)

    @property
    def is_running(self) -> bool:
        """True if a process works on it."""
        return is_locked(self.folder)

    @property
    def is_finished(self) -> bool:
        """True if its output is there as the job left it."""
        written = self.details.get("written")
        return written is not None and written == written_file(self.output)


def index_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the index."""
    base = user_folder("STATE", environment) or Path(os.devnull)  # in which nothing can be made
    return base / NAME / "jobs"


def note_job(output: str, folder: Path, details: Mapping[str, Any]) -> None:
    """Write a job into the index; a folder that cannot be written keeps no index."""
    path = _entry_of(output)
    known = {"output": str(Path(output).absolute()), "folder": str(folder.absolute()), **details}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known, default=str))
        part.replace(path)


def known_job(output: str) -> KnownJob | None:
    """Return the job that wrote, or began to write, a file."""
    return _read(_entry_of(output))


def known_jobs() -> Iterator[KnownJob]:
    """Yield the jobs in the index, in the order of their outputs' names."""
    with suppress(OSError):
        found = [job for path in index_folder().glob("*.json") if (job := _read(path))]
        yield from sorted(found, key=lambda job: job.output)


def forget_job(job: KnownJob) -> None:
    """Take a job out of the index."""
    with suppress(OSError):
        job.entry.unlink()


def written_file(path: str) -> list[int] | None:
    """Return size and time of a file, by which it is known again; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (a Path refuses some names)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _entry_of(output: str) -> Path:
    name = os.fsencode(str(Path(output).absolute()))
    return index_folder() / f"{Path(output).name[:40]}-{crc32(name):08x}.json"


def _read(path: Path) -> KnownJob | None:
    try:
        known = json.loads(path.read_bytes())
        return KnownJob(path, known["output"], Path(known["folder"]), known)
    except (OSError, ValueError, KeyError, TypeError):
        return None
