"""The sample aspect in a NUT stream."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.media.pipe.nut_aspect import AspectWriter, with_aspect

KEEP = ("--fps", "25", "--engine", "hold")  # every frame passes through


@pytest.mark.parametrize("aspect", ["4/3", "16/11", "200/151"])
@pytest.mark.parametrize("kind", ["nut", "yuv4mpegpipe"])
def test_the_sample_aspect_is_kept(tmp_path, kind, aspect):
    clip = make_clip(tmp_path / "a.y4m", "-pix_fmt", "yuv420p")
    said = f" A{aspect.replace('/', ':')} ".encode()
    clip.write_bytes(clip.read_bytes().replace(b" A1:1 ", said, 1))
    result = run_pipe(ltxfilter("-i", clip, *KEEP, "-f", kind, "-"))
    (tmp_path / "out").write_bytes(result.out)
    told = run_pipe([ffmpeg()[0], "-hide_banner", "-i", str(tmp_path / "out")]).err
    assert f"SAR {aspect.replace('/', ':')} " in told
    assert samples(result.out) == samples(clip)


@pytest.mark.parametrize("aspect", ["4/3", "16/11", "200/151"])
def test_the_sample_aspect_is_kept_in_a_file_or_its_loss_is_named(tmp_path: Path, aspect: str):
    """What takes more bytes than FFmpeg left in the header cannot be said in a file."""
    clip = make_clip(tmp_path / "a.y4m", "-pix_fmt", "yuv420p")
    said = f" A{aspect.replace('/', ':')} ".encode()
    clip.write_bytes(clip.read_bytes().replace(b" A1:1 ", said, 1))
    result = run_pipe(ltxfilter("-i", clip, *KEEP, tmp_path / "o.nut"))
    told = run_pipe([ffmpeg()[0], "-hide_banner", "-i", str(tmp_path / "o.nut")]).err
    kept = f"SAR {aspect.replace('/', ':')} " in told
    assert kept == (aspect != "200/151")
    assert (f"cannot say that pixels are {aspect} wide" in result.err) == (not kept)
    assert samples((tmp_path / "o.nut").read_bytes()) == samples(clip)


@pytest.fixture(scope="module")
def nut(small_clip: Path) -> bytes:
    """Return the bytes of a NUT stream of raw video."""
    return run_pipe(ffmpeg("-i", small_clip, "-f", "nut", "-c:v", "rawvideo", "-")).out


@given(st.integers(1, 40), st.fractions(min_value="1/3000", max_value=3000))
@example(30, Fraction(4, 3))
def test_nut_headers_that_arrive_in_pieces(nut, size, aspect):
    aspect = aspect.limit_denominator(3000)
    received = io.BytesIO()
    writer = AspectWriter(received, aspect)  # anything with a write()
    for at in range(0, 600, size):
        assert writer.write(nut[at : at + size]) == len(nut[at : at + size])
    head = nut[: at + size]
    assert received.getvalue() == with_aspect(head, aspect)
    assert with_aspect(received.getvalue(), aspect) == received.getvalue()
    assert with_aspect(received.getvalue(), Fraction(1)) == with_aspect(head, Fraction(1))
