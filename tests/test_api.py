"""Frames already in Python: pushed and pulled, or iterated, as av frames and as arrays."""

from __future__ import annotations

from fractions import Fraction as F

import av
import numpy as np
import pytest

import ltxfilter
from ltxfilter.errors import InputError, OptionError
from ltxfilter.media.python_pictures.arrays import ArrayPictures


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


@pytest.mark.parametrize("layout", ["rgb", "chw", "gray", "float"])
def test_one_buffer_may_serve_every_picture(layout):
    source = pictures(5)
    if layout == "gray":
        source = [picture[..., 1].copy() for picture in source]
    elif layout == "chw":
        source = [np.moveaxis(picture, 2, 0).copy() for picture in source]
    elif layout == "float":
        source = [picture / np.float32(255) for picture in source]

    def reusing():
        buffer = np.empty_like(source[0])
        for picture in source:
            buffer[:] = picture
            yield buffer

    expected = list(ltxfilter.interpolate(source, 25, 50, cuts=False))
    found = [out.copy() for out in ltxfilter.interpolate(reusing(), 25, 50, cuts=False)]
    assert len(found) == len(expected) == 10
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_one_tensor_may_serve_every_picture():
    torch = pytest.importorskip("torch")
    source = [torch.from_numpy(picture) for picture in pictures(4)]

    def reusing():
        buffer = torch.empty_like(source[0])
        for picture in source:
            yield buffer.copy_(picture)

    for scale in (None, 255):
        given = source if scale is None else [picture / scale for picture in source]
        expected = list(ltxfilter.interpolate(given, 25, 50, engine="blend", cuts=False))
        again = (buffer.clone() if scale is None else buffer / scale for buffer in reusing())
        found = list(ltxfilter.interpolate(again, 25, 50, engine="blend", cuts=False))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    found = [out.clone() for out in ltxfilter.interpolate(reusing(), 25, 50, engine="hold")]
    assert all(torch.equal(a, b) for a, b in zip(found[::2], source, strict=True))


def test_writing_into_what_came_back_changes_nothing_after_it():
    expected = list(ltxfilter.interpolate(pictures(5), 25, 50, cuts=False))
    found = []
    for out in ltxfilter.interpolate(pictures(5), 25, 50, cuts=False):
        found.append(out.copy())
        out[:] = 0
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


ODD_PICTURES = {
    "no rows": np.zeros((0, 64), np.uint8),
    "no columns": np.zeros((64, 0, 3), np.uint8),
    "no channels": np.zeros((64, 64, 0), np.uint8),
    "no axes": np.array(3, np.uint8),
    "objects": np.zeros((8, 8), object),
    "truth values": np.zeros((8, 8), bool),
    "complex numbers": np.zeros((8, 8), complex),
    "records": np.zeros((8, 8), [("a", np.uint8)]),
    "dates": np.zeros((8, 8), "M8[s]"),
    "other byte order": np.zeros((8, 8), ">u2"),
    "list": [[1, 2], [3, 4]],
    "None": None,
}


@pytest.mark.parametrize("engine", ["flow", "blend", "hold"])
@pytest.mark.parametrize("case", ODD_PICTURES)
def test_odd_pictures_are_refused(case, engine):
    with pytest.raises(InputError, match=r"picture|neither"):
        list(ltxfilter.interpolate([ODD_PICTURES[case]] * 3, 25, 50, engine=engine))


def test_sparse_and_empty_tensors_are_refused():
    torch = pytest.importorskip("torch")
    for odd in (torch.eye(8).to_sparse(), torch.empty(8, 8, device="meta"), torch.empty(0, 8)):
        with pytest.raises(InputError, match="samples"):
            list(ltxfilter.interpolate([odd] * 3, 25, 50))


@pytest.mark.parametrize("engine", ["flow", "blend", "hold"])
@pytest.mark.parametrize(
    "change",
    {
        "turned": lambda picture: picture[::-1, ::-1],
        "in other order": lambda picture: picture[..., ::-1],
        "by columns": np.asfortranarray,
        "cropped": lambda picture: picture[3:-4, 5:-6],
        "thinned": lambda picture: picture[::2, ::3],
        "masked": np.ma.masked_array,
        "one pixel": lambda picture: picture[:1, :1],
        "one row": lambda picture: picture[:1],
    }.values(),
)
def test_views_of_any_kind_are_pictures(change, engine):
    source = [change(picture) for picture in pictures(4)]
    for picture in source:
        picture.flags.writeable = False
    packed = [np.array(picture, order="C") for picture in source]
    found = list(ltxfilter.interpolate(source, 25, 50, engine=engine))
    again = list(ltxfilter.interpolate(packed, 25, 50, engine=engine))
    assert all(a is b for a, b in zip(found[::2], source, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize(
    ("value", "code"), [(np.nan, 0), (np.inf, 65535), (-np.inf, 0), (2.0, 65535)]
)
def test_floats_out_of_range_are_clipped(value, code):
    source = [np.full((16, 16), 0.25 * n, np.float32) for n in range(3)]
    source[1][4:8] = value
    with np.errstate(all="raise"):
        found = list(ltxfilter.interpolate(source, 25, 50, engine="blend", cuts=False))
        planes = ArrayPictures().frame(source[1], F(0), ArrayPictures().info(source[1], F(25)))
    assert found[2] is source[1]
    assert set(planes.planes[0][4:8].flat) == {code}
    assert all(np.isfinite(picture).all() for picture in found[1::2])


def test_what_is_no_stream_of_pictures_is_refused_at_once():
    with pytest.raises(OptionError, match="frames: int is not iterable"):
        ltxfilter.interpolate(5, 25, 50)


@pytest.mark.parametrize(
    "odd", [np.zeros((8, 8), np.uint8), 5, av.AudioFrame(), av.VideoFrame()], ids=type
)
def test_what_is_no_video_frame_is_refused(odd):
    with ltxfilter.Interpolator(fps=50, fps_in=25, engine="flow") as interpolator:
        with pytest.raises(InputError, match=r"no av\.VideoFrame|no samples"):
            interpolator.push(odd)
        interpolator.push(next(video_frames(1)))
        with pytest.raises(InputError, match=r"no av\.VideoFrame|no samples|alike"):
            interpolator.push(odd)


@pytest.mark.parametrize("pts", [40, 0, -(1 << 60)])
def test_frames_out_of_order_are_refused(pts):
    first, second = video_frames(2)
    first.pts, second.pts = 40, pts
    with ltxfilter.Interpolator(fps=50, engine="flow") as interpolator:
        interpolator.push(first)
        with pytest.raises(InputError, match="have to ascend"):
            interpolator.push(second)


@pytest.mark.parametrize("duration", [-1, 1 << 62])
def test_durations_that_no_frame_has_are_not_believed(duration):
    with ltxfilter.Interpolator(fps=50, engine="hold") as interpolator:
        for frame in video_frames(2):
            frame.duration = duration
            interpolator.push(frame)
        interpolator.push(None)
        assert len(list(interpolator.frames())) in (3, 4)


def test_a_closed_interpolator_has_ended():
    frames = list(video_frames(3))
    interpolator = ltxfilter.Interpolator(fps=50, fps_in=25, engine="hold")
    interpolator.push(frames[0])
    interpolator.close()
    with pytest.raises(EOFError):
        interpolator.push(frames[1])
    with pytest.raises(EOFError):
        interpolator.push(None)
