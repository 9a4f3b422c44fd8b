"""Addresses of the network as inputs, with real servers on the loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from pathlib import Path
from time import monotonic

import av
import pytest
from support.media import audio_packets, decoded
from support.network import ClipServer, free_port, listening
from support.robust import COMMAND, run
from support.tools import TIMEOUT, ffmpeg, make_clip, samples, wait_until

import ltxfilter
from ltxfilter.errors import InputError, OptionError, Stopped
from ltxfilter.media.network.interrupts import NEVER, Interrupt, wait_for
from ltxfilter.media.network.protocols import unreachable
from ltxfilter.media.opening import open_source
from ltxfilter.options import InputOptions

PROMPT = 10  # seconds; an idle machine needs half of one
SECRET = "somebody:hushhush@"


def convert(address: str, output: Path, *words: str) -> None:
    ended = run("-y", *words, "-i", address, "-c:v", "ffv1", output)
    assert ended.code == 0, ended.said


@pytest.mark.parametrize("name", ["plain/a.ts", "ranges/a.ts", "ranges/a.mp4", "plain/list.m3u8"])
def test_what_comes_by_http_is_converted_as_from_a_file(
    clip_server: ClipServer, net_clips: Path, tmp_path: Path, name: str
):
    convert(clip_server.address(f"/{name}"), tmp_path / "net.mkv")
    convert(str(net_clips / "a.ts"), tmp_path / "file.mkv")
    assert samples(tmp_path / "net.mkv") == samples(tmp_path / "file.mkv")
    sound = audio_packets(tmp_path / "net.mkv")
    assert len(sound) == pytest.approx(len(audio_packets(tmp_path / "file.mkv")), abs=2)


@pytest.mark.parametrize("name", ["ranges/a.mp4", "plain/a.ts"])
def test_reading_begins_where_ss_says(
    clip_server: ClipServer, net_clips: Path, tmp_path: Path, name: str
):
    words = ["-ss", "2.5", "-t", "1"]
    convert(clip_server.address(f"/{name}"), tmp_path / "net.mkv", *words)
    convert(str(net_clips / Path(name).name), tmp_path / "file.mkv", *words)
    assert samples(tmp_path / "net.mkv") == samples(tmp_path / "file.mkv")


def test_an_index_that_comes_last_needs_ranges(clip_server: ClipServer, net_clips: Path):
    make_clip(net_clips / "large.mp4", "-c:v", "mpeg4", "-q", "2", size="640x480", seconds=2)
    address = clip_server.address("/plain/large.mp4")
    with pytest.raises(InputError, match="the server has to let ranges be read"):
        open_source(InputOptions(path=address, demuxer={"rw_timeout": "300000"}))


def test_options_of_protocols_reach_libav(clip_server: ClipServer, tmp_path: Path):
    words = ["-user_agent", "curious", "-headers", "X-Key: 7\r\n"]
    convert(clip_server.address("/plain/a.ts"), tmp_path / "o.mkv", *words)
    assert clip_server.headers[0]["User-Agent"] == "curious"
    assert clip_server.headers[0]["X-Key"] == "7"


def test_a_connection_that_drops_is_joined_if_that_is_asked_for(
    clip_server: ClipServer, net_clips: Path, tmp_path: Path
):
    convert(clip_server.address("/drop/a.ts"), tmp_path / "o.mkv", "-reconnect", "1")
    convert(str(net_clips / "a.ts"), tmp_path / "file.mkv")
    assert samples(tmp_path / "o.mkv") == samples(tmp_path / "file.mkv")
    assert len(clip_server.asked) > 3


def test_a_connection_that_drops_is_said(clip_server: ClipServer, tmp_path: Path):
    ended = run("-i", clip_server.address("/drop/a.ts"), tmp_path / "o.mkv")
    assert ended.code == 0
    assert any("reading ends early" in line for line in ended.said), ended.said
    assert 40 < len(list(decoded(tmp_path / "o.mkv"))) < 200
    clip_server.asked.clear()
    ended = run("-y", "-xerror", "-i", clip_server.address("/drop/a.ts"), tmp_path / "o.mkv")
    assert ended.code == 3


def test_a_server_that_stalls_is_given_up_after_rw_timeout(clip_server: ClipServer, tmp_path: Path):
    address = clip_server.address("/stall/a.ts")
    ended = run("-rw_timeout", "300000", "-i", address, tmp_path / "o.mkv")
    assert any("reading ends early: Connection timed out" in line for line in ended.said)
    assert 40 < len(list(decoded(tmp_path / "o.mkv"))) < 200
    mute = clip_server.address("/mute/a.ts")
    ended = run("-rw_timeout", "300000", "-i", mute, tmp_path / "o.mkv")
    assert (ended.code, ended.error) == (3, f"{mute}: Connection timed out")


@pytest.mark.parametrize("name", ["local.m3u8", "local.ffconcat"])
@pytest.mark.parametrize("kind", [None, "hls", "concat"])
def test_a_playlist_from_the_network_opens_no_local_file(
    clip_server: ClipServer, name: str, kind: str | None
):
    address, demuxer = clip_server.address(f"/plain/{name}"), {"safe": "0"}
    source = InputOptions(path=address, format=kind, demuxer=demuxer)
    with pytest.raises(InputError):
        open_source(source)
    assert clip_server.asked


def test_errors_are_said_without_secrets(clip_server: ClipServer):
    closed = free_port()
    for address, reason in [
        (clip_server.address("/plain/no.ts?token=t0ps3cret", SECRET), "404 Not Found"),
        (f"http://{SECRET}127.0.0.1:{closed}/a.ts", "Connection refused"),
        (f"tcp://127.0.0.1:{closed}", "Connection refused"),
        (f"rtsp://{SECRET}127.0.0.1:{closed}/a", "Connection refused"),
        (f"rtmp://{SECRET}127.0.0.1:{closed}/live/t0ps3cret", "rtmp://[.]"),
    ]:
        with pytest.raises(InputError, match=reason) as raised:
            open_source(InputOptions(path=address))
        assert "hushhush" not in str(raised.value)
        assert "t0ps3cret" not in str(raised.value)
    ended = run("-v", "debug", "-i", clip_server.address("/plain/no.ts?t0ps3cret", SECRET), "o.mkv")
    assert ended.code == 3
    assert "hushhush" not in str(ended.said)
    assert "t0ps3cret" not in str(ended.said)


def test_a_host_that_nobody_knows_is_said(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = unreachable("http://me:hush@nothing.example/a", OSError(5, "Input/output error"))
    assert said == "there is no host named nothing.example, or no name server answers"
    assert unreachable("http://a/b", ValueError("odd")) == "odd"


def test_reports_and_outputs_hold_no_secrets(clip_server: ClipServer, tmp_path: Path):
    address = clip_server.address("/plain/a.ts?token=t0ps3cret", SECRET)
    words = ["-headers", "Authorization: t0ps3cret\r\n", "--report", str(tmp_path / "r.json")]
    convert(address, tmp_path / "o.mkv", *words)
    report = (tmp_path / "r.json").read_text()
    assert json.loads(report)["input"]["name"].endswith("/plain/a.ts?...")
    for written in (report.encode(), (tmp_path / "o.mkv").read_bytes()):
        assert b"hushhush" not in written
        assert b"t0ps3cret" not in written


def test_tcp_and_udp_are_read(net_clips: Path, tmp_path: Path):
    with listening() as (server, address):
        data = (net_clips / "a.ts").read_bytes()

        def send() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(data)

        threading.Thread(target=send, daemon=True).start()
        convert(address, tmp_path / "tcp.mkv")
    assert len(list(decoded(tmp_path / "tcp.mkv"))) == 200
    port = free_port(socket.SOCK_DGRAM)
    words = ["-re", "-i", net_clips / "a.ts", "-c", "copy", "-f", "mpegts"]
    with subprocess.Popen(ffmpeg(*words, f"udp://127.0.0.1:{port}?pkt_size=1316")) as sender:
        convert(f"udp://127.0.0.1:{port}", tmp_path / "udp.mkv", "-timeout", "1500000")
        sender.kill()
    assert len(list(decoded(tmp_path / "udp.mkv"))) > 20


def test_a_protocol_that_libav_lacks_is_left_to_ffmpeg(monkeypatch: pytest.MonkeyPatch):
    from ltxfilter.media.network import avio

    monkeypatch.setattr(avio, "protocols", lambda *, writing: frozenset())
    line = r"ffmpeg -i srt://localhost:9\?\.\.\. -c copy -f matroska - [|] ltxfilter -i -"
    with pytest.raises(OptionError, match=f"has no srt; let ffmpeg read it: {line}"):
        open_source(InputOptions(path="srt://localhost:9?passphrase=x"))


def test_a_source_that_waits_can_be_cancelled(clip_server: ClipServer):
    options = {"analyzeduration": "100000"}
    source = open_source(InputOptions(path=clip_server.address("/stall/a.ts"), demuxer=options))
    failed: list[type] = []

    def read() -> None:
        try:
            for _ in source.frames():
                pass
        except (ltxfilter.LtxFilterError, Stopped) as error:
            failed.append(type(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert clip_server.stalling.wait(TIMEOUT)
    began = monotonic()
    source.cancel()
    thread.join(TIMEOUT)
    assert failed == [Stopped]
    assert monotonic() - began < PROMPT
    source.close()


def test_what_waits_in_libav_ends_when_it_is_interrupted(clip_server: ClipServer):
    interrupt, address = Interrupt(), clip_server.address("/stall/a.ts")
    failed: list[type] = []

    def read() -> None:
        try:
            with interrupt.watched(), av.open(address, timeout=NEVER) as opened:
                for _ in opened.demux():
                    pass
        except (av.FFmpegError, Stopped) as error:
            failed.append(type(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert clip_server.stalling.wait(TIMEOUT)
    began = monotonic()
    interrupt.set()
    thread.join(TIMEOUT)
    assert failed == [Stopped]
    assert monotonic() - began < PROMPT


def test_one_thread_is_interrupted_and_no_other(clip_server: ClipServer):
    ours, others = Interrupt(), Interrupt()
    others.set()
    with ours.watched(), av.open(clip_server.address("/plain/a.ts"), timeout=NEVER) as opened:
        assert sum(packet.size for packet in opened.demux(video=0)) > 0


def test_what_is_waited_for_is_interrupted_with_the_wait(monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()

    def fail() -> None:
        raise InputError("said")

    assert wait_for(lambda: 7, ended.set) == 7
    with pytest.raises(InputError, match="said"):
        wait_for(fail, ended.set)
    assert not ended.is_set()
    join = threading.Thread.join

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is None:
            raise KeyboardInterrupt
        join(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait_for(lambda: ended.wait(TIMEOUT), ended.set)
    assert ended.is_set()


@pytest.mark.parametrize("way", ["stall", "mute"])
def test_sigint_ends_a_run_that_waits(clip_server: ClipServer, tmp_path: Path, way: str):
    words = ["-analyzeduration", "100000", "-i", clip_server.address(f"/{way}/a.ts")]
    command = [*COMMAND, *words, "-c:v", "ffv1", tmp_path / "o.nut"]
    part = tmp_path / "o.nut.part"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            assert clip_server.stalling.wait(TIMEOUT)
            if way == "stall":
                wait_until(
                    lambda: part.exists() and part.stat().st_size > 30000, "no frame came out"
                )
            began = monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 130
            assert monotonic() - began < PROMPT
        finally:
            process.kill()
    if way == "stall":
        assert len(list(decoded(part))) > 10


def test_programs_convert_addresses(clip_server: ClipServer, tmp_path: Path):
    done = ltxfilter.convert(clip_server.address("/plain/a.ts"), tmp_path / "o.mkv", engine="hold")
    assert done.frames_in == 100
    ended = run("-y", "-i", clip_server.address("/plain/a.ts"), "-f", "null", "-")
    assert ended.code == 0
