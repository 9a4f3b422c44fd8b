"""What every test is held to: no thread left behind, nothing on standard output; and clips."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

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
    """Return an ffmpeg: the one on PATH, else the static one of imageio-ffmpeg."""
    found = shutil.which("ffmpeg")
    if found is None:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    return found


@pytest.fixture(scope="session")
def clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an mp4 of one second: 160x120, 25 frames per second, h264, with aac sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1"]
    sound = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"]
    video = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg, "-v", "error", *picture, *sound, *video, path], check=True)
    return path
