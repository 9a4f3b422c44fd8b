"""Exact times from the source to the output: rates, parts of a file, sync with the sound."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import pytest
from support.media import (
    audio_packets,
    convert_repeating,
    decoded,
    make_video,
    md5,
    ramp,
    shown,
    sound_lag,
)
from support.tools import TIMEOUT, ffmpeg, make_clip

import ltxfilter
from ltxfilter.errors import InputError
from ltxfilter.media.avframe import view
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import InputOptions

F = Fraction


LOSSLESS = {"codec": "libx264", "encoder": {"qp": "0", "preset": "ultrafast"}}


def open_source(path: Path, **options: object) -> ContainerSource:
    return ContainerSource(InputOptions(path=str(path), **options))  # type: ignore[arg-type]


def digests(path: Path) -> list[str]:
    found = []
    for frame in decoded(path):
        shapes = plane_shapes(frame.format.name.replace("yuvj", "yuv"), frame.width, frame.height)
        found.append(md5(view(frame, shapes)))
    return found


@pytest.mark.parametrize("rate", [F(24), F(30000, 1001), F(60000, 1001), F(60)])
def test_millisecond_times_are_snapped_to_the_rate(tmp_path: Path, rate: F) -> None:
    source = open_source(make_video(tmp_path / "in.mkv", 40, rate=rate))
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == rate
    assert times == [times[0] + i / rate for i in range(40)]


@pytest.mark.parametrize("name", ["bbb60_1080_overlay.webm", "sample_with_chapters.mkv"])
def test_millisecond_times_of_real_files_are_snapped(clips: Path, name: str) -> None:
    source = open_source(next(clips.glob(f"*/{name}")))
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate is not None
    assert times == [times[0] + i / source.info.rate for i in range(len(times))]


def test_missing_frames_do_not_hide_the_rate(tmp_path: Path) -> None:
    kept = [0, 1, 2, 5, 6, 7, 8, 9, 11, 12]
    path = make_video(tmp_path / "a.mkv", rate=F(30000, 1001), pts=lambda i: kept[i])
    source = open_source(path)
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == F(30000, 1001)
    assert times == [k * F(1001, 30000) for k in kept]


def test_variable_rate_is_said(tmp_path: Path) -> None:
    stamps = [0, 100, 130, 290, 300, 444, 480, 610, 650, 801]
    path = make_video(tmp_path / "a.mp4", rate=F(1000), pts=lambda i: stamps[i])
    source = open_source(path)
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate is None
    assert source.info.interval is not None
    assert times == [F(stamp, 1000) for stamp in stamps]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_originals_pass_bit_for_bit(tmp_path: Path, suffix: str, pix_fmt: str) -> None:
    path = make_video(
        tmp_path / f"in.{suffix}", pix_fmt=pix_fmt, options={"qp": "0", "preset": "ultrafast"}
    )
    out = tmp_path / f"out.{suffix}"
    convert_repeating(path, out, "50", **LOSSLESS)
    before, after = digests(path), digests(out)
    assert len(set(before)) == len(before) == 10
    assert after[::2] == before
    assert after[1::2] == before  # repeated


@pytest.mark.parametrize(
    ("rate", "fps", "passed"),
    [(F(25), "50", 10), (F(24), "60", 5), (F(24000, 1001), "59.94", 5)],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_originals_fall_on_their_instants(
    tmp_path: Path, rate: Fraction, fps: str, passed: int, suffix: str
) -> None:
    path = make_video(tmp_path / f"in.{suffix}", rate=rate, options={"qp": "0"})
    out = tmp_path / f"out.{suffix}"
    convert_repeating(path, out, fps, **LOSSLESS)
    before, after = digests(path), digests(out)
    ratio = F(fps) / rate if fps != "59.94" else F(60000, 1001) / rate
    hits = [i for i in range(10) if (i * ratio).denominator == 1]
    assert len(hits) == passed
    assert [after[int(i * ratio)] for i in hits] == [before[i] for i in hits]


def test_ten_bit_ffv1_passes_bit_for_bit(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv422p10le")
    convert_repeating(path, tmp_path / "out.mkv", "50", codec="ffv1", encoder={})
    assert digests(tmp_path / "out.mkv")[::2] == digests(path)


def test_variable_source_keeps_its_own_times(tmp_path: Path) -> None:
    stamps = [0, 100, 130, 290, 300, 444, 480, 610, 650, 801]
    path = make_video(tmp_path / "in.mp4", rate=F(1000), pts=lambda i: stamps[i])
    convert_repeating(path, tmp_path / "out.mp4", "source", **LOSSLESS)
    times = shown(tmp_path / "out.mp4").times
    assert times[::2] == [F(stamp, 1000) for stamp in stamps]
    assert digests(tmp_path / "out.mp4")[::2] == digests(path)


FORMATS = sorted(
    path.name
    for path in (Path(__file__).parents[5] / "shared" / "clips" / "formats").glob("*.*")
    if path.suffix != ".md"
)


def check_sync(path: Path, out: Path, rate: F | None) -> None:
    """Assert that an output lasts as long as its input, and that its sound is as late."""
    assert abs(shown(out).duration - shown(path).duration) * max(rate or F(0), F(1)) <= F(1, 2)
    lag, now = sound_lag(path), sound_lag(out)
    assert (lag is None) == (now is None)
    if lag is not None and now is not None:
        assert abs(now - lag) <= F(1, 1000)


@pytest.mark.parametrize("rate", [F(15), F(24000, 1001), F(25)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts", "avi"])
def test_duration_and_sound_are_kept(tmp_path: Path, suffix: str, rate: F) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = make_video(tmp_path / f"in.{suffix}", 24, rate=rate, codec=codec, audio=True)
    out = tmp_path / f"out.{suffix}"
    writing = {"codec": None, "encoder": {}} if suffix == "avi" else {}
    sink = convert_repeating(path, out, "auto", **writing)
    check_sync(path, out, sink.mux_plan.rate)
    assert audio_packets(out) == audio_packets(path)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov"])
@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_lag_is_kept_across_containers(
    rich: dict[str, Path], tmp_path: Path, kind: str, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    sink = convert_repeating(rich[kind], out, "auto", subtitles=False)
    assert sound_lag(out) != 0
    check_sync(rich[kind], out, sink.mux_plan.rate)


@pytest.mark.parametrize("name", FORMATS)
def test_duration_and_sound_of_real_files_are_kept(clips: Path, tmp_path: Path, name: str) -> None:
    path = clips / "formats" / name
    out = tmp_path / f"out{path.suffix}"
    writing = {"codec": None, "encoder": {}} if path.suffix == ".avi" else {}
    sink = convert_repeating(path, out, "auto", **writing)
    check_sync(path, out, sink.mux_plan.rate)
    if sound_lag(path) is not None:
        assert audio_packets(out) == audio_packets(path)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov"])
@pytest.mark.parametrize(
    "name", ["sample_fragmented.mp4", "sample_15fps_720p_1s.mp4", "bbb_2500ms.ts"]
)
def test_lag_of_real_files_is_kept_across_containers(
    clips: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    path, out = clips / "formats" / name, tmp_path / f"out.{suffix}"
    sink = convert_repeating(path, out, "auto")
    assert sound_lag(path) is not None
    check_sync(path, out, sink.mux_plan.rate)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_part_of_a_file(tmp_path: Path, suffix: str) -> None:
    options = {"g": "10", "qp": "0", "preset": "ultrafast"}
    path = make_video(tmp_path / f"in.{suffix}", 50, options=options, audio=True)
    out = tmp_path / f"out.{suffix}"
    cut = {"start": F("0.72"), "duration": F("0.8")}
    convert_repeating(path, out, "50", reading=cut, **LOSSLESS)
    assert digests(out)[::2] == digests(path)[18:38]
    times = shown(out).times
    assert abs(times[0]) < F(1, 20)
    assert shown(out).duration == pytest.approx(F("0.8"), abs=0.001)
    with av.open(str(out)) as container:
        sound = [p.pts * p.time_base for p in container.demux(audio=0) if p.pts is not None]
    assert F("0.75") < sound[-1] - sound[0] < F("0.8")


@pytest.mark.parametrize("start", [1, 5, 25, 49])
def test_a_start_far_from_the_only_keyframe(tmp_path: Path, start: int) -> None:
    """Transport streams are sought by decoding times, which come before those of showing."""
    options = {"g": "1000", "bf": "2"}
    path = make_video(tmp_path / "in.ts", 75, options=options)
    source = open_source(path, start=F(start, 25))
    first = md5(next(iter(source.frames())).planes)
    source.close()
    wanted = next(islice(decoded(path), start, None))
    assert first == md5(view(wanted, source.info.layout))


def test_start_after_the_end_is_an_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    source = open_source(path, start=F(5))
    with pytest.raises(InputError, match=r"in\.mp4: no video frames between -ss"):
        list(source.frames())
    source.close()


def test_frames_whose_time_does_not_advance_are_dropped(tmp_path: Path) -> None:
    """A source whose stamps repeat loses those frames, and says how many."""
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=32, height=32)
        packets = [packet for i in range(6) for packet in stream.encode(ramp(i, (32, 32)))]
        for packet, stamp in zip(packets, [0, 1, 2, 2, 3, 4], strict=True):
            packet.pts = packet.dts = stamp
            packet.time_base = F(1, 25)
            container.mux(packet)
    source = open_source(path)
    times = [frame.time for frame in source.frames()]
    source.close()
    assert times == [F(k, 25) for k in range(5)]
    assert source.counts.out_of_order == 1


@pytest.mark.parametrize("rate", [None, F(50)])
def test_streams_without_stamps_are_counted_at_a_rate(tmp_path: Path, rate: F | None) -> None:
    path = make_video(tmp_path / "in.h264", options={"bf": "0"}, format="h264")
    source = open_source(path, rate=rate)
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == (rate or 25)
    assert times == [i / (rate or F(25)) for i in range(10)]


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_before_the_first_stated_time_are_shown(
    tmp_path: Path, suffix: str, bframes: int
) -> None:
    coding = ("-c:v", "mpeg2video", "-bf", bframes, "-q:v", 1)
    clip = make_clip(tmp_path / "whole.ts", *coding, seconds=0.6)
    data = bytearray(clip.read_bytes())
    for header in list(re.finditer(rb"\0\0\x01\xe0", data))[:3]:
        data[header.start() + 7] &= 0x3F  # neither pts nor dts
    late = tmp_path / "late.ts"
    late.write_bytes(data)
    out = tmp_path / f"out.{suffix}"
    ltxfilter.convert(late, out, engine="hold", fps="50")
    words = ffmpeg("-i", out, "-fps_mode", "passthrough", "-f", "framemd5", "-")
    played = subprocess.run(words, check=True, capture_output=True, timeout=TIMEOUT).stdout
    assert len([line for line in played.splitlines() if not line.startswith(b"#")]) == 30
