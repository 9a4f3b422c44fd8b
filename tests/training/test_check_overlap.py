"""What training has seen is named, re-encoded too; the list of it keeps its rules."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training import check_overlap
from training.check_overlap import LIST, Clip, frame_hashes, videos

LICENCES = {
    "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "Apache-2.0 OR MIT", "CC0-1.0",
    "CC-BY-4.0", "CC-BY-SA-4.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1",
}  # fmt: skip
KINDS = {
    "faces", "hands", "crowds", "water", "foliage", "grids", "text", "night", "grain", "animation",
    "screen capture", "handheld", "drone", "sport", "zoom", "rain",
}  # fmt: skip


def pictures(seed: int, count: int = 12) -> Iterator[NDArray[np.uint8]]:
    """Yield frames of a texture that moves."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 20), np.uint8)
    wide = cv2.resize(coarse, (400, 240), interpolation=cv2.INTER_CUBIC)
    for at in range(count):
        yield np.ascontiguousarray(wide[at : at + 180, 4 * at : 4 * at + 320])


def write(
    path: Path, frames: Iterator[NDArray[np.uint8]], size: tuple[int, int], bits: int
) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", bits
        for luma in frames:
            scaled = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scaled, format="gray")))
        container.mux(stream.encode(None))


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, listed: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["check_overlap", str(folder), "--list", str(listed)])
    return check_overlap.main()


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Return a list of one clip, which lies beside it as seen.mp4."""
    write(tmp_path / "seen.mp4", pictures(1), (320, 180), 2_000_000)
    (clip,) = videos(tmp_path)
    path = tmp_path / "list.csv"
    hashes = " ".join(f"{each:016x}" for each in clip.hashes)
    path.write_text(f"name,sha256,phash\nriver,{clip.sha256},{hashes}\n")
    return path


def test_copies_and_new_encodings_are_named_and_others_are_not(
    tmp_path, listed, monkeypatch, capsys
):
    folder = tmp_path / "folder" / "below"
    folder.mkdir(parents=True)
    (folder / "copy.mp4").write_bytes((tmp_path / "seen.mp4").read_bytes())
    write(folder / "other.mkv", pictures(2), (320, 180), 2_000_000)
    write(folder / "smaller.mkv", pictures(1), (160, 90), 150_000)
    (folder / "notes.md").write_text("no video")
    assert run(monkeypatch, tmp_path / "folder", listed) == 1
    copy, smaller, last = capsys.readouterr().out.splitlines()
    assert copy == "below/copy.mp4: river (the same bytes)"
    assert smaller.startswith("below/smaller.mkv: river (")
    assert last == "3 videos checked against 1 clips, 2 of them seen in training"


def test_a_folder_of_which_nothing_was_seen_is_a_success(tmp_path, listed, monkeypatch, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "other.mp4", pictures(3), (320, 180), 2_000_000)
    assert run(monkeypatch, folder, listed) == 0
    assert (
        capsys.readouterr().out == "1 videos checked against 1 clips, 0 of them seen in training\n"
    )


def test_black_frames_are_like_nothing(tmp_path: Path):
    black = (np.zeros((180, 320), np.uint8) for _ in range(8))
    write(tmp_path / "black.mp4", black, (320, 180), 100_000)
    assert frame_hashes(tmp_path / "black.mp4") == ()
    assert Clip("black", "", ()).found_in([Clip("other", "1", (0,))]) == ""


def test_the_list_keeps_its_rules():
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("name", "sha256", "phash"):
        assert len({row[column] for row in rows}) == len(rows), f"two clips share a {column}"
    for row in rows:
        assert row["licence"] in LICENCES, row
        assert row["kind"] in KINDS, row
        assert len(row["commit"]) == 40, row
        assert len(row["sha256"]) == 64, row
        assert [len(each) for each in row["phash"].split()] == [16, 16, 16], row
        assert int(row["frames"]) >= 24, row
        assert 20 <= float(row["fps"]) <= 60.5, row
        assert 240 <= int(row["height"]) <= 1080, row
    assert max(Counter(row["repository"] for row in rows).values()) <= 3
    assert max(Counter(row["repository"].split("/")[0] for row in rows).values()) <= 4
    assert min(Counter(row["kind"] for row in rows)[kind] for kind in KINDS) >= 1
