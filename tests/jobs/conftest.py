"""What tests of long jobs share: an input, an index of their own, jobs that end with a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.jobs import SEGMENTS, RunningJob
from support.tools import make_clip


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the index of jobs away from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of SEGMENTS segments of ten seconds."""
    path = tmp_path_factory.mktemp("film") / "in.mkv"
    return make_clip(path, "-g", "20", size="64x48", rate="20", seconds=10 * SEGMENTS)


@pytest.fixture
def started() -> Iterator[list[RunningJob]]:
    """Return a list for jobs that are to be ended with the test."""
    jobs: list[RunningJob] = []
    yield jobs
    for job in jobs:
        job.kill()
