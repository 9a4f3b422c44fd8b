"""Packets that wait for the video: in order, whole, and within a share of memory."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.tools import ltxfilter, run_pipe

from ltxfilter.errors import InputError
from ltxfilter.media.container.copied_streams.packet_file import PacketFile
from ltxfilter.media.container.copied_streams.packet_queue import PACKET_OBJECT, PacketQueue
from ltxfilter.media.pyav_compat import time_base_of

F = Fraction


@pytest.fixture
def streams(tmp_path: Path) -> list[av.stream.Stream]:
    container = av.open(str(tmp_path / "none.mkv"), "w")
    return [container.add_mux_stream("subrip") for _ in range(2)]


def packet(stream: av.stream.Stream, number: int, size: int = 100) -> av.Packet:
    made = av.Packet(bytes([number % 256]) * size)
    made.stream = stream
    made.time_base = F(1, 1000)
    made.pts, made.dts = (None if number % 5 == 4 else number), number - 3
    made.duration = number % 7
    made.is_keyframe = number % 2 == 0
    return made


def facts(found: av.Packet) -> tuple[object, ...]:
    times = found.pts, found.dts, found.duration, time_base_of(found)
    return bytes(found), found.stream_index, *times, found.is_keyframe


def test_what_is_over_its_share_comes_back_whole_and_in_order(streams, caplog) -> None:
    queue = PacketQueue(10 * (100 + PACKET_OBJECT))
    made = [packet(streams[number % 2], number) for number in range(60)]
    expected = [facts(each) for each in made]
    got = []
    with caplog.at_level(logging.WARNING):
        for number, each in enumerate(made):
            queue.put(each)
            assert queue.nbytes <= queue.most
            if number % 3 == 2:
                got.append(facts(next(queue)))
    got.extend(facts(each) for each in queue)
    assert got == expected
    assert queue.nbytes == 0
    assert caplog.text.count("temporary file") == 1
    queue.put(packet(streams[0], 1))
    assert queue.nbytes == 100 + PACKET_OBJECT  # memory again, once the file is empty
    queue.close()


def test_who_wants_what_counts_for_packets_in_the_file_too(streams) -> None:
    queue = PacketQueue(2 * (100 + PACKET_OBJECT))
    for number in range(20):
        queue.put(packet(streams[number % 2], number))
    assert queue.first_of(0) == bytes([0]) * 100
    queue.want({1})
    assert queue.first_of(0) is None
    assert [bytes(each)[0] for each in queue] == list(range(1, 20, 2))
    queue.close()


def test_the_first_packet_of_a_stream_is_found_in_the_file(streams) -> None:
    queue = PacketQueue(100 + PACKET_OBJECT)
    for number in range(9):
        queue.put(packet(streams[number > 5], number))
    assert queue.first_of(1) == bytes([6]) * 100
    assert queue.first_of(2) is None
    assert [bytes(each)[0] for each in queue] == list(range(9))
    queue.close()


def test_a_packet_larger_than_the_share_goes_to_the_file(streams) -> None:
    queue = PacketQueue(1000)
    queue.put(packet(streams[0], 1, size=5000))
    assert queue.nbytes == 0
    assert next(queue).size == 5000
    queue.close()


def test_side_data_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as made:
        sound = made.add_stream("libopus", rate=48000, layout="mono")
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
            frame.rate, frame.pts = 48000, 960 * number
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))
    with av.open(str(path)) as read:
        found = [each for each in read.demux() if each.size]
        expected = [[bytes(side) for side in each.iter_sidedata()] for each in found]
        assert any(expected)  # how many samples to skip
        spilled = PacketFile()
        for each in found:
            spilled.put(each)
        assert spilled.side_bytes > 0
        again = []
        while spilled:
            again.append([bytes(side) for side in spilled.take().iter_sidedata()])
        assert again == expected
        assert spilled.side_bytes == 0
        spilled.close()


def test_no_room_for_the_file_says_what_to_do(streams, monkeypatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    queue = PacketQueue(1)
    with pytest.raises(InputError, match=r"No space left .*TMPDIR, or read from a file"):
        queue.put(packet(streams[0], 1))


LEADING = """
import sys, av, numpy as np
class Out:
    def write(self, data): return sys.stdout.buffer.write(data)
made = av.open(Out(), "w", format="matroska", container_options={"max_interleave_delta": "1"})
video = made.add_stream("mpeg4", rate=25); video.width, video.height = 64, 48
video.pix_fmt = "yuv420p"
sound = made.add_stream("pcm_s16le", rate=48000); sound.layout = "stereo"
def show(first, last):
    for number in range(first, last):
        picture = np.full((72, 64), number * 5 % 250, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p"); frame.pts = number
        made.mux(video.encode(frame))
show(0, 40)
for second in range(120):
    samples = np.full((1, 2 * 48000), second, np.int16)
    frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
    frame.rate, frame.pts = 48000, 48000 * second
    made.mux(sound.encode(frame))
show(40, 60)
made.mux(video.encode(None))
made.close()
"""


def test_sound_far_ahead_of_the_video_in_a_pipe_waits_on_disk(tmp_path: Path) -> None:
    script, out = tmp_path / "leading.py", tmp_path / "out.mkv"
    script.write_text(LEADING)
    words = ["--engine", "hold", "--fps", "50", "-preset", "ultrafast", "-f", "matroska", out]
    done = run_pipe([sys.executable, str(script)], ltxfilter(*words))
    assert done.codes == [0, 0]
    assert "other streams are more than 16 MB ahead" in done.err
    sound = [bytes(each) for each in packets_of(out, "audio")]
    seconds = np.frombuffer(b"".join(sound), np.int16).reshape(120, -1)
    assert (seconds == np.arange(120)[:, None]).all()


def packets_of(path: Path, kind: str) -> list[av.Packet]:
    with av.open(str(path)) as container:
        [stream] = [each for each in container.streams if each.type == kind]
        return [each for each in container.demux(stream) if each.size]
