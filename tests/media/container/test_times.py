"""Containers in and out: exact times, rates, durations, originals bit for bit."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media import (
    audio_packets,
    convert_held,
    decoded,
    make_video,
    md5,
    ramp,
    shown,
    sound_lag,
)

from ltxfilter.errors import InputError, OutputError
from ltxfilter.media.avframe import view
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.packet_timing import scan
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import InputOptions

F = Fraction
LOSSLESS = {"codec": "libx264", "encoder": {"qp": "0", "preset": "ultrafast"}}
RATES = {
    "bbb60_1080_overlay.webm": F(60),
    "tos332_multishot.webm": F(24),
    "car432.mp4": F(25, 2),
    "cups720.mp4": F(30000, 1001),
    "sample_with_ass_subtitles.mkv": F(30),
    "sample_with_srt.mkv": F(30),
    "sample_with_pgs_subtitles.mkv": None,  # stamped 1 and 2 ms apart
    "sample_with_chapters.mkv": F(30),
    "sample_with_vorbis_audio.mkv": F(30),
    "sample_with_chapters.mp4": F(30000, 1001),
    "bt601.mov": F(30000, 1001),
    "sample.avi": F(24000, 1001),
    "bbb_2500ms.ts": F(24),
    "hdr10-video-with-sdr-container.mp4": None,
    "pixel7_videoOnly_cleaned.mp4": None,
}


def open_source(path: Path, **options: object) -> ContainerSource:
    return ContainerSource(InputOptions(path=str(path), **options))  # type: ignore[arg-type]


def digests(path: Path) -> list[str]:
    found = []
    for frame in decoded(path):
        shapes = plane_shapes(frame.format.name.replace("yuvj", "yuv"), frame.width, frame.height)
        found.append(md5(view(frame, shapes)))
    return found


@pytest.mark.parametrize("name", RATES)
def test_rate_is_found_in_the_packet_times(clips: Path, name: str) -> None:
    path = next(clips.glob(f"*/{name}"))
    found = scan(InputOptions(path=str(path)))
    assert found is not None
    assert found.rate == RATES[name]


@pytest.mark.parametrize("name", ["bbb60_1080_overlay.webm", "sample_with_chapters.mkv"])
def test_millisecond_times_are_snapped_to_the_rate(clips: Path, name: str) -> None:
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


@settings(max_examples=12)
@given(
    rate=st.sampled_from([F(24), F(24000, 1001), F(25), F(30000, 1001), F(48), F(60000, 1001)]),
    gaps=st.lists(st.integers(1, 2), min_size=40, max_size=60),
)
def test_rounded_times_find_their_way_back(
    tmp_path_factory, rate: Fraction, gaps: list[int]
) -> None:
    steps = [sum(gaps[:i]) for i in range(len(gaps))]
    if sorted(gaps[:-1])[len(gaps) // 2] != 1:
        gaps = [1] * len(gaps)
        steps = list(range(len(gaps)))
    path = tmp_path_factory.mktemp("rate") / "a.mkv"
    make_video(
        path,
        len(gaps),
        size=(16, 16),
        rate=rate,
        codec="mpeg4",
        pts=lambda i: steps[i],
    )
    found = scan(InputOptions(path=str(path)))
    assert found is not None
    assert found.rate == rate
    assert list(found.times) == [k / rate for k in steps]


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
    convert_held(path, out, "50", **LOSSLESS)
    before, after = digests(path), digests(out)
    assert len(set(before)) == len(before) == 10
    assert after[::2] == before
    assert after[1::2] == before  # held


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
    convert_held(path, out, fps, **LOSSLESS)
    before, after = digests(path), digests(out)
    ratio = F(fps) / rate if fps != "59.94" else F(60000, 1001) / rate
    hits = [i for i in range(10) if (i * ratio).denominator == 1]
    assert len(hits) == passed
    assert [after[int(i * ratio)] for i in hits] == [before[i] for i in hits]


def test_ten_bit_ffv1_passes_bit_for_bit(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv422p10le")
    convert_held(path, tmp_path / "out.mkv", "50", codec="ffv1", encoder={})
    assert digests(tmp_path / "out.mkv")[::2] == digests(path)


def test_variable_source_keeps_its_own_times(tmp_path: Path) -> None:
    stamps = [0, 100, 130, 290, 300, 444, 480, 610, 650, 801]
    path = make_video(tmp_path / "in.mp4", rate=F(1000), pts=lambda i: stamps[i])
    convert_held(path, tmp_path / "out.mp4", "source", **LOSSLESS)
    times = shown(tmp_path / "out.mp4").times
    assert times[::2] == [F(stamp, 1000) for stamp in stamps]
    assert digests(tmp_path / "out.mp4")[::2] == digests(path)


FORMATS = sorted(
    path.name
    for path in (Path(__file__).parents[4] / "shared" / "clips" / "formats").glob("*.*")
    if path.suffix != ".md"
)


@pytest.mark.parametrize("name", FORMATS)
def test_duration_sound_and_lag_are_kept(clips: Path, tmp_path: Path, name: str) -> None:
    path = clips / "formats" / name
    out = tmp_path / f"out{path.suffix}"
    writing = {"codec": None, "encoder": {}} if path.suffix == ".avi" else {}
    sink = convert_held(path, out, "auto", **writing)
    rate = max(sink.mux_plan.rate or 0, F(1))
    assert abs(shown(out).duration - shown(path).duration) * rate < F(1, 2)
    lag, now = sound_lag(path), sound_lag(out)
    if lag is not None:
        assert now is not None
        assert abs(now - lag) < F(1, 1000)
        assert audio_packets(out) == audio_packets(path)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov"])
@pytest.mark.parametrize(
    "name", ["sample_fragmented.mp4", "sample_15fps_720p_1s.mp4", "bbb_2500ms.ts"]
)
def test_lag_is_kept_across_containers(clips: Path, tmp_path: Path, name: str, suffix: str) -> None:
    path, out = clips / "formats" / name, tmp_path / f"out.{suffix}"
    sink = convert_held(path, out, "auto")
    lag, now = sound_lag(path), sound_lag(out)
    assert lag is not None
    assert now is not None
    assert abs(now - lag) <= F(1, 1000)
    assert abs(shown(out).duration - shown(path).duration) * (sink.mux_plan.rate or 0) < F(1, 2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_part_of_a_file(tmp_path: Path, suffix: str) -> None:
    options = {"g": "10", "qp": "0", "preset": "ultrafast"}
    path = make_video(tmp_path / f"in.{suffix}", 50, options=options, audio=True)
    out = tmp_path / f"out.{suffix}"
    cut = {"start": F("0.72"), "duration": F("0.8")}
    convert_held(path, out, "50", reading=cut, **LOSSLESS)
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


def test_scan_obeys_trimming(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 50)
    found = scan(InputOptions(path=str(path), start=F(1), end=F("1.5")))
    assert found is not None
    assert list(found.times) == [F(25 + i, 25) for i in range(13)]
    assert found.end == F("1.52")
    assert found.frame_times().times == [F(i, 25) for i in range(13)]
    assert found.frame_times().duration == F("0.52")


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


def test_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(OutputError, match="is the input itself"):
        convert_held(path, path, "50", overwrite=True)


class Pipe:
    """Bytes that come once, without seek."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()

    def read(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        self._data = b""


@pytest.mark.parametrize("name", ["sample_with_srt.mkv", "sample_with_vorbis_audio.mkv"])
def test_pipe_looks_ahead_for_its_rate(clips: Path, name: str) -> None:
    """The headers of these files say 60."""
    path = clips / "formats" / name
    source = ContainerSource(InputOptions(path="-"), file=Pipe(path), format="matroska")
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == 30
    assert times == [times[0] + F(i, 30) for i in range(30)]


@pytest.mark.parametrize("rate", [None, F(50)])
def test_streams_without_stamps_are_counted_at_a_rate(tmp_path: Path, rate: F | None) -> None:
    path = make_video(tmp_path / "in.h264", options={"bf": "0"}, format="h264")
    source = open_source(path, rate=rate)
    times = [frame.time for frame in source.frames()]
    source.close()
    assert source.info.rate == (rate or 25)
    assert times == [i / (rate or F(25)) for i in range(10)]


def test_sample_aspect_goes_along_or_is_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.sample_aspect_ratio = F(4, 3)
        for index in range(5):
            frame = ramp(index, (64, 48))
            frame.pts, frame.time_base = index, F(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for suffix in ("mp4", "mkv", "ts", "mov"):
        convert_held(path, tmp_path / f"out.{suffix}", "50")
        with av.open(str(tmp_path / f"out.{suffix}")) as container:
            assert container.streams.video[0].sample_aspect_ratio == F(4, 3)
    assert "pixels are" not in caplog.text
    convert_held(path, tmp_path / "out.webm", "50", codec="libvpx-vp9", encoder={"b": "1M"})
    assert "libvpx-vp9 cannot say here that pixels are 4/3 wide" in caplog.text
