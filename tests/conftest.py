"""What every test is held to: no thread left behind, nothing on standard output; and clips."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from support import tools
from support.robust import bad_files  # noqa: F401  (a fixture)

CLIPS = Path(__file__).parents[2] / "shared" / "clips"


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = monotonic() + 5
    while left := [thread.name for thread in threading.enumerate() if thread not in before]:
        assert monotonic() < deadline, f"threads left running: {left}"
        sleep(0.01)


@pytest.fixture(autouse=True)
def _nothing_on_stdout(request: pytest.FixtureRequest) -> Iterator[None]:
    """Standard output is for frames; a test that prints asks for capsys or capfd itself."""
    if {"capsys", "capfd", "capfdbinary"} & set(request.fixturenames):
        yield
        return
    capture = request.getfixturevalue("capfd")
    yield
    assert capture.readouterr().out == ""


@pytest.fixture(scope="session")
def clips() -> Path:
    """Return the folder of real clips beside the repository; skip where there is none."""
    if not CLIPS.is_dir():
        pytest.skip("no real clips at ../shared/clips")
    return CLIPS


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Return the path of an ffmpeg."""
    return tools.ffmpeg_exe()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an mp4 of one second: 160x120, 25 frames per second, h264, with aac sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    sound = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"]
    video = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
    return tools.make_clip(path, *sound, *video, size="160x120")
