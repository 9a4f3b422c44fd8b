"""Output files under a provisional name until they are complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ltxfilter.errors import OutputError

BUFFER = 1 << 20  # bytes that are collected before they are written


class PartFile:
    """`NAME.part` while it is written, `NAME` once `complete` is called.

    What is not a plain file, such as a device or a named pipe, is written to directly.
    """

    def __init__(self, path: str, overwrite: bool | None, source: str = "") -> None:
        """Check that `path` may be written, and create its provisional file.

        overwrite: whether an existing file may be replaced. source: the input's name, if any, which
        must not be the output. Raises OutputError.
        """
        self.name = path
        self._path = Path(path)
        self._file: BinaryIO | None = None  # while it is open
        self.direct = self._path.exists() and not self._path.is_file()
        if self._path.is_dir():
            raise OutputError(f"{path}: is a directory")
        if self._path.exists() and not self.direct:
            if source and Path(source).exists() and self._path.samefile(source):
                raise OutputError(f"{path}: is the input itself; name another output")
            if not overwrite:
                raise OutputError(f"{path} already exists; add -y to overwrite it")
        self.part = self._path if self.direct else self._path.with_name(self._path.name + ".part")
        if not self.direct:
            self._open()
            self.close()

    def write_all(self, buffers: Iterable[Any]) -> None:
        """Append `buffers`, bytes-like. Raises OutputError, BrokenPipeError."""
        file = self._file or self._open()
        try:
            for buffer in buffers:
                file.write(buffer)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be written: {error.strerror}") from error

    def complete(self) -> None:
        """Give the file its final name. Raises OutputError."""
        self.close()
        if self.direct:
            return
        try:
            self.part.replace(self._path)
        except OSError as error:
            raise OutputError(
                f"{self.name}: cannot be renamed from {self.part.name}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Write what is still in memory; the provisional name stays. Raises OutputError."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OutputError(f"{self.name}: cannot be written: {error.strerror}") from error

    def cancel(self) -> None:
        """Do nothing, since a write to a file cannot be cancelled."""

    def discard(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OutputError, BrokenPipeError):
            self.close()
        if not self.direct:
            self.part.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        try:
            self._file = file = self.part.open("wb", BUFFER)
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be written: {error.strerror}") from error
        return file
