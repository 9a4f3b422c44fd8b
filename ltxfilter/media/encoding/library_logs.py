"""What x265 and SVT-AV1 write to standard error by themselves: as much as ltxfilter's log takes."""

from __future__ import annotations

import logging
import os

log = logging.getLogger("ltxfilter.media")


def x265_log_level() -> str:
    """Return x265's name of the level at which it may write."""
    return _level()


def _level() -> str:
    """Return none, error or info.

    Warnings of both are about their own defaults ("disabling lookahead-slices"): they need info.
    """
    if log.isEnabledFor(logging.DEBUG):
        return "info"
    return "error" if log.isEnabledFor(logging.ERROR) else "none"


def quiet_svt() -> None:
    """Tell SVT-AV1 the level at which it may write, unless the user's environment does."""
    levels = {"info": "3", "error": "1", "none": "0"}
    os.environ.setdefault("SVT_LOG", levels[_level()])
