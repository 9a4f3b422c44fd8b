"""Side data of frames, types that PyAV does not know included."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import pytest
from support.tools import TIMEOUT, ffmpeg

import ltxfilter
from ltxfilter.media.avframe import types_of
from ltxfilter.media.carried.frame_items import _is_profile_5, frame_items


def exif_clip(folder: Path) -> Path:
    """Write a time lapse of JPEG pictures with Exif data, as cameras make it."""
    subprocess.run(
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2", folder / "%03d.jpg"),
        check=True,
        timeout=TIMEOUT,
    )
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    marker = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    path = folder / "lapse.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_mux_stream("mjpeg", rate=25, width=64, height=48)
        for number, name in enumerate(sorted(folder.glob("*.jpg"))):
            data = name.read_bytes()
            packet = av.Packet(data[:2] + marker + data[2:])
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = True
            output.mux(packet)
    return path


def test_side_data_that_is_new_to_pyav_does_no_harm(tmp_path: Path):
    clip = exif_clip(tmp_path)
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    assert 31 in types_of(frame, range(40))
    assert [item.what for item in frame_items(frame)] == ["Exif data"]
    progress = ltxfilter.convert(clip, tmp_path / "out.mp4", engine="blend")
    assert progress.frames_out == 10


def test_one_graph_asks_for_all_types(monkeypatch: pytest.MonkeyPatch):
    made: list[av.filter.Graph] = []
    real = av.filter.Graph

    def graph() -> av.filter.Graph:
        made.append(real())
        return made[-1]

    frame = av.VideoFrame(64, 48, "yuv420p")
    monkeypatch.setattr(av.filter, "Graph", graph)
    assert types_of(frame, range(1, 33)) == []
    assert [graph.threads for graph in made] == [1]


def test_dolby_visions_own_colours_are_told_by_its_header():
    def metadata(profile: int, full_range: int) -> bytes:
        header = struct.pack("<BxHBBBBBBB", 2, 18, profile, 0, 1, 0, 23, 1, full_range)
        return struct.pack("@N", 48) + bytes(40) + header + bytes(20)

    assert _is_profile_5(metadata(0, 1))
    assert not _is_profile_5(metadata(1, 0))
    assert not _is_profile_5(metadata(0, 0))


@pytest.mark.parametrize(
    ("options", "named"), [((), []), (("-timecode", "01:00:00:00"), ["the time codes of GOPs"])]
)
def test_time_codes_of_gops_are_named_where_they_say_a_time(
    tmp_path: Path, options: tuple[str, ...], named: list[str]
):
    clip = tmp_path / "a.mpg"
    picture = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2")
    subprocess.run(
        ffmpeg(*picture, "-c:v", "mpeg2video", *options, clip), check=True, timeout=TIMEOUT
    )
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    assert [item.what for item in frame_items(frame)] == named
