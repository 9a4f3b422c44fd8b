"""No run changes an existing file unless -y named it: every writing option, every kind of name."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tools import TIMEOUT, ffmpeg, ltxfilter

from ltxfilter.cli.main import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs links")

FRAME = b"FRAME\n" + bytes(range(64)) + bytes(32)
CLIP = b"YUV4MPEG2 W8 H8 F25:1 C420jpeg\n" + 3 * FRAME
REPORT = b'{\n "format": "ltxfilter report"}'
PROGRESS = b"frame=3\nprogress=end\n"
OTHER = b"precious"

Content = dict[str, bytes | str]


def content(folder: Path) -> Content:
    """Return what every name in a folder holds: bytes, where a link leads, or "folder"."""
    found: Content = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        else:
            found[name] = "folder" if path.is_dir() else path.read_bytes()
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.y4m").write_bytes(CLIP)
    return tmp_path


def refused(folder: Path, *words: str) -> None:
    """Run a command line that must fail before it changes anything."""
    before = content(folder)
    assert run(["-v", "quiet", "--engine", "hold", *words]) in (2, 3, 4), words
    assert content(folder) == before, words


WRITING = {  # option -> command line that writes TARGET by it, without an output of its own
    "output": ("-i", "in.y4m", "-f", "yuv4mpegpipe", "TARGET"),
    "output, encoded": ("-i", "in.y4m", "-f", "matroska", "TARGET"),
    "--report": ("-i", "in.y4m", "--report", "TARGET", "out.y4m"),
    "-progress": ("-i", "in.y4m", "-progress", "TARGET", "out.y4m"),
}


def existing(folder: Path) -> str:
    (folder / "x").write_bytes(OTHER)
    return "x"


def linked(folder: Path) -> str:
    (folder / "y").symlink_to(existing(folder))
    return "y"


def hard_link(folder: Path) -> str:
    (folder / "y").hardlink_to(folder / "in.y4m")
    return "y"


def symlink(folder: Path) -> str:
    (folder / "y").symlink_to("in.y4m")
    return "y"


def directory(folder: Path) -> str:
    (folder / "y").mkdir()
    return "y"


def link_loop(folder: Path) -> str:
    (folder / "y").symlink_to("y")
    return "y"


ALWAYS: dict[str, Callable[[Path], str]] = {  # what no option may write, not even with -y
    "the input": lambda _: "in.y4m",
    "a hard link of the input": hard_link,
    "a link to the input": symlink,
    "a directory": directory,
    "a link to itself": link_loop,
    "the missing folder": lambda _: "missing/y",
}
UNASKED = {"an existing file": existing, "a link to an existing file": linked}


@pytest.mark.parametrize("target", ALWAYS)
@pytest.mark.parametrize("option", WRITING)
def test_what_must_never_be_written(folder: Path, option: str, target: str):
    words = [ALWAYS[target](folder) if word == "TARGET" else word for word in WRITING[option]]
    refused(folder, *words)
    refused(folder, "-y", *words)


@pytest.mark.parametrize("target", UNASKED)
@pytest.mark.parametrize("option", WRITING)
def test_what_is_written_only_if_it_was_named(folder: Path, option: str, target: str):
    words = [UNASKED[target](folder) if word == "TARGET" else word for word in WRITING[option]]
    refused(folder, *words)
    links = {name: to for name, to in content(folder).items() if isinstance(to, str)}
    if option == "-progress":
        refused(folder, "-y", *words)
        return
    assert run(["-v", "quiet", "--engine", "hold", "-y", *words]) == 0
    assert (folder / "x").read_bytes() != OTHER
    assert {name: to for name, to in content(folder).items() if isinstance(to, str)} == links


def test_two_outputs_of_a_run_are_two_files(folder: Path):
    model = folder / "model.safetensors"
    model.write_bytes(OTHER)
    for words in (
        ("--report", "out.mkv", "out.mkv"),
        ("-progress", "out.mkv", "out.mkv"),
        ("-progress", "out.mkv.part", "out.mkv"),
        ("--report", "out.mkv.part", "out.mkv"),
        ("--report", "a.json", "-progress", "a.json", "out.mkv"),
        ("--report", "a.json", "-progress", "a.json.part", "out.mkv"),
        ("--checkpoint", "model.safetensors", "--report", "model.safetensors", "out.mkv"),
        ("--checkpoint", "model.safetensors", "-f", "matroska", "model.safetensors"),
        ("-progress", "in.y4m", "out.mkv"),
    ):
        refused(folder, "-i", "in.y4m", *words)
        refused(folder, "-y", "-i", "in.y4m", *words)


def test_an_unfinished_file_can_be_the_input(folder: Path):
    (folder / "in.y4m").rename("o.y4m.part")
    assert run(["-v", "quiet", "-f", "yuv4mpegpipe", "-i", "o.y4m.part", "o.y4m"]) == 0
    assert (folder / "o.y4m.part").read_bytes() == CLIP
    assert (folder / "o.y4m").read_bytes().count(b"FRAME") == 6
    assert sorted(content(folder)) == ["o.y4m", "o.y4m.part"]


def test_wrappers_can_run_again(folder: Path):
    words = ["-y", "--report", "r.json", "-progress", "p.txt", "-i", "in.y4m", "out.mkv"]
    for _ in range(2):
        assert run(["-v", "quiet", *words]) == 0
    assert run(["-v", "quiet", *words[1:-1], "two.mkv"]) == 0  # without -y
    assert (folder / "r.json").read_bytes().startswith(REPORT[:20])
    assert (folder / "p.txt").read_bytes().count(b"progress=end") == 1


def test_an_output_may_be_a_device(folder: Path):
    before = Path("/dev/null").stat()
    assert run(["-v", "quiet", "-i", "in.y4m", "-f", "yuv4mpegpipe", "/dev/null"]) == 0
    assert run(["-v", "quiet", "-i", "in.y4m", "--report", "/dev/null", "out.y4m"]) == 0
    assert Path("/dev/null").stat().st_ino == before.st_ino


def test_a_dangling_link_is_written_through(folder: Path):
    (folder / "store").mkdir()
    (folder / "out.mkv").symlink_to("store/film.mkv")
    assert run(["-v", "quiet", "-i", "in.y4m", "out.mkv"]) == 0
    assert (folder / "out.mkv").is_symlink()
    assert sorted(content(folder / "store")) == ["film.mkv"]


def test_standard_output_named_as_a_file_is_the_shells_file(folder: Path):
    for name in ("/dev/stdout", "/proc/self/fd/1"):
        link = folder / "stand-in"
        link.symlink_to(name)
        with open("o.y4m", "wb") as out:  # noqa: PTH123
            words = ltxfilter("-v", "error", "-i", "in.y4m", "-f", "yuv4mpegpipe", "-y", link)
            assert subprocess.run(words, stdout=out, timeout=TIMEOUT).returncode == 0
        assert (folder / "o.y4m").read_bytes().count(b"FRAME") == 6
        assert str(link.readlink()) == name
        link.unlink()


NAMES = ("in.y4m", "a", "b", "b.part", "c.json", "c.json.part", "d", "e")
KINDS = st.sampled_from(["nothing", "other", "report", "progress", "empty", "link", "hard", "dir"])


def plant(folder: Path, name: str, kind: str, other: str) -> None:
    """Create a file of a kind. other: where a link leads."""
    path = folder / name
    contents = {"other": OTHER, "report": REPORT, "progress": PROGRESS, "empty": b""}
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "link" and other != name:
        path.symlink_to(other)
    elif kind == "hard" and (folder / other).is_file():
        path.hardlink_to(folder / other)
    elif kind == "dir":
        path.mkdir()


def same(path: Path, other: str) -> bool:
    """Return True if two names are of one file."""
    return path.exists() and path.samefile(other)


@settings(max_examples=60)
@given(st.data())
def test_nothing_that_exists_changes_unasked(data: st.DataObject):
    names = st.sampled_from(NAMES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "in.y4m").write_bytes(CLIP)
        for other in NAMES[1:]:
            plant(folder, other, data.draw(KINDS, label=other), data.draw(names))
        output, report, progress = (str(folder / data.draw(names)) for _ in range(3))
        overwrite = data.draw(st.booleans(), label="-y")
        words = ["-v", "quiet", "--engine", "hold", *(["-y"] if overwrite else [])]
        if data.draw(st.booleans(), label="report"):
            words += ["--report", report]
        if data.draw(st.booleans(), label="progress"):
            words += ["-progress", progress]
        allowed = {os.path.realpath(output)} if overwrite else set()
        for path, kept in ((report, REPORT[:20]), (progress, b"frame=")):
            start = Path(path).read_bytes()[: len(kept)] if Path(path).is_file() else None
            if start in (b"", kept) or (path == report and overwrite):
                allowed.add(os.path.realpath(path))
            if start in (b"", kept) and path == progress:  # written in place: hard links see it
                allowed |= {str(link) for link in folder.iterdir() if same(link, path)}
        before = content(folder)
        code = run([*words, "-i", str(folder / "in.y4m"), "-f", "yuv4mpegpipe", output])
        after = content(folder)
        assert code in (0, 2, 3, 4)
        for entry, held in before.items():
            if isinstance(held, str) or os.path.realpath(folder / entry) not in allowed:
                assert after.get(entry) == held, (entry, words)
        assert after["in.y4m"] == CLIP


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("runs", [2, 4])
def test_of_runs_started_at_once_on_one_output_one_wins(tmp_path: Path, runs: int, overwrite: bool):
    clip, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    source = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=40")
    subprocess.run(ffmpeg(*source, "-preset", "ultrafast", clip), check=True, timeout=TIMEOUT)
    words = ["-v", "error", "--engine", "hold", *(["-y"] if overwrite else []), "-i", clip, out]
    begun = []
    for _ in range(runs):
        begun.append(subprocess.Popen(ltxfilter(*words), stderr=subprocess.PIPE))
    errors = [process.communicate(timeout=TIMEOUT)[1] for process in begun]
    assert sorted(process.returncode for process in begun) == [0] + [4] * (runs - 1), errors
    assert all(b"another run is writing it" in text for text in errors if text)
    assert [path.name for path in tmp_path.iterdir() if path != clip] == ["out.mkv"]
    check = subprocess.run(
        ffmpeg("-i", out, "-f", "null", "-"), capture_output=True, timeout=TIMEOUT, check=False
    )
    assert (check.returncode, check.stderr) == (0, b"")
