"""The checks that every test has to pass, the profiles of hypothesis, and shared fixtures.

No test may leave a thread running, write to standard output, or log an error unless it says so.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from hypothesis import HealthCheck, settings
from support import tools
from support.network import clip_server, net_clips  # noqa: F401  (fixtures)
from support.robust import bad_files  # noqa: F401  (a fixture)

CLIPS = Path(__file__).parents[2] / "shared" / "clips"
# Errors of these loggers fail a test. PyAV passes on what libav logs only while a program has
# switched that on, which the tests do not do: it changes the messages of exceptions.
LOGGERS = ("ltxfilter", "libav")

# No test depends on how fast the machine is. Choose another profile with --hypothesis-profile.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("local"), max_examples=10)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure() -> None:
    """Prepare what the programs that tests start inherit: this checkout, and to heed SIGINT.

    A shell ignores SIGINT in what it starts in the background, nohup does so too, and a program
    inherits what its parent ignores. It does not inherit a handler, not even one that does nothing.
    """
    path = [str(tools.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    os.environ.pop("PYTHONUNBUFFERED", None)  # a container may set it, users hardly ever do
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = monotonic() + tools.TIMEOUT
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


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    """Put the logger back that a command line, run in this process, has taken over."""
    logger = logging.getLogger("ltxfilter")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    level, logger.propagate, logger.handlers = before
    logger.setLevel(level)


class ErrorLogs(logging.Handler):
    """Keeps the records of level ERROR and above."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def _no_error_logged(request: pytest.FixtureRequest) -> Iterator[ErrorLogs]:
    """Fail a test that logs an error, unless it asks for the fixture expect_error_logs."""
    logs = ErrorLogs()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(logs)
    yield logs
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(logs)
    errors = [f"{record.name}: {record.getMessage()}" for record in logs.records]
    if errors and "expect_error_logs" not in request.fixturenames:
        pytest.fail(f"errors logged: {errors}", pytrace=False)


@pytest.fixture
def expect_error_logs(_no_error_logged: ErrorLogs) -> list[logging.LogRecord]:
    """Allow a test to log errors; return their records, which the test should look at."""
    return _no_error_logged.records


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
