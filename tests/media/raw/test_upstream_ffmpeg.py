"""The writer of the pipe: which command lines are understood, and what is made of real ones."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import QUARTER_TURN, make_video
from support.tools import Piped, ffmpeg, ffmpeg_exe, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.media.raw import upstream_ffmpeg
from ltxfilter.media.raw.upstream_ffmpeg import FfmpegCommand, parse

KEEP = ("--engine", "hold", "--fps", "1x")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


# Command lines


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("ffmpeg -i x.mp4 -f rawvideo -", {"file": "x.mp4"}),
        ("/usr/bin/ffmpeg -i x.mp4 -f rawvideo pipe:1", {"file": "x.mp4"}),
        ("ffmpeg -hide_banner -v error -nostdin -i file:x -an -f rawvideo -", {"file": "x"}),
        ("ffmpeg -ss 3 -t 2 -i x -c:v rawvideo -f rawvideo -y -threads 2 pipe:", {"file": "x"}),
        ("ffmpeg -i x -pix_fmt nv12 -f rawvideo -", {"file": "x", "pix_fmt": "nv12"}),
        (
            "ffmpeg -i x -r 30 -s 64x48 -f rawvideo -",
            {"file": "x", "rate": "30", "size": "64x48"},
        ),
        ("ffmpeg -noautorotate -i x -f rawvideo -", {"file": "x", "rotates": False}),
    ],
)
def test_plain_commands_are_understood(line, command):
    assert parse(shlex.split(line)) == FfmpegCommand(**command)


@pytest.mark.parametrize(
    "line",
    [
        "ffmpeg -i x -vf scale=64:48 -f rawvideo -",
        "ffmpeg -i x -filter_complex hflip -f rawvideo -",
        "ffmpeg -i x -lavfi hflip -f rawvideo -",
        "ffmpeg -i x -i y -f rawvideo -",
        "ffmpeg -i x -map 0:1 -f rawvideo -",
        "ffmpeg -i x -f yuv4mpegpipe -",
        "ffmpeg -i x -f rawvideo out.yuv",
        "ffmpeg -i x -f rawvideo - other.mp4",
        "ffmpeg -i x -c:v libx264 -f rawvideo -",
        "ffmpeg -f lavfi -i testsrc -f rawvideo -",
        "ffmpeg -r 5 -i x -f rawvideo -",
        "ffmpeg -i x -vsync passthrough -f rawvideo -",
        "ffmpeg -hwaccel cuda -i x -f rawvideo -",
        "ffmpeg -i x -f rawvideo",
        "ffmpeg -i",
        "ffmpeg",
    ],
)
def test_anything_more_is_not(line):
    assert parse(shlex.split(line)) is None


words = st.sampled_from(
    ["-i", "x", "-f", "rawvideo", "-", "-s", "64x48", "-r", "25", "-pix_fmt", "-vf", "-an", "-v"]
)


@given(st.lists(words, max_size=8))
def test_no_command_line_is_too_odd(argv):
    command = parse(["ffmpeg", *argv])
    if command is not None:
        assert "-vf" not in argv[: argv.index("-i")]
        assert argv[-1] == "-"


# Real ones


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tagged clip that is larger than a pipe, so that its writer stays to be looked at."""
    path = tmp_path_factory.mktemp("peer") / "a clip.mp4"
    return make_clip(
        path, "-pix_fmt", "yuv420p", "-c:v", "mpeg4", "-q:v", "2",
        "-vf", "setsar=4/3,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        size="320x180", rate="30000/1001", seconds=2,
    )  # fmt: skip


def adopted(*commands: list[str]) -> Piped:
    filter_command = ltxfilter("--engine", "hold", "--fps", "1x", "-f", "rawvideo", "-")
    return run_pipe(*commands, filter_command)


@linux
def test_the_literal_command(clip):
    result = run_pipe(ffmpeg("-i", clip, "-f", "rawvideo", "-"), ltxfilter("--engine", "hold"))
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(b"YUV4MPEG2 W320 H180 F60000:1001 Ip A4:3 C420")
    [line] = [line for line in result.errs[1].splitlines() if "warning: standard input" in line]
    assert "a clip.mp4" in line
    assert "-s 320x180 -pix_fmt yuv420p -r 30000/1001" in line
    assert "-v error" not in result.errs[1]
    assert str(clip.parent) not in result.errs[1]


@linux
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-pix_fmt", "nv12"),
        ("-s", "160x90"),
        ("-r", "15"),
        ("-t", "1"),
        ("-c:v", "rawvideo", "-an", "-y"),
    ],
    ids=lambda options: "".join(options) or "plain",
)
def test_frames_arrive_as_ffmpeg_wrote_them(clip, options):
    command = ffmpeg("-i", clip, *options, "-f", "rawvideo", "-")
    result = adopted(command)
    assert result.codes == [0, 0], result.err
    assert result.out == run_pipe(command).out
    assert "trailing bytes" not in result.err


@linux
def test_a_writer_started_through_a_shell_with_a_relative_path(clip):
    line = f"cd '{clip.parent}'; '{ffmpeg_exe()}' -v error -i 'a clip.mp4' -f rawvideo - ; true"
    result = run_pipe(["sh", "-c", line], ltxfilter(*KEEP))
    assert result.codes == [0, 0], result.err
    assert samples(result.out) == samples(clip)


@linux
@pytest.mark.parametrize(
    "options", [("-vf", "scale=160:90"), ("-vf", "hflip"), ("-map", "0:v")], ids=" ".join
)
def test_options_that_may_change_the_picture_are_not_trusted(clip, options):
    result = adopted(ffmpeg("-i", clip, *options, "-f", "rawvideo", "-"))
    assert result.codes[1] == 2
    assert "standard input has no header" in result.err
    assert "a clip.mp4" not in result.errs[1]


@linux
def test_a_program_between_is_not_ffmpeg(clip):
    between = [sys.executable, "-c", "import os\nwhile b := os.read(0, 65536): os.write(1, b)"]
    result = adopted(ffmpeg("-i", clip, "-f", "rawvideo", "-"), between)
    assert result.codes[2] == 2
    assert "standard input has no header" in result.err


@pytest.fixture
def writing(clip: Path) -> Iterator[int]:
    """Yield the pipe that a plain ffmpeg writes the clip into."""
    command = ffmpeg("-i", clip, "-f", "rawvideo", "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        select.select([process.stdout], [], [])  # it has opened its file and begun to write
        yield process.stdout.fileno()
        process.kill()


@linux
def test_the_file_of_another_users_ffmpeg_is_not_opened(writing, monkeypatch):
    found = upstream_ffmpeg.find_video(writing)
    assert found is not None
    assert found.name == "a clip.mp4"
    opened = []
    monkeypatch.setattr(upstream_ffmpeg, "open_input", lambda *a, **k: opened.append(a))
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    assert upstream_ffmpeg.find_video(writing) is None
    assert opened == []


@linux
def test_a_file_that_this_user_may_not_read_is_not_opened(writing, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert upstream_ffmpeg.find_video(writing) is None


@linux
def test_what_ffmpeg_reads_may_hold_no_picture(tmp_path, writing, monkeypatch):
    empty = make_clip(tmp_path / "empty.mkv", "-c:v", "mpeg4", "-frames:v", "0")
    monkeypatch.setattr(upstream_ffmpeg, "parse", lambda argv: FfmpegCommand(str(empty)))
    assert upstream_ffmpeg.find_video(writing) is None


@linux
def test_a_declared_geometry_goes_before_the_writers(clip):
    told = ("-s", "320x90", "-pix_fmt", "yuv420p", "-r", "25")
    result = run_pipe(
        ffmpeg("-i", clip, "-f", "rawvideo", "-"), ltxfilter(*told, *KEEP, "-f", "rawvideo", "-")
    )
    assert result.codes == [0, 0]
    assert "a clip.mp4" not in result.errs[1]


@linux
def test_rotated_video_arrives_rotated(tmp_path):
    rotated = make_video(tmp_path / "in.mp4", 50, size=(320, 180), matrix=QUARTER_TURN)
    command = ffmpeg("-i", rotated, "-f", "rawvideo", "-")
    result = run_pipe(command, ltxfilter("--engine", "hold", "--fps", "1x"))
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(b"YUV4MPEG2 W180 H320 ")
    assert samples(result.out) == run_pipe(command).out


@linux
def test_real_rotated_video_arrives_rotated(clips):
    rotated = clips / "formats" / "internal_emulator_transformer_output_270_rotated.mp4"
    command = ffmpeg("-i", rotated, "-t", "1", "-f", "rawvideo", "-")
    result = run_pipe(command, ltxfilter("--engine", "hold", "--fps", "1x"))
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(b"YUV4MPEG2 W720 H1280 ")
    assert samples(result.out) == run_pipe(command).out


@linux
def test_it_gives_up_when_there_is_nobody():
    reading, writing = os.pipe()
    os.close(writing)
    began = time.monotonic()
    assert upstream_ffmpeg.find_video(reading) is None
    assert time.monotonic() - began < 30
    os.close(reading)


@linux
def test_two_writers_of_one_pipe_are_not_trusted(clip):
    reading, writing = os.pipe()
    commands = [ffmpeg("-i", clip, "-f", "rawvideo", "-")] * 2
    writers = [subprocess.Popen(command, stdout=writing) for command in commands]
    os.close(writing)
    try:
        os.read(reading, 1)
        assert upstream_ffmpeg.find_video(reading) is None
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        os.close(reading)


@linux
def test_what_is_found(clip):
    reading, writing = os.pipe()
    with subprocess.Popen(ffmpeg("-i", clip, "-f", "rawvideo", "-"), stdout=writing) as writer:
        os.close(writing)
        os.read(reading, 1)
        found = upstream_ffmpeg.find_video(reading)
        writer.kill()
    os.close(reading)
    assert found is not None
    assert found.name == "a clip.mp4"
    geometry = found.geometry
    assert (geometry.width, geometry.height, geometry.pix_fmt) == (320, 180, "yuv420p")
    assert geometry.rate == Fraction(30000, 1001)
    assert geometry.sample_aspect == Fraction(4, 3)
    assert (geometry.color.matrix, geometry.color.primaries) == (1, 1)
