"""Standard input and output as file objects, and a standard output that carries frames only."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import ffmpeg, run_pipe, samples

from ltxfilter.errors import InputError, OutputError, Stopped
from ltxfilter.media.pipe import cancellable, sniff
from ltxfilter.media.pipe.stdio import PipeInput, PipeOutput


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
    output.close()
    os.close(writing)
    thread.join()
    os.close(reading)
    assert received.getvalue() == b"".join(buffers)
    assert output.sent == len(received.getvalue())


@pytest.mark.parametrize("twin", [True, False])
def test_cancel_ends_a_waiting_write(twin, monkeypatch: pytest.MonkeyPatch):
    """With a descriptor of its own, and where the system gives none."""
    monkeypatch.setattr(cancellable, "GRACE", 0.05)
    if not twin:
        monkeypatch.setattr(cancellable, "_opened_again", lambda fd: None)
    reading, writing = os.pipe()
    output = PipeOutput(writing, "pipe")
    timer = threading.Timer(0.05, output.cancel)
    timer.start()
    with pytest.raises(Stopped):
        output.write(bytes(1 << 22))
    timer.join()
    assert os.get_blocking(writing)  # others share it
    output.close()
    output.close()  # does nothing
    output.cancel()
    os.close(writing)
    os.close(reading)


def test_a_write_that_is_cancelled_ends_whole_if_the_reader_goes_on():
    reading, writing = os.pipe()
    output, data = PipeOutput(writing, "pipe"), os.urandom(1 << 21)
    received = bytearray()

    def drain():
        while len(received) < len(data):
            received.extend(os.read(reading, 1 << 16))

    thread = threading.Thread(target=drain)
    output.cancel()
    thread.start()
    assert output.write(data) == len(data)
    thread.join()
    assert bytes(received) == data
    output.close()
    os.close(writing)
    os.close(reading)


def test_a_full_disk_is_named():
    message = "pipe: No space left on device"
    with Path("/dev/full").open("wb") as full, pytest.raises(OutputError, match=message):
        PipeOutput(full.fileno(), "pipe").write(b"x")


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


def test_systems_without_poll_writev_or_fcntl_can_still_pipe(small_clip):
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
        ffmpeg("-i", small_clip, "-f", "yuv4mpegpipe", "-"), [sys.executable, "-c", program]
    )
    assert result.codes == [0, 0], result.err
    assert samples(result.out) == samples(small_clip)


def test_a_directory_on_stdin_is_an_input_error(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InputError, match="Is a directory"):
        PipeInput(fd, "standard input")
    os.close(fd)
