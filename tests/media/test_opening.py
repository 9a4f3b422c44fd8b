"""Which source and which sink are opened, through real pipes: formats, names, refusals, ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
from support.tools import ROOT, TIMEOUT, ffmpeg, ltxfilter, make_clip, run_pipe, samples

KEEP = ("--fps", "25", "--engine", "hold")  # every frame passes through


RAW = ("-s", "64x48", "-pix_fmt", "yuv420p", "-r", "25")


FRAME = 64 * 48 * 3 // 2


@pytest.mark.parametrize(
    ("spoken", "answer"),
    [
        (("-f", "yuv4mpegpipe"), b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420"),
        (("-f", "nut", "-c:v", "rawvideo"), b"nut/multimedia container"),
        (("-f", "matroska", "-c:v", "ffv1"), b"nut/multimedia container"),
    ],
)
def test_pipes_answer_in_the_kind_they_were_spoken_to(small_clip, spoken, answer):
    result = run_pipe(ffmpeg("-i", small_clip, *spoken, "-"), ltxfilter(*KEEP))
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(answer)
    assert samples(result.out) == samples(small_clip)


def test_raw_is_answered_in_y4m_unless_raw_is_asked_for(small_clip):
    raw = samples(small_clip)
    assert len(raw) == 25 * FRAME
    assert run_pipe(ltxfilter(*RAW, *KEEP), stdin=raw).out.startswith(b"YUV4MPEG2 ")
    assert run_pipe(ltxfilter(*RAW, *KEEP, "-f", "rawvideo", "-"), stdin=raw).out == raw


def test_other_containers_go_out_when_they_are_named(small_clip):
    result = run_pipe(
        ffmpeg("-i", small_clip, "-f", "yuv4mpegpipe", "-"),
        ltxfilter(*KEEP, "-f", "matroska", "-c:v", "ffv1", "-"),
    )
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(b"\x1a\x45\xdf\xa3")
    assert samples(result.out) == samples(small_clip)


@pytest.mark.parametrize("options", [("-f", "yuv4mpegpipe"), ("-f", "rawvideo")], ids=" ".join)
def test_a_named_pipe_is_read_like_standard_input(options):
    """Also what a shell makes of <(...), where the writer can be found as well."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "a.y4m", "-pix_fmt", "yuv420p", size="128x96")
        with subprocess.Popen(ffmpeg("-i", clip, *options, "-"), stdout=writing) as writer:
            os.close(writing)
            command = ltxfilter("-i", f"/dev/fd/{reading}", *KEEP, "-f", "rawvideo", "-")
            done = subprocess.run(
                command, pass_fds=[reading], capture_output=True, timeout=TIMEOUT, cwd=ROOT
            )
            os.close(reading)
            writer.kill()
        assert done.returncode == 0, done.stderr
        assert done.stdout == samples(clip)


def test_streams_beside_the_video_are_not_lost_in_silence(tmp_path):
    clip = tmp_path / "a.mkv"
    video = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1")
    sound = ("-f", "lavfi", "-i", "sine=d=1")
    subprocess.run(
        ffmpeg(*video, *sound, "-pix_fmt", "yuv420p", "-c:a", "flac", clip),
        check=True,
        timeout=TIMEOUT,
    )
    said = "audio stream 1 (flac) is left out"
    assert said in run_pipe(ltxfilter("-i", clip, *KEEP, "-f", "yuv4mpegpipe", "-")).err
    assert said not in run_pipe(ltxfilter("-i", clip, *KEEP, "-an", "-f", "rawvideo", "-")).err
    assert said not in run_pipe(ltxfilter("-i", clip, *KEEP, "-f", "nut", "-")).err


def test_a_redirected_file_is_read_as_a_file(tmp_path):
    """An mp4 with its index at the end can be sought in, which a pipe cannot."""
    mp4 = make_clip(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    with mp4.open("rb") as stdin:
        result = run_pipe(ltxfilter(*KEEP), stdin=stdin)
    assert result.codes == [0], result.err
    assert samples(result.out) == samples(mp4)


def test_an_mp4_for_files_is_refused_on_a_pipe_with_a_hint(tmp_path):
    mp4 = make_clip(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    result = run_pipe(ltxfilter(*KEEP), stdin=mp4.read_bytes())
    assert result.codes == [3]
    assert "-movflags frag_keyframe+empty_moov" in result.err
    assert "pass the file with -i" in result.err


def test_empty_input():
    result = run_pipe(ltxfilter(*KEEP), stdin=b"")
    assert result.codes == [3]
    assert "standard input is empty" in result.err


def test_closed_input_and_output(small_clip):
    for redirection, code, message in (
        ("<&-", 3, "standard input is closed"),
        (">&-", 4, "standard output is closed"),
    ):
        line = f'"$0" -v error -i "$1" -f yuv4mpegpipe - | "$2" -m ltxfilter {redirection}'
        command = ["sh", "-c", line, ffmpeg()[0], str(small_clip), sys.executable]
        result = run_pipe(command)
        assert result.codes == [code]
        assert message in result.err


def test_black_raw_video_is_not_taken_for_anything_else():
    result = run_pipe(ltxfilter(*KEEP), stdin=bytes(20 * FRAME))
    assert result.codes == [2]
    assert "has no header" in result.err
    assert "-s 1920x1080 -pix_fmt yuv420p -r 25" in result.err
    assert "-f yuv4mpegpipe" in result.err


def test_incomplete_geometry_says_what_is_missing():
    result = run_pipe(ltxfilter("-s", "64x48", *KEEP), stdin=bytes(FRAME))
    assert result.codes == [2]
    assert "-s 64x48 is given, -pix_fmt and -r are missing" in result.err


def test_terminals_are_refused_on_both_sides(small_clip):
    ours, theirs = pty.openpty()
    try:
        quiet = {"stderr": subprocess.PIPE, "timeout": TIMEOUT}
        done = subprocess.run(ltxfilter(*KEEP), stdin=theirs, stdout=subprocess.PIPE, **quiet)
        assert done.returncode == 2
        assert b"standard input is a terminal" in done.stderr
        done = subprocess.run(ltxfilter("-i", small_clip, *KEEP), stdout=theirs, **quiet)
        assert done.returncode == 2
        assert b"video would go to the terminal" in done.stderr
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_reader_that_leaves_ends_it_quietly(small_clip):
    loop = ffmpeg("-stream_loop", "-1", "-i", small_clip, "-f", "yuv4mpegpipe", "-")
    result = run_pipe(loop, ltxfilter(*KEEP), [sys.executable, "-c", "input()"])
    assert result.codes[1] == 141
    assert "Traceback" not in result.errs[1]
    assert "error" not in result.errs[1].lower()


def test_a_full_disk_behind_stdout(small_clip):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            ltxfilter("-i", small_clip, *KEEP), stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT
        )
    assert done.returncode == 4
    assert b"standard output: No space left on device" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("given", [b"", b"YUV4MPEG2 W64 H48 F25:1 C420\nFRAME\n"])
def test_a_silent_producer_does_not_keep_it_from_stopping(number, code, given):
    pipe = subprocess.PIPE
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job ignores it
    with subprocess.Popen(
        ltxfilter(*KEEP), stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=listening
    ) as process:
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.flush()
        time.sleep(1.0)  # it is up and waiting by now; if not, the signal still has to end it
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(TIMEOUT) in (code, -number)  # the latter before it listens to signals
        assert time.monotonic() - began < 5
