"""Output files under a provisional name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltxfilter.errors import OutputError
from ltxfilter.media.output_file import PartFile


def test_part_file_discards_and_completes(tmp_path: Path) -> None:
    part = PartFile(str(tmp_path / "a"), None)
    part.write_all([b"one", b"two"])
    part.discard()
    assert list(tmp_path.iterdir()) == []
    part = PartFile(str(tmp_path / "a"), None)
    part.write_all([b"one", memoryview(b"two")])
    part.complete()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"onetwo")]
    device = PartFile("/dev/full", None)
    device.write_all([b"x"])
    with pytest.raises(OutputError, match="No space left"):
        device.close()
