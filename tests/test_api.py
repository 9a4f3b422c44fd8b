"""Frames already in Python: pushed and pulled, or iterated, as av frames and as arrays."""

from __future__ import annotations

from fractions import Fraction as F

import av
import numpy as np
import pytest

import ltxfilter
from ltxfilter.errors import InputError, OptionError


def pictures(count, size=(48, 64)):
    """Yield RGB noise that moves two pixels to the right per picture."""
    noise = np.random.default_rng(1).integers(0, 255, (size[0] // 8, size[1] // 8 + 4, 3), np.uint8)
    wide = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    return [np.ascontiguousarray(wide[:, 32 - 2 * n :][:, : size[1]]) for n in range(count)]


def video_frames(count, fmt="yuv420p", stamped=True):
    for number, picture in enumerate(pictures(count)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=fmt)
        frame.pts = number * 40 if stamped else None
        frame.time_base = F(1, 1000)
        yield frame


def samples_of(frame):
    return [bytes(plane) for plane in frame.planes]


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "gray", "nv12", "rgb24", "yuvj444p"])
def test_push_and_pull(fmt):
    source = list(video_frames(6, fmt))
    out = []
    with ltxfilter.Interpolator(fps=50, fps_in=25, engine="blend", cuts=False) as interpolator:
        with pytest.raises(BlockingIOError):
            interpolator.pull()
        for frame in source:
            interpolator.push(frame)
            out.extend(interpolator.frames())
        interpolator.push(None)
        out.extend(interpolator.frames())
        with pytest.raises(EOFError):
            interpolator.pull()
        with pytest.raises(EOFError):
            interpolator.push(source[0])
    assert [frame.pts for frame in out] == list(range(12))
    assert {frame.time_base for frame in out} == {F(1, 50)}
    assert {frame.format.name for frame in out} == {fmt}
    assert [samples_of(frame) for frame in out[::2]] == [samples_of(frame) for frame in source]
    assert samples_of(out[1]) not in [samples_of(frame) for frame in source]
    assert [frame.pts for frame in source] == [40 * n for n in range(6)]


def test_frames_without_times_are_counted_up():
    with ltxfilter.Interpolator(fps=60, fps_in="24000/1001", engine="hold") as interpolator:
        for frame in video_frames(4, stamped=False):
            interpolator.push(frame)
        interpolator.push(None)
        assert len(list(interpolator.frames())) == 10
    with (
        ltxfilter.Interpolator(fps=60, engine="hold") as interpolator,
        pytest.raises(InputError, match="fps_in"),
    ):
        interpolator.push(next(video_frames(1, stamped=False)))


def test_a_frame_unlike_the_first_is_refused():
    with ltxfilter.Interpolator(fps=50, engine="hold") as interpolator:
        interpolator.push(next(video_frames(1)))
        with pytest.raises(InputError, match="alike"):
            interpolator.push(next(video_frames(1, "yuv444p")))


def test_the_source_timeline_is_doubled():
    with ltxfilter.Interpolator(fps="source", engine="hold") as interpolator:
        for frame in video_frames(3):
            interpolator.push(frame)
        interpolator.push(None)
        times = [frame.pts * frame.time_base for frame in interpolator.frames()]
    assert times == [F(20 * n, 1000) for n in range(6)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_come_back_as_they_were(dtype):
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    source = [(picture.astype(np.float64) * scale).astype(dtype) for picture in pictures(5)]
    out = list(ltxfilter.interpolate(source, 25, 50, engine="blend", cuts=False))
    assert len(out) == 10
    assert all(a is b for a, b in zip(out[::2], source, strict=True))
    assert {(picture.dtype, picture.shape) for picture in out} == {(np.dtype(dtype), (48, 64, 3))}
    expected = (source[0].astype(np.float64) + source[1]) / 2
    assert np.abs(out[1] - expected).max() <= (1 if dtype != np.float32 else 1e-4)


@pytest.mark.parametrize("layout", ["gray", "chw", "rgba"])
def test_layouts_of_arrays(layout):
    source = pictures(4)
    if layout == "gray":
        source = [picture[..., 1] for picture in source]
    elif layout == "chw":
        source = [np.moveaxis(picture, 2, 0) for picture in source]
    else:
        source = [np.dstack([picture, picture[..., :1]]) for picture in source]
    out = list(ltxfilter.interpolate(iter(source), 24, 60))
    assert len(out) == 10
    assert {picture.shape for picture in out} == {source[0].shape}
    packed = [np.ascontiguousarray(picture) for picture in source]
    again = ltxfilter.interpolate(packed, 24, 60)
    assert all(np.array_equal(a, b) for a, b in zip(out, again, strict=True))


def test_flow_follows_the_motion():
    source = pictures(8, (96, 128))
    out = list(ltxfilter.interpolate(source[::2], 25, 50))
    truth = source[3].astype(float)
    drawn, held = out[3].astype(float), source[2].astype(float)
    inner = np.s_[16:-16, 16:-16]
    error = np.abs(drawn - truth)[inner].mean()
    assert error < np.abs(held - truth)[inner].mean() / 4


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    source = [torch.from_numpy(picture) for picture in pictures(4)]
    out = list(ltxfilter.interpolate(source, 25, 50, engine="blend", cuts=False))
    assert out[0] is source[0]
    assert out[1].dtype == torch.uint8
    assert out[1].shape == source[0].shape
    halves = [tensor.permute(2, 0, 1).half() / 255 for tensor in source]
    out = list(ltxfilter.interpolate(halves, 25, 50, engine="blend", cuts=False))
    assert out[1].dtype == torch.float16
    assert (out[1].float() - (halves[0].float() + halves[1].float()) / 2).abs().max() < 2e-3


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="shape"):
        list(ltxfilter.interpolate([np.zeros((2, 2, 2, 2), np.uint8)], 25))
    with pytest.raises(InputError, match="int64"):
        list(ltxfilter.interpolate([np.zeros((8, 8), np.int64)], 25))
    with pytest.raises(InputError, match="str"):
        list(ltxfilter.interpolate(["frame"], 25))
    with pytest.raises(InputError, match="alike"):
        list(ltxfilter.interpolate([np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)], 25))
    with pytest.raises(OptionError, match="source"):
        list(ltxfilter.interpolate([], 25, "source"))
    assert list(ltxfilter.interpolate([], 25)) == []


def test_spans_of_the_frames_own_time_are_drawn_anew():
    source = pictures(8)
    out = list(ltxfilter.interpolate(source, 25, "1x", engine="blend", redraw=[(0.08, 0.16)]))
    assert len(out) == 8
    assert [n for n, (a, b) in enumerate(zip(source, out, strict=True)) if a is not b] == [2, 3]
    third = source[1].astype(float) + (source[4].astype(float) - source[1]) / 3
    assert np.abs(out[2] - third).max() <= 1

    given = list(video_frames(8))
    with ltxfilter.Interpolator("1x", fps_in=25, engine="blend", redraw="0-0.05") as interpolator:
        for frame in (*given, None):
            interpolator.push(frame)
        shown = [samples_of(frame) for frame in interpolator.frames()]
    assert shown == [samples_of(given[max(n, 2)]) for n in range(8)]
