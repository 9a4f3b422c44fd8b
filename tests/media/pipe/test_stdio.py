"""Standard input and output: real pipes and processes, slow and silent ones, wrong ones."""

from __future__ import annotations

import functools
import io
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tools import ROOT, TIMEOUT, ffmpeg, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.errors import InputError, OutputError, Stopped
from ltxfilter.media.pipe import sniff
from ltxfilter.media.pipe.nut_aspect import AspectWriter, with_aspect
from ltxfilter.media.pipe.stdio import PipeInput, PipeOutput

KEEP = ("--fps", "25", "--engine", "hold")  # every frame passes through
RAW = ("-s", "64x48", "-pix_fmt", "yuv420p", "-r", "25")
FRAME = 64 * 48 * 3 // 2


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("pipes") / "a.mkv", "-c:v", "ffv1", size="64x48")


# The objects


def piped(data: bytes = b"", *, ended: bool = True) -> tuple[PipeInput, int]:
    """Return a reader of a pipe that holds `data`, and the pipe's other end unless `ended`."""
    reading, writing = os.pipe()
    os.write(writing, data)
    if ended:
        os.close(writing)
    return PipeInput(reading, "pipe", owned=True), writing


def test_sniffed_bytes_are_read_again():
    stream, _ = piped(b"abcdefgh")
    with stream:
        assert stream.sniff(4) == b"abcd"
        assert stream.sniff(6) == b"abcdef"
        assert stream.read(3) == b"abc"
        into = bytearray(2)
        assert stream.readinto(into) == 2
        assert bytes(into) + stream.readall() == b"defgh"
        assert stream.read(1) == b""


def test_sniffing_waits_no_longer_than_it_must():
    stream, writing = piped(b"YUV4MPEG2 W2", ended=False)
    with stream:
        assert stream.sniff(376, sniff.identify) == b"YUV4MPEG2 W2"
    os.close(writing)


@pytest.mark.parametrize("waiting", ["read", "readinto", "sniff"])
def test_cancel_ends_a_waiting_read(waiting):
    stream, writing = piped(ended=False)
    argument = bytearray(10) if waiting == "readinto" else 10
    with stream:
        timer = threading.Timer(0.05, stream.cancel)
        timer.start()
        with pytest.raises(Stopped):
            getattr(stream, waiting)(argument)
        timer.join()
    os.close(writing)


def test_cancel_after_close_does_nothing():
    stream, _ = piped()
    stream.close()
    stream.cancel()


def test_a_producer_that_made_its_pipe_non_blocking():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with PipeInput(reading, "pipe", owned=True) as stream:
        timer = threading.Timer(0.05, os.write, (writing, b"late"))
        timer.start()
        assert stream.read(10) == b"late"
        timer.join()
    os.close(writing)


@given(st.lists(st.binary(max_size=300_000), min_size=1, max_size=5))
def test_writes_are_whole_whatever_the_pipe_takes(buffers):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = io.BytesIO()

    def drain():
        while data := os.read(reading, 50_000):
            received.write(data)

    thread = threading.Thread(target=drain)
    thread.start()
    output = PipeOutput(writing, "pipe")
    output.write_all(buffers)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert received.getvalue() == b"".join(buffers)
    assert output.sent == len(received.getvalue())


def test_a_full_disk_is_named():
    message = "pipe: No space left on device"
    with Path("/dev/full").open("wb") as full, pytest.raises(OutputError, match=message):
        PipeOutput(full.fileno(), "pipe").write(b"x")


# What streams begin with


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("-f", "yuv4mpegpipe"), "yuv4mpegpipe"),
        (("-f", "nut", "-c:v", "rawvideo"), "nut"),
        (("-f", "matroska"), "matroska"),
        (
            (
                "-f",
                "webm",
                "-c:v",
                "libvpx",
                "-threads",
                "1",
                "-deadline",
                "good",
                "-cpu-used",
                "5",
            ),
            "matroska",
        ),
        (("-f", "mpegts"), "mpegts"),
        (("-f", "mpegts", "-mpegts_m2ts_mode", "1"), "mpegts"),
        (("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"), "mov"),
        (("-f", "mov", "-movflags", "frag_keyframe+empty_moov"), "mov"),
        (("-f", "flv", "-c:v", "flv"), "flv"),
        (("-f", "avi", "-c:v", "mpeg4"), "avi"),
        (
            ("-f", "ivf", "-c:v", "libvpx", "-threads", "1", "-deadline", "good", "-cpu-used", "5"),
            "ivf",
        ),
        (("-f", "ogg", "-c:v", "libtheora"), "ogg"),
        (("-f", "asf", "-c:v", "wmv2"), "asf"),
        (("-f", "vob", "-c:v", "mpeg2video"), "mpeg"),
        (("-f", "mpeg2video", "-c:v", "mpeg2video"), "mpegvideo"),
        (("-f", "h264", "-c:v", "libx264"), "h264"),
        (("-f", "hevc", "-c:v", "libx265", "-x265-params", "log-level=none"), "hevc"),
        (("-f", "mxf", "-c:v", "mpeg2video"), "mxf"),
        (
            (
                "-f",
                "rawvideo",
            ),
            None,
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else str(value),
)
def test_formats_are_told_by_their_first_bytes(options, kind):
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-pix_fmt", "yuv420p")
    made = subprocess.run(ffmpeg(*source, *options, "-"), capture_output=True, timeout=TIMEOUT)
    if b"Unknown encoder" in made.stderr:
        pytest.skip(f"this ffmpeg has no {options[-1]}")
    assert made.stdout, made.stderr
    assert sniff.identify(made.stdout[: sniff.SNIFF_BYTES]) == kind


@given(st.integers(0, 255), st.integers(0, 376))
@example(0, 376)
@example(0x47, 376)
def test_a_flat_picture_is_nothing_but_raw(value, size):
    flat = bytes([value]) * size
    assert sniff.identify(flat) is None
    assert sniff.foreign(flat) is None


@given(st.lists(st.integers(0, 3), min_size=376, max_size=376), st.integers(16, 200))
def test_a_smooth_picture_is_nothing_but_raw(steps, start):
    row = bytes(min(255, start + sum(steps[:index]) // 4) for index in range(len(steps)))
    assert sniff.identify(row) is None
    assert sniff.foreign(row) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"Dear reader,\nthis is no video.\n", "text"),
        (("für jeden Geschmack etwas " * 40).encode()[:376], "text"),
        (b"#EXTM3U\n#EXTINF:9\nhttp://example.invalid/a.ts\n", "a playlist"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "sound (WAV)"),
    ],
)
def test_what_is_not_video_is_refused_by_name(data, what):
    result = run_pipe(ltxfilter(*KEEP), stdin=data)
    assert result.codes == [3]
    assert f"standard input is {what}, not video" in result.err
    assert not result.out


# Through the program


@pytest.mark.parametrize(
    ("spoken", "answer"),
    [
        (("-f", "yuv4mpegpipe"), b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420"),
        (("-f", "nut", "-c:v", "rawvideo"), b"nut/multimedia container"),
        (("-f", "matroska", "-c:v", "ffv1"), b"nut/multimedia container"),
    ],
)
def test_pipes_answer_in_the_kind_they_were_spoken_to(clip, spoken, answer):
    result = run_pipe(ffmpeg("-i", clip, *spoken, "-"), ltxfilter(*KEEP))
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(answer)
    assert samples(result.out) == samples(clip)


def test_raw_is_answered_in_y4m_unless_raw_is_asked_for(clip):
    raw = samples(clip)
    assert len(raw) == 25 * FRAME
    assert run_pipe(ltxfilter(*RAW, *KEEP), stdin=raw).out.startswith(b"YUV4MPEG2 ")
    assert run_pipe(ltxfilter(*RAW, *KEEP, "-f", "rawvideo", "-"), stdin=raw).out == raw


def test_other_containers_go_out_when_they_are_named(clip):
    result = run_pipe(
        ffmpeg("-i", clip, "-f", "yuv4mpegpipe", "-"),
        ltxfilter(*KEEP, "-f", "matroska", "-c:v", "ffv1", "-"),
    )
    assert result.codes == [0, 0], result.err
    assert result.out.startswith(b"\x1a\x45\xdf\xa3")
    assert samples(result.out) == samples(clip)


@pytest.mark.parametrize("aspect", ["4/3", "16/11", "200/151"])
@pytest.mark.parametrize("kind", ["nut", "yuv4mpegpipe"])
def test_the_sample_aspect_is_kept(tmp_path, kind, aspect):
    clip = make_clip(tmp_path / "a.y4m", "-pix_fmt", "yuv420p")
    said = f" A{aspect.replace('/', ':')} ".encode()
    clip.write_bytes(clip.read_bytes().replace(b" A1:1 ", said, 1))
    result = run_pipe(ltxfilter("-i", clip, *KEEP, "-f", kind, "-"))
    (tmp_path / "out").write_bytes(result.out)
    told = run_pipe([ffmpeg()[0], "-hide_banner", "-i", str(tmp_path / "out")]).err
    assert f"SAR {aspect.replace('/', ':')} " in told
    assert samples(result.out) == samples(clip)


@given(st.integers(1, 40), st.fractions(min_value="1/3000", max_value=3000))
@example(30, Fraction(4, 3))
def test_nut_headers_that_arrive_in_pieces(clip, size, aspect):
    aspect = aspect.limit_denominator(3000)
    whole = run_pipe_once(clip)
    received = io.BytesIO()
    writer = AspectWriter(received, aspect)  # anything with a write()
    for at in range(0, 600, size):
        assert writer.write(whole[at : at + size]) == len(whole[at : at + size])
    assert received.getvalue() == with_aspect(whole[: at + size], aspect)
    assert with_aspect(received.getvalue(), aspect) == received.getvalue()
    assert with_aspect(received.getvalue(), Fraction(1)) == with_aspect(
        whole[: at + size], Fraction(1)
    )


@functools.cache
def run_pipe_once(clip: Path) -> bytes:
    return run_pipe(ffmpeg("-i", clip, "-f", "nut", "-c:v", "rawvideo", "-")).out


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


def test_closed_input_and_output(clip):
    for redirection, code, message in (
        ("<&-", 3, "standard input is closed"),
        (">&-", 4, "standard output is closed"),
    ):
        line = f'"$0" -v error -i "$1" -f yuv4mpegpipe - | "$2" -m ltxfilter {redirection}'
        command = ["sh", "-c", line, ffmpeg()[0], str(clip), sys.executable]
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


def test_terminals_are_refused_on_both_sides(clip):
    ours, theirs = pty.openpty()
    try:
        quiet = {"stderr": subprocess.PIPE, "timeout": TIMEOUT}
        done = subprocess.run(ltxfilter(*KEEP), stdin=theirs, stdout=subprocess.PIPE, **quiet)
        assert done.returncode == 2
        assert b"standard input is a terminal" in done.stderr
        done = subprocess.run(ltxfilter("-i", clip, *KEEP), stdout=theirs, **quiet)
        assert done.returncode == 2
        assert b"video would go to the terminal" in done.stderr
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_reader_that_leaves_ends_it_quietly(clip):
    loop = ffmpeg("-stream_loop", "-1", "-i", clip, "-f", "yuv4mpegpipe", "-")
    result = run_pipe(loop, ltxfilter(*KEEP), [sys.executable, "-c", "input()"])
    assert result.codes[1] == 141
    assert "Traceback" not in result.errs[1]
    assert "error" not in result.errs[1].lower()


def test_a_full_disk_behind_stdout(clip):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            ltxfilter("-i", clip, *KEEP), stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT
        )
    assert done.returncode == 4
    assert b"standard output: No space left on device" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("given", [b"", b"YUV4MPEG2 W64 H48 F25:1 C420\nFRAME\n"])
def test_a_silent_producer_does_not_keep_it_from_stopping(number, code, given):
    with subprocess.Popen(
        ltxfilter(*KEEP), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.flush()
        time.sleep(1.0)  # it is up and waiting by now; if not, the signal still has to end it
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(TIMEOUT) in (code, -number)  # the latter before it listens to signals
        assert time.monotonic() - began < 30


CLAIM = """
import ctypes, os, sys
from ltxfilter.media.pipe import stdio
stdio.claim_stdout()
stdio.claim_stdout()
print("stray print", flush=True)
os.system("echo stray child")
ctypes.CDLL(None).puts(b"stray C"); ctypes.CDLL(None).fflush(None)
stdio.open_stdout().write(b"FRAMES")
"""


def test_a_claimed_stdout_carries_frames_and_nothing_else():
    result = run_pipe([sys.executable, "-c", CLAIM])
    assert result.codes == [0]
    assert result.out == b"FRAMES"
    assert result.err.split("\n")[:3] == ["stray print", "stray child", "stray C"]


def test_an_unclaimed_stdout_works_too():
    program = (
        "from ltxfilter.media.pipe import stdio\n"
        "print('first'); stdio.open_stdout().write(b'FRAMES')"
    )
    result = run_pipe([sys.executable, "-c", program])
    assert result.out == b"first\nFRAMES"


def test_systems_without_poll_writev_or_fcntl_can_still_pipe(clip):
    """What Windows lacks, taken away before the import."""
    program = (
        "import os, select, sys; sys.modules['fcntl'] = None; sys.platform = 'other'\n"
        "del select.poll, os.writev\n"
        "from ltxfilter.media.opening import open_sink, open_source\n"
        "from ltxfilter.options import InputOptions, OutputOptions\n"
        "source = open_source(InputOptions())\n"
        "with open_sink(OutputOptions(), source, source.info.rate) as sink:\n"
        "    for frame in source.frames(): sink.write(frame)\n"
        "    sink.finish()\n"
        "source.close()\n"
    )
    result = run_pipe(
        ffmpeg("-i", clip, "-f", "yuv4mpegpipe", "-"), [sys.executable, "-c", program]
    )
    assert result.codes == [0, 0], result.err
    assert samples(result.out) == samples(clip)


def test_a_directory_on_stdin_is_an_input_error(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InputError, match="Is a directory"):
        PipeInput(fd, "standard input")
    os.close(fd)
