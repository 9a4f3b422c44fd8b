"""rawvideo: every byte_layout of samples against ffmpeg, geometry that is missing or wrong."""

from __future__ import annotations

import logging
import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import TIMEOUT, ltxfilter, run_pipe

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.media.raw.packing import PACKED_FORMATS, SampleLayout
from ltxfilter.media.raw.rawvideo import Geometry, geometry_from
from ltxfilter.options import InputOptions, OutputOptions

PLANAR = (
    *("yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "gray", "gbrp"),
    *("yuva420p", "yuva444p", "gbrap", "yuv420p10le", "yuv422p10le", "yuv444p12le"),
    *("yuva444p10le", "gray10le", "gray16le", "gbrp10le", "gbrp12le", "gbrap16le"),
)
BIG_ENDIAN = ("yuv420p10be", "gray16be", "gbrp10be")


def ffmpeg_converts(data: bytes, size: str, have: str, want: str) -> bytes:
    """Let ffmpeg rearrange raw frames, which it does without loss between twins.

    Not the system's: older ones do not know all arrangements.
    """
    raw = ("-f", "rawvideo", "-s", size, "-pix_fmt")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *raw, have, "-i", "-", *raw, want]
    done = subprocess.run([*command, "-"], input=data, capture_output=True, timeout=TIMEOUT)
    assert not done.returncode, done.stderr.decode()
    return done.stdout


def options_for(path: Path, pix_fmt: str, size: str = "64x48", **more) -> InputOptions:
    width, height = map(int, size.split("x"))
    given = {"width": width, "height": height, "pix_fmt": pix_fmt, "rate": Fraction(25)} | more
    return InputOptions(path=str(path), format="rawvideo", **given)


def read(options: InputOptions) -> list[Frame]:
    source = open_source(options)
    try:
        return list(source.frames())
    finally:
        source.close()


def noise(count: int, depth: int = 8, seed: int = 0) -> bytes:
    """Return `count` bytes of random samples that use `depth` bits."""
    rng = np.random.default_rng(seed)
    if depth == 8:
        return rng.integers(0, 256, count, np.uint8).tobytes()
    return rng.integers(0, 1 << depth, count // 2, np.uint16).tobytes()


# Arrangements


@pytest.mark.parametrize("size", ["64x48", "38x22"])
@pytest.mark.parametrize("name", sorted({*PACKED_FORMATS, *BIG_ENDIAN}))
def test_arrangements_are_ffmpegs(name, size):
    """Taken apart, every byte_layout is what ffmpeg makes of it; put together, the bytes again."""
    width, height = map(int, size.split("x"))
    ours = SampleLayout(name, width, height)
    planar = SampleLayout(ours.planar, width, height)
    planes = noise(planar.frame_bytes, ours.layout[0].depth, seed=len(name))
    there = ffmpeg_converts(planes, size, ours.planar, name)
    assert len(there) == ours.frame_bytes
    taken = ours.unpack(np.frombuffer(there, np.uint8))
    assert b"".join(plane.tobytes() for plane in taken) == planes
    assert all(plane.flags.c_contiguous and plane.dtype.isnative for plane in taken)
    assert b"".join(plane.tobytes() for plane in ours.pack(taken)) == there


@pytest.mark.parametrize("name", sorted({*PACKED_FORMATS, *PLANAR}))
def test_odd_sizes_take_as_many_bytes_as_ffmpegs(name):
    """Only the size: swscale itself loses chroma at odd widths."""
    byte_layout = SampleLayout(name, 35, 17)
    planar = bytes(SampleLayout(byte_layout.planar, 35, 17).frame_bytes)
    there = ffmpeg_converts(planar, "35x17", byte_layout.planar, name)
    assert byte_layout.frame_bytes == len(there)


@pytest.mark.parametrize("name", PLANAR)
def test_planar_formats_lie_as_ffmpeg_says(name):
    data = noise(SampleLayout(name, 34, 18).frame_bytes, SampleLayout(name, 34, 18).layout[0].depth)
    assert ffmpeg_converts(data, "34x18", name, name) == data
    planes = SampleLayout(name, 34, 18).unpack(np.frombuffer(data, np.uint8))
    assert b"".join(plane.tobytes() for plane in planes) == data


@given(
    st.sampled_from(sorted({*PACKED_FORMATS, *PLANAR, *BIG_ENDIAN})),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_packing_undoes_unpacking_at_any_size(name, width, height, seed):
    byte_layout = SampleLayout(name, width, height)
    shapes = byte_layout.layout
    rng = np.random.default_rng(seed)
    planes = tuple(
        rng.integers(0, 1 << s.depth, (s.height, s.width)).astype(s.dtype) for s in shapes
    )
    data = b"".join(plane.tobytes() for plane in byte_layout.pack(planes))
    assert len(data) == byte_layout.frame_bytes
    again = byte_layout.unpack(np.frombuffer(data, np.uint8))
    for before, after in zip(planes, again, strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("name", ["pal8", "monow", "x2rgb10le", "ya8", "nope", "cuda", "gbrpf32le"])
def test_arrangements_we_cannot_hold_are_usage_errors(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(bytes(9999))
    with pytest.raises(OptionError, match=name):
        open_source(options_for(tmp_path / "a.raw", name))


# Streams


def test_frames_of_a_file(tmp_path):
    path = tmp_path / "a.yuv"
    path.write_bytes(noise(4608 * 10))
    rate = Fraction(24000, 1001)
    source = open_source(options_for(path, "yuv420p", rate=rate))
    assert source.duration == 10 * Fraction(1001, 24000)
    frames = list(source.frames())
    assert [frame.time for frame in frames] == [
        index * Fraction(1001, 24000) for index in range(10)
    ]
    assert b"".join(p.tobytes() for frame in frames for p in frame.planes) == path.read_bytes()
    source.close()


def test_full_range_names_become_a_tag(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(4608))
    source = open_source(options_for(path, "yuvj420p"))
    assert (source.info.pix_fmt, source.info.color.range) == ("yuv420p", 2)
    source.close()


def test_trailing_bytes_are_reported(tmp_path, caplog):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(4608 * 2 + 777))
    with caplog.at_level(logging.WARNING):
        assert len(read(options_for(path, "yuv420p"))) == 2
    [record] = caplog.records
    assert "777 trailing bytes: is -s/-pix_fmt right?" in record.getMessage()


def test_less_than_a_frame_is_an_error(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(777))
    with pytest.raises(InputError, match="777 bytes are not even one frame of 64x48 yuv420p"):
        read(options_for(tmp_path / "a.raw", "yuv420p"))


def test_a_huge_picture_is_refused_before_it_is_made_room_for(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(777))
    with pytest.raises(OptionError, match="100000x100000 is over the limit"):
        open_source(options_for(tmp_path / "a.raw", "yuv420p", "100000x100000"))


def test_a_file_without_geometry_says_which_flags_to_add(tmp_path):
    (tmp_path / "a.yuv").write_bytes(bytes(4608))
    with pytest.raises(OptionError, match=r"a.yuv has no header .* -s 1920x1080 -pix_fmt"):
        open_source(InputOptions(path=str(tmp_path / "a.yuv")))


@given(st.none() | st.just(64), st.none() | st.just("gray"), st.none() | st.just(Fraction(25)))
def test_geometry_is_whole_or_names_what_is_missing(width, pix_fmt, rate):
    options = InputOptions(width=width, height=width, pix_fmt=pix_fmt, rate=rate)
    if width is None and pix_fmt is None:
        assert geometry_from(options) is None
    elif None in (width, pix_fmt, rate):
        with pytest.raises(OptionError) as caught:
            geometry_from(options)
        for flag, value in (("-s", width), ("-pix_fmt", pix_fmt), ("-r", rate)):
            missing = str(caught.value).split("given, ")[1]
            assert (flag in missing) == (value is None)
    else:
        assert geometry_from(options) == Geometry(64, 64, "gray", Fraction(25))


@pytest.mark.parametrize("pix_fmt", ["nv12", "rgb24", "yuv422p10le"])
def test_a_raw_pipe_answers_in_the_same_arrangement(pix_fmt):
    data = noise(SampleLayout(pix_fmt, 64, 48).frame_bytes * 4, 10 if "10" in pix_fmt else 8)
    told = ("-f", "rawvideo", "-s", "64x48", "-pix_fmt", pix_fmt, "-r", "25")
    command = ltxfilter(*told, "--fps", "25", "--engine", "hold", "-f", "rawvideo")
    result = run_pipe(command, stdin=data)
    assert result.codes == [0], result.err
    assert result.out == data


def test_twins_may_be_exchanged_and_other_formats_are_refused(tmp_path):
    path = tmp_path / "a.raw"
    data = noise(4608 * 3)
    path.write_bytes(data)
    source = open_source(options_for(path, "yuv420p"))
    output = OutputOptions(path=str(tmp_path / "b.raw"), pix_fmt="nv12")
    with open_sink(output, source, Fraction(25)) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    written = (tmp_path / "b.raw").read_bytes()
    assert written == ffmpeg_converts(data, "64x48", "yuv420p", "nv12")
    for other, why in (("yuv444p", "keep their samples"), ("nope", "unknown")):
        with pytest.raises(OptionError, match=why):
            open_sink(OutputOptions(path=str(tmp_path / "c.raw"), pix_fmt=other), source, None)
    source.close()


def test_rgb_needs_another_answer_than_y4m():
    told = ("-s", "64x48", "-pix_fmt", "rgb24", "-r", "25", "--engine", "hold")
    result = run_pipe(ltxfilter(*told), stdin=bytes(64 * 48 * 3 * 2))
    assert result.codes == [2]
    assert "use -f nut" in result.err


def test_fields_are_told_apart_on_demand(tmp_path):
    woven = np.full((5, 48, 64), 200, np.uint8)
    woven[:, 1::2] = np.arange(0, 250, 50)[:, None, None]  # the second field moves, the first not
    (tmp_path / "a.raw").write_bytes(woven.tobytes())
    apart = read(options_for(tmp_path / "a.raw", "gray", deinterlace="on"))
    assert len(apart) == 5
    assert (apart[2].planes[0][::2] == 200).all()
    assert (apart[2].planes[0][1::2] != woven[2, 1::2]).any()
    kept = read(options_for(tmp_path / "a.raw", "gray"))
    assert np.array_equal(kept[2].planes[0], woven[2])
