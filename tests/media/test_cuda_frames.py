"""Frames of PyAV on a device; frames in host memory, which PyAV shares alike, stand for them."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

import ltxfilter
from ltxfilter.errors import InputError
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.avframe import from_planes, reshape
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.media.python_pictures import cuda_frames
from ltxfilter.media.python_pictures.cuda_frames import CudaFrameMaker, planes_of, samples_format
from ltxfilter.media.python_pictures.frames import FramePictures

pytest.importorskip("torch", reason="torch is not installed")
WIDTH, HEIGHT = 96, 64
FORMATS = ["nv12", "p010le", "p016le"]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take frames in host memory for those of a device."""
    monkeypatch.setattr(cuda_frames, "lies_there", lambda picture: picture.format.name in FORMATS)


def planar(name: str, number: int = 0) -> av.VideoFrame:
    """Return a frame of noise that moves, in the planar format of the samples of `name`."""
    twin = planar_name(name)
    layout = plane_shapes(twin, WIDTH, HEIGHT)
    color = ColorInfo(9, 1, 9, 16)
    info = VideoInfo(WIDTH, HEIGHT, twin, layout, Fraction(25), color=color)
    rng = np.random.default_rng(3)
    planes = tuple(
        np.roll(
            rng.integers(0, 1 << shape.depth, (shape.height, shape.width)).astype(shape.dtype),
            number << (1 - shape.shift_x),
            1,
        )
        for shape in layout
    )
    frame = from_planes(planes, info)
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def pushed(name: str, count: int) -> list[av.VideoFrame]:
    frames = [reshape(planar(name, number), WIDTH, HEIGHT, name) for number in range(count)]
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, Fraction(1, 25)
    return frames


def samples(frame: av.VideoFrame) -> list[bytes]:
    """Return each plane without the padding of its rows."""
    depth = 2 if frame.format.components[0].bits > 8 else 1
    found = []
    for plane, height in zip(frame.planes, (HEIGHT, HEIGHT // 2), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        found.append(rows[:, : WIDTH * depth].tobytes())
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_planes_are_those_of_the_planar_format_and_come_back(name: str):
    expected, interleaved = planar(name), pushed(name, 1)[0]
    info = FramePictures().info(expected, None)
    planes = planes_of(interleaved, name, info.layout)
    assert {type(plane).__name__ for plane in planes} == {"DevicePlane"}
    for plane, shape, given in zip(planes, info.layout, expected.planes, strict=True):
        rows = np.frombuffer(given, np.uint8).reshape(shape.height, given.line_size)
        rows = rows[:, : shape.width * shape.dtype.itemsize].view(shape.dtype)
        assert np.array_equal(plane, rows)
    made = CudaFrameMaker().made(planes, info, name, interleaved)
    assert (made.format.name, made.width, made.height) == (name, WIDTH, HEIGHT)
    assert samples(made) == samples(interleaved)
    assert (made.colorspace, made.color_range) == (expected.colorspace, expected.color_range)
    assert (made.color_primaries, made.color_trc) == (9, 16)


def test_nvenc_finds_chroma_right_below_luma():
    frame = pushed("nv12", 1)[0]
    info = FramePictures().info(frame, None)
    made = CudaFrameMaker().made(planes_of(frame, "nv12", info.layout), info, "nv12", frame)
    luma, chroma = made.planes
    assert chroma.buffer_ptr - luma.buffer_ptr == HEIGHT * luma.line_size
    assert luma.line_size == chroma.line_size


def test_planes_are_copies_for_a_decoder_uses_its_memory_again():
    frame = pushed("nv12", 1)[0]
    info = FramePictures().info(frame, None)
    planes = planes_of(frame, "nv12", info.layout)
    before = [plane[:].copy() for plane in planes]
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[...] = 7
    assert all(np.array_equal(a[:], b) for a, b in zip(planes, before, strict=True))


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", ["nv12", "p010le"])
@pytest.mark.parametrize("engine", ["hold", "blend", "flow:preset=fast"])
def test_output_frames_are_those_of_host_memory(name: str, engine: str):
    def through(**options: Any) -> list[av.VideoFrame]:
        with ltxfilter.Interpolator(fps=50, fps_in=25, engine=engine, **options) as interpolator:
            for frame in pushed(name, 3):
                interpolator.push(frame)
            interpolator.push(None)
            return list(interpolator.frames())

    found = through()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_frames, "lies_there", lambda _: False)
        expected = through()
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        assert (one.pts, one.time_base) == (other.pts, other.time_base)
        assert (one.format.name, one.color_range) == (other.format.name, other.color_range)
        assert samples(one) == samples(other)


def stand_in(place: str, inner: str | None) -> Any:
    form = SimpleNamespace(name=place, components=())
    return SimpleNamespace(format=form, sw_format=inner and SimpleNamespace(name=inner))


def test_samples_that_pyav_shares_are_told_by_their_own_format():
    assert samples_format(stand_in("cuda", "p010le")) == "p010le"
    assert samples_format(planar("nv12")) == "yuv420p"


@pytest.mark.parametrize(
    ("place", "inner"), [("cuda", "yuv444p"), ("vaapi", "nv12"), ("videotoolbox_vld", None)]
)
def test_other_samples_on_a_device_are_refused(place: str, inner: str | None):
    with pytest.raises(InputError, match=r"PyAV shares CUDA's nv12, .*is_hw_owned=False"):
        samples_format(stand_in(place, inner))


@pytest.mark.usefixtures("shared")
def test_odd_sizes_are_refused():
    frame = reshape(planar("nv12"), WIDTH, HEIGHT - 1, "nv12")
    with (
        ltxfilter.Interpolator(fps=50, fps_in=25, engine="hold") as interpolator,
        pytest.raises(InputError, match="its sides must be even"),
    ):
        interpolator.push(frame)
