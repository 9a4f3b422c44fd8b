"""Every file that is opened for writing: under a provisional name until it is complete.

`OutputFile` never changes what exists before `complete`, which replaces a file as a whole.
`open_in_place` is for what others read while it grows. See `output_name` for what names mean.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import stat
from collections.abc import Iterable
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any

from ltxfilter.errors import OutputError, Stopped
from ltxfilter.media.output_name import (
    BINARY,
    Target,
    claim,
    resolve,
    try_lock,
    unwritable,
)
from ltxfilter.media.pipe.cancellable import CancellableWriter
from ltxfilter.media.pipe.libav_io import SeekableWriter, Writer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger("ltxfilter.media")

BUFFER = 1 << 20  # bytes that are collected before they are written
WAIT = 0.05  # seconds between two looks at whether a write was cancelled
NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)
NO_TERMINAL = getattr(os, "O_NOCTTY", 0)


class OutputFile:
    """`NAME.part` while it is written, `NAME` once `complete` is called.

    What is no plain file, such as a device, a named pipe or /dev/stdout, is written to directly.
    """

    opener = None  # see `OutputFiles`, which stands in for this where one output is many files
    failure = None  # whoever writes is told of an error at once

    def __init__(self, name: str, overwrite: bool | None, ours: bytes = b"") -> None:
        """Check that the file may be written, and open its provisional file.

        overwrite: whether an existing file may be replaced. ours: how files begin that may be
        replaced in any case, as may an empty one then. Raises OutputError.
        """
        self.name = name
        self._target = target = resolve(name)
        self.direct = target.is_direct
        if self.direct:
            self.part = target.path
            self._claim = None
            fd = _open_direct(target)
        else:
            self._claim = claim(target, overwrite=bool(overwrite) or _is_ours(target, ours))
            self.part, fd = self._claim.part, self._claim.fd
            for part in self._claim.skipped[-1:]:
                log.warning("%s is left from an earlier run; writing %s", part, self.part)
            _take_attributes(fd, target)
        self.descriptor = Descriptor(fd)
        self._file = io.BufferedWriter(self.descriptor, BUFFER)

    def write_all(self, buffers: Iterable[Any]) -> None:
        """Append `buffers`, bytes-like. Raises OutputError, BrokenPipeError, Stopped."""
        try:
            for buffer in buffers:
                self._file.write(buffer)
        except (BrokenPipeError, Stopped):
            raise
        except OSError as error:
            raise unwritable(self.name, error) from error

    def for_libav(self) -> Writer:
        """Return a file object for PyAV that writes at once; it can seek if this file can.

        It raises OSError. Do not mix it with `write_all`.
        """
        url = f"file:{self.part}"  # some muxers read what they wrote
        if self.descriptor.seekable():
            return SeekableWriter(self.descriptor, url)
        return Writer(self.descriptor, url)

    def cancel(self) -> None:
        """Make a write that waits for its reader raise Stopped soon; safe in signal handlers.

        A write to a plain file is the system's and cannot be ended.
        """
        self.descriptor.cancel()

    def complete(self) -> None:
        """Give the file its final name. Raises OutputError, BrokenPipeError, Stopped."""
        self._close_file()
        try:
            if self._claim is None:
                return
            path = self._target.path
            if self._target.status is None and path.exists():
                raise OutputError(
                    f"{self.name}: has come into being meanwhile; {self.part} is complete"
                )
            self.part.replace(path)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(
                f"{self.name}: cannot be renamed from {self.part.name}: {reason}"
            ) from error
        finally:
            self._release()

    def close(self) -> None:
        """Write what is still in memory; the provisional name stays. Raises like `complete`."""
        try:
            self._close_file()
        finally:
            self._release()

    def discard(self) -> None:
        """Remove what was written."""
        ours = None if self._file.closed else os.fstat(self.descriptor.fileno())
        with suppress(OutputError, BrokenPipeError, Stopped):
            self._close_file()
        if self._claim is not None:
            with suppress(OSError):
                if ours is None or os.path.samestat(ours, self.part.lstat()):
                    self.part.unlink()
        self._release()

    def _close_file(self) -> None:
        try:
            self._file.close()
        except (BrokenPipeError, Stopped):
            raise
        except OSError as error:
            raise unwritable(self.name, error) from error

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()


class Descriptor(io.RawIOBase):
    """A descriptor to write to: everything is written, or an error raised.

    Positions count from where it stood. Where it does not block, a write can be cancelled.
    """

    def __init__(self, fd: int) -> None:
        """Own `fd`."""
        super().__init__()
        self._fd = fd
        self._writer = CancellableWriter(fd)
        plain = stat.S_ISREG(os.fstat(fd).st_mode)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if plain else 0
        self._seeks = plain and not _appends(fd)

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data`; return its size. Raises OSError, Stopped."""
        return self._writer.write_views([memoryview(data).cast("B")])

    def cancel(self) -> None:
        """Make a waiting write raise Stopped soon; safe in signal handlers and other threads."""
        self._writer.cancel()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; return the position. Raises OSError."""
        if not self._seeks:
            raise io.UnsupportedOperation("seek")
        if whence == os.SEEK_SET:
            offset += self._start
        return os.lseek(self._fd, offset, whence) - self._start

    def tell(self) -> int:
        """Return the position."""
        return self.seek(0, os.SEEK_CUR)

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether positions can be chosen."""
        return self._seeks

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor."""
        if not self.closed:
            super().close()
            self._writer.close()
            os.close(self._fd)


def open_in_place(name: str, ours: bytes) -> int:
    """Open for writing what others read while it grows; return the descriptor.

    A plain file is emptied if it begins with `ours`, and refused if it holds anything else. Raises
    OutputError.
    """
    target = resolve(name)
    if target.is_direct and not target.is_fifo:
        return _open_direct(target)
    try:  # a named pipe that is opened like this needs no reader
        fd = os.open(target.path, os.O_RDWR | os.O_CREAT | NON_BLOCKING | BINARY, 0o666)
    except OSError as error:
        raise unwritable(name, error) from error
    if target.is_fifo:
        return fd
    try:
        start = os.read(fd, len(ours))
        if start and start != ours:
            raise OutputError(f"{name} exists and is of another kind; name another file")
        if not try_lock(fd):
            raise OutputError(f"{name}: another run is writing it; name another file")
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def has_room(fd: int, patience: float = 0.0) -> bool:
    """Return True if writing PIPE_BUF bytes to `fd` does not wait; patience: seconds to wait."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(1000 * patience))


def _open_direct(target: Target) -> int:
    """Open a device, a named pipe or a descriptor. Raises OutputError.

    A named pipe is waited for until somebody reads from it.
    """
    while True:
        try:
            if target.descriptor is not None:
                return os.dup(target.descriptor)
            return os.open(target.path, os.O_WRONLY | NON_BLOCKING | NO_TERMINAL | BINARY)
        except OSError as error:
            if error.errno != errno.ENXIO or not target.is_fifo:
                raise unwritable(target.name, error) from error
        sleep(WAIT)


def _is_ours(target: Target, ours: bytes) -> bool:
    """Return True if the file exists, and is empty or begins with `ours`."""
    if not ours or target.status is None:
        return False
    with suppress(OSError), target.path.open("rb") as file:
        return file.read(len(ours)) in (b"", ours)
    return False


def _take_attributes(fd: int, target: Target) -> None:
    """Give an open file the owner, mode and extended attributes of the one that it will replace.

    ACLs are extended attributes. What the system does not allow is left as it is.
    """
    before = target.status
    if before is None or not hasattr(os, "fchown"):
        return
    now = os.fstat(fd)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        for owner in (before.st_uid, -1):
            with suppress(OSError):
                os.fchown(fd, owner, before.st_gid)
                break
    with suppress(OSError):
        os.fchmod(fd, stat.S_IMODE(before.st_mode))
    if not hasattr(os, "listxattr"):
        return
    with suppress(OSError):
        for name in os.listxattr(target.path):
            with suppress(OSError):
                os.setxattr(fd, name, os.getxattr(target.path, name))


def _appends(fd: int) -> bool:
    """Return True if every write to `fd` goes to the end of its file."""
    try:
        import fcntl
    except ImportError:
        return False
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
