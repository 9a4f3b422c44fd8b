"""Arguments become options as ffmpeg's users expect it; what is wrong is refused by name."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter.cli.ffmpeg_options.accepted import ACCEPTED
from ltxfilter.cli.ffmpeg_options.refused import REFUSED_FLAGS
from ltxfilter.cli.flag import Side
from ltxfilter.cli.flags import FLAGS
from ltxfilter.cli.parse import parse
from ltxfilter.errors import OptionError
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.values import LEVELS


def options(line: str) -> Options:
    return parse(shlex.split(line)).options


def test_without_arguments_stdin_is_read_and_stdout_is_written():
    assert parse([]).options == Options()


def test_file_to_file():
    found = options("-i in.mkv --fps 60000/1001 -c:v libx265 -crf 18 out.mkv")
    assert found.input == InputOptions(path="in.mkv")
    assert found.output == OutputOptions(
        path="out.mkv", codec="libx265", encoder={"crf": "18"}, overwrite=None
    )
    assert found.fps == "60000/1001"


def test_what_stands_before_i_describes_the_input():
    found = options("-f rawvideo -s hd720 -pix_fmt gray -r 25 -i a.yuv -f mov -pix_fmt yuv420p b")
    assert found.input == InputOptions(
        path="a.yuv", format="rawvideo", width=1280, height=720, pix_fmt="gray", rate=Fraction(25)
    )
    assert (found.output.format, found.output.pix_fmt) == ("mov", "yuv420p")


@pytest.mark.parametrize(
    ("line", "source", "target"),
    [
        ("-f nut -", None, "nut"),
        ("-s 64x48 -pix_fmt gray -r 25 --fps 50 -f rawvideo -", None, "rawvideo"),
        ("-f rawvideo -s 64x48 -pix_fmt gray -r 25", "rawvideo", None),
        ("-f rawvideo -s 64x48 -pix_fmt gray -r 25 -f nut -", "rawvideo", "nut"),
        ("-f nut -f matroska -", "nut", "matroska"),
        ("-f nut -i - -f yuv4mpegpipe -", "nut", "yuv4mpegpipe"),
    ],
)
def test_a_format_belongs_to_the_input_or_to_the_output(
    line: str, source: str | None, target: str | None
):
    found = options(line)
    assert (found.input.format, found.output.format) == (source, target)
    assert (found.input.path, found.output.path) == ("-", "-")


def test_without_i_the_geometry_describes_the_input():
    found = options("-s 64x48 -pix_fmt gray -r 30000/1001 -pix_fmt yuv420p")
    assert found.input.pix_fmt == "gray"
    assert found.input.rate == Fraction(30000, 1001)
    assert found.output.pix_fmt == "yuv420p"
    assert options("-pix_fmt yuv420p10le").input.pix_fmt == "yuv420p10le"


def test_r_after_i_is_the_rate_of_the_output():
    assert options("-i a -r 60 b").fps == "60"
    assert options("-r 24 -i a b").input.rate == 24
    with pytest.raises(OptionError, match="both name the output's rate"):
        options("-i a -r 60 --fps 50 b")


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_one_dash_or_two(dashes: str):
    found = options(
        f"{dashes}ss 1:00 -i a {dashes}engine blend {dashes}fps=50 {dashes}crf 20 b"
        if dashes == "--"
        else "-ss 1:00 -i a -engine blend -fps 50 -crf 20 b"
    )
    assert found.input.start == 60
    assert (found.engine, found.fps, found.output.encoder["crf"]) == ("blend", "50", "20")


def test_encoder_options_as_ffmpeg_users_write_them():
    found = options(
        "-i a -c:v libx264 -b:v 5M -profile:v high -x264-params a=1:b=2 -qscale:v 3 "
        "-aq-mode 2 -8x8dct 1 -strict -1 -tune:v:0 film out.mp4"
    )
    assert found.output.encoder == {
        "b": "5M", "profile": "high", "x264-params": "a=1:b=2", "q": "3", "aq-mode": "2",
        "8x8dct": "1", "strict": "-1", "tune": "film",
    }  # fmt: skip


def test_format_null_discards_frames_without_encoding_them():
    found = options("-i a -f null -").output
    assert (found.path, found.format, found.overwrite) == (os.devnull, "rawvideo", True)
    assert options("-i a -c:v libx264 -f null -").output.format == "null"


def test_options_of_streams_and_muxers():
    found = options("-i a -an -sn -dn -map 0:v -map -0:s -movflags +faststart -c copy b.mp4").output
    assert (found.audio, found.subtitles, found.data) == (False, False, False)
    assert found.maps == ("0:v", "-0:s")
    assert found.muxer == {"movflags": "+faststart"}
    assert options("-i a -color_trc bt709 -colorspace bt709 b").output.color == {
        "colorspace": "bt709",
        "color_trc": "bt709",
    }


def test_options_of_pictures_and_segments():
    found = options("-start_number 1001 -pattern_type glob -i a%d.png -start_number 7 b%d.png")
    assert found.input.demuxer == {"start_number": "1001", "pattern_type": "glob"}
    assert found.output.muxer == {"start_number": "7"}
    found = options(
        "-i a -hls_time 2 -hls_playlist_type vod -segment_time 1 -plays 3 -update 1 -crf 20 b.m3u8"
    )
    assert found.output.encoder == {"crf": "20"}
    assert found.output.muxer == {
        "hls_time": "2", "hls_playlist_type": "vod", "segment_time": "1", "plays": "3",
        "update": "1",
    }  # fmt: skip


@pytest.mark.parametrize("tag", ["-tag:v", "-vtag", "--tag", "-tag"])
def test_tag_and_aspect_of_the_output(tag: str):
    found = options(f"-i a {tag} hvc1 -aspect 16:9 b.mp4").output
    assert (found.tag, found.aspect, found.encoder) == ("hvc1", Fraction(16, 9), {})
    assert options("-i a -aspect 1.5 b.mp4").output.aspect == Fraction(3, 2)


def test_options_of_interpolation():
    found = options(
        "--engine flow:preset=fast --speed 1/3 --memory 512M --no-cuts --repeats smooth "
        "-threads 3 -deinterlace off -xerror"
    )
    assert (found.engine, found.speed, found.memory) == ("flow:preset=fast", Fraction(1, 3), 2**29)
    assert (found.cuts, found.repeats, found.threads) == (False, "smooth", 3)
    assert (found.input.deinterlace, found.strict) == ("off", True)
    assert options("-threads 3 -i a b").input.threads == 3


def test_options_of_messages():
    found = parse(shlex.split("-v debug -nostats -progress pipe:2 -hide_banner -nostdin"))
    assert (found.level, found.stats, found.progress) == (48, False, "pipe:2")
    assert parse(["-loglevel", "repeat+level+24"]).level == LEVELS["warning"]
    assert parse(["-stats"]).stats is True
    assert parse([]).stats is None
    assert options("-y").output.overwrite is True
    assert options("-y -n").output.overwrite is False
    assert parse(["-i", "a", "--help"]).show == parse(["-h"]).show == "help"
    assert parse(["-version"]).show == "version"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--engin flow", r"no option --engin; did you mean --engine\?"),
        ("-i a -engin flow b.mp4", r"no option -engin; did you mean --engine\?"),
        ("-cfr 18", r"no option -cfr; did you mean -crf\?"),
        ("-wobble 3", "no option -wobble"),
        ("-i a --wobble 3 b.mp4", "no option --wobble"),
        ("-crf 18", "-crf: standard output takes frames as they are"),
        ("-i a -crf 18 b.y4m", "-crf: b.y4m takes frames as they are"),
        ("-i a -c:v libx264 -", "name a container with -f"),
        ("-crf", "-crf needs a value"),
        ("-i", "-i needs a value"),
        ("--cuts=1", "--cuts takes no value"),
        ("-i a -vf scale=2:2 b", "-vf is not supported: put filters"),
        ("-i a -filter:v x b", "-filter:v is not supported"),
        ("-i a -i b c", "-i is given twice"),
        ("in.mp4 out.mp4", "the input is written -i FILE"),
        ("-crf 18 -i a b.mp4", "-crf stands before -i"),
        ("-i a -b:a 128k b.mp4", "only video is encoded"),
        ("-i a -c:a aac b.mp4", "-c:a aac: streams other than video are copied"),
        ("-i a -acodec aac b.mp4", "-c:a aac"),
        ("-i a -c:v copy b.mp4", "has frames that are interpolated"),
        ("-i a -s 64x48 b.mp4", "does not scale to a size, only by --scale 2x or 1.5x"),
        ("-i a --scale 3x b.mp4", "--scale 3x: write 2x or 1.5x"),
        ("-i a --scale 1280x720 b.mp4", "--scale 1280x720: write 2x or 1.5x"),
        ("-i a -scale -1 b.mp4", "--scale -1: write 2x or 1.5x"),
        ("-i a -tag:a mp4a b.mp4", "only video is encoded"),
        ("-i a -aspect wide b.mp4", "-aspect wide: write width over height from 0.01 to 100"),
        ("-i a -aspect 16:0 b.mp4", "-aspect 16:0: write width over height"),
        ("-i a -aspect 0 b.mp4", "-aspect 0: write width over height"),
        ("-s 64", "size '64'"),
        ("-s 0x48", "size '0x48'"),
        ("-r 0", "frame rate 0"),
        ("--fps fast", "frame rate 'fast'"),
        ("--fps 1e999999999", "is not a number"),
        ("--fps 2000", "at most 1000"),
        ("--speed 1e999999999", "--speed 1e999999999"),
        ("--speed 0", "--speed 0"),
        ("--memory lots", "size 'lots'"),
        ("-threads 2000", "-threads 2000"),
        ("-ss never", "time 'never'"),
        ("-t 1 -to 2", "contradict"),
        ("--repeats drop", "use one of report, smooth"),
        ("-deinterlace maybe", "use one of auto, on, off"),
        ("-loglevel loud", "-loglevel loud"),
    ],
)
def test_arguments_that_are_refused_are_named(line: str, message: str):
    with pytest.raises(OptionError, match=message):
        options(line)


@pytest.mark.parametrize("page", ["README.md", "docs/pipes.md", "docs/ltx.md"])
def test_the_command_lines_in_the_documents_are_understood(page: str):
    text = (Path(__file__).parents[2] / page).read_text().replace("\\\n", " ")
    found = re.findall(r"(?m)^(?:.*\| )?(ltxfilter(?: [^|<>\n]*)?)(?: [|<>].*)?$", text)
    assert len(found) >= 4
    for line in found:
        words = shlex.split(line)[1:]
        if words[:1] not in (["engines"], ["doctor"], ["context"]):
            parse(words[1:] if words[:1] == ["probe"] else words)


def test_every_flag_is_explained_and_belongs_to_one_place():
    flags = (*FLAGS, *ACCEPTED, *REFUSED_FLAGS)
    names = [name for flag in flags for name in (flag.name, *flag.aliases)]
    assert len(names) == len(set(names))
    for flag in flags:
        assert flag.help, flag.name
        assert isinstance(flag.side, Side)


WORDS = st.one_of(
    st.sampled_from([f"-{flag.name}" for flag in FLAGS] + [f"--{flag.name}" for flag in FLAGS]),
    st.sampled_from([f"-{flag.name}" for flag in (*ACCEPTED, *REFUSED_FLAGS)]),
    st.sampled_from(["-fflags", "-probesize", "-hls_time", "-metadata:s:a:0", "-c:v:0", "-b:a"]),
    st.sampled_from(["fps=50", "k=v", "aac", "http://a/b", "file:a.mp4", "-10", "cfr"]),
    st.sampled_from(
        ["-", "a.mp4", "50", "0", "-1", "64x48", "gray", "copy", "1:00", "=", "--", "-:v"]
    ),
    st.text(max_size=6),
    st.text(max_size=6).map("-{}".format),
)


@given(st.lists(WORDS, max_size=8))
def test_any_command_line_is_understood_or_refused(words: list[str]):
    with suppress(OptionError):
        parse(words)
