"""Interlaced video turned into progressive pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import decoded, make_video, ramp

from ltxfilter.frame import Frame
from ltxfilter.media.avframe import view
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.stream_header import read_header
from ltxfilter.media.deinterlace import Deinterlacer
from ltxfilter.options import InputOptions

F = Fraction


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stripe that moves from field to field."""
    path = tmp_path_factory.mktemp("fields") / "in.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"qp": "0", "flags": "+ildct+ilme", "x264-params": "tff=1"}
        )
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(8):
            frame = av.VideoFrame(64, 64, "yuv420p")
            planes = [np.full((64, 64), 40, np.uint8)] + [np.full((32, 32), 128, np.uint8)] * 2
            for field in range(2):
                left = 4 * (2 * index + field)
                planes[0][field::2, left : left + 8] = 200
            for plane, samples in zip(frame.planes, planes, strict=True):
                target = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                target[:, : plane.width] = samples
            frame.pts, frame.time_base = index, F(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(frame: Frame) -> float:
    luma = frame.planes[0].astype(int)
    return float(np.abs(luma[1:-1] * 2 - luma[:-2] - luma[2:]).mean())


@pytest.mark.parametrize(("mode", "smooth"), [("auto", True), ("on", True), ("off", False)])
def test_fields_are_made_pictures(interlaced: Path, mode: str, smooth: bool) -> None:
    source = ContainerSource(InputOptions(path=str(interlaced), deinterlace=mode))
    frames = list(source.frames())
    source.close()
    assert [frame.time for frame in frames] == [F(i, 25) for i in range(8)]
    assert all((combing(frame) < 15) is smooth for frame in frames)


def test_fields_of_a_new_size_are_made_pictures_too() -> None:
    deinterlacer = Deinterlacer("on", False)
    out = []
    for index, size in enumerate([64, 64, 64, 32, 32]):
        frame = ramp(index, (size, size))
        frame.pts, frame.time_base = index, F(1, 25)
        out += deinterlacer.push(frame)
    out += deinterlacer.drain()
    assert [frame.width for frame in out] == [64, 64, 64, 32, 32]
    assert [frame.pts * frame.time_base for frame in out] == [F(i, 25) for i in range(5)]


def test_progressive_video_is_left_alone(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", options={"qp": "0"})
    with av.open(str(path)) as container:
        assert not read_header(container.streams.video[0]).interlaced
    source = ContainerSource(InputOptions(path=str(path)))
    shapes = source.info.layout
    for frame, plain in zip(source.frames(), decoded(path), strict=True):
        for plane, wanted in zip(frame.planes, view(plain, shapes), strict=True):
            np.testing.assert_array_equal(plane, wanted)
    source.close()
