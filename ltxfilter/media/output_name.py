"""Which file the name of an output means, and the provisional file that stands for it meanwhile.

A name may lead to its file over links; the file is what is replaced, and the links stay. Names of
devices, named pipes and open descriptors (`/dev/stdout`) are written to directly.

While a run writes, it holds a kernel lock on its provisional file, and on the file that it will
replace. A second run to the same name sees that and is refused. A lock ends with its process, so
what a killed run left behind is never in the way. Claims of one folder are made one after another,
under a lock on the folder. Where a system or a file system has no locks, two runs still write to
two provisional files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from ltxfilter.errors import OutputError

PART = ".part"  # is added to a name while its file is incomplete
MOST_PARTS = 99  # provisional files of one name
MOST_LINKS = 40  # that are followed; Linux follows as many
LONGEST_NAME = 255  # bytes, where a file system does not say
LONGEST_SUFFIX = 20  # bytes that a shortened name keeps of the ending
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
HAS_LOCKS = find_spec("fcntl") is not None
STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


class RunFile(NamedTuple):
    """A file that a run reads or writes, and what messages call it."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Target:
    """What the name of an output means."""

    name: str
    """As it was given."""

    path: Path
    """The file itself, behind all links."""

    status: os.stat_result | None
    """Of what is there; None if nothing is."""

    descriptor: int | None = None
    """Of this process, if the name means one."""

    @property
    def is_direct(self) -> bool:
        """True for what is written to as it stands: a device, a named pipe, a descriptor."""
        if self.descriptor is not None:
            return True
        return self.status is not None and not stat.S_ISREG(self.status.st_mode)

    @property
    def is_fifo(self) -> bool:
        """True for the name of a pipe."""
        if self.descriptor is not None or self.status is None:
            return False
        return stat.S_ISFIFO(self.status.st_mode)


@dataclass(slots=True)
class Claim:
    """A provisional file, open for writing, and the locks that keep other runs away."""

    part: Path
    fd: int
    skipped: tuple[Path, ...] = ()
    """Provisional files of earlier runs that are in the way and stay."""

    locks: tuple[int, ...] = ()
    """Descriptors to close once the file has its name."""

    def release(self) -> None:
        """Let other runs claim the name; calling it twice does nothing."""
        locks, self.locks = self.locks, ()
        for fd in locks:
            os.close(fd)


def resolve(name: str) -> Target:
    """Return what the name of an output means. Raises OutputError for what cannot be a file."""
    if not name or name.endswith(("/", os.sep)):
        raise OutputError(f"{name or 'the output'}: names no file")
    try:
        path, descriptor = _follow(Path(name))
        if descriptor is not None:
            return Target(name, path, os.fstat(descriptor), descriptor)
        status = path.stat()
    except FileNotFoundError:
        return Target(name, path, None)
    except (OSError, ValueError) as error:
        raise unwritable(name, error) from error
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{name}: is a directory")
    return Target(name, path, status)


def refuse_shared(written: Sequence[RunFile], read: Sequence[RunFile]) -> None:
    """Raise OutputError if a file would be written that the run reads, or written twice."""
    for position, target in enumerate(written):
        for other in (*read, *written[:position]):
            if is_same(target.path, other.path):
                another = "output" if target.what == "the output" else f"file for {target.what}"
                raise OutputError(f"{target.path}: is {other.what} itself; name another {another}")


def is_same(first: str, second: str) -> bool:
    """Return True if two names mean one plain file, or would if it existed."""
    try:
        ours, theirs = os.stat(first), os.stat(second)  # noqa: PTH116  (a Path refuses some names)
    except (OSError, ValueError):
        with suppress(OSError, ValueError, RuntimeError):
            return os.path.realpath(first) == os.path.realpath(second)
        return False
    plain = stat.S_ISREG(ours.st_mode) or stat.S_ISBLK(ours.st_mode)
    return plain and os.path.samestat(ours, theirs)


def claim(target: Target, *, overwrite: bool) -> Claim:
    """Create the provisional file of a plain file. Raises OutputError.

    overwrite: whether a file that exists may be replaced later on.
    """
    try:
        with _claiming(target.path.parent):
            return _claimed(target, overwrite=overwrite)
    except OSError as error:
        raise unwritable(target.name, error) from error


def _claimed(target: Target, *, overwrite: bool) -> Claim:
    """Do what `claim` says; no other run claims a name in the folder meanwhile."""
    if target.path.exists():
        if not overwrite:
            raise OutputError(f"{target.name} already exists; add -y to overwrite it")
        if not os.access(target.path, os.W_OK):
            raise OutputError(f"{target.name}: is write-protected")
    locks = _lock(target.path, target.name)
    try:
        part, fd, skipped = _create_part(target)
    except BaseException:
        Claim(target.path, -1, (), locks).release()
        raise
    try_lock(fd)
    if HAS_LOCKS:
        locks = (*locks, os.dup(fd))
    return Claim(part, fd, skipped, locks)


def _create_part(target: Target) -> tuple[Path, int, tuple[Path, ...]]:
    """Create a provisional file; return its name, its descriptor, and the names that were taken.

    Raises OutputError if another run writes to one of those, OSError.
    """
    skipped: tuple[Path, ...] = ()
    for part in _part_names(target.path):
        try:
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
        except FileExistsError:
            if part.is_file() and not part.is_symlink():
                Claim(part, -1, (), _lock(part, target.name)).release()
            skipped = (*skipped, part)
            continue
        return part, fd, skipped
    raise OutputError(f"{target.name}: {skipped[-1].name} exists; remove what is unfinished there")


def _part_names(path: Path) -> Iterator[Path]:
    """Yield the provisional names of a file in the order in which they are tried."""
    for number in range(1, MOST_PARTS + 1):
        yield lengthened(path, PART + (str(number) if number > 1 else ""))


def lengthened(path: Path, added: str) -> Path:
    """Return a name with `added` to it.

    One that is then too long for its folder is shortened before its ending.
    """
    longest = LONGEST_NAME
    with suppress(AttributeError, OSError, ValueError):
        longest = os.pathconf(path.parent, "PC_NAME_MAX")
    name = os.fsencode(path.name)
    if len(name) + len(added) > longest:
        suffix = os.fsencode(path.suffix)[:LONGEST_SUFFIX]
        ending = b"~%08x" % crc32(name) + suffix  # which two long names do not share
        stem = name[: longest - len(added) - len(ending)]
        name = stem.decode(errors="ignore").encode() + ending
    return path.with_name(os.fsdecode(name) + added)


def _follow(path: Path) -> tuple[Path, int | None]:
    """Return the file behind links, or the descriptor of this process that a name means."""
    for _ in range(MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        descriptor = STANDARD.get(str(folder / path.name))
        if folder in (Path("/dev/fd"), Path(f"/proc/{os.getpid()}/fd")) and path.name.isdigit():
            descriptor = int(path.name)
        if descriptor is not None:
            return path, descriptor
        if not path.is_symlink() or folder.parts[1:2] == ("proc",):
            return path, None
        path = folder / path.readlink()
    raise OSError(0, "too many links")


@contextmanager
def _claiming(folder: Path) -> Iterator[None]:
    """Make other runs wait that want to claim a name in the same folder."""
    fd = -1
    if HAS_LOCKS:
        import fcntl

        with suppress(OSError):  # this file system has no locks, or the folder is missing
            fd = os.open(folder, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(path: Path, name: str) -> tuple[int, ...]:
    """Lock a file; return the descriptor that holds the lock, none where there is nothing to lock.

    name: of the output. Raises OutputError if another run holds it.
    """
    if not HAS_LOCKS:
        return ()
    try:
        fd = os.open(path, os.O_RDONLY | BINARY)
    except OSError:  # it does not exist, or may not be read
        return ()
    if not try_lock(fd):
        os.close(fd)
        raise OutputError(f"{name}: another run is writing it; wait for it, or name another output")
    return (fd,)


def try_lock(fd: int) -> bool:
    """Lock an open file; return False if another process holds the lock.

    The lock ends when all copies of the descriptor are closed.
    """
    if not HAS_LOCKS:
        return True
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True


def unwritable(name: str, error: Exception) -> OutputError:
    """Return the error to raise for one of the system's."""
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{name}: cannot be written: {reason}")
