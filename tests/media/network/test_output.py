"""Addresses of the network as outputs, with real readers on the loopback."""

from __future__ import annotations

import fcntl
import signal
import socket
import subprocess
import termios
from array import array
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import av
import pytest
from support.media import decoded
from support.network import ClipServer, free_port, listening, sent_to
from support.robust import COMMAND, run
from support.tools import TIMEOUT, ffmpeg, samples, wait_until

import ltxfilter
from ltxfilter.errors import OptionError, OutputError

PROMPT = 10  # seconds; an idle machine needs one


def packets(path: Path) -> list[tuple[str, int]]:
    """Return kind and number of packets of each stream."""
    with av.open(str(path)) as container:
        counts = [0] * len(container.streams)
        for packet in container.demux():
            counts[packet.stream_index] += packet.size > 0
        return [(stream.type, counts[stream.index]) for stream in container.streams]


@pytest.mark.parametrize("name", ["o.mkv", "o.ts"])
def test_http_takes_what_a_file_would_hold(
    clip_server: ClipServer, net_clips: Path, tmp_path: Path, name: str
):
    ended = run("-i", net_clips / "a.ts", clip_server.address(f"/plain/{name}?key=1"))
    assert ended.code == 0, ended.said
    path = f"/plain/{name}?key=1"
    wait_until(lambda: path in clip_server.received, "the server never got the whole file")
    (tmp_path / name).write_bytes(clip_server.received[path])
    assert len(list(decoded(tmp_path / name))) == 200
    assert packets(tmp_path / name)[1][0] == "audio"


def test_tcp_takes_what_a_file_would_hold(net_clips: Path, tmp_path: Path):
    found: list[bytes] = []
    with listening() as (server, address):
        thread = sent_to(server, found)
        ended = run("-i", net_clips / "a.ts", address)
        thread.join(TIMEOUT)
    assert ended.code == 0, ended.said
    (tmp_path / "o.ts").write_bytes(b"".join(found))
    assert len(list(decoded(tmp_path / "o.ts"))) == 200


def test_frames_go_to_tcp_without_an_encoder(net_clips: Path):
    found: list[bytes] = []
    with listening() as (server, address):
        thread = sent_to(server, found)
        ended = run("-i", net_clips / "a.ts", "-f", "yuv4mpegpipe", address)
        thread.join(TIMEOUT)
    assert ended.code == 0, ended.said
    first = slice(64 * 48 * 3 // 2)
    assert samples(b"".join(found))[first] == samples(net_clips / "a.ts")[first]


def test_udp_gets_whole_packets_of_mpegts(net_clips: Path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1)
        ended = run("-i", net_clips / "a.ts", f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        assert ended.code == 0, ended.said
        found = []
        with suppress(TimeoutError):
            while True:
                found.append(receiver.recv(1 << 16))
    assert len(b"".join(found)) > 20000
    assert all(data[0] == 0x47 and len(data) % 188 == 0 and len(data) <= 1316 for data in found)


def test_rtmp_is_written(net_clips: Path, tmp_path: Path):
    address = f"rtmp://127.0.0.1:{free_port()}/live/stream"
    listener = ffmpeg("-y", "-listen", "1", "-i", address, "-c", "copy", tmp_path / "o.mkv")
    with subprocess.Popen(listener, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):  # until it listens
                ended = run("-i", net_clips / "a.ts", address)
                if "Connection refused" not in str(ended.said):
                    break
            process.wait(TIMEOUT)
        finally:
            process.kill()
    assert ended.code == 0, ended.said
    assert packets(tmp_path / "o.mkv")[0] == ("video", 200)


def test_an_output_that_cannot_be_opened_is_said_without_secrets(net_clips: Path):
    closed = free_port()
    for address, reason in [
        (f"http://me:hushhush@127.0.0.1:{closed}/o.mkv", "Connection refused"),
        (f"rtmp://127.0.0.1:{closed}/live/hushhush", "Connection refused"),
        (f"tcp://127.0.0.1:{closed}", "Connection refused"),
        ("http://127.0.0.1:9/stream", "its ending names no format"),
    ]:
        with pytest.raises(OutputError, match=reason) as raised:
            ltxfilter.convert(net_clips / "a.ts", address, engine="hold")
        assert "hushhush" not in str(raised.value)


def test_a_reader_that_leaves_is_an_error(net_clips: Path):
    with listening() as (server, address):
        words = ["-i", net_clips / "a.ts", "-f", "yuv4mpegpipe", address]
        with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE) as process:
            try:
                connection, _ = server.accept()
                connection.close()
                _, said = process.communicate(timeout=TIMEOUT)
            finally:
                process.kill()
    assert process.returncode == 4, said
    assert b"cannot be written: " in said


def test_options_that_the_protocol_lacks_are_refused(net_clips: Path):
    with listening() as (_, address):
        ended = run("-i", net_clips / "a.ts", "-rtmp_app", "x", address)
    assert ended.code == 2
    assert "-rtmp_app: FFmpeg's protocol of tcp://" in ended.error


def _stands_still(connection: socket.socket) -> bool:
    """Return True if data waits at a socket, and no more arrives for half a second."""
    waiting = []
    for _ in range(10):
        buffer = array("i", [0])
        fcntl.ioctl(connection, termios.FIONREAD, buffer)
        waiting.append(buffer[0])
        sleep(0.05)
    return waiting[0] > 0 and len(set(waiting)) == 1


def test_sigint_ends_a_run_whose_reader_takes_nothing(net_clips: Path):
    with listening() as (server, address):
        words = ["--fps", "1000", "-i", net_clips / "a.ts", "-f", "yuv4mpegpipe", address]
        with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE) as process:
            try:
                connection, _ = server.accept()
                wait_until(lambda: _stands_still(connection), "the writer never waits")
                began = monotonic()
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=TIMEOUT)
                assert monotonic() - began < PROMPT
            finally:
                process.kill()
                connection.close()
    assert process.returncode == 130
    assert b"the output is not complete" in said


def test_jobs_have_files_only():
    with pytest.raises(OptionError, match="is read or written once; leave out --resume"):
        ltxfilter.convert("a.ts", "tcp://127.0.0.1:9", resume=True)


def test_protocols_that_are_not_written_are_left_to_ffmpeg(net_clips: Path):
    line = r"ltxfilter \.\.\. -f nut - [|] ffmpeg -i - \.\.\. rtsp://127.0.0.1/a"
    with pytest.raises(OptionError, match=line):
        ltxfilter.convert(net_clips / "a.ts", "rtsp://127.0.0.1/a", engine="hold")
    with pytest.raises(OutputError, match=r"hls writes many files, .*let ffmpeg send them"):
        ltxfilter.convert(net_clips / "a.ts", "http://127.0.0.1/a.m3u8", engine="hold")
