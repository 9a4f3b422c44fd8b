"""Pixel formats that NUT has no name for are told by the packets, or refused."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import noise_frame
from support.tools import ffmpeg, ltxfilter, run_pipe

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.media.avframe import reshape, view
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.options import InputOptions

SIZE = (45, 31)


def write(path: Path, picture: av.VideoFrame) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, picture.format.name
        picture.pts, picture.time_base = 0, F(1, 25)
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def first(path: Path) -> Frame:
    source = ContainerSource(InputOptions(path=str(path)))
    try:
        return next(iter(source.frames()))
    finally:
        source.close()


@pytest.mark.parametrize("pix_fmt", ["p010le", "p012le", "p210le", "p410le"])
def test_formats_of_hardware_are_read(
    pix_fmt: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = noise_frame(pix_fmt, SIZE)
    twin = planar_name(pix_fmt)
    expected = view(reshape(picture, *SIZE, twin), plane_shapes(twin, *SIZE))
    found = first(write(tmp_path / "in.nut", picture))
    for plane, wanted in zip(found.planes, expected, strict=True):
        np.testing.assert_array_equal(plane, wanted)
    assert f"taken as {pix_fmt}" in caplog.text


def test_five_bits_are_five_bits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = noise_frame("rgb555le", SIZE)
    words = np.frombuffer(picture.planes[0], "<u2")
    words[:] = words & 0x7FFF
    expected = view(reshape(picture, *SIZE, "gbrp"), plane_shapes("gbrp", *SIZE))
    found = first(write(tmp_path / "in.nut", picture))
    for plane, wanted in zip(found.planes, expected, strict=True):
        np.testing.assert_array_equal(plane, wanted)
    assert not caplog.text


@pytest.mark.parametrize("pix_fmt", ["nv16", "vuyx", "p216le", "xv36le"])
def test_what_cannot_be_told_is_refused(pix_fmt: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NUT has no name for its pixel format; name another"):
        first(write(tmp_path / "in.nut", noise_frame(pix_fmt, SIZE)))


def test_ten_bits_from_hardware_go_through_a_pipe() -> None:
    picture = "testsrc2=s=64x48:r=25:d=0.2"
    result = run_pipe(
        ffmpeg("-f", "lavfi", "-i", picture, "-pix_fmt", "p010le", "-f", "nut",
               "-c:v", "rawvideo", "-"),
        ltxfilter("--engine", "hold", "-f", "yuv4mpegpipe"),
    )  # fmt: skip
    assert result.codes == [0, 0]
    assert b" C420p10 " in result.out[:120]
