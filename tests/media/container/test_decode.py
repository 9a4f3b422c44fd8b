from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import (
    convert_repeating,
    decoded,
    make_video,
    noise_frame,
    ramp,
    shown,
)

import ltxfilter
from ltxfilter.frame import Frame, Made
from ltxfilter.media.avframe import reshape, view
from ltxfilter.media.base import SourceCounts
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.media.container.decode import Shaper, TimedFrame, ascending
from ltxfilter.media.container.stream_header import read_header
from ltxfilter.media.pixfmt import planar_name, plane_shapes
from ltxfilter.options import InputOptions, OutputOptions


@pytest.mark.parametrize(
    ("times", "kept", "dropped"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 0),
        ([0, 1, 1, 0, 2], [0, 1, 2], 2),
        ([0, 1, 900, 3, 4], [0, 1, 3, 4], 1),  # one damaged stamp
        ([0, 1, 90000, 3, 70000, 5], [0, 1, 3, 5], 2),
        ([0, 1, 60, 61, 62], [0, 1, 60, 61, 62], 0),  # a pause
        ([0, 1, 60, 120, 180], [0, 1, 60, 120, 180], 0),
        ([0, 1, 60], [0, 1, 60], 0),
        ([0, 1, 60, 1, 61], [0, 1, 60, 61], 1),
        ([50, 51], [50, 51], 0),
    ],
)
def test_one_damaged_stamp_costs_one_frame(times, kept, dropped):
    counts = SourceCounts()
    frames = ascending([TimedFrame(F(time), None, False) for time in times], counts)
    assert [frame.time for frame in frames] == kept
    assert counts.out_of_order == dropped


def test_a_splice_is_never_lost():
    times = [0, 900, 2, 3]
    frames = [TimedFrame(F(time), None, spliced=time == 900) for time in times]
    kept = ascending(frames, SourceCounts())
    assert [frame.spliced for frame in kept] == [False, True, False]


@pytest.mark.parametrize(
    "pix_fmt",
    ["rgb24", "yuyv422", "nv12", "rgb48le", "rgb48be", "rgba64be", "bgr48le", "ya8", "rgb565le"],
)
def test_packed_streams_arrive_planar(tmp_path: Path, pix_fmt: str) -> None:
    path = make_video(tmp_path / "in.nut", 3, codec="rawvideo", pix_fmt=pix_fmt)
    source = ContainerSource(InputOptions(path=str(path)))
    frames = list(source.frames())
    source.close()
    assert source.info.pix_fmt == planar_name(pix_fmt)
    shapes = plane_shapes(planar_name(pix_fmt), 64, 48)
    expected = reshape(ramp(1, (64, 48), pix_fmt), 64, 48, planar_name(pix_fmt))
    for plane, wanted in zip(frames[1].planes, view(expected, shapes), strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_xyz_becomes_rgb_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(tmp_path / "in.nut", 2, codec="rawvideo", pix_fmt="xyz12le")
    source = ContainerSource(InputOptions(path=str(path)))
    frame = next(iter(source.frames()))
    source.close()
    assert source.info.pix_fmt == "gbrp12le"
    assert "xyz12le is converted to gbrp12le" in caplog.text
    green = ramp(0, (64, 48), "gbrp12le").planes[0]
    wanted = np.frombuffer(green, np.uint16).reshape(48, -1)[:, :64].astype(int)
    assert np.abs(frame.planes[0] - wanted).mean() < 40


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
    frame = noise_frame("yuv420p10le")
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


@pytest.mark.parametrize(("name", "number"), [("left", 1), ("center", 2), ("topleft", 3)])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_chroma_location_is_read_and_kept(
    tmp_path: Path, suffix: str, name: str, number: int
) -> None:
    path = make_video(tmp_path / f"in.{suffix}", options={"chroma_sample_location": name})
    convert_repeating(path, tmp_path / f"out.{suffix}", "50")
    for each in (path, tmp_path / f"out.{suffix}"):
        with av.open(str(each)) as container:
            assert read_header(container.streams.video[0]).chroma_location == number


def test_chroma_location_of_a_real_stream(clips: Path) -> None:
    with av.open(str(clips / "formats" / "bbb_2500ms.ts")) as container:
        assert read_header(container.streams.video[0]).chroma_location == 1


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


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_alpha_of_webm_is_decoded_and_kept(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "in.webm"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options={"auto-alt-ref": "0", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for number in range(6):
            frame = av.VideoFrame(64, 48, "yuva420p")
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            rows = np.frombuffer(frame.planes[3], np.uint8).reshape(48, -1)
            rows[:, :32], rows[:, 32:] = 255, 60
            frame.pts = number
            output.mux(stream.encode(frame if number < 5 else None))
    out = tmp_path / "out.webm"
    video = {"codec": codec, "auto-alt-ref": 0}
    ltxfilter.convert(path, out, engine="blend", video=video)
    for each in (path, out):
        source = ContainerSource(InputOptions(path=str(each)))
        alpha = next(source.frames()).planes[3]
        source.close()
        assert source.info.pix_fmt == "yuva420p"
        assert (abs(alpha[:, :30].astype(int) - 255) < 8).all()
        assert (abs(alpha[:, 34:].astype(int) - 60) < 8).all()
    opaque = tmp_path / "opaque.mkv"
    ltxfilter.convert(path, opaque, engine="hold", video={"codec": "libx264"})
    with av.open(str(opaque)) as container:
        assert "alpha_mode" not in {key.lower() for key in container.streams.video[0].metadata}
