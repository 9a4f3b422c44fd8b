"""Options of ffmpeg that are accepted, passed on or done."""

from __future__ import annotations

import shlex
from fractions import Fraction

import pytest

from ltxfilter.cli.parse import parse
from ltxfilter.errors import OptionError
from ltxfilter.options import InputOptions, Options, OutputOptions


def options(line: str) -> Options:
    return parse(shlex.split(line)).options


@pytest.mark.parametrize(
    "line",
    [
        "-max_muxing_queue_size 1024",
        "-hide_banner -nostdin -accurate_seek -ignore_unknown -start_at_zero",
        "-vsync cfr",
        "-vsync 1 -fps_mode auto",
        "-map_metadata 0 -map_chapters 0 -map_metadata:s:v 0:s:v",
        "-sws_flags bicubic -autoscale 0 -stats_period 1",
        "-itsoffset 0 -stream_loop 0 -benchmark",
    ],
)
def test_what_happens_anyway_is_accepted(line: str):
    plain = options("-i a.mkv b.mkv")
    assert options(f"-i a.mkv {line} b.mkv") == plain


def test_the_times_of_the_source_are_kept_where_its_intervals_are_halved():
    for mode in ("vfr", "passthrough"):
        assert options(f"-i a --fps source -fps_mode {mode} b.mkv").fps == "source"
        with pytest.raises(OptionError, match="--fps source keeps the source's times"):
            options(f"-i a -vsync {mode} b.mkv")
    with pytest.raises(OptionError, match="choose it with --fps"):
        options("-i a --fps source -fps_mode cfr b.mkv")


def test_options_before_i_go_to_the_demuxer_and_those_after_it_to_the_muxer():
    found = options(
        "-fflags +genpts -probesize 1G -flags low_delay -i a.mkv -fflags +bitexact "
        "-max_interleave_delta 0 -write_tmcd 0 -hls_time 3 -flags +cgop -c:v libx264 b.mkv"
    )
    assert found.input.demuxer == {"fflags": "+genpts", "probesize": "1G", "flags": "low_delay"}
    assert found.output.muxer == {
        "fflags": "+bitexact", "max_interleave_delta": "0", "write_tmcd": "0", "hls_time": "3",
    }  # fmt: skip
    assert found.output.encoder == {"flags": "+cgop"}
    assert options("-analyzeduration 0 -f nut -").input.demuxer == {"analyzeduration": "0"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-i a -probesize 1M b.mkv", "-probesize stands after -i"),
        ("-preset fast -i a b.mkv", "-preset stands before -i"),
        ("-wobble -i a b.mkv", "-wobble needs a value"),
        ("-report -i a b.mkv", "-report needs a value"),
        (
            "-i a -tune film -bitexact b.mkv",
            r"-bitexact is not supported: write -fflags \+bitexact",
        ),
        ("-skip_frame nokey -i a b.mkv", "-skip_frame is not supported: all frames"),
        ("-wobble 3 -i a b.mkv", "no option -wobble for the input"),
        ("-encoders", "ltxfilter doctor says what"),
        ("-i a -metadata:s:x k=v b.mkv", "-metadata:s:x: write -metadata"),
        ("-sseof 3 -i a b.mkv", "-sseof 3: write how long before the end, such as -10"),
        ("-sseof -3 -ss 1 -i a b.mkv", "-sseof: give -t with it"),
        ("-i a -metadata title b.mkv", "-metadata title: write KEY=VALUE"),
        ("-i a -frames:v 0 b.mkv", "-frames: '0' is no whole number above 0"),
        ("-i a -map_metadata 1 b.mkv", "-map_metadata 1: 0 or -1 is understood"),
        ("-i a -fpsmax 30 b.mkv", "choose it with --fps"),
    ],
)
def test_what_is_wrong_is_named(line: str, message: str):
    with pytest.raises(OptionError, match=message):
        options(line)


def test_switches_take_no_name_for_their_value():
    found = options("-y -re -noautorotate -accurate_seek -i a.mkv b.mkv")
    assert found.input == InputOptions(path="a.mkv", autorotate=False, pace=Fraction(1))
    assert options("-autorotate 0 -i a b.mkv").input.autorotate is False
    assert options("-autorotate 1 -i a b.mkv").input.autorotate is True
    assert options("-autorotate -i a b.mkv").input.autorotate is True


def test_what_ffmpeg_writes_in_many_ways():
    meant = OutputOptions(path="b.mkv", codec="libx264", encoder={"preset": "fast"})
    for line in (
        "-c:v libx264",
        "-codec:v:0 libx264",
        "-vcodec libx264",
        "-c:v:0 libx264 -c:a:1 copy",
    ):
        assert options(f"-i a {line} -preset:v:0 fast -c:s copy -o b.mkv").output == meant
    assert options("-i file:a.mkv file:b.mkv").input.path == "a.mkv"
    assert options("-threads 0 -i a -threads 0 b.mkv") == options("-i a b.mkv")
    assert options("-readrate 2 -i a b.mkv").input.pace == 2
    assert options("-readrate 0 -i a b.mkv").input.pace is None


def test_tags_and_dispositions():
    found = options(
        "-i a -metadata title=A=B -metadata:s:a:0 language=eng -metadata:g comment= "
        "-disposition:a:0 default+forced -timecode 01:00:00:00 -map_metadata -1 -map_chapters -1 b"
    ).output
    assert found.metadata == {
        "title": "A=B", "s:a:0:language": "eng", "g:comment": "", "timecode": "01:00:00:00",
    }  # fmt: skip
    assert found.disposition == {"a:0": "default+forced"}
    assert (found.tags, found.chapters) == (False, False)


@pytest.mark.parametrize(
    ("line", "start", "duration", "end"),
    [  # as ffmpeg has it: what stands after -i counts in what stands before it leaves
        ("-ss 10 -t 5 -i a", 10, 5, None),
        ("-ss 10 -i a -t 5", 10, 5, None),
        ("-ss 10 -to 12 -i a", 10, None, 12),
        ("-i a -ss 10 -to 12", 10, None, 12),
        ("-ss 10 -i a -to 12", 10, None, 22),
        ("-ss 10 -i a -ss 2 -t 3", 12, None, 15),
        ("-ss 10 -t 4 -i a -ss 2 -to 9", 12, None, 14),
        ("-ss 10 -to 13 -i a -t 8", 10, None, 13),
        ("-t 9 -i a -t 5", None, None, 5),
    ],
)
def test_times_before_and_after_the_input(
    line: str, start: int | None, duration: int | None, end: int | None
):
    found = options(f"{line} b.mkv").input
    assert (found.start, found.duration, found.end) == (start, duration, end)


def test_the_last_seconds():
    found = options("-sseof -10 -i a -to 4 b.mkv").input
    assert (found.from_end, found.start, found.duration) == (10, None, 4)
