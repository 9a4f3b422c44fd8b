"""Standard input as a file: several workers have to read it from several places."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from pathlib import Path

from ltxfilter.errors import InputError, OutputError
from ltxfilter.media.pipe.sniff import SNIFF_BYTES, identify
from ltxfilter.media.pipe.stdio import PipeInput, file_behind, open_stdin

log = logging.getLogger("ltxfilter.jobs")

NAME = "input-"  # is followed by the number of the process
COPIED = 1 << 20  # bytes at a time
HEADERLESS = (
    "has no header that says what it holds, so it cannot be cut into segments; let the ffmpeg "
    "before write -f nut, -f matroska or -f yuv4mpegpipe"
)


def stdin_as_file(folder: Path) -> Path:
    """Return a file with all that arrives on standard input: the one behind it, or one in `folder`.

    Raises InputError, OutputError, OptionError.
    """
    with closing(open_stdin()) as stream:
        if behind := file_behind(stream.fd):
            return Path(behind)
        if identify(stream.sniff(SNIFF_BYTES, identify)) is None:
            raise InputError(f"{stream.name} {HEADERLESS}")
        path = folder / f"{NAME}{os.getpid()}"
        log.info("%s is written to %s first, where all workers can read it", stream.name, path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _copy(stream, path)
        except OSError as error:
            discard_stdin(folder)
            raise OutputError(f"{path}: {error.strerror or error}") from error
        except BaseException:
            discard_stdin(folder)
            raise
    return path


def discard_stdin(folder: Path) -> None:
    """Remove the files that runs of a job have made of standard input."""
    for path in folder.glob(NAME + "*"):
        path.unlink(missing_ok=True)


def _copy(stream: PipeInput, path: Path) -> None:
    with path.open("wb") as file:
        while data := stream.read(COPIED):
            file.write(data)
