"""Standard input and output as file objects: reads and writes can be cancelled, writes are whole.

This module knows descriptors and no video. On systems without poll(), reads cannot be cancelled.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ltxfilter.errors import InputError, OptionError, OutputError, Stopped
from ltxfilter.media.pipe.cancellable import CancellableWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")
R = TypeVar("R")

BINARY = getattr(os, "O_BINARY", 0)
PIPE_BYTES = 1 << 20  # to which pipes are enlarged; the most that Linux allows every user

_claimed: int | None = None  # descriptor for frames once fd 1 is claimed; -1 if it was closed


class PipeInput(io.RawIOBase):
    """A descriptor to read from; `cancel` ends a waiting read within milliseconds.

    `read` and `readinto` return what is there, at least one byte, or nothing at the end. They raise
    Stopped once cancelled. Wrap it in io.BufferedReader to get exact amounts.
    """

    def __init__(self, fd: int, name: str, *, owned: bool = False) -> None:
        """Read from `fd`. name: what messages call it. owned: whether `close` closes `fd` too.

        Raises InputError for a directory.
        """
        super().__init__()
        self.name = name
        self.fd = fd
        self.received = 0  # bytes taken from the descriptor
        self.size = _size_left(fd)  # bytes to come of a file; -1 for a pipe
        try:
            self._file = io.FileIO(fd, "rb", closefd=owned)
        except OSError as error:
            super().close()  # else the finaliser closes what was never opened
            raise InputError(f"{name}: {error.strerror}") from error
        self._prefix = b""
        self._cancelled = False
        self._wake, self._waker = socket.socketpair()
        self._wait = _waiter(fd, self._wake.fileno())

    def sniff(self, size: int, enough: Callable[[bytes], object] | None = None) -> bytes:
        """Return up to `size` bytes ahead without consuming them, fewer at the end of input.

        enough: called with what has arrived; once it returns something true, no more is waited for,
        so that the first packet of a slow producer may do. Raises Stopped.
        """
        while len(self._prefix) < size and not (enough and self._prefix and enough(self._prefix)):
            data = self._receive(size - len(self._prefix))
            if not data:
                break
            self._prefix += data
        return self._prefix

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, at least one unless the input has ended."""
        if size < 0:
            return self.readall()
        if self._prefix:
            data, self._prefix = self._prefix[:size], self._prefix[size:]
            return data
        return self._receive(size)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the beginning of `buffer`; return how many bytes came, 0 at the end."""
        if self._prefix:
            view = memoryview(buffer).cast("B")
            data, self._prefix = self._prefix[: len(view)], self._prefix[len(view) :]
            view[: len(data)] = data
            return len(data)
        count: int = self._when_ready(self._file.readinto, buffer)
        self.received += count
        return count

    @property
    def left(self) -> int:
        """Bytes to come of a file; -1 for a pipe."""
        return -1 if self.size < 0 else len(self._prefix) + _size_left(self.fd)

    def skip(self, size: int) -> None:
        """Leave out the next `size` bytes of a file."""
        ahead, self._prefix = len(self._prefix), self._prefix[size:]
        if size > ahead:
            os.lseek(self.fd, size - ahead, os.SEEK_CUR)

    def readable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd

    def cancel(self) -> None:
        """End a waiting read, and every later one, with Stopped; safe in signal handlers."""
        self._cancelled = True
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def enlarge(self) -> None:
        """Let the pipe hold more, so that producer and consumer wait less for each other.

        Do not call it before the producer has been looked at: with more room it may finish and end.
        """
        enlarge_pipe(self.fd)

    def close(self) -> None:
        """Release what was opened. The descriptor stays open unless it is owned."""
        if not self.closed:
            self._file.close()
            self._wake.close()
            self._waker.close()
        super().close()

    def _receive(self, size: int) -> bytes:
        data: bytes = self._when_ready(self._file.read, size)
        self.received += len(data)
        return data

    def _when_ready(self, operation: Callable[[T], R | None], argument: T) -> R:
        """Do `operation` once data is there. Raises Stopped, InputError."""
        while True:
            self._wait()
            if self._cancelled:
                raise Stopped
            try:
                result = operation(argument)
            except OSError as error:
                raise InputError(f"{self.name}: {error.strerror}") from error
            if result is not None:  # None: another process made the descriptor non-blocking
                return result


class PipeOutput:
    """A descriptor to write frames to: everything is written, without copies, or an error raised.

    Raises BrokenPipeError when the reader has left, Stopped once cancelled, OutputError for
    everything else.
    """

    def __init__(self, fd: int, name: str) -> None:
        """Write to `fd`. name: what messages call it."""
        self.name = name
        self.fd = fd
        self.sent = 0  # bytes
        enlarge_pipe(fd)
        self._writer = CancellableWriter(fd)

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data`; return its size in bytes."""
        view = memoryview(data).cast("B")
        self.write_all([view])
        return len(view)

    def write_all(self, buffers: Sequence[Any]) -> None:
        """Write contiguous `buffers` one after another, all of them."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        try:
            self.sent += self._writer.write_views(views)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self.name}: {error.strerror}") from error

    def flush(self) -> None:
        """Do nothing, since nothing is buffered."""

    def cancel(self) -> None:
        """End a write that the reader keeps waiting; safe in signal handlers and other threads."""
        self._writer.cancel()

    def close(self) -> None:
        """Release what was opened. The descriptor stays open. Calling it twice does nothing."""
        self._writer.close()


def open_stdin() -> PipeInput:
    """Return standard input, checked to be open and no terminal. Raises InputError, OptionError."""
    if sys.__stdin__ is None:  # fd 0 may be another file's by now
        raise InputError("standard input is closed; name a file with -i")
    if os.isatty(0):
        raise OptionError(
            "standard input is a terminal; name a file with -i, or pipe video in: "
            "ffmpeg -i in.mp4 -f yuv4mpegpipe - | ltxfilter | ffmpeg -i - out.mp4"
        )
    return PipeInput(0, "standard input")


def open_stdout() -> PipeOutput:
    """Return standard output for frames: the claimed one, or else sys.stdout's descriptor.

    Raises OptionError for a terminal, OutputError if it is closed.
    """
    fd = _claimed
    if fd is None:
        try:
            sys.stdout.flush()
            fd = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):
            fd = -1
    if fd < 0:
        raise OutputError("standard output is closed; name an output file")
    if os.isatty(fd):
        raise OptionError(
            "video would go to the terminal; name an output file, or pipe it on: "
            "ltxfilter -i in.mp4 | ffmpeg -i - out.mp4"
        )
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(fd, os.O_BINARY)
    return PipeOutput(fd, "standard output")


def open_file(path: str) -> PipeInput:
    """Open the file or named pipe at `path` for reading. Raises InputError."""
    try:
        return PipeInput(os.open(path, os.O_RDONLY | BINARY), path, owned=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def claim_stdout() -> None:
    """Keep standard output for frames: whatever else writes to fd 1 goes to stderr from now on.

    That covers prints of Python code, of C libraries and of child processes. Calling it twice does
    nothing.
    """
    global _claimed
    if _claimed is not None:
        return
    _claimed = -1 if sys.__stdout__ is None else os.dup(1)  # closed: fd 1 may be another file's
    if sys.__stderr__ is not None:
        os.dup2(2, 1)
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if null != 1:
        os.close(null)


def enlarge_pipe(fd: int) -> None:
    """Enlarge `fd` to PIPE_BYTES if it is a pipe and the system can do that."""
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(fd).st_mode):
        import fcntl

        with contextlib.suppress(OSError):  # the user's quota of memory for pipes is used up
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def file_behind(fd: int) -> str | None:
    """Return the path of the regular file that `fd` reads from its beginning, if it is one.

    `ltxfilter < in.mp4` may then be read like `-i in.mp4`, seeking included.
    """
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or os.lseek(fd, 0, os.SEEK_CUR):
            return None
        path = Path(f"/proc/self/fd/{fd}").readlink()
        return str(path) if os.path.samestat(path.stat(), status) else None
    except OSError:
        return None


def _waiter(fd: int, wake: int) -> Callable[[], object]:
    """Return a function that waits until one of the two descriptors is readable."""
    if not hasattr(select, "poll"):
        return lambda: None
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(wake, select.POLLIN)
    return poll.poll


def _size_left(fd: int) -> int:
    status = os.fstat(fd)
    return status.st_size - os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else -1
