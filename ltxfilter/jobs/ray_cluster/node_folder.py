"""The folder of an actor on its node, for a copy of the input and for segments not yet fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

SPARE = 1 << 30  # bytes of the node's disk that are left to others
# It outlives the actor, and sees the end of its standard input when the actor is gone. Ray ends an
# actor's children with it, so it is nobody's child.
KEEPER = 'exec 3<&0; (cat <&3 >/dev/null 2>&1; rm -rf -- "$1") >/dev/null 2>&1 &'


class NodeFolder:
    """A temporary folder that is removed when this process ends, however it ends."""

    def __init__(self) -> None:
        """Create it where the node keeps temporary files (TMPDIR)."""
        self.path = Path(tempfile.mkdtemp(prefix="ltxfilter-"))
        with subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "sh", str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        ) as keeper:
            assert keeper.stdin is not None
            self._held = os.dup(keeper.stdin.fileno())

    @property
    def free(self) -> int:
        """Bytes that may be stored in it."""
        return max(shutil.disk_usage(self.path).free - SPARE, 0)

    def put(self, name: str, offset: int, data: bytes) -> Path:
        """Write a part of a file; return the file. Raises OSError."""
        path = self.path / name
        with path.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)
        return path

    def share(self, other: str) -> Path | None:
        """Take a file of another actor's folder as one of ours; None if that is gone.

        Both folders name the same file, so its space is free again when the last one goes.
        """
        path = self.path / Path(other).name
        with suppress(OSError):
            path.unlink(missing_ok=True)
            path.hardlink_to(other)
            return path
        return None
