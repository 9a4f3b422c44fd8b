"""The user's own folders: settings, caches, state (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "ltxfilter"
DEFAULTS = {"CONFIG": "~/.config", "CACHE": "~/.cache", "STATE": "~/.local/state"}


def user_folder(kind: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that XDG_`kind`_HOME names, or else the usual one in the user's home.

    kind: CONFIG, CACHE or STATE. None where neither is set and the user has no home.
    """
    if told := environment.get(f"XDG_{kind}_HOME"):
        return Path(told)
    try:
        return Path(DEFAULTS[kind]).expanduser()
    except RuntimeError:  # no HOME, and a user that the system does not know
        return None
