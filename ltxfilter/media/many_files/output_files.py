"""The files of an output that is many: numbered pictures, segments and their playlists.

libav names each one when it opens it. Each is an `OutputFile`: it has a provisional name until it
is whole, so that whoever watches the folder sees whole files only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ltxfilter.errors import LtxFilterError, OutputError
from ltxfilter.media.many_files.names import many_files
from ltxfilter.media.output_file import OutputFile
from ltxfilter.options import OutputOptions

WRITES = 2  # FFmpeg's flag for opening a file to write to it
ERRORS = (OSError, LtxFilterError)


class OutputFiles:
    """What a muxer that writes many files opens them with; stands in for an `OutputFile`.

    libav goes on in odd ways, or crashes, when one file of many fails. So it is not told: what it
    writes from then on is forgotten, and `failure` says what happened.
    """

    direct = False

    def __init__(self, options: OutputOptions, muxer: str) -> None:
        """Check that the files may be written. Raises OutputError.

        muxer: FFmpeg's name of the format.
        """
        self.name = options.path
        self.part = Path(options.path)
        self.failure: Exception | None = None  # the first error that any file met
        self._overwrite = bool(options.overwrite)
        self._written: set[str] = set()  # names of files that this run wrote
        folder = self.part.parent
        if not folder.is_dir():
            raise OutputError(f"{self.name}: there is no folder {folder}; make it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{self.name}: the folder {folder} is write-protected")
        existing = many_files(options, muxer)
        if existing and not self._overwrite:
            others = f" and {len(existing) - 1} of its other files" if len(existing) > 1 else ""
            verb = "exist" if others else "exists"
            raise OutputError(
                f"{self.name}: {existing[0]}{others} {verb} already; add -y to overwrite"
            )

    def for_libav(self) -> str:
        """Return the URL from which libav makes the names of the files."""
        return f"file:{self.name}"

    def opener(self, url: str, flags: int, options: dict[str, str]) -> Any:  # noqa: ARG002
        """Open one of the files, as PyAV asks for it. Raises OSError for one that is read."""
        name = url.removeprefix("file:")
        if not flags & WRITES:  # a playlist that is continued, a key
            return Path(name).open("rb")
        if self.failure is None:
            try:
                file = OutputFile(name, self._overwrite or name in self._written)
            except ERRORS as error:
                self.failure = error
            else:
                self._written.add(name)
                return OneOfMany(file, self)
        return OneOfMany(None, self)

    def complete(self) -> None:
        """Raise the first error that any file met: libav has closed them, and each has its name.

        Raises OSError, LtxFilterError.
        """
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Do nothing, for the same reason."""

    def cancel(self) -> None:
        """Do nothing: a write to a plain file is the system's and cannot be ended."""

    def discard(self) -> None:
        """Do nothing: no file is opened before there is a frame."""


class OneOfMany:
    """One of the files, as libav writes it: it gets its name when it is closed without an error."""

    def __init__(self, file: OutputFile | None, owner: OutputFiles) -> None:
        """Take over `file`; None forgets what is written. owner: is told of an error."""
        self._file = file
        self._owner = owner
        self._size = 0  # bytes written

    def write(self, data: bytes) -> int:
        """Take all of `data`; return its size."""
        if self._file is not None:
            try:
                self._file.descriptor.write(data)
            except ERRORS as error:
                self._fail(error)
        self._size += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; return the position."""
        if self._file is not None:
            try:
                return self._file.descriptor.seek(offset, whence)
            except ERRORS as error:
                self._fail(error)
        return offset

    def tell(self) -> int:
        """Return the position."""
        return 0 if self._file is None else self._file.descriptor.tell()

    def seekable(self) -> bool:
        """Return whether positions can be chosen."""
        return self._file is None or self._file.descriptor.seekable()

    def close(self) -> None:
        """Close the file and give it its name."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.complete()
        except ERRORS as error:
            self._owner.failure = self._owner.failure or error

    def _fail(self, error: Exception) -> None:
        """Leave what was written under its provisional name, if it is anything."""
        self._owner.failure = self._owner.failure or error
        file, self._file = self._file, None
        if file is not None:
            with suppress(*ERRORS):
                (file.close if self._size else file.discard)()
