"""y4m as a source: headers of all kinds, samples of every format, streams that are wrong."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.tools import ffmpeg, make_clip, run_pipe, samples

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.raw import y4m
from ltxfilter.options import InputOptions, OutputOptions

HEADER = b"YUV4MPEG2 W8 H4 F25:1 Ip A1:1 C420jpeg\n"


FRAME = b"FRAME\n" + bytes(48)


ratios = st.fractions(min_value=Fraction(1, 999), max_value=1000, max_denominator=1001)


def write(path: Path, data: bytes) -> InputOptions:
    path.write_bytes(data)
    return InputOptions(path=str(path))


def read(options: InputOptions) -> tuple[VideoInfo, list[Frame]]:
    source = open_source(options)
    try:
        return source.info, list(source.frames())
    finally:
        source.close()


def rewritten(options: InputOptions, target: Path, **more) -> bytes:
    """Read and write every frame at the source's rate; return the new file's bytes."""
    source = open_source(options)
    try:
        output = OutputOptions(path=str(target), overwrite=True, **more)
        with open_sink(output, source, source.info.rate) as sink:
            for frame in source.frames():
                sink.write(frame)
            sink.finish()
    finally:
        source.close()
    return target.read_bytes()


@given(
    st.integers(1, 8192),
    st.integers(1, 4320),
    st.none() | ratios,
    st.sampled_from(sorted(y4m.TAGS)),
    st.sampled_from("ptb"),
    st.none() | ratios,
    st.integers(0, 2),
    st.integers(0, 3),
)
def test_headers_are_read_as_they_were_written(
    width, height, rate, pix_fmt, interlace, aspect, span, siting
):
    if pix_fmt != "yuv420p":
        siting = 0
    elif siting == 0:
        siting = y4m.CENTRE  # unknown is written as FFmpeg writes it
    header = y4m.Header(width, height, rate, pix_fmt, interlace, aspect, span, siting)
    assert y4m.parse_header(header.line()[:-1], "x") == header


@pytest.mark.parametrize(
    ("tag", "pix_fmt", "siting"),
    [
        (b"C420jpeg", "yuv420p", 2),
        (b"C420mpeg2 XYSCSS=420MPEG2", "yuv420p", 1),
        (b"C420paldv", "yuv420p", 3),
        (b"C420", "yuv420p", 0),
        (b"", "yuv420p", 0),
        (b"XYSCSS=422", "yuv422p", 0),
        (b"C411", "yuv411p", 0),
        (b"C444alpha", "yuva444p", 0),
        (b"C420p10 XYSCSS=420P10", "yuv420p10le", 0),
        (b"Cmono", "gray", 0),
        (b"Cmono12", "gray12le", 0),
    ],
)
def test_colour_space_tags(tag, pix_fmt, siting):
    header = y4m.parse_header(b"YUV4MPEG2 W8 H4 F25:1 " + tag, "x")
    assert (header.pix_fmt, header.chroma_location) == (pix_fmt, siting)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"YUV4MPEG W8 H4", "does not begin with YUV4MPEG2"),
        (b"YUV4MPEG2 H4 F25:1", "width W is not a number"),
        (b"YUV4MPEG2 W-8 H4", "width W-8 is not a number"),
        (b"YUV4MPEG2 W8 H4x", "height H4x is not a number"),
        (b"YUV4MPEG2 W0 H4", "0x4 is empty"),
        (b"YUV4MPEG2 W100000 H100000", "100000x100000 is over the limit"),
        (b"YUV4MPEG2 W8 H4 F25", "field F25 is not a ratio"),
        (b"YUV4MPEG2 W8 H4 F25:0", "field F25:0 is not a ratio"),
        (b"YUV4MPEG2 W8 H4 F25:1 A1", "field A1 is not a ratio"),
        (b"YUV4MPEG2 W8 H4 F25:1 C410", "colour space C410"),
        (b"YUV4MPEG2 W8 H4 F25:1 Im", "interlacing Im"),
        (b"YUV4MPEG2 W8 H4 F25:1 C\xff\x00", "colour space Cÿ\\?"),
    ],
)
def test_bad_headers_name_the_field(line, message):
    with pytest.raises(InputError, match=f"^x: .*{message}"):
        y4m.parse_header(line, "x")


@given(st.binary(max_size=60), st.integers(0, 90), st.integers(0, 3))
@example(b"\n", 0, 0)
def test_mutated_streams_are_read_or_refused(tmp_path_factory, noise, at, cut):
    data = HEADER + FRAME * 2
    path = tmp_path_factory.getbasetemp() / "mutated.y4m"
    path.write_bytes(data[:at] + noise + data[at + cut * 10 :])
    try:
        source = y4m.Y4mSource(y4m_stream(path), InputOptions(path=str(path)))
    except InputError:
        return
    try:
        assume(source.info.width * source.info.height < 1 << 20)
        for frame in source.frames():
            assert frame.nbytes == source.info.frame_bytes
    except InputError:
        pass
    finally:
        source.close()


def y4m_stream(path: Path):
    from ltxfilter.media.pipe.stdio import open_file

    return open_file(str(path))


@given(st.binary(max_size=300))
def test_any_line_is_a_header_or_an_input_error(line):
    try:
        header = y4m.parse_header(b"YUV4MPEG2 " + line, "x")
    except InputError:
        return
    assert header.width * header.height <= 2 * 8192 * 4320


@pytest.mark.parametrize(
    "pix_fmt",
    [
        *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray"),
        *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv422p12le"),
        *("yuv444p12le", "yuv420p9le", "yuv444p14le", "yuv420p16le", "gray10le", "gray16le"),
    ],
)
@pytest.mark.parametrize("size", ["64x48", "34x18"])
def test_samples_of_every_format_are_ffmpegs(tmp_path, pix_fmt, size):
    """Read what ffmpeg writes, write what ffmpeg reads."""
    clip = make_clip(
        tmp_path / "a.y4m", "-pix_fmt", pix_fmt, "-strict", "-1", size=size, seconds=0.2
    )
    info, frames = read(InputOptions(path=str(clip)))
    assert info.pix_fmt == pix_fmt
    assert info.rate == 25
    ours = b"".join(plane.tobytes() for frame in frames for plane in frame.planes)
    assert ours == samples(clip)
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(5)]
    rewritten(InputOptions(path=str(clip)), tmp_path / "b.y4m")
    assert samples(tmp_path / "b.y4m") == samples(clip)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(sorted(y4m.TAGS)), st.data())
def test_odd_sizes_of_every_format_go_through(tmp_path_factory, width, height, pix_fmt, data):
    layout = plane_shapes(pix_fmt, width, height)
    header = y4m.Header(width, height, Fraction(24), pix_fmt, chroma_location=2)
    if pix_fmt != "yuv420p":
        header = y4m.Header(width, height, Fraction(24), pix_fmt)
    size = sum(shape.nbytes for shape in layout)
    body = b"".join(
        b"FRAME\n" + data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2)
    )
    folder = tmp_path_factory.getbasetemp()
    options = write(folder / "in.y4m", header.line().replace(b"A0:0", b"A1:1") + body)
    assert rewritten(options, folder / "out.y4m") == Path(options.path).read_bytes()


def test_planes_are_views_of_one_buffer(tmp_path):
    _, [frame, _] = read(write(tmp_path / "a.y4m", HEADER + FRAME * 2))
    bases = {id(plane.base if plane.base is not None else plane) for plane in frame.planes}
    assert len(bases) == 1


def test_frame_headers_may_carry_parameters(tmp_path):
    odd = FRAME.replace(b"FRAME\n", b"FRAME Ip Xwhatever=1\n")
    assert len(read(write(tmp_path / "a.y4m", HEADER + odd + FRAME))[1]) == 2


@pytest.mark.parametrize("cut", [1, 5, 6, 20, 53])
def test_a_truncated_last_frame_is_reported_and_left_out(tmp_path, caplog, cut):
    options = write(tmp_path / "a.y4m", HEADER + FRAME + FRAME[:cut])
    with caplog.at_level(logging.WARNING):
        assert len(read(options)[1]) == 1
    [record] = caplog.records
    assert "truncated: the last" in record.getMessage()


def test_a_frame_out_of_place_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="y4m frame 1 does not begin with FRAME"):
        read(write(tmp_path / "a.y4m", HEADER + FRAME + b"x" + FRAME))


def test_a_header_alone_has_no_frames(tmp_path):
    with pytest.raises(InputError, match="no video frames"):
        read(write(tmp_path / "a.y4m", HEADER))


def test_a_header_without_end_is_refused(tmp_path):
    with pytest.raises(InputError, match="header does not end"):
        read(write(tmp_path / "a.y4m", HEADER[:-1] + b" Xa=" + b"b" * 5000))


def test_a_missing_rate_is_25_unless_given(tmp_path, caplog):
    options = write(tmp_path / "a.y4m", HEADER.replace(b"F25:1", b"F0:0") + FRAME)
    assert read(options)[0].rate == 25
    assert "without a frame rate" in caplog.text
    told = InputOptions(path=options.path, rate=Fraction(24))
    assert read(told)[0].rate == 24


def test_what_lies_before_ss_and_after_t_is_left_out(tmp_path):
    frames = b"".join(b"FRAME\n" + bytes([value]) * 48 for value in range(50))
    options = write(tmp_path / "a.y4m", HEADER + frames)
    for limit in ({"duration": Fraction(1, 5)}, {"end": Fraction(6, 5)}):
        cut = InputOptions(path=options.path, start=Fraction(1), **limit)
        got = read(cut)[1]
        assert [int(frame.planes[0][0, 0]) for frame in got] == [25, 26, 27, 28, 29]
        assert got[0].time == 0
    with pytest.raises(InputError, match="no video frames at or after 9 s"):
        read(InputOptions(path=options.path, start=Fraction(9)))


def test_duration_of_a_file_is_known_ahead(tmp_path):
    source = open_source(write(tmp_path / "a.y4m", HEADER + FRAME * 50))
    assert source.duration == 2
    source.close()


@pytest.mark.parametrize(("mode", "flag", "first"), [("top", b" It", 0), ("bottom", b" Ib", 1)])
def test_interlaced_streams_are_deinterlaced(tmp_path, mode, flag, first):
    """Each picture shows the moment of its first field, whose rows it keeps."""
    smooth = make_clip(tmp_path / "p.y4m", "-pix_fmt", "yuv420p", rate="50", size="64x48")
    woven = tmp_path / "i.y4m"
    weave = ffmpeg("-i", smooth, "-vf", f"tinterlace=interleave_{mode}", woven)
    assert run_pipe(weave).codes == [0]
    head, _, body = woven.read_bytes().partition(b"\n")
    options = write(woven, re.sub(rb" I.", flag, head) + b"\n" + body)
    _, frames = read(options)
    _, moments = read(InputOptions(path=str(smooth)))
    assert len(frames) == 25
    redrawn = 0
    for frame, now, later in zip(frames, moments[::2], moments[1::2], strict=True):
        luma, second = frame.planes[0], 1 - first
        assert np.array_equal(luma[first::2], now.planes[0][first::2])
        redrawn += not np.array_equal(luma[second::2], later.planes[0][second::2])
    assert redrawn > 15  # nothing moves in the others


def test_interlaced_streams_are_never_drawn_from(tmp_path):
    options = write(tmp_path / "a.y4m", HEADER.replace(b"Ip", b"It") + FRAME)
    with pytest.raises(InputError, match="interlaced"):
        open_source(InputOptions(path=options.path, deinterlace="off"))
