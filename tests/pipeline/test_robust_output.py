"""Bad outputs, odd names and named pipes, given to the real command line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.robust import pictures, run
from support.tools import TIMEOUT


def test_an_output_that_exists(bad_files: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    out.write_bytes(b"dear")
    for switch in ([], ["-n"]):
        ended = run(*switch, "-i", bad_files / "one.mp4", out)
        assert (ended.code, ended.error) == (4, f"{out} already exists; add -y to overwrite it")
        assert out.read_bytes() == b"dear"
    failed = run("-y", "-i", bad_files / "text.txt", out)
    assert (failed.code, out.read_bytes()) == (3, b"dear")
    assert run("-y", "-i", bad_files / "one.mp4", out).code == 0
    assert pictures(out) == 2


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
def test_the_input_is_never_the_output(link: str | None, bad_files: Path, tmp_path: Path):
    source = tmp_path / "a.mp4"
    source.write_bytes((bad_files / "one.mp4").read_bytes())
    target = tmp_path / "b.mp4" if link else tmp_path / "." / "a.mp4"
    if link == "symbolic":
        target.symlink_to(source)
    elif link == "hard":
        target.hardlink_to(source)
    ended = run("-y", "-i", source, target)
    assert (ended.code, ended.error) == (
        4,
        f"{target}: is the input itself; name another output",
    )
    assert source.read_bytes() == (bad_files / "one.mp4").read_bytes()


UNWRITABLE = {  # output -> the error line after its name
    "nowhere/out.mkv": ": cannot be written: No such file or directory",
    "folder.mkv": ": is a directory",
    "out.wobble": ": its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, or -f",
    "out": ": its ending names no format; use .mkv, .mp4, .mov, .webm or .ts, or -f",
    "out.webm": ": webm cannot hold aac audio (stream 1); add -an to leave it out, or write",
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_outputs_that_cannot_be_written(name: str, bad_files: Path, tmp_path: Path):
    (tmp_path / "folder.mkv").mkdir()
    ended = run("-i", bad_files / "good.mp4", tmp_path / name)
    assert ended.code == 4
    assert ended.error.startswith(f"{tmp_path / name}{UNWRITABLE[name]}")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mkv"]


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.ts", "out.y4m"])
def test_a_file_that_cannot_grow(name: str, bad_files: Path, tmp_path: Path):
    words = ["-i", bad_files / "good.mp4", "-an", "-f", "yuv4mpegpipe"][
        : None if "y4m" in name else 3
    ]
    ended = run(*words, tmp_path / name, limit=6000)
    assert ended.code == 4
    assert ended.error == f"{tmp_path / name}: cannot be written: File too large"
    assert f"{tmp_path / name}.part holds what was written before" in ended.said
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.part"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 32 KiB; only the superuser can have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.y4m"])
def test_a_full_disk(name: str, bad_files: Path, small_disk: Path):
    words = ["-an", "-f", "yuv4mpegpipe"] if "y4m" in name else []
    ended = run("-i", bad_files / "good.mp4", *words, small_disk / name)
    assert ended.code == 4
    assert ended.error == f"{small_disk / name}: cannot be written: No space left on device"
    assert [path.name for path in small_disk.iterdir()] == [f"{name}.part"]


@pytest.mark.parametrize("form", ["matroska", "mpegts", "yuv4mpegpipe", "nut"])
def test_a_device_that_takes_nothing(form: str, bad_files: Path):
    words = ["-i", bad_files / "good.mp4", "-an", "-f", form]
    ended = run(*words, "/dev/full")
    assert (ended.code, ended.error) == (4, "/dev/full: cannot be written: No space left on device")
    assert not any("holds" in line for line in ended.said)
    assert Path("/dev/full").is_char_device()
    assert not Path("/dev/full.part").exists()
    assert run(*words, "/dev/null").code == 0


ODD = (
    "a b.mkv", "50%d.mkv", "%03d.mkv", "-dash.mkv", "ünï✓.mkv", "http:x.mkv", "concat:y.mkv",
    "pipe:3.mkv", "a:b?c=d&e.mkv", "'quoted\".mkv", "[x].mkv", "a\nb.mkv", "~.mkv", "a|b.mkv",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_names(name: str, bad_files: Path, tmp_path: Path):
    """Nothing in a file's name is a pattern, an address or a protocol."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / name).write_bytes((bad_files / "one.mp4").read_bytes())
    ended = run("-i", name, tmp_path / "out" / name, within=tmp_path / "in")
    assert ended.code == 0, ended.said
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert pictures(tmp_path / "out" / name) == 2


def test_an_output_that_begins_with_a_dash(bad_files: Path, tmp_path: Path):
    refused = run("-i", bad_files / "one.mp4", "-out.mkv", within=tmp_path)
    assert refused.code == 2
    assert refused.error == "no option -out.mkv; a file of that name is written ./-out.mkv"
    assert run("-i", bad_files / "one.mp4", "./-out.mkv", within=tmp_path).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["-out.mkv"]


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def feeding(path: Path, data: bytes) -> threading.Thread:
    """Write `data` into a named pipe from another thread."""

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["good.mkv", "good.ts", "fast.mp4", "good.nut"])
def test_a_named_pipe_as_input(name: str, bad_files: Path, fifo: Path, tmp_path: Path):
    thread = feeding(fifo, (bad_files / name).read_bytes())
    ended = run("-i", fifo, "--fps", "50", tmp_path / "out.mkv")
    thread.join(TIMEOUT)
    assert ended.code == 0, ended.said
    assert pictures(tmp_path / "out.mkv") == 100


def test_an_mp4_for_files_in_a_named_pipe(bad_files: Path, fifo: Path, tmp_path: Path):
    thread = feeding(fifo, (bad_files / "good.mp4").read_bytes())
    ended = run("-i", fifo, tmp_path / "out.mkv")
    thread.join(TIMEOUT)
    assert ended.code == 3
    assert ended.error.startswith(f"{fifo}: an mp4 whose index comes last cannot be read from a")


@pytest.mark.parametrize("form", ["matroska", "yuv4mpegpipe"])
@pytest.mark.parametrize("leaves", [False, True])
def test_a_named_pipe_as_output(form: str, leaves: bool, bad_files: Path, fifo: Path):
    received: list[bytes] = []

    def receive() -> None:
        with fifo.open("rb") as pipe:
            received.append(pipe.read(10) if leaves else pipe.read())

    thread = threading.Thread(target=receive)
    thread.start()
    ended = run("-i", bad_files / "good.mp4", "-an", "-f", form, fifo)
    thread.join(TIMEOUT)
    assert (ended.code, ended.error) == ((141, "") if leaves else (0, ""))
    assert fifo.is_fifo()
    assert len(received[0]) == 10 if leaves else len(received[0]) > 5000
