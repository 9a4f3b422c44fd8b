"""Attachments that libav leaves out because they are too large for it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

log = logging.getLogger("ltxfilter.media")

TOO_LARGE = re.compile(r"Invalid length 0x([0-9a-fA-F]+) > 0x\w+ for element with ID 0x465C\b")


@contextmanager
def oversized_attachments(name: str) -> Iterator[None]:
    """Warn of attachments that are left out of a container that is opened meanwhile.

    libav only logs them: an element of Matroska over 256 MB is none to it. name: of the input.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said:
            yield
    finally:
        av.logging.set_level(level)
    sizes = {int(found[1], 16) for _, _, text in said if (found := TOO_LARGE.match(text))}
    for size in sorted(sizes):
        log.warning(
            "%s: an attachment of %d MB is left out: FFmpeg reads none over 256 MB; mkvtoolnix can "
            "add it to the output",
            name,
            size >> 20,
        )
