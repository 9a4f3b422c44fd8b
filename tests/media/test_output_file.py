"""Output files: names, provisional files, locks, attributes, and what is written to directly."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from ltxfilter.errors import OutputError, Stopped
from ltxfilter.media.output_file import OutputFile, has_room, open_in_place
from ltxfilter.media.output_name import RunFile, is_same, refuse_shared, resolve

posix = pytest.mark.skipif(os.name != "posix", reason="needs links, locks and modes of POSIX")


def written(name: Path | str, data: bytes = b"new", *, overwrite: bool = False) -> OutputFile:
    file = OutputFile(str(name), overwrite)
    file.write_all([data])
    return file


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return what a folder holds: contents of files, targets of links."""
    return {
        path.name: str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.iterdir()
        if path.is_symlink() or path.is_file()
    }


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path):
    file = written(tmp_path / "a", b"one")
    file.write_all([b"two", memoryview(b"three")])
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]
    file.complete()
    assert tree(tmp_path) == {"a": b"onetwothree"}
    file = written(tmp_path / "b")
    file.discard()
    file.discard()
    assert tree(tmp_path) == {"a": b"onetwothree"}


def test_a_closed_file_keeps_its_provisional_name(tmp_path: Path):
    file = written(tmp_path / "a")
    file.close()
    file.close()
    assert tree(tmp_path) == {"a.part": b"new"}


def test_an_existing_file_is_replaced_only_if_that_is_asked_for(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OutputError, match="already exists; add -y"):
        OutputFile(str(tmp_path / "a"), None)
    file = written(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    file.complete()
    assert tree(tmp_path) == {"a": b"new"}


def test_a_file_of_its_own_kind_is_replaced_unasked(tmp_path: Path):
    for content in (b"", b"kind: old"):
        (tmp_path / "a").write_bytes(content)
        file = OutputFile(str(tmp_path / "a"), None, ours=b"kind:")
        file.write_all([b"kind: new"])
        file.complete()
        assert tree(tmp_path) == {"a": b"kind: new"}
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(OutputError, match="already exists"):
        OutputFile(str(tmp_path / "a"), None, ours=b"kind:")


@pytest.mark.parametrize("taken", [1, 3])
def test_provisional_files_of_others_stay(
    tmp_path: Path, taken: int, caplog: pytest.LogCaptureFixture
):
    names = ["a.part", *(f"a.part{number}" for number in range(2, taken + 1))]
    for name in names:
        (tmp_path / name).write_bytes(b"precious")
    file = written(tmp_path / "a")
    assert file.part.name == f"a.part{taken + 1}"
    assert f"{names[-1]} is left from an earlier run; writing" in caplog.text
    file.complete()
    assert tree(tmp_path) == {**dict.fromkeys(names, b"precious"), "a": b"new"}


@posix
def test_a_link_in_place_of_the_provisional_file_is_not_followed(tmp_path: Path):
    (tmp_path / "p").write_bytes(b"precious")
    (tmp_path / "a.part").symlink_to("p")
    written(tmp_path / "a").complete()
    assert tree(tmp_path) == {"p": b"precious", "a.part": "p", "a": b"new"}


def test_a_file_that_comes_into_being_meanwhile_stays(tmp_path: Path):
    file = written(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(OutputError, match=r"come into being meanwhile; .*a\.part is complete"):
        file.complete()
    assert tree(tmp_path) == {"a": b"other", "a.part": b"new"}


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, exists: bool):
    store = tmp_path / "store"
    store.mkdir()
    if exists:
        (store / "t").write_bytes(b"old")
    (store / "second").symlink_to("t")
    (tmp_path / "a").symlink_to("store/second")
    if exists:
        with pytest.raises(OutputError, match="already exists"):
            OutputFile(str(tmp_path / "a"), None)
    file = written(tmp_path / "a", overwrite=True)
    assert file.part == store / "t.part"
    file.complete()
    assert tree(tmp_path) == {"a": "store/second"}
    assert tree(store) == {"second": "t", "t": b"new"}


@posix
def test_names_that_cannot_be_files_are_refused(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    names = {
        str(tmp_path): "is a directory",
        f"{tmp_path}/new/": "names no file",
        "": "names no file",
        f"{tmp_path}/missing/a": "cannot be written: No such file",
        f"{tmp_path}/loop": "cannot be written: ",
        f"{tmp_path}/a\0b": "cannot be written: ",
        f"{tmp_path}/{'x' * 300}": "cannot be written: File name too long",
    }
    for name, why in names.items():
        with pytest.raises(OutputError, match=why):
            OutputFile(name, True)
    assert tree(tmp_path) == {"loop": "loop"}


@posix
@pytest.mark.parametrize("stem", ["x" * 251, "\N{SNOWMAN}" * 83 + "ab"])
def test_a_name_too_long_for_an_addition_is_shortened(tmp_path: Path, stem: str):
    name = tmp_path / f"{stem}.mp4"
    file = written(name)
    assert file.part.name.endswith(".mp4.part")
    assert len(os.fsencode(file.part.name)) <= 255
    other = written(tmp_path / f"{stem[:-1]}y.mp4")  # which has a name of its own
    assert other.part != file.part
    other.complete()
    file.complete()
    assert len(tree(tmp_path)) == 2
    assert name.read_bytes() == b"new"


@posix
def test_a_second_run_to_one_name_is_refused(tmp_path: Path):
    (tmp_path / "a.part").write_bytes(b"left by a killed run")
    first = written(tmp_path / "a")
    assert first.part.name == "a.part2"
    with pytest.raises(OutputError, match="another run is writing it"):
        OutputFile(str(tmp_path / "a"), True)
    first.complete()
    second = written(tmp_path / "a", overwrite=True)
    with pytest.raises(OutputError, match="another run is writing it"):
        OutputFile(str(tmp_path / "a"), True)
    second.close()
    written(tmp_path / "a", b"third", overwrite=True).complete()
    assert (tmp_path / "a").read_bytes() == b"third"


@posix
def test_a_file_keeps_its_mode_owner_and_attributes(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    attributes = {}
    try:
        os.setxattr(path, "user.origin", b"camera 7")
        attributes["user.origin"] = b"camera 7"
    except (OSError, AttributeError):
        pass  # this file system has none
    before = path.stat()
    file = written(path, overwrite=True)
    assert stat.S_IMODE(file.part.stat().st_mode) == 0o640  # nobody else reads it meanwhile
    file.complete()
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    for name, value in attributes.items():
        assert os.getxattr(path, name) == value


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="the superuser may write")
def test_a_write_protected_file_is_refused(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(OutputError, match="write-protected"):
        OutputFile(str(tmp_path / "a"), True)


@posix
def test_devices_and_descriptors_are_written_to_directly(tmp_path: Path):
    device = OutputFile("/dev/full", None)
    device.write_all([b"x"])
    with pytest.raises(OutputError, match="No space left"):
        device.close()
    (tmp_path / "log").write_bytes(b"before ")
    fd = os.open(tmp_path / "log", os.O_WRONLY)
    os.lseek(fd, 0, os.SEEK_END)
    (tmp_path / "out").symlink_to(f"/dev/fd/{fd}")
    for number, name in enumerate((f"/dev/fd/{fd}", tmp_path / "out")):
        file = OutputFile(str(name), None)
        assert file.direct
        stream = file.for_libav()
        assert stream.tell() == 0  # type: ignore[attr-defined]
        stream.write(b"%d" % number)
        file.complete()
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"before 01"
    assert (tmp_path / "out").is_symlink()


@posix
def test_a_named_pipe_waits_for_its_reader_and_a_write_to_it_can_be_cancelled(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    files: list[OutputFile] = []
    opening = threading.Thread(target=lambda: files.append(OutputFile(str(path), None)))
    opening.start()
    time.sleep(0.1)
    assert not files
    reader = os.open(path, os.O_RDONLY)
    opening.join(5)
    [file] = files
    caught: list[BaseException] = []

    def fill() -> None:
        try:
            file.write_all([bytes(1 << 22)])
        except Stopped as error:
            caught.append(error)

    filling = threading.Thread(target=fill)
    filling.start()
    time.sleep(0.2)
    assert filling.is_alive()
    file.cancel()
    filling.join(5)
    assert [type(error) for error in caught] == [Stopped]
    os.close(reader)
    assert path.is_fifo()


@posix
def test_what_is_opened_in_place_is_emptied_only_if_it_is_of_its_kind(tmp_path: Path):
    path = tmp_path / "p"
    for content in (None, b"", b"frame=1\nold\n"):
        if content is not None:
            path.write_bytes(content)
        fd = open_in_place(str(path), b"frame=")
        assert path.read_bytes() == b""
        with pytest.raises(OutputError, match="another run"):
            open_in_place(str(path), b"frame=")
        os.write(fd, b"frame=2\n")
        os.close(fd)
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="of another kind"):
        open_in_place(str(path), b"frame=")
    assert path.read_bytes() == b"precious"


@posix
def test_a_named_pipe_without_a_reader_is_no_reason_to_wait(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = open_in_place(str(path), b"frame=")
    blocks = 0
    while has_room(fd) and blocks < 10_000:
        os.write(fd, bytes(400))
        blocks += 1
    assert 10 < blocks < 10_000
    os.close(fd)


def test_one_file_under_two_names_is_found(tmp_path: Path):
    source = tmp_path / "in"
    source.write_bytes(b"film")
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "soft").symlink_to("in")
    for name in ("in", "hard", "soft", "../" + tmp_path.name + "/in"):
        written = [RunFile(str(tmp_path / name), "the output")]
        with pytest.raises(OutputError, match="is the input itself"):
            refuse_shared(written, [RunFile(str(source), "the input")])
    new = [RunFile(str(tmp_path / "new"), "the output"), RunFile(f"{tmp_path}/./new", "--report")]
    with pytest.raises(OutputError, match="is the output itself; name another file for --report"):
        refuse_shared(new, [])
    assert not is_same("/dev/null", "/dev/null")
    assert not resolve(str(source)).is_direct
