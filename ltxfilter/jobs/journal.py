"""What a job has done, on disk: it survives a crash at any moment, and is never believed blindly.

`job.json` says what the job is. A line is appended to `journal.jsonl` and flushed to the disk after
each stored segment; a last line that is torn is left out. Both lie in the work folder, beside the
segments, and the folder is locked while a job runs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

from ltxfilter import __version__
from ltxfilter.errors import OptionError, OutputError
from ltxfilter.media.output_name import PART, lengthened, try_lock
from ltxfilter.options import Options
from ltxfilter.values import scheme_of

FOLDER = PART + ".d"  # is added to the output's name
JOB, JOURNAL, LOCK = "job.json", "journal.jsonl", "lock"
SAMPLE = 1 << 20  # bytes at either end of a file by which it is known
UNIMPORTANT = {  # options that change neither pictures nor packets
    "memory", "threads", "report", "live_view", "job", "strict", "input.path", "input.threads",
    "output.path", "output.overwrite", "models.device",
}  # fmt: skip


def work_folder(options: Options) -> Path:
    """Return where a job keeps its segments. Raises OptionError if that has to be said."""
    if options.job.work_dir is not None:
        return Path(options.job.work_dir)
    path = options.output.path
    if path == "-" or scheme_of(path) or path.startswith(("/dev/", "/proc/")):
        raise OptionError("the output has no folder: name one for the segments with --work-dir")
    return lengthened(Path(path), FOLDER)


def identity(path: str) -> dict[str, Any]:
    """Return what a file is known by: its size, and its first and last bytes.

    Raises OSError.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = crc32(file.read(SAMPLE))
        file.seek(max(size - SAMPLE, 0))
        return {"bytes": size, "head": head, "tail": crc32(file.read(SAMPLE))}


def job_key(options: Options, files: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that decides what a job's segments hold.

    files: paths of what is read, by what it is. Raises OSError.
    """
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(asdict(options), default=str)).items():
        parts = value if isinstance(value, dict) and name in ("input", "output", "models") else None
        for key, item in ({name: value} if parts is None else parts).items():
            full = name if parts is None else f"{name}.{key}"
            if full not in UNIMPORTANT and name not in UNIMPORTANT:
                flat[full] = item
    flat["segment_seconds"] = options.job.segment_seconds
    flat["output.name"] = Path(options.output.path).suffix
    flat["ltxfilter"] = __version__
    for what, path in files.items():
        flat[what] = identity(path)
    return flat


class Journal:
    """The work folder of one job; use it in a `with` statement."""

    def __init__(self, folder: Path, key: Mapping[str, Any], resume: str) -> None:
        """Lock the folder, and read what was done there.

        resume: "no" for a job that keeps nothing, "yes" carries on, "restart" begins anew. Raises
        OutputError, OptionError if another job is in the folder.
        """
        self.folder = folder
        self.key = dict(key)
        self.done: dict[int, dict[str, Any]] = {}  # number of a segment -> what was noted of it
        self.details: dict[str, Any] = {}  # what `job.json` says beside the key
        self._lock = -1
        try:
            self._open(resume)
        except OSError as error:
            self.close()
            raise OutputError(f"{folder}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def path_of(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{number:06d}.segment"

    def begin(self, details: Mapping[str, Any]) -> None:
        """Write what the job is, unless it was begun before. Raises OutputError."""
        self.details = {**details, **self.details}
        text = json.dumps({"key": self.key, **self.details}, indent=1, default=str)
        part = self.folder / (JOB + PART)
        try:
            with part.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / JOB)
        except OSError as error:
            raise OutputError(f"{part}: {error.strerror or error}") from error

    def add(self, number: int, **noted: Any) -> None:
        """Note that a segment is stored, and flush that to the disk. Raises OutputError."""
        entry = {"segment": number, "bytes": self.path_of(number).stat().st_size, **noted}
        self._append(entry)
        self.done[number] = entry

    def note(self, event: str, **noted: Any) -> None:
        """Note something that happened, for people. Raises OutputError."""
        self._append({"event": event, "time": round(time.time(), 3), **noted})

    def forget(self, number: int) -> None:
        """Take back a segment that is not whole after all."""
        self.done.pop(number, None)
        self.path_of(number).unlink(missing_ok=True)
        self._append({"lost": number})

    def remove(self) -> None:
        """Remove the folder and all that is ours in it."""
        remove_files(self.folder)

    def close(self) -> None:
        """Release the lock; calling it twice does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, resume: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(self._lock):
            raise OutputError(f"{self.folder}: another run works on this job; wait for it")
        known = _read_json(self.folder / JOB)
        if resume == "restart" or (resume == "no" and known is None):
            for path in (*self.folder.glob("*.segment*"), self.folder / JOURNAL, self.folder / JOB):
                path.unlink(missing_ok=True)
            return
        if resume == "no":
            raise OptionError(
                f"{self.folder} holds an unfinished job; --resume carries on, --resume=restart "
                "begins anew"
            )
        if known is not None:
            self._check(known.pop("key", {}))
            self.details = known
            self.done = dict(self._whole_segments())

    def _check(self, key: Mapping[str, Any]) -> None:
        """Raise OptionError if the job in the folder is another one, naming what differs."""
        own = json.loads(json.dumps(self.key, default=str))
        names = sorted(own.keys() | key.keys())
        changed = [name for name in names if own.get(name) != key.get(name)]
        if not changed:
            return
        what = ", ".join(
            f"{name} was {_shown(key, name)}, is {_shown(own, name)}" for name in changed
        )
        raise OptionError(
            f"{self.folder} holds a job that was begun otherwise: {what}; --resume=restart begins "
            "anew and discards it"
        )

    def _whole_segments(self) -> dict[int, dict[str, Any]]:
        """Return what is noted of the segments that are there."""
        found: dict[int, dict[str, Any]] = {}
        for entry in read_journal(self.folder):
            if "lost" in entry:
                found.pop(entry["lost"], None)
            if "segment" in entry:
                found[entry["segment"]] = entry
        return {
            number: entry
            for number, entry in found.items()
            if _size(self.path_of(number)) == entry["bytes"]
        }

    def _append(self, entry: Mapping[str, Any]) -> None:
        path = self.folder / JOURNAL
        try:
            with path.open("ab+") as file:
                if file.tell():  # a line that a crash tore off must not spoil this one
                    file.seek(-1, os.SEEK_END)
                    torn = file.read(1) != b"\n"
                else:
                    torn = False
                file.write((b"\n" if torn else b"") + json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a journal; lines that are no entries are left out."""
    entries = []
    with suppress(OSError):
        for line in (folder / JOURNAL).read_bytes().splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    entries.append(entry)
    return entries


def is_locked(folder: Path) -> bool:
    """Return True if a process works on the job in a folder."""
    try:
        with (folder / LOCK).open("rb") as file:
            return not try_lock(file.fileno())
    except OSError:
        return False


def discard_folder(folder: Path) -> bool:
    """Remove the segments of a job that nobody works on; return False if somebody does."""
    if is_locked(folder):
        return False
    remove_part(folder)
    remove_files(folder)
    return True


def remove_part(folder: Path) -> None:
    """Remove the provisional output that the latest run of a job has left, if one has."""
    parts = [entry["part"] for entry in read_journal(folder) if "part" in entry]
    for part in map(Path, parts[-1:]):
        if part.suffix.startswith(PART) and part.is_file():
            with part.open("rb") as file:
                if try_lock(file.fileno()):  # else another run has taken the name since
                    part.unlink()


def remove_files(folder: Path) -> None:
    """Remove what is ours in a work folder, and the folder if nothing else is in it."""
    for path in (*folder.glob("*.segment*"), *folder.glob("input-*")):
        path.unlink(missing_ok=True)
    for name in (JOB, JOB + PART, JOURNAL, LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _shown(key: Mapping[str, Any], name: str) -> str:
    value = key.get(name)
    return "not given" if value in (None, "", {}, []) else json.dumps(value)
