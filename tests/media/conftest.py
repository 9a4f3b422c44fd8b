"""Fixtures of the media tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from support.rich_media import make_rich
from support.tools import make_clip


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Matroska of one second: 64x48, 25 frames per second, lossless, without sound."""
    return make_clip(tmp_path_factory.mktemp("small") / "a.mkv", "-c:v", "ffv1", size="64x48")


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return files with everything that a container can carry, by their suffix: mkv and mp4."""
    folder = tmp_path_factory.mktemp("rich")
    late = Fraction(2, 25)  # seconds that the picture starts after the sound
    return {kind: make_rich(folder / f"rich.{kind}", delay=late) for kind in ("mkv", "mp4")}
