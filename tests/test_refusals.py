"""Threads and memory that the system refuses: one exit code, and a message that says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support.tools import TIMEOUT, make_clip

import ltxfilter
from ltxfilter import refusals
from ltxfilter.errors import EngineError, InputError, Interrupted, OptionError, ResourceError
from ltxfilter.refusals import check_threads, refusal_of, refusals_named

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *given)
{
    static int made;
    const char *most = getenv("MOST_THREADS");
    if (most && __sync_add_and_fetch(&made, 1) > atoi(most))
        return EAGAIN;
    return ((Create *)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, run, given);
}
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library under which a process gets MOST_THREADS threads and no more."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "shim.so"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip that x264 encodes, and libav decodes, in several threads."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(path, "-c:v", "libx264", "-preset", "ultrafast", size="1280x720", seconds=0.2)


def converted(video: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ltxfilter", "-v", "error", "-threads", "2", "-i", str(video)]
    command += ["--engine", "hold", "-threads", "2", "-y", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=video.parent,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@linux
@pytest.mark.parametrize("most", [0, 1, 3, 6])
def test_refused_threads_are_named_wherever_they_are_missed(shim: Path, video: Path, most: int):
    done = converted(video, "out.mkv", MOST_THREADS=str(most), LD_PRELOAD=str(shim))
    assert done.returncode == 1, done.stderr
    assert "refuses to start another thread: lower -threads" in done.stderr
    assert done.stderr.count("\n") == 1


@linux
def test_an_encoder_that_would_wait_for_a_thread_is_not_opened(shim: Path, video: Path):
    encoder = ("-c:v", "libx265", "out.mkv")
    done = converted(video, *encoder, MOST_THREADS="2", LD_PRELOAD=str(shim))
    assert done.returncode == 1, done.stderr
    assert "refuses to start another thread: lower -threads" in done.stderr


@linux
@pytest.mark.parametrize("limit", [180, 500], ids="{} MB".format)
def test_refused_memory_is_named_with_its_limit(video: Path, limit: int):
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0}));"
    script += "from ltxfilter.cli.main import main; main()"
    words = ["-v", "error", "-i", str(video), "--engine", "flow", "-y", "out.mkv"]
    done = subprocess.run(
        [sys.executable, "-c", script.format(limit * 10**6), *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=video.parent,
    )
    if done.returncode == 0:
        pytest.skip("the limit is enough here")
    assert done.returncode == 1, done.stderr
    assert f"refuses more memory than {limit} MB" in done.stderr
    assert "--memory" in done.stderr


def refuse_threads(monkeypatch: pytest.MonkeyPatch, granted: int) -> None:
    start, started = threading.Thread.start, []

    def start_some(thread: threading.Thread) -> None:
        if len(started) >= granted:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)


def test_threads_are_tried_and_ended_again(monkeypatch: pytest.MonkeyPatch):
    before = threading.active_count()
    check_threads(5)
    refuse_threads(monkeypatch, granted=3)
    with pytest.raises(ResourceError, match="lower -threads"):
        check_threads(5)
    assert threading.active_count() == before


@pytest.mark.parametrize("granted", [0, 1, 2])
def test_convert_raises_what_the_command_line_says(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: int
):
    refuse_threads(monkeypatch, granted)
    with pytest.raises(ResourceError, match="lower -threads"):
        ltxfilter.convert(video, tmp_path / "out.y4m", engine="hold", threads=2)


def test_refused_memory_is_named_in_programs(monkeypatch: pytest.MonkeyPatch):
    def no_memory(*args: object) -> None:
        raise MemoryError("Unable to allocate 3.96 MiB")

    monkeypatch.setattr("ltxfilter.engines.blend.cross_fade", no_memory)
    pictures = [np.full((16, 16), 20 * n, np.uint8) for n in range(3)]
    with pytest.raises(ResourceError, match="refuses more memory"):
        list(ltxfilter.interpolate(pictures, 25, 50, engine="blend", cuts=False))


def test_the_cause_is_found_behind_an_error_of_ours(monkeypatch: pytest.MonkeyPatch):
    def failure() -> InputError:
        try:
            try:
                raise OSError(12, "Cannot allocate memory")
            except OSError:
                raise InputError("x.mp4: cannot be read") from None
        except InputError as error:
            return error

    assert isinstance(refusal_of(failure()), ResourceError)
    with pytest.raises(ResourceError), refusals_named():
        raise failure()
    monkeypatch.setattr(refusals, "_memory_is_short", lambda: False)
    for error in (InputError("Cannot allocate memory"), OptionError("x"), ValueError("y")):
        assert refusal_of(error) is None
        with pytest.raises(type(error)), refusals_named():
            raise error
    interrupted = Interrupted(2)
    interrupted.__context__ = MemoryError()
    assert refusal_of(interrupted) is None
    assert refusal_of(EngineError("z")) is None


def test_libavs_doubtful_errors_are_judged_by_what_is_left(monkeypatch: pytest.MonkeyPatch):
    av = pytest.importorskip("av")
    errors = [
        av.error.MemoryError(12, "Cannot allocate memory"),
        av.error.BlockingIOError(11, "Resource temporarily unavailable"),
        av.error.ExternalError(542398533, "Generic error in an external library"),
    ]
    assert [refusal_of(error) for error in errors] == [None] * 3
    refuse_threads(monkeypatch, granted=2)
    assert all("thread" in str(refusal_of(error)) for error in errors)
    monkeypatch.setattr(refusals, "_memory_is_short", lambda: True)
    assert all("memory" in str(refusal_of(error)) for error in errors)
