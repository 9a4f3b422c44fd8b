"""File objects for PyAV that fail once: after an error they have ended.

libav often asks again after an error. PyAV can hold one exception until libav returns; it prints
any further one, and a read that was cancelled would wait once more.
"""

from __future__ import annotations

from typing import Protocol


class Readable(Protocol):
    """A stream to read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


class InputStream(Readable, Protocol):
    """A stream to read from whose owner can end a waiting read."""

    def cancel(self) -> None:
        """Make a waiting read, and every later one, raise Stopped soon."""
        ...

    def close(self) -> None:
        """Release it; calling it twice does nothing."""
        ...


class Writable(Protocol):
    """A stream to write to."""

    def write(self, data: bytes, /) -> int:
        """Take all of `data`; return its size."""
        ...

    def cancel(self) -> None:
        """Make a waiting write end soon with Stopped."""
        ...

    def close(self) -> None:
        """Release it; calling it twice does nothing."""
        ...


class Seekable(Writable, Protocol):
    """A stream to write to whose position can be chosen."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; return the position in bytes."""
        ...

    def tell(self) -> int:
        """Return the position in bytes."""
        ...


class Reader:
    """A stream that has ended once reading it failed."""

    def __init__(self, stream: Readable) -> None:
        self.name = getattr(stream, "name", "")
        self._stream = stream
        self._failed = False

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end. Raises what the stream does, once."""
        if self._failed:
            return b""
        try:
            return self._stream.read(size)
        except BaseException:
            self._failed = True
            raise


class Writer:
    """A stream that forgets what it is given once writing to it failed."""

    def __init__(self, stream: Writable, name: str = "") -> None:
        """name: what libav takes for its URL."""
        self.name = name or getattr(stream, "name", "")
        self.stream = stream
        self._failed = False

    def write(self, data: bytes) -> int:
        """Take all of `data`; return its size. Raises what the stream does, once."""
        if not self._failed:
            try:
                self.stream.write(data)
            except BaseException:
                self._failed = True
                raise
        return len(data)

    def cancel(self) -> None:
        """Make a waiting write end soon with Stopped."""
        self.stream.cancel()

    def release(self) -> None:
        """Close the stream; PyAV would call a method named close too early."""
        self.stream.close()


class SeekableWriter(Writer):
    """The same for a stream whose position can be chosen."""

    def __init__(self, stream: Seekable, name: str = "") -> None:
        """name: what libav takes for its URL."""
        super().__init__(stream, name)
        self.stream: Seekable = stream

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; return the position. Raises what the stream does, once."""
        if self._failed:
            return offset
        try:
            return self.stream.seek(offset, whence)
        except BaseException:
            self._failed = True
            raise

    def tell(self) -> int:
        """Return the position."""
        return 0 if self._failed else self.stream.tell()
