"""Which part of an input is read, how fast, and with which options of libav."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.media import shown
from support.tools import make_clip

import ltxfilter
from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame
from ltxfilter.pipeline import stages


def lengths(path: Path) -> tuple[int, float]:
    """Return the number of pictures, and the seconds of sound."""
    with av.open(str(path)) as container:
        pictures = sum(1 for _ in container.decode(video=0))
    with av.open(str(path)) as container:
        ends = [packet.pts + packet.duration for packet in container.demux(audio=0) if packet.size]
        return pictures, float(max(ends) * container.streams.audio[0].time_base)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of video with half a second of sound."""
    path = tmp_path_factory.mktemp("parts") / "uneven.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000)
        for index in range(25):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = index
            container.mux(video.encode(frame))
        for start in range(0, 4000, 160):
            samples = av.AudioFrame(format="s16", layout="mono", samples=160)
            samples.sample_rate, samples.pts = 8000, start
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
    return path


def test_the_output_ends_with_the_shortest_stream_where_that_is_asked_for(
    uneven: Path, tmp_path: Path
):
    out = tmp_path / "out.mkv"
    ltxfilter.convert(uneven, out, engine="hold", shortest=True)
    pictures, seconds = lengths(out)
    assert math.isclose(pictures / 50, 0.5, abs_tol=0.05)
    assert math.isclose(seconds, 0.5, abs_tol=0.05)
    for silent in ({"audio": False}, {"maps": ["0:v"]}):
        ltxfilter.convert(uneven, out, engine="hold", shortest=True, overwrite=True, **silent)
        with av.open(str(out)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 50


def test_lengths_that_the_input_does_not_state_are_asked_for(uneven: Path, tmp_path: Path):
    live = tmp_path / "live.mkv"
    ltxfilter.convert(uneven, live, engine="hold", muxer={"live": "1"})
    with pytest.raises(OptionError, match="-shortest: the input does not say how long its stream"):
        ltxfilter.convert(live, tmp_path / "out.mkv", engine="hold", shortest=True)


def test_the_output_ends_after_some_frames_and_its_sound_with_it(uneven: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    progress = ltxfilter.convert(uneven, out, engine="hold", frames=10)
    assert progress.frames_out == 10
    pictures, seconds = lengths(out)
    assert pictures == 10
    assert seconds < 0.3
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    ltxfilter.convert(uneven, out, engine="hold", frames=1000, overwrite=True)
    assert lengths(out)[0] == 50


@pytest.mark.parametrize("frames", [1, 7])
def test_frames_are_counted_in_every_kind_of_output(uneven: Path, tmp_path: Path, frames: int):
    for name in ("out.y4m", "out.mp4", "out.nut"):
        ltxfilter.convert(uneven, tmp_path / name, engine="hold", frames=frames)
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == frames


def test_reading_can_start_before_the_end(uneven: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    ltxfilter.convert(uneven, out, engine="hold", from_end=0.4)
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    ltxfilter.convert(uneven, out, engine="hold", from_end=99, overwrite=True)
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50


def test_the_end_of_headerless_video_is_not_known(tmp_path: Path, uneven: Path):
    ltxfilter.convert(uneven, tmp_path / "a.y4m", engine="hold")
    with pytest.raises(OptionError, match="-sseof: such video does not say how long it is"):
        ltxfilter.convert(tmp_path / "a.y4m", tmp_path / "b.mkv", from_end=1)


def test_options_reach_the_demuxer(tmp_path: Path):
    source = tmp_path / "a.mp4"
    make_clip(source)
    ltxfilter.convert(source, tmp_path / "b.mp4", engine="hold", end=0.2, metadata={"title": "T"})
    assert shown(tmp_path / "b.mp4")
    with pytest.raises(OptionError, match="-fflags zzz: FFmpeg does not take this value"):
        ltxfilter.convert(source, tmp_path / "c.mp4", demuxer={"fflags": "zzz"})
    with pytest.raises(OptionError, match="-probesize many: FFmpeg does not take this value"):
        ltxfilter.convert(source, tmp_path / "c.mp4", demuxer={"probesize": "many"})


def test_a_value_that_a_muxer_does_not_take_is_named(uneven: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="-movflags zzz: mp4 does not take this value"):
        ltxfilter.convert(
            uneven, tmp_path / "a.mp4", audio=False, muxer={"brand": "mp42", "movflags": "zzz"}
        )


def test_a_demuxer_does_as_it_is_told(tmp_path: Path):
    """An mp4 whose edit list leaves out the first half shows it all where that is passed over."""
    long, cut = tmp_path / "long.mp4", tmp_path / "cut.mp4"
    make_clip(long)
    with av.open(str(long)) as given, av.open(str(cut), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        shift = round(0.4 / given.streams.video[0].time_base)
        for packet in given.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)
    counts = {}
    for value in ("0", "1"):
        out = tmp_path / f"out{value}.mkv"
        counts[value] = ltxfilter.convert(
            cut, out, engine="hold", demuxer={"ignore_editlist": value}
        ).frames_in
    assert counts["0"] < counts["1"]


def test_times_that_would_change_are_refused_where_they_are_to_stay(uneven: Path, tmp_path: Path):
    from ltxfilter.options import InputOptions, Options, OutputOptions
    from ltxfilter.pipeline.run import run

    late = tmp_path / "late.ts"
    ltxfilter.convert(
        uneven, late, engine="hold", audio=False, muxer={"output_ts_offset": "5"}, end=0.2
    )

    def options(path: Path, name: str) -> Options:
        return Options(
            input=InputOptions(path=path, keep_times=True),
            output=OutputOptions(path=tmp_path / name, audio=False),
            engine="hold",
        )

    run(options(uneven, "a.mkv"))
    with pytest.raises(OptionError, match=r"-copyts: the output starts at 0, but .*late.ts at 5"):
        run(options(late, "b.mkv"))


def test_hardware_that_is_chosen_by_itself_falls_back_to_the_cpu(uneven: Path, tmp_path: Path):
    found = ltxfilter.convert(uneven, tmp_path / "a.mkv", engine="hold", hwaccel="auto")
    assert found.frames_in == 25


def test_frames_are_paced_as_they_are_played(monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(stages, "monotonic", lambda: clock[0])
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(round(seconds, 6))
        clock[0] += seconds

    frames = [Frame(time=Fraction(7) + Fraction(number, 10), planes=()) for number in range(5)]
    leaving = []
    for frame in stages.paced(frames, Fraction(2), wait):
        leaving.append(round(clock[0] - 100, 6))
        clock[0] += 0.12 if frame is frames[1] else 0.01  # the second one takes long
    assert leaving == [0.0, 0.05, 0.17, 0.18, 0.2]
    assert waits == [0.04, 0.01]
