"""What PyAV 18 and 19 do differently: the same answers with both."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import av
import pytest
from support.media import convert_repeating, make_video

from ltxfilter.media.pyav_compat import (
    LIBAV_TICK,
    cuda_context,
    fraction,
    open_input,
    time_base_of,
)

try:
    from av.rational import AVRational
except ImportError:  # PyAV 18.0 has Fraction only
    AVRational = None

UNSET = [None, F(0), *([AVRational(0, 1), AVRational(0, 0)] if AVRational else [])]


@pytest.mark.parametrize("unset", UNSET)
def test_rationals_that_are_not_set_are_none(unset: object):
    assert fraction(unset) is None


def test_rationals_are_exact_fractions():
    found = fraction((AVRational or F)(1001, 60000))
    assert type(found) is F
    assert found == F(1001, 60000)


def test_what_has_no_time_base_counts_as_libav_does():
    frame = av.VideoFrame(16, 16, "yuv420p")
    assert time_base_of(frame) == LIBAV_TICK
    frame.time_base = F(1, 25)
    assert time_base_of(frame) == F(1, 25)


def test_tags_that_are_not_utf_8_keep_their_bytes(tmp_path: Path):
    """Old recordings have tags in Latin-1, and nobody but their reader can tell."""
    path = make_video(tmp_path / "in.mkv", 5, title="Caf#")
    path.write_bytes(path.read_bytes().replace(b"Caf#", b"Caf\xe9"))
    convert_repeating(path, tmp_path / "out.mkv")
    assert b"Caf\xe9" in (tmp_path / "out.mkv").read_bytes()
    with open_input(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"].encode("utf-8", "surrogateescape") == b"Caf\xe9"


def test_a_context_of_torch_is_shared_where_pyav_can(monkeypatch: pytest.MonkeyPatch):
    asked = []

    class Newer:
        current_ctx = False

        def __init__(self, number: int, *, primary_ctx: bool, current_ctx: bool) -> None:
            asked.append((number, primary_ctx, current_ctx))

    class Older:
        def __init__(self, number: int, primary_ctx: bool = True) -> None:
            asked.append((number, primary_ctx, None))

    for kind in (Newer, Older):
        monkeypatch.setattr(av.video.frame, "CudaContext", kind)
        assert isinstance(cuda_context(1), kind)
    assert asked == [(1, False, True), (1, True, None)]
    monkeypatch.undo()
    assert cuda_context(0).device_id == 0
