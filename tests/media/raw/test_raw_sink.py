"""Raw video as a sink: what it refuses, which tags it names, files that are not complete."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.frame import ColorInfo, Frame, VideoInfo
from ltxfilter.media.opening import open_sink, open_source
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import InputOptions, OutputOptions

KEEP = ("--fps", "25", "--engine", "hold")


def read(options: InputOptions) -> tuple[VideoInfo, list[Frame]]:
    source = open_source(options)
    try:
        return source.info, list(source.frames())
    finally:
        source.close()


def info_of(pix_fmt: str, **color: int) -> VideoInfo:
    layout = plane_shapes(pix_fmt, 8, 4)
    return VideoInfo(8, 4, pix_fmt, layout, Fraction(25), Fraction(1, 25), ColorInfo(**color))


class Given:
    """As much of a source as a sink asks for that carries only video."""

    name = "given"
    carries = ()
    other_streams = None
    pipe_format = "yuv4mpegpipe"

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.raw_pix_fmt = info.pix_fmt


def sink_of(path: Path, info: VideoInfo, rate: Fraction | None = Fraction(50), **options):
    return open_sink(OutputOptions(path=str(path), **options), Given(info), rate)


def test_aspect_and_range_are_written_as_asked_for(tmp_path, caplog):
    color = {"color_range": "pc", "colorspace": "bt709"}
    with sink_of(tmp_path / "a.y4m", info_of("yuv420p"), aspect="16:9", color=color) as sink:
        sink.write(Frame(Fraction(0), tuple(np.zeros((s.height, s.width), s.dtype)
                                            for s in info_of("yuv420p").layout)))  # fmt: skip
        sink.finish()
    header = (tmp_path / "a.y4m").read_bytes().partition(b"\n")[0].split()
    assert {b"A8:9", b"XCOLORRANGE=FULL"} <= set(header)
    assert "-colorspace bt709" in caplog.text


@pytest.mark.parametrize("pix_fmt", ["gbrp", "yuva420p", "yuv440p"])
def test_what_y4m_cannot_hold_is_refused(tmp_path, pix_fmt):
    with pytest.raises(OptionError, match="use -f nut"):
        sink_of(tmp_path / "a.y4m", info_of(pix_fmt))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "libx264"}, "-c:v libx264: yuv4mpegpipe holds frames that are not encoded"),
        ({"encoder": {"crf": "18"}}, "-crf: "),
        ({"pix_fmt": "yuv444p"}, "-pix_fmt yuv444p: "),
    ],
)
def test_options_without_a_use_are_refused(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        sink_of(tmp_path / "a.y4m", info_of("yuv420p"), **options)


def test_a_variable_rate_needs_another_format(tmp_path):
    info = info_of("yuv420p")
    variable = VideoInfo(8, 4, "yuv420p", info.layout, None)
    with pytest.raises(OptionError, match="no timestamps for a variable rate"):
        sink_of(tmp_path / "a.y4m", variable, None)
    sink = sink_of(tmp_path / "a.y4m", info, None)
    sink.write(
        Frame(Fraction(0), tuple(np.zeros((s.height, s.width), s.dtype) for s in info.layout))
    )
    sink.finish()
    assert b" F50:1 " in (tmp_path / "a.y4m").read_bytes()


def test_lost_tags_are_named_once_with_their_remedy(tmp_path, caplog):
    info = info_of("yuv420p10le", matrix=9, primaries=9, transfer=16, range=2, chroma_location=3)
    sink_of(tmp_path / "a.y4m", info).close()
    [record] = caplog.records
    assert (
        "-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084 "
        "-chroma_sample_location topleft"
    ) in record.getMessage()


def test_the_named_options_restore_the_tags(tmp_path):
    """They are read, not converted to, because they stand before -i."""
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    source = make_clip(tmp_path / "a.mkv", "-c:v", "ffv1", "-vf", tags)
    result = run_pipe(ltxfilter("-i", source, *KEEP, "-f", "yuv4mpegpipe", "-"))
    flags = result.err.split("before its -i: ")[1].split("\n")[0].split()
    tagged = tmp_path / "b.mkv"
    command = ffmpeg("-y", *flags, "-i", "-", "-c:v", "ffv1", tagged)
    command.remove("-nostdin")
    assert run_pipe(command, stdin=result.out).codes == [0]
    assert samples(tagged) == samples(source)
    info = open_source(InputOptions(path=str(tagged)))
    assert (info.info.color.matrix, info.info.color.primaries, info.info.color.transfer) == (
        1,
        1,
        1,
    )
    info.close()


def test_a_file_has_its_name_only_once_it_is_complete(tmp_path):
    info = info_of("yuv420p")
    picture = Frame(Fraction(0), tuple(np.zeros((s.height, s.width), s.dtype) for s in info.layout))
    target, part = tmp_path / "a.y4m", tmp_path / "a.y4m.part"
    sink = sink_of(target, info)
    for _ in range(25):
        sink.write(picture)
    assert not target.exists()
    line = sink.close()
    assert line is not None
    assert str(part) in line
    assert "0.500 s" in line
    assert sink.close() is None
    assert len(read(InputOptions(path=str(part)))[1]) == 25

    with sink_of(target, info) as again:
        again.write(picture)
        again.finish()
    assert target.exists()
    assert len(read(InputOptions(path=str(part)))[1]) == 25  # what an earlier run left stays
    with pytest.raises(OutputError, match="-y"):
        sink_of(target, info)
    with sink_of(target, info, overwrite=True):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.y4m", "a.y4m.part"]


def test_a_stream_may_be_written_to_a_device(tmp_path):
    info = info_of("yuv420p")
    picture = Frame(Fraction(0), tuple(np.zeros((s.height, s.width), s.dtype) for s in info.layout))
    with sink_of(Path("/dev/null"), info, format="yuv4mpegpipe") as sink:
        sink.write(picture)
        sink.finish()
    full = "No space left on device"
    with sink_of(Path("/dev/full"), info, format="yuv4mpegpipe") as sink:
        sink.write(picture)
        with pytest.raises(OutputError, match=full):
            sink.finish()


def test_padded_rows_are_written_without_the_padding(tmp_path):
    info = info_of("yuv420p")
    rng = np.random.default_rng(1)
    planes = tuple(
        rng.integers(0, 255, (s.height, s.width + 3), np.uint8)[:, : s.width] for s in info.layout
    )
    with sink_of(tmp_path / "a.y4m", info) as sink:
        sink.write(Frame(Fraction(0), planes))
        sink.finish()
    body = (tmp_path / "a.y4m").read_bytes().split(b"FRAME\n", 1)[1]
    assert body == b"".join(plane.tobytes() for plane in planes)
