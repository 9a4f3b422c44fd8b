"""Signals to a real process: it ends soon, with the right code, and keeps what was done."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.robust import COMMAND, pictures
from support.tools import (
    TIMEOUT,
    feed_until,
    ffmpeg_exe,
    make_clip,
    reports_frames,
    wait_until,
)

PROMPT = 10  # seconds until a process has ended; an idle machine needs less than two
REORDERED = 16  # pictures at most that an encoder gives out before one that is shown earlier
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
HEADER = b"YUV4MPEG2 W64 H48 F25:1 Cmono\n"
FRAME = b"FRAME\n" + bytes(range(256)) * 12


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 20 s of 320x240, whose conversion to 1000 frames per second takes seconds."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    sound = ["-f", "lavfi", "-i", "sine=d=20", "-c:a", "aac"]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    return make_clip(path, *sound, *video, size="320x240", seconds=20)


@contextmanager
def running(*words: object, **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stderr=subprocess.PIPE,
        **pipes,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def wait_until_written(process: subprocess.Popen[bytes], part: Path, size: int = 4000) -> None:
    """Wait until more than `size` bytes have reached the disk."""

    def written() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return part.exists() and part.stat().st_size > size

    wait_until(written, f"{part} does not grow")


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> list[str]:
    """Send a signal, check that the end comes soon, and return the lines of standard error."""
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(TIMEOUT) == CODES[number]
    assert time.monotonic() - began < PROMPT
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert said.count(f"ltxfilter: stopped by signal {int(number)}\n") == 1
    return [line.removeprefix("ltxfilter: ") for line in said.splitlines()]


def check_part(part: Path, said: list[str], rate: int) -> None:
    """Check that an unfinished file holds the pictures that the last lines promise, and no more.

    On a busy machine the encoder is left before it has given back everything. Then some pictures
    may lie in the file that are shown after the first one that is missing.
    """
    found = [re.match(rf"{re.escape(str(part))} holds the first (\d+\.\d+) s", s) for s in said]
    [match] = filter(None, found)
    promised = round(float(match[1]) * rate)
    assert promised - 1 <= pictures(part) <= promised + REORDERED


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.ts", "out.y4m"])
def test_a_running_job_keeps_what_is_done(number, name, long_clip: Path, tmp_path: Path):
    part = tmp_path / f"{name}.part"
    words = ["-an", "-f", "yuv4mpegpipe"] if "y4m" in name else []
    with running("-i", long_clip, "--fps", "1000", *words, tmp_path / name) as process:
        wait_until_written(process, part)
        said = stop(process, number)
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    check_part(part, said, 1000)


def test_a_slow_encoder_does_not_delay_the_end(long_clip: Path, tmp_path: Path):
    part = tmp_path / "out.mkv.part"
    slow = ["-preset", "veryslow", "-x264-params", "rc-lookahead=250"]
    with running("-i", long_clip, "--fps", "1000", *slow, part.with_suffix("")) as process:
        wait_until_written(process, part)
        said = stop(process, signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    check_part(part, said, 1000)


SILENT = {  # what the producer writes before it falls silent
    "nothing": b"",
    "half a header": HEADER[:9],
    "a header": HEADER,
    "some frames": HEADER + FRAME * 20,
    "half a Matroska header": b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x23\x42\x86",
}


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("before", SILENT)
def test_a_signal_while_the_producer_is_silent(number, before: str, tmp_path: Path):
    out, blocks = tmp_path / "out.mkv", tmp_path / "progress.txt"
    with running("-v", "debug", "-progress", blocks, out, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(SILENT[before])
        process.stdin.flush()
        until = b"memory: " if SILENT[before].startswith(HEADER) else b"opening -"
        assert any(until in line for line in process.stderr)
        if before == "some frames":
            feed_until(process, FRAME, lambda: reports_frames(blocks))
            process.stdin.write(FRAME[:100])
            process.stdin.flush()
        time.sleep(0.3)  # lets it read what there is and wait for more
        said = stop(process, number)
    blocks.unlink(missing_ok=True)
    kept = [path.name for path in tmp_path.iterdir()]
    if before == "some frames":
        assert kept == ["out.mkv.part"]
        check_part(tmp_path / kept[0], said, 50)
    else:
        assert kept == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_signal_while_the_producer_of_a_container_is_silent(
    share: float, bad_files: Path, tmp_path: Path
):
    data = (bad_files / "good.mkv").read_bytes()
    with running("-v", "debug", tmp_path / "out.mkv", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(data[: int(len(data) * share)])
        process.stdin.flush()
        assert any(b"opening -" in line for line in process.stderr)
        time.sleep(0.5)  # lets it read what there is and wait for more
        stop(process, signal.SIGTERM)
    assert not (tmp_path / "out.mkv").exists()


def test_a_signal_while_nobody_opens_the_named_pipe(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    with running("-v", "debug", "-i", tmp_path / "fifo", tmp_path / "out.mkv") as process:
        assert process.stderr is not None
        assert any(b"opening " in line for line in process.stderr)
        time.sleep(0.3)  # lets it begin to wait for a writer
        stop(process, signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_a_second_signal_ends_at_once(long_clip: Path, tmp_path: Path):
    part = tmp_path / "out.mkv.part"
    with running("-i", long_clip, "--fps", "1000", tmp_path / "out.mkv") as process:
        wait_until_written(process, part)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 143
    assert [path.name for path in tmp_path.iterdir()] == [part.name]


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.ts"])
def test_a_kill_loses_seconds_not_the_file(name: str, long_clip: Path, tmp_path: Path):
    part = tmp_path / f"{name}.part"
    quick = ["-preset", "ultrafast", "-g", "50"]  # a fragment ends at an I-frame
    with running("-i", long_clip, "--fps", "1000", *quick, tmp_path / name) as process:
        wait_until_written(process, part, size=200_000)  # about 300 frames
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    decoded = subprocess.run(
        [ffmpeg_exe(), "-v", "quiet", "-i", part, "-f", "rawvideo", "-s", "2x2", "-"],
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert len(decoded.stdout) > 50 * 6


STALLED = {  # a name -> the output of a run whose reader takes nothing
    "a named pipe, y4m": ["-f", "yuv4mpegpipe", "-y", "fifo"],
    "a named pipe, mkv": ["-f", "matroska", "-y", "fifo"],
    "standard output, y4m": ["-f", "yuv4mpegpipe", "-"],
    "standard output, nut": ["-f", "nut", "-"],
}


@pytest.mark.parametrize("output", STALLED)
def test_a_signal_while_a_reader_takes_nothing(output: str, long_clip: Path, tmp_path: Path):
    fifo, blocks = tmp_path / "fifo", tmp_path / "progress.txt"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    words = [fifo if word == "fifo" else word for word in STALLED[output]]
    given = ["-progress", blocks, "-i", long_clip, "--fps", "1000"]
    with running(*given, *words, stdout=subprocess.PIPE) as process:
        wait_until(lambda: reports_frames(blocks) or quiet(process), "it does not begin")
        wait_until(lambda: quiet(process), "its reader takes something")
        said = stop(process, signal.SIGTERM)
    os.close(reading)
    name = str(fifo) if "fifo" in STALLED[output] else "standard output"
    assert any(line.startswith(name) and "not complete" in line for line in said), said


def quiet(process: subprocess.Popen[bytes]) -> bool:
    """Return True for a process that runs and has used no processor for half a second."""
    assert process.poll() is None

    def used() -> int:
        return sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().split()[13:15]))

    before = used()
    time.sleep(0.5)
    return 0 < before == used()


SLEEPER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
static void hang(int fd) {  /* once a file holds 50 kB, as on a network file system that is gone */
    struct stat status;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && status.st_size > 50000) sleep(1000);
}
ssize_t write(int fd, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    hang(fd);
    return real(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    hang(fd);
    return real(fd, parts, count);
}
"""


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library in which writing to a file never returns."""
    if not (compiler := shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("sleeper") / "sleeper.so"
    library.with_suffix(".c").write_text(SLEEPER)
    command = [compiler, "-shared", "-fPIC", "-o", library, library.with_suffix(".c"), "-ldl"]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    return library


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are preloaded on Linux")
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.y4m"])
def test_a_signal_while_a_write_never_returns(
    name: str, sleeper: Path, long_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LD_PRELOAD", str(sleeper))
    words = ["-f", "yuv4mpegpipe"] if "y4m" in name else ["-preset", "ultrafast"]
    with running("-i", long_clip, "--fps", "1000", *words, tmp_path / name) as process:
        wait_until_written(process, tmp_path / f"{name}.part", size=50_000)
        wait_until(lambda: quiet(process), "it goes on writing")
        said = stop(process, signal.SIGTERM)
    assert f"{tmp_path / name}.part is not complete: writing to it does not return" in said


def test_a_signal_while_nobody_reads_the_messages(long_clip: Path, tmp_path: Path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            pass
    os.set_blocking(writing, True)
    command = [sys.executable, "-m", "ltxfilter", "-i", long_clip, "--fps", "1000"]
    with subprocess.Popen([*command, tmp_path / "out.mkv"], stderr=writing) as process:
        wait_until_written(process, tmp_path / "out.mkv.part")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 143
        assert time.monotonic() - began < PROMPT
    os.close(reading)
    os.close(writing)


SCRIPT = """
import ctypes, functools, os, sys, threading, time
from ltxfilter.cli import terminal
from ltxfilter.errors import Interrupted

class Run:
    left = threading.Event()
    def cancel(self, signum=None):
        print("cancelled", signum, flush=True)
    def abandon(self, patience):
        {abandon}
        return "what is left"

with terminal.StopSignals(functools.partial(print, flush=True)) as signals:
    {body}
"""
IN_C = "signals.run = Run(); print('ready', flush=True); ctypes.CDLL(None).sleep({patience})"
SWALLOWED = """
    try:
        print('ready', flush=True)
        threading.Event().wait({patience})
    except Interrupted:
        pass  # as a weakref callback or a destructor does, which happens to run then
    threading.Event().wait({patience})
"""


@contextmanager
def script(body: str, abandon: str = "pass", first: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a script that enters StopSignals, and wait until it is in the middle of `body`."""
    code = SCRIPT.format(body=body.format(patience=TIMEOUT), abandon=abandon)
    code = code.replace("class Run:", f"{first}\nclass Run:")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], code: int) -> list[str]:
    """Check how and when a script ends; return what it said."""
    began = time.monotonic()
    assert process.wait(TIMEOUT) == code
    assert time.monotonic() - began < PROMPT
    assert process.stdout is not None
    return process.stdout.read().splitlines()


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_main_thread_is_in_c_code(number: signal.Signals):
    with script(IN_C) as process:
        process.send_signal(number)
        said = ended(process, CODES[number])
    stopped = f"stopped by signal {int(number)}"
    assert said == [f"cancelled {int(number)}", "what is left", stopped]


@pytest.mark.parametrize("number", CODES)
def test_a_signal_that_is_swallowed_while_a_run_opens_ends_it_all_the_same(number: signal.Signals):
    with script(SWALLOWED) as process:
        process.send_signal(number)
        assert ended(process, CODES[number]) == [f"stopped by signal {int(number)}"]


def test_a_second_signal_hurries():
    with script(IN_C, first="terminal.PATIENCE = 1000") as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # else it would count as the same one
        process.send_signal(signal.SIGTERM)
        said = ended(process, 143)
    assert said == ["cancelled 15", "what is left", "stopped by signal 15"]


def test_a_second_signal_at_the_same_moment_is_the_first():
    """As timeout(1) sends it."""
    with script(IN_C, first="terminal.PATIENCE = 1000; terminal.SAME = 1000") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None


def test_a_third_signal_ends_at_once():
    slow = "terminal.PATIENCE = terminal.ABANDONING = 1000"
    with script(IN_C, first=slow, abandon=f"time.sleep({TIMEOUT})") as process:
        for _ in range(3):
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert ended(process, 130) == ["cancelled 2"]


def test_output_that_is_complete_leaves_an_engine_no_time():
    slow = "terminal.PATIENCE = 1000"
    with script("Run.left.set(); " + IN_C, first=slow) as process:
        process.send_signal(signal.SIGTERM)
        assert ended(process, 143)[-1] == "stopped by signal 15"


CHANGED = """
import sys
from ltxfilter.cli import main, terminal

def fails(arguments, console, signals):
    signals.seen = {number}
    raise TypeError("enum.py made this of Interrupted")

main._convert = fails
sys.exit(main.run(["-i", "a.mp4", "b.mp4"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_becomes_another_error_keeps_its_exit_code(number):
    code = CHANGED.format(number=int(number))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 128 + number
    assert done.stderr == f"ltxfilter: stopped by signal {int(number)}\n"
