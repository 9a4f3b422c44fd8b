"""Pictures that are turned for outputs that cannot say how they lie."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.tools import TIMEOUT, ffmpeg

import ltxfilter
from ltxfilter.media.carried.turning import angle_of, turning_filters
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions

ONE = 65536
MATRICES = {  # degrees clockwise, flipped or not -> a, b, c, d of the matrix
    (0, False): (ONE, 0, 0, ONE),
    (90, False): (0, ONE, -ONE, 0),
    (180, False): (-ONE, 0, 0, -ONE),
    (270, False): (0, -ONE, ONE, 0),
    (0, True): (-ONE, 0, 0, ONE),
    (180, True): (ONE, 0, 0, -ONE),
    (90, True): (0, ONE, ONE, 0),
    (270, True): (0, -ONE, -ONE, 0),
}


def full(numbers: tuple[int, int, int, int]) -> tuple[int, ...]:
    a, b, c, d = numbers
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def make(path: Path, matrix: tuple[int, ...], pix_fmt: str = "yuv420p") -> np.ndarray:
    """Write a lossless clip whose frames have four different corners; return its luma."""
    luma = np.full((48, 64), 16, np.uint8)
    luma[:16, :16], luma[:16, -16:], luma[-16:, :16] = 235, 180, 100
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_matrix(matrix)
        for number in range(4):
            frame = av.VideoFrame(64, 48, pix_fmt)
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            rows = np.frombuffer(frame.planes[0], np.uint8).reshape(48, -1)
            rows[:, :64] = luma
            frame.pts = number
            output.mux(stream.encode(frame if number < 3 else None))
    return luma


def as_ffmpeg_shows(path: Path) -> bytes:
    """Return the luma of the first frame, turned by ffmpeg."""
    command = ffmpeg("-i", path, "-frames:v", 1, "-vf", "extractplanes=y", "-f", "rawvideo", "-")
    return subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT).stdout


@pytest.mark.parametrize("way", MATRICES, ids=str)
def test_pictures_are_turned_as_ffmpeg_turns_them(tmp_path: Path, way: tuple[int, bool]):
    make(tmp_path / "in.mp4", full(MATRICES[way]))
    source = open_source(InputOptions(path=str(tmp_path / "in.mp4"), autorotate=True))
    first = next(source.frames())
    source.close()
    shown = as_ffmpeg_shows(tmp_path / "in.mp4")
    assert first.planes[0].tobytes() == shown
    upright = way[0] % 180 == 0
    assert source.info.width == (64 if upright else 48)
    assert source.info.sample_aspect == (Fraction(4, 3) if upright else Fraction(3, 4))
    assert not source.carries


def test_an_output_that_can_say_it_keeps_the_samples(tmp_path: Path):
    luma = make(tmp_path / "in.mp4", full(MATRICES[90, False]))
    ltxfilter.convert(
        tmp_path / "in.mp4", tmp_path / "out.mov", engine="hold", video={"qp": "0"},
    )  # fmt: skip
    with av.open(str(tmp_path / "out.mov")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation % 360 == 270  # counted counter-clockwise
        assert np.array_equal(frame.to_ndarray()[:48], luma)


@pytest.mark.parametrize(
    ("name", "autorotate", "size"),
    [("o.ts", None, (48, 64)), ("o.ts", False, (64, 48)), ("o.mp4", True, (48, 64))],
)
def test_turning_can_be_chosen(
    tmp_path: Path, name: str, autorotate: bool | None, size: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    make(tmp_path / "in.mp4", full(MATRICES[90, False]))
    out = tmp_path / name
    ltxfilter.convert(tmp_path / "in.mp4", out, engine="hold", autorotate=autorotate)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (*size, 0)
    assert ("the rotation by 90 degrees: left out" in caplog.text) == (autorotate is False)


def test_an_angle_that_is_no_quarter_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    slanted = full((56756, 32768, -32768, 56756))
    assert round(angle_of(slanted)) == 30
    assert turning_filters(slanted) is None
    make(tmp_path / "in.mp4", slanted)
    ltxfilter.convert(tmp_path / "in.mp4", tmp_path / "o.ts", engine="hold")
    assert "the rotation by 30 degrees: left out; write .mp4" in caplog.text


def test_a_format_with_less_chroma_across_than_down_is_turned_too(tmp_path: Path):
    make(tmp_path / "in.mp4", full(MATRICES[90, False]), "yuv422p")
    ltxfilter.convert(tmp_path / "in.mp4", tmp_path / "o.y4m", engine="blend")
    with av.open(str(tmp_path / "o.y4m")) as container:
        assert next(container.decode(video=0)).width == 48
