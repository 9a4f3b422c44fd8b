"""Side channels (standard error, -progress) that are closed, full or gone never change the job."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import TIMEOUT, ltxfilter

from ltxfilter.cli.terminal import escaped

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command line."""
    return subprocess.run(["sh", "-c", command], capture_output=True, timeout=TIMEOUT, check=False)


def convert(clip: Path, out: Path, *words: object) -> str:
    """Return a shell command line that converts a clip."""
    return shlex.join(ltxfilter("-y", *words, "-i", clip, "--engine", "hold", out))


def frames(path: Path) -> int:
    """Return how many frames a file holds."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("redirection", ["2>&-", "1>&- 2>&-", "<&- 2>&-", "2>/dev/full"])
def test_a_broken_standard_error_ends_no_job(redirection: str, clip: Path, tmp_path: Path):
    if "full" in redirection and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "out.mkv"
    done = shell(f"{convert(clip, out)} {redirection}")
    assert done.returncode == 0
    assert frames(out) == 50


@needs_full
@pytest.mark.parametrize(
    ("words", "redirection", "code"),
    [
        (["engines"], ">/dev/full", 4),
        (["--nonsense"], "2>/dev/full", 2),
        (["-i", "nothing.mp4", "out.mkv"], "2>/dev/full", 3),
        (["--version"], "2>/dev/full", 0),
    ],
)
def test_text_that_is_not_taken_keeps_the_exit_code(words: list[str], redirection: str, code: int):
    """Python ends with 120 where it cannot flush a stream at its end."""
    assert shell(f"{shlex.join(ltxfilter(*words))} {redirection}").returncode == code


@needs_full
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["engines"], ["jobs", "--help"]])
def test_a_standard_output_that_takes_no_text_is_named(words: list[str]):
    done = shell(f"{shlex.join(ltxfilter(*words))} >/dev/full")
    assert (done.returncode, done.stderr) == (
        4,
        b"ltxfilter: standard output: No space left on device\n",
    )


def test_a_closed_standard_error_leaves_only_frames_on_standard_output(clip: Path):
    words = shlex.join(ltxfilter("-i", clip, "--engine", "hold", "-f", "yuv4mpegpipe", "-"))
    closed, opened = shell(f"{words} 2>&-"), shell(words)
    assert closed.returncode == opened.returncode == 0
    assert closed.stdout == opened.stdout


def test_a_failure_with_a_closed_standard_error_keeps_its_exit_code(tmp_path: Path):
    words = shlex.join(ltxfilter("-i", tmp_path / "nothing.mp4", "-f", "yuv4mpegpipe", "-"))
    done = shell(f"{words} 2>&-")
    assert (done.returncode, done.stdout) == (3, b"")


@needs_full
@pytest.mark.parametrize("words", [("-v", "debug"), ("-v", "debug", "-stats")])
def test_a_standard_error_that_nobody_reads_ends_no_job(
    words: tuple[str, ...], clip: Path, tmp_path: Path
):
    out = tmp_path / "out.mkv"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    command = ltxfilter("-y", *words, "-i", clip, "--engine", "hold", out)
    done = subprocess.run(command, stderr=writing, timeout=TIMEOUT, check=False)
    os.close(reading)
    os.close(writing)
    assert done.returncode == 0
    assert frames(out) == 50


def test_progress_that_nobody_reads_ends_no_job(clip: Path, tmp_path: Path):
    out, pipe = tmp_path / "out.mkv", tmp_path / "progress"
    os.mkfifo(pipe)
    command = ltxfilter("-y", "-progress", pipe, "-i", clip, "--engine", "hold", out)
    done = subprocess.run(command, timeout=TIMEOUT, check=False)
    assert done.returncode == 0
    assert frames(out) == 50


def test_progress_that_cannot_be_written_is_said_once(clip: Path, tmp_path: Path):
    done = shell(convert(clip, tmp_path / "out.mkv", "-progress", FULL))
    assert done.returncode == 0
    assert done.stderr.count(b"no more progress is written") == 1
    assert frames(tmp_path / "out.mkv") == 50


def test_progress_to_a_reader_that_left_is_no_matter(clip: Path, tmp_path: Path):
    read, write = os.pipe()
    os.close(read)
    command = ltxfilter("-i", clip, "-progress", f"pipe:{write}", tmp_path / "out.mkv")
    done = subprocess.run(
        command, pass_fds=[write], capture_output=True, timeout=TIMEOUT, check=False
    )
    os.close(write)
    assert done.returncode == 0
    assert b"no more progress is written" in done.stderr


@pytest.fixture
def files(clip: Path, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Yield what -progress must not overwrite; afterwards all of it is as it was."""
    named = {
        "the input": tmp_path / "in.mp4",
        "a hard link of the input": tmp_path / "hard.mp4",
        "a link to the input": tmp_path / "link.mp4",
        "a text": tmp_path / "notes.txt",
        "an existing output": tmp_path / "out.mkv",
    }
    named["the input"].write_bytes(clip.read_bytes())
    named["a hard link of the input"].hardlink_to(named["the input"])
    named["a link to the input"].symlink_to(named["the input"])
    named["a text"].write_text("precious")
    named["an existing output"].write_text("precious too")
    before = {name: path.read_bytes() for name, path in named.items()}
    yield named
    assert {name: path.read_bytes() for name, path in named.items()} == before


@pytest.mark.parametrize(
    "name",
    [
        "the input",
        "a hard link of the input",
        "a link to the input",
        "a text",
        "an existing output",
    ],
)
def test_progress_overwrites_nothing_of_the_users(name: str, files: dict[str, Path]):
    words = ["-progress", files[name], "-y", "-i", files["the input"], files["an existing output"]]
    done = subprocess.run(ltxfilter(*words), capture_output=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 4, done.stderr
    assert b"-progress" in done.stderr


def test_progress_overwrites_what_it_wrote_before(clip: Path, tmp_path: Path):
    target = tmp_path / "progress.txt"
    target.touch()
    for _ in range(2):
        assert shell(convert(clip, tmp_path / "out.mkv", "-progress", target)).returncode == 0
        text = target.read_text()
        assert text.startswith("frame=")
        assert text.endswith("progress=end\n")


def test_names_cannot_command_the_terminal(tmp_path: Path):
    name = tmp_path / "a\x1b[31m\nb\u202ec.mp4"
    done = subprocess.run(ltxfilter("-i", name, "-"), capture_output=True, check=False)
    assert done.returncode == 3
    assert b"\x1b" not in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert rb"a\x1b[31m\nb\u202ec.mp4: no such file" in done.stderr


@given(st.text())
def test_escaped_text_is_one_printable_line_of_utf8(text: str):
    shown = escaped(text)
    shown.encode("utf-8")
    assert not any(character in shown for character in "\x00\x07\x1b\r\n\u202e\u2066")


def test_text_that_is_harmless_stays_as_it_is():
    assert escaped("plain: é 字") == "plain: é 字"


def test_without_a_home_the_defaults_are_taken(clip: Path, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if "LTXFILTER" not in name}
    environment |= {"HOME": "", "XDG_CONFIG_HOME": ""}
    command = ltxfilter("-i", clip, "--engine", "auto", tmp_path / "out.mkv")
    done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
