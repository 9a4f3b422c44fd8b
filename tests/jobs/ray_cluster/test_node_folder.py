"""What an actor keeps on its node goes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from ltxfilter.jobs.ray_cluster.node_folder import NodeFolder

HOLD = """
import sys
from ltxfilter.jobs.ray_cluster.node_folder import NodeFolder
folder = NodeFolder()
folder.put("in.mkv", 0, b"begin")
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_it_is_removed_when_its_process_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        assert (path / "in.mkv").read_bytes() == b"begin"
        process.kill()
    end = monotonic() + 10
    while path.exists() and monotonic() < end:
        sleep(0.05)
    assert not path.exists()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NodeFolder, NodeFolder]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return NodeFolder(), NodeFolder()


def test_parts_make_a_file_that_neighbours_share(folders: tuple[NodeFolder, NodeFolder]):
    one, two = folders
    one.put("in.mkv", 0, b"old, and longer")
    one.put("in.mkv", 0, b"abc")
    path = one.put("in.mkv", 3, b"def")
    shared = two.share(str(path))
    assert shared is not None
    path.unlink()  # its actor has gone
    assert shared.read_bytes() == b"abcdef"
    assert shared.parent == two.path
    assert two.share(str(path)) is None
