"""Bad input to the real command line: the messages, the exit code, the files that are left."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from support.robust import AUDIO, pictures, run
from support.tools import make_clip

NO_HEADER = "standard input has no header that says what it holds"


REFUSED = {  # arguments, exit code, beginning of the error line
    "text": ("-i text.txt", 3, "text.txt: is text, not video"),
    "text called mp4": ("-i text.mp4", 3, "text.mp4: is text, not video"),
    "an empty file": ("-i empty.mp4", 3, "empty.mp4: is empty"),
    "an mp4 without its index": ("-i cut_good.mp4", 3, "cut_good.mp4: incomplete mp4: its index"),
    "sound alone": ("-i sound.m4a", 3, "sound.m4a: no video stream"),
    "a cover alone": ("-i cover.mp3", 3, "cover.mp3: no video stream, only a cover picture"),
    "no frames": ("-i header.y4m", 3, "header.y4m: no video frames"),
    "a huge picture": ("-i huge.y4m", 3, "huge.y4m: a picture of 100000x100000 is over the limit"),
    "a playlist": ("-i list.m3u8", 3, "list.m3u8: is a playlist, which opens other files; if that"),
    "a list of files": ("-i list.ffconcat", 3, "list.ffconcat: is a playlist, which opens other"),
    "a list called txt": ("-i list.txt", 3, "list.txt: is a playlist, which opens other files"),
    "a session": ("-i net.sdp", 3, "net.sdp: is text, not video"),
    "a picture": ("-i picture.png", 3, "picture.png: is a PNG picture, not video"),
    "a series of pictures": ("-i %03d.png", 3, "%03d.png: is a PNG picture, not video"),
    "a folder": ("-i .", 3, ".: is a directory"),
    "a name that no file can have": (f"-i {'a' * 5000}", 3, f"{'a' * 5000}: File name too long"),
    "hours from frame to frame": (
        "-i hours.y4m",
        3,
        "the time jumps by 165600 s at 0.000 s, and no frame is shown for over 3600 s: the "
        "timestamps are damaged; -r RATE before -i stamps the frames anew",
    ),
    "nothing there": ("-i nothing.mp4", 3, "nothing.mp4: no such file"),
    "an address": (
        "-i http://127.0.0.1:9/a.mp4",
        3,
        "http://127.0.0.1:9/a.mp4: Connection refused",
    ),
    "a null device": ("-i /dev/null", 3, "/dev/null is empty"),
    "no such format": ("-f wobble -i good.mp4", 3, "good.mp4: no container format 'wobble'"),
    "past the end": ("-ss 100 -i good.mkv", 3, "good.mkv: no video frames between -ss and"),
    "no such engine": ("-i good.mp4 --engine x", 2, "no engine 'x'; there are auto"),
    "no such engine option": ("-i good.mp4 --engine flow:x=1", 2, "engine flow has no option 'x'"),
    "a bad engine option": ("-i good.mp4 --engine flow:preset=x", 2, "option preset=x: not one of"),
    "an engine misspelt": ("-i good.mp4 --engine Flow:", 2, "engine 'Flow:': write NAME or NAME:"),
    "a misspelt option": (
        "-i good.mp4 --memroy 1G",
        2,
        "no option --memroy; did you mean --memory?",
    ),
    "no such encoder option": ("-i good.mp4 -wobble 1", 2, "libx264 has no option wobble"),
    "a bad encoder option": ("-i good.mp4 -crf x", 2, "libx264 does not take -crf x"),
    "no such encoder": ("-i good.mp4 -c:v wobble", 2, "-c:v wobble: FFmpeg has no such encoder"),
    "no such stream": ("-i good.mp4 -map 0:9", 2, "-map 0:9: matches no stream of the input"),
    "a rate of zero": (
        "-i good.mp4 --fps 0",
        2,
        "--fps: frame rate 0 must be above 0 and at most 1000",
    ),
    "a rate in words": (
        "-i good.mp4 --fps fast",
        2,
        "--fps: frame rate 'fast' is not a number; use 50",
    ),
    "a rate too high": ("-i good.mp4 --fps 1e6", 2, "--fps: frame rate '1e6' is not a number"),
    "too little memory": ("-i good.mp4 --memory 9M", 2, "--memory 9M is too little for 160x120"),
    "too many threads": ("-i good.mp4 -threads 99999", 2, "-threads 99999: write a whole number"),
    "two inputs": ("-i good.mp4 -i good.mkv", 2, "-i is given twice; ltxfilter reads one input"),
    "no -i": ("good.mp4", 2, "two file names, good.mp4 and "),
    "no value": ("-i good.mp4 -y --fps", 2, "--fps: frame rate "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_and_options_that_are_refused(case: str, bad_files: Path, tmp_path: Path):
    words, code, message = REFUSED[case]
    out = tmp_path / "out.mkv"
    ended = run(*words.split(), out, within=bad_files)
    assert (ended.code, ended.out) == (code, b""), ended.said
    assert ended.error.startswith(message)
    assert not list(tmp_path.iterdir())


def test_one_frame_that_claims_to_last_for_hours_is_shown_once(bad_files: Path):
    ended = run("-i", bad_files / "hour.y4m", "--fps", "50", "-f", "yuv4mpegpipe", "-")
    assert ended.code == 0
    assert ended.out.count(b"FRAME") == 1
    assert "its frames are 165600 s apart" in ended.warnings[0]


def test_the_least_memory_is_stated_and_is_enough(bad_files: Path, tmp_path: Path):
    ended = run("-i", bad_files / "good.mp4", "--memory", "9M", tmp_path / "out.mkv")
    needed = re.search(r"at least (\d+)M$", ended.error)
    assert needed, ended.said
    again = run("-i", bad_files / "good.mp4", "--memory", f"{needed[1]}M", tmp_path / "out.mkv")
    assert again.code == 0, again.said
    less = run(
        "-i", bad_files / "good.mp4", "--memory", f"{int(needed[1]) - 1}M", tmp_path / "b.mkv"
    )
    assert less.code == 2


CONVERTED = {  # input -> least and most output pictures; text of the warning, if there must be one
    "cut_fast.mp4": (40, 99, "before its declared end"),
    "cut_good.mkv": (40, 99, "before its declared end"),
    "cut_good.ts": (40, 99, None),
    "cut_good.nut": (40, 99, None),
    "damaged_fast.mp4": (90, 101, "damaged"),
    "damaged_good.mkv": (90, 101, "damaged"),
    "damaged_good.ts": (60, 110, "damaged"),
    "one.mp4": (2, 2, None),
    "two.mp4": (4, 4, None),
    "resized.h264": (30, 34, "the picture changes from 64x48 yuv420p to 96x80"),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_damaged_input_is_converted_as_far_as_it_goes(name: str, bad_files: Path, tmp_path: Path):
    least, most, warning = CONVERTED[name]
    before = ["-r", "25"] if name.endswith("h264") else []
    ended = run(*before, "-i", bad_files / name, "--fps", "50", "-crf", "30", tmp_path / "out.mkv")
    assert ended.code == 0, ended.said
    assert ended.error == ""
    assert not warning or any(warning in line for line in ended.warnings), ended.said
    assert least <= pictures(tmp_path / "out.mkv") <= most
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


@pytest.mark.parametrize("name", ["good.ts", "damaged_good.ts"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
def test_sound_of_a_transport_stream_goes_anywhere(
    name: str, suffix: str, bad_files: Path, tmp_path: Path
):
    """The AAC packets have headers that mp4 does not know, and some of them are damaged."""
    out = tmp_path / f"out.{suffix}"
    ended = run("-i", bad_files / name, "--fps", "50", out)
    assert ended.code == 0, ended.said
    with av.open(str(out)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    assert len(packets) > 30
    assert name != "good.ts" or ended.said == []


def test_damage_is_an_error_where_that_is_asked_for(bad_files: Path, tmp_path: Path):
    ended = run("-xerror", "-i", bad_files / "damaged_good.mkv", tmp_path / "out.mkv")
    assert ended.code == 3
    assert "damaged" in ended.error
    assert not (tmp_path / "out.mkv").exists()


def test_a_playlist_of_files_is_opened_if_named_and_opens_no_network(
    bad_files: Path, tmp_path: Path
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/good.ts"
        playlist = (bad_files / "list.m3u8").read_text().replace("good.ts", address)
        (tmp_path / "net.m3u8").write_text(playlist)
        named = run("-f", "hls", "-i", tmp_path / "net.m3u8", tmp_path / "out.mkv")
        assert named.code == 3, named.said
        with pytest.raises(TimeoutError):
            server.accept()
    local = run("-f", "concat", "-i", bad_files / "list.ffconcat", tmp_path / "out.mkv")
    assert local.code == 0, local.said


RAW = ["-s", "64x48", "-pix_fmt", "gray", "-r", "25"]
FRAME = bytes(range(256)) * 12  # 64x48 gray
PIPED: dict[str, tuple[Sequence[str], bytes, int, str]] = {  # arguments, stdin, exit code, error
    "nothing": ([], b"", 3, "standard input is empty"),
    "text": ([], b"this is no video\n" * 50, 3, "standard input is text, not video"),
    "noise": ([], FRAME * 3, 2, NO_HEADER),
    "black": ([], bytes(100000), 2, NO_HEADER),
    "no -r": (RAW[:4], FRAME, 2, "raw video needs -s, -pix_fmt and -r: -s 64x48 -pix_fmt gray is"),
    "not one frame": (
        RAW,
        FRAME[:-1],
        3,
        "standard input: 3071 bytes are not even one frame of 64",
    ),
    "no such pix_fmt": (["-pix_fmt", "x", *RAW[:2], *RAW[4:]], FRAME, 2, "pixel format 'x' is unk"),
    "too large": (["-s", "99999x99999", *RAW[2:]], FRAME, 2, "standard input: a picture of 99999x"),
    "y4m of nothing": (
        [],
        b"YUV4MPEG2 W64 H48 F25:1 Cmono\n",
        3,
        "standard input: no video frames",
    ),
    "y4m of no size": ([], b"YUV4MPEG2 F25:1\nFRAME\n", 3, "standard input: y4m width W is not a"),
    "y4m of a huge size": (
        [],
        b"YUV4MPEG2 W99999 H99999 F25:1\nFRAME\n",
        3,
        "standard input: a pic",
    ),
    "mkv header": ([], b"\x1a\x45\xdf\xa3" + bytes(99), 3, "standard input: "),
}


@pytest.mark.parametrize("case", PIPED)
def test_piped_input_that_is_refused(case: str):
    words, data, code, message = PIPED[case]
    ended = run(*words, stdin=data)
    assert (ended.code, ended.out) == (code, b""), ended.said
    assert ended.error.startswith(message)


def test_a_last_frame_that_is_not_whole():
    ended = run(*RAW, "--fps", "50", "-f", "rawvideo", "-", stdin=FRAME * 3 + FRAME[:100])
    assert (ended.code, ended.out) == (0, b"".join([FRAME] * 6))
    assert len(ended.said) == 1
    assert "100 trailing bytes: is -s/-pix_fmt right?" in ended.warnings[0]


def test_an_unreadable_file(bad_files: Path, tmp_path: Path):
    locked = tmp_path / "locked.mkv"
    locked.write_bytes((bad_files / "one.mp4").read_bytes())
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("the superuser reads everything")
    ended = run("-i", locked, tmp_path / "out.mkv")
    assert (ended.code, ended.error) == (3, f"{locked}: Permission denied")


def test_one_damaged_timestamp_of_the_sound_costs_one_packet(tmp_path: Path):
    """One packet of sound lies 24 days ahead, at which libav's mp4 muxer would abort."""
    clip = make_clip(tmp_path / "a.flv", *AUDIO, "-c:v", "flv1", seconds=1)
    data = bytearray(clip.read_bytes())
    tags = [match.start() for match in re.finditer(rb"\x08\0..\0..\0\0\0\0\xaf\x01", data, re.S)]
    data[tags[len(tags) // 2] + 7] = 0x7F  # the highest byte of the time in milliseconds
    clip.write_bytes(data)
    ended = run("-i", clip, tmp_path / "out.mp4")
    assert ended.code == 0, ended.said
    assert "1 damaged packets beside the video are left out" in ended.warnings[-1]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(packet.size > 0 for packet in container.demux(audio=0)) >= len(tags) - 1
