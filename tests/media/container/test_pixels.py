"""Containers: pixel formats rearranged without loss, sizes that change, fields, side data."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import convert_held, decoded, make_video, ramp, shown, side_data_names

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, Made, VideoInfo
from ltxfilter.media.avframe import FrameCopier, from_planes, reshape, view
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.media.container.decode import Shaper
from ltxfilter.media.container.stream_header import read_header
from ltxfilter.media.deinterlace import Deinterlacer
from ltxfilter.media.pixfmt import PLANAR_TWINS, planar_name, plane_shapes
from ltxfilter.options import InputOptions, OutputOptions

F = Fraction
SIZE = (46, 30)  # needs row padding
BIG_ENDIAN = ["yuv420p10be", "gray10be", "gbrp12be", "gray16be", "yuva444p12be"]
FULL = ["yuvj420p", "yuvj422p", "yuvj444p"]


def noise(pix_fmt: str, size: tuple[int, int] = SIZE) -> av.VideoFrame:
    """Return a frame of random samples, unused bits zero, unused bytes full."""
    rng = np.random.default_rng(0)
    frame = av.VideoFrame(*size, pix_fmt)
    for plane in frame.planes:
        data = np.frombuffer(plane, np.uint8)
        data[:] = rng.integers(0, 256, data.size, dtype=np.uint8)
        order = ">u2" if pix_fmt.endswith("be") else "<u2"
        bits = frame.format.components[0].bits
        if 8 < bits < 16:
            samples = np.frombuffer(plane, order)
            high = pix_fmt[0] == "p"  # semi-planar formats use the high bits
            samples[:] = (samples >> (16 - bits)) << (16 - bits if high else 0)
        if "0" in (pix_fmt[0], pix_fmt[-1]) and pix_fmt.strip("0") in ("rgb", "bgr"):
            data[3 * (pix_fmt[-1] == "0") :: 4] = 255
    return frame


EXACT = sorted(set(PLANAR_TWINS) - {"pal8", "monow", "monob", "x2rgb10le"})


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize("pix_fmt", EXACT)
def test_packed_formats_come_apart_and_together_again(pix_fmt: str, span: int) -> None:
    size = (64, 32)  # rows without padding: planes compare as a whole
    frame = noise(pix_fmt, size)
    frame.color_range, frame.colorspace = span, 1
    planar = reshape(frame, *size, PLANAR_TWINS[pix_fmt])
    back = reshape(planar, *size, pix_fmt)
    assert planar.color_range == span
    for before, after in zip(frame.planes, back.planes, strict=True):
        assert bytes(before) == bytes(after)


@pytest.mark.parametrize("pix_fmt", BIG_ENDIAN + FULL)
def test_twins_hold_the_same_samples(pix_fmt: str) -> None:
    frame = noise(pix_fmt)
    twin = planar_name(pix_fmt)
    shaped = reshape(frame, *SIZE, twin)
    order = ">u2" if pix_fmt.endswith("be") else np.uint8
    planes = view(shaped, plane_shapes(twin, *SIZE))
    for plane, samples in zip(frame.planes, planes, strict=True):
        raw = np.frombuffer(plane, order).reshape(plane.height, -1)[:, : plane.width]
        np.testing.assert_array_equal(samples, raw)
    assert shaped.color_range == (2 if pix_fmt in FULL else 0)


def test_ten_bits_of_packed_rgb() -> None:
    frame = av.VideoFrame(*SIZE, "x2rgb10le")
    values = np.random.default_rng(1).integers(0, 1 << 30, (SIZE[1], SIZE[0]), dtype=np.uint32)
    words = np.frombuffer(frame.planes[0], np.uint32).reshape(SIZE[1], -1)
    words[:, : SIZE[0]] = values
    planar = reshape(frame, *SIZE, "gbrp10le")
    green, blue, red = view(planar, plane_shapes("gbrp10le", *SIZE))
    np.testing.assert_array_equal(red, values >> 20)
    np.testing.assert_array_equal(green, values >> 10 & 1023)
    np.testing.assert_array_equal(blue, values & 1023)


@pytest.mark.parametrize("name", ["yuv410p9", "nosuch", "yuv420p16f", "grayf32le", "bayer_bggr8"])
def test_formats_that_cannot_be_held_are_named(name: str) -> None:
    with pytest.raises(InputError, match=name):
        plane_shapes(name, 64, 64)


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 40),
    pix_fmt=st.sampled_from(["yuv420p", "yuv422p10le", "yuv410p", "gbrap12le", "gray", "yuva420p"]),
    seed=st.integers(0, 99),
)
def test_planes_survive_a_frame(width: int, height: int, pix_fmt: str, seed: int) -> None:
    shapes = plane_shapes(pix_fmt, width, height)
    rng = np.random.default_rng(seed)
    planes = tuple(
        rng.integers(0, 1 << s.depth, (s.height, s.width), dtype=s.dtype) for s in shapes
    )
    info = _info(width, height, pix_fmt)
    frame = from_planes(planes, info)
    for before, after in zip(planes, view(frame, shapes), strict=True):
        np.testing.assert_array_equal(after, before)
    copier = FrameCopier()
    again = copier.with_planes(frame, tuple(255 - p // 2 for p in planes), shapes)
    for plane, before in zip(view(frame, shapes), planes, strict=True):
        np.testing.assert_array_equal(plane, before)  # the original is not written to
    np.testing.assert_array_equal(view(again, shapes)[0], 255 - planes[0] // 2)


def _info(width: int, height: int, pix_fmt: str) -> VideoInfo:
    return VideoInfo(width, height, pix_fmt, plane_shapes(pix_fmt, width, height), F(25))


def test_upside_down_frames_are_seen_right() -> None:
    frame = noise("yuv420p")
    graph = av.filter.Graph()
    source = graph.add("buffer", video_size="46x30", pix_fmt="yuv420p", time_base="1/25")
    graph.link_nodes(source, graph.add("vflip"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    flipped = graph.vpull()
    shapes = plane_shapes("yuv420p", *SIZE)
    assert flipped.planes[0].line_size < 0
    for up, down in zip(view(frame, shapes), view(flipped, shapes), strict=True):
        np.testing.assert_array_equal(down, up[::-1])


def test_views_cannot_be_written_to() -> None:
    plane = view(noise("gray"), plane_shapes("gray", *SIZE))[0]
    with pytest.raises(ValueError, match="read-only"):
        plane[0, 0] = 1


@pytest.mark.parametrize("pix_fmt", ["rgb24", "yuyv422", "nv12", "rgb48le"])
def test_packed_streams_arrive_planar(tmp_path: Path, pix_fmt: str) -> None:
    path = make_video(tmp_path / "in.nut", 3, codec="rawvideo", pix_fmt=pix_fmt)
    source = ContainerSource(InputOptions(path=str(path)))
    frames = list(source.frames())
    source.close()
    assert source.info.pix_fmt == PLANAR_TWINS[pix_fmt]
    shapes = plane_shapes(PLANAR_TWINS[pix_fmt], 64, 48)
    expected = reshape(ramp(1, (64, 48), pix_fmt), 64, 48, PLANAR_TWINS[pix_fmt])
    for plane, wanted in zip(frames[1].planes, view(expected, shapes), strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_size_change_is_scaled_and_marked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "in.ts"
    parts = [
        make_video(tmp_path / f"{width}.ts", 5, size=(width, width // 2)) for width in (96, 64)
    ]
    with av.open(str(path), "w") as joined:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                stream = stream or joined.add_stream_from_template(
                    container.streams.video[0], opaque=True
                )
                for packet in container.demux(video=0):
                    if packet.pts is not None:
                        packet.pts += 18000 * number
                        packet.dts += 18000 * number
                        packet.stream = stream
                        joined.mux(packet)
    source = ContainerSource(InputOptions(path=str(path)))
    frames = list(source.frames())
    source.close()
    assert [frame.spliced for frame in frames] == [i == 5 for i in range(10)]
    assert {frame.planes[0].shape for frame in frames} == {(48, 96)}
    assert "the picture changes from 96x48 yuv420p to 64x32 yuv420p" in caplog.text
    assert caplog.text.count("the picture changes") == 1


def test_reshaping_keeps_tags() -> None:
    frame = noise("yuv420p10le")
    frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, 16, 1
    shaped = Shaper("x").shape(frame)
    assert (shaped.picture, shaped.spliced) == (frame, False)
    smaller = reshape(frame, 20, 20, "yuv420p10le")
    assert [
        smaller.colorspace,
        smaller.color_primaries,
        smaller.color_trc,
        smaller.color_range,
    ] == [9, 9, 16, 1]


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


def test_siting_is_read_from_the_stream(clips: Path, tmp_path: Path) -> None:
    with av.open(str(clips / "formats" / "bbb_2500ms.ts")) as container:
        assert read_header(container.streams.video[0]).chroma_location == 1
    path = make_video(tmp_path / "in.mp4", options={"chroma_sample_location": "topleft"})
    with av.open(str(path)) as container:
        assert read_header(container.streams.video[0]).chroma_location == 3
    convert_held(path, tmp_path / "out.mp4", "50")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert read_header(container.streams.video[0]).chroma_location == 3


def test_copies_drop_what_belongs_to_one_picture(clips: Path) -> None:
    path = clips / "formats" / "hdr10-video-with-sdr-container.mp4"
    frame = next(decoded(path))
    assert "DYNAMIC_HDR_PLUS" in side_data_names(frame)
    copy = FrameCopier().share(frame)
    assert side_data_names(copy) == {
        "MASTERING_DISPLAY_METADATA",
        "CONTENT_LIGHT_LEVEL",
    }
    assert (copy.colorspace, copy.color_primaries, copy.color_trc) == (9, 9, 16)


def test_drawn_frames_reach_the_file_with_their_own_samples(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", 4, options={"qp": "0"})
    out = tmp_path / "out.mkv"
    source = ContainerSource(InputOptions(path=str(path)))
    options = OutputOptions(path=str(out), encoder={"qp": "0", "preset": "ultrafast"})
    with ContainerSink(options, source, F(50)) as sink:
        for frame in source.frames():
            sink.write(frame)
            drawn = tuple(255 - plane for plane in frame.planes)
            sink.write(
                Frame(frame.time + F(1, 50), drawn, origin=frame.origin, made=Made.INTERPOLATED)
            )
        sink.finish()
    source.close()
    shapes = source.info.layout
    frames = [view(frame, shapes) for frame in decoded(out)]
    originals = [view(frame, shapes) for frame in decoded(path)]
    for index, planes in enumerate(originals):
        np.testing.assert_array_equal(frames[2 * index][0], planes[0])
        np.testing.assert_array_equal(frames[2 * index + 1][0], 255 - planes[0])
    assert shown(out).times == [F(i, 50) for i in range(8)]
