"""What a decoder is counted for: its threads, and the pictures that its level lets it keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tools import make_clip

from ltxfilter.media.container import ContainerSource
from ltxfilter.media.decoder_memory import held_frames
from ltxfilter.options import InputOptions

HD = (1920, 1080)


@pytest.mark.parametrize(
    ("codec", "threads", "level", "measured"),
    [
        ("h264", 1, 51, 27),
        ("h264", 8, 51, 45.8),
        ("h264", 64, 51, 154.3),
        ("hevc", 1, 120, 13),
        ("hevc", 64, 120, 129.3),
        ("av1", 2, None, 19.8),
        ("av1", 64, None, 54),
        ("vp9", 64, None, 85.7),
        ("vp8", 64, None, 72.7),
        ("ffv1", 64, None, 86.3),
        ("prores", 64, None, 68),
        ("mpeg4", 64, None, 143.8),
        ("mpeg2video", 64, None, 4.9),
        ("mjpeg", 1, None, 6.6),
    ],
)
def test_no_decoder_was_measured_to_hold_more(
    codec: str, threads: int, level: int | None, measured: float
) -> None:
    assert measured <= held_frames(codec, threads, level, HD) <= 2.5 * measured


def test_a_level_bounds_the_pictures_that_are_kept() -> None:
    assert held_frames("h264", 1, 40, HD) < held_frames("h264", 1, 51, HD)
    assert held_frames("h264", 1, None, HD) == held_frames("h264", 1, 51, HD)
    assert held_frames("hevc", 1, 120, HD) < held_frames("hevc", 1, 153, HD)
    assert held_frames("hevc", 1, None, HD) == held_frames("hevc", 1, 153, (1280, 720))


def test_an_unknown_decoder_counts_as_the_largest() -> None:
    for codec in ("h264", "hevc", "av1", "mpeg4", "ffv1"):
        assert held_frames("new", 8, None, HD) >= held_frames(codec, 8, None, HD)


def test_the_threads_of_a_decoder_are_stated(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size="96x64")
    held = []
    for threads in (1, 64):
        source = ContainerSource(InputOptions(path=str(clip), threads=threads))
        held.append(source.held_bytes)
        source.close()
    assert held[1] > held[0] + 100 * 96 * 64 * 1.5
