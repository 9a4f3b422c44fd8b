"""Whole runs on files: source frames and times are exact, memory is stated, ends are orderly."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from fractions import Fraction as F

import av
import numpy as np
import pytest
from support.tools import TIMEOUT, make_clip, samples

import ltxfilter
from ltxfilter.cli.commands import probe
from ltxfilter.engines.blend import Blend
from ltxfilter.errors import InputError, Interrupted, OptionError, OutputError
from ltxfilter.media.container import ContainerSink
from ltxfilter.media.container.mux import Muxer
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run, run
from ltxfilter.values import MIB

SIZE = "96x64"
FORMATS = {  # suffix of the source -> ffmpeg's options to write it, ours to read it
    "mp4": (["-c:v", "libx264"], {}),
    "mkv": (["-c:v", "libx264"], {}),
    "ts": (["-c:v", "libx264"], {}),
    "nut": (["-c:v", "rawvideo"], {}),
    "y4m": (["-strict", "-1"], {}),
    "yuv": (["-f", "rawvideo"], {"format": "rawvideo", "width": 96, "height": 64}),
}
RATES = [("25", "50"), ("24", "60"), ("24000/1001", "60000/1001")]


def split(data: bytes, depth: int) -> list[bytes]:
    size = 96 * 64 * 3 // 2 * (1 if depth == 8 else 2)
    assert len(data) % size == 0
    return [data[at : at + size] for at in range(0, len(data), size)]


def pix_fmt(depth: int) -> str:
    return "yuv420p" if depth == 8 else "yuv420p10le"


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(("rate", "fps"), RATES)
@pytest.mark.parametrize("stored", FORMATS)
def test_source_frames_pass_through_bit_exactly(tmp_path, stored, rate, fps, depth):
    made, given = FORMATS[stored]
    clip = make_clip(
        tmp_path / f"in.{stored}", "-pix_fmt", pix_fmt(depth), *made, size=SIZE, rate=rate
    )
    raw = ["-f", "rawvideo", "-s", SIZE, "-pix_fmt", pix_fmt(depth)] if stored == "yuv" else []
    if stored == "yuv":
        given = {**given, "pix_fmt": pix_fmt(depth), "rate": F(rate)}
    source = split(samples(clip, *raw), depth)
    target = tmp_path / "out.y4m"
    progress = run(
        Options(
            input=InputOptions(path=str(clip), **given),
            output=OutputOptions(path=str(target)),
            fps=fps,
            engine="blend",
            cuts=False,
        )
    )
    output = split(samples(target), depth)
    ratio = F(fps) / F(rate)
    assert len(output) == progress.frames_out == len(source) * ratio
    exact = [n for n in range(len(source)) if (n * ratio).denominator == 1]
    assert progress.passed == len(exact)
    assert all(output[int(n * ratio)] == source[n] for n in exact)


@pytest.mark.parametrize("stored", ["mp4", "mkv", "nut"])
def test_source_frames_of_a_variable_rate_pass_through_bit_exactly(tmp_path, stored):
    made, _ = FORMATS[stored]
    dropped = ["-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "passthrough"]
    clip = make_clip(tmp_path / f"in.{stored}", *dropped, *made, size=SIZE, rate="30")
    source = split(samples(clip), 8)
    progress = ltxfilter.convert(clip, tmp_path / "out.y4m", fps=60, engine="blend", cuts=False)
    output = split(samples(tmp_path / "out.y4m"), 8)
    times = [n for n in range(30) if n % 5 != 2]
    assert len(source) == len(times) == progress.passed
    assert all(output[2 * n] == frame for n, frame in zip(times, source, strict=True))


def test_a_source_timeline_is_doubled_in_place(tmp_path):
    dropped = ["-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "passthrough"]
    clip = make_clip(tmp_path / "in.mkv", *dropped, "-c:v", "libx264", size=SIZE, rate="30")
    target = tmp_path / "out.mkv"
    video = {"codec": "ffv1"}
    ltxfilter.convert(clip, target, fps="source", engine="blend", cuts=False, video=video)
    with av.open(str(target)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    expected = [n / 30 for n in range(30) if n % 5 != 2]
    assert len(times) == 2 * len(expected)
    assert times[::2] == pytest.approx(expected, abs=0.0011)


def test_a_rate_before_the_input_stamps_frames_anew(tmp_path, caplog):
    hasty = ["-vf", "settb=1/1000,setpts=2*N", "-fps_mode", "passthrough", "-c:v", "libx264"]
    clip = make_clip(tmp_path / "in.mkv", *hasty, "-enc_time_base", "1/1000", size=SIZE)
    ltxfilter.convert(clip, tmp_path / "hasty.mkv", engine="hold", fps=50)
    assert "2.0 ms apart; if that is wrong" in caplog.text
    options = Options(
        input=InputOptions(path=str(clip), rate=F(25)),
        output=OutputOptions(path=str(tmp_path / "out.mkv")),
        engine="hold",
        cuts=False,
    )
    progress = run(options)
    assert (progress.passed, progress.frames_out, progress.rate) == (25, 50, 50)


@pytest.mark.parametrize("count", [1, 2])
def test_a_handful_of_frames_is_enough(tmp_path, count):
    clip = make_clip(tmp_path / "in.mp4", "-frames:v", count, "-c:v", "libx264", size=SIZE)
    progress = ltxfilter.convert(clip, tmp_path / "out.mp4", fps=50)
    assert (progress.frames_in, progress.frames_out) == (count, 2 * count)


def test_flow_interpolates_and_the_counts_add_up(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size="160x120")
    seen = []
    progress = ltxfilter.convert(clip, tmp_path / "out.mkv", on_progress=seen.append)
    assert progress.frames_in == progress.passed == 25
    assert progress.passed + progress.interpolated + progress.repeated == 50
    assert progress.interpolated >= 20
    assert progress.out_time == F(49, 50)
    assert progress.duration == 1
    assert {stage.name for stage in progress.stages} == {"decode", "motion", "interpolate"}
    assert sum(progress.memory.values()) > 0


def test_engines_see_the_longer_intervals_of_another_speed(clip):
    options = Options(input=InputOptions(path=str(clip)), output=OutputOptions(path="a.mkv"))
    heard = []
    for speed in (F(1), F(1, 2)):
        plan = probe.plan(replace(options, fps="50", speed=speed))
        heard.append(plan.memory["interpolate"])
    assert heard[1] > heard[0]  # twice the slots between two keyframes


def test_speed_lasts_longer_and_drops_the_sound(tmp_path, clip, caplog):
    target = tmp_path / "out.mkv"
    progress = ltxfilter.convert(clip, target, fps=50, speed=F(1, 2), engine="blend", cuts=False)
    assert progress.frames_out == 100
    with av.open(str(target)) as container:
        assert not container.streams.audio
    assert "--speed" in caplog.text


def test_too_little_memory_is_refused_with_the_amount_that_is_enough(tmp_path, clip):
    with pytest.raises(OptionError, match=r"at least (\d+)M") as caught:
        ltxfilter.convert(clip, tmp_path / "out.mkv", memory=MIB)
    needed = int(str(caught.value).rpartition("at least ")[2].partition("M")[0])
    assert not list(tmp_path.glob("out*"))
    assert ltxfilter.convert(clip, tmp_path / "out.mkv", memory=needed * MIB).frames_out == 50
    with pytest.raises(OptionError):
        ltxfilter.convert(clip, tmp_path / "two.mkv", memory=(needed - 1) * MIB)


def test_the_same_frames_whatever_the_threads_and_the_memory(tmp_path, clip):
    outputs = []
    for threads, memory in [(1, 2048), (2, 2048), (4, 300)]:
        target = tmp_path / f"{threads}.y4m"
        ltxfilter.convert(clip, target, fps=60, threads=threads, memory=memory * MIB)
        outputs.append(target.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_cancel_keeps_the_part_that_is_done(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size=SIZE, seconds=20)
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(tmp_path / "out.mp4")),
        engine="blend",
    )
    with Run(options) as opened:
        with pytest.raises(Interrupted) as caught:
            opened.go(lambda _: opened.cancel(15))
        assert caught.value.exit_code == 143
    assert "out.mp4.part holds the first" in (opened.assembly.partial or "")
    assert not (tmp_path / "out.mp4").exists()
    with av.open(str(tmp_path / "out.mp4.part"), format="mov") as container:
        assert len(list(container.decode(video=0))) == opened.progress.frames_out > 0


def test_the_output_is_complete_before_a_slow_engine_is_waited_for(tmp_path, monkeypatch):
    drawing, part = threading.Event(), tmp_path / "out.mkv.part"
    sizes, drawn = [], Blend.draw

    def slow(self, window, motion):
        if window.index == 60:  # earlier ones have been written
            drawing.set()
            assert opened.left.wait(TIMEOUT)
            sizes.append(part.stat().st_size)
        yield from drawn(self, window, motion)

    def stop():
        assert drawing.wait(TIMEOUT)
        opened.cancel(15)

    monkeypatch.setattr(Blend, "draw", slow)
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size=SIZE, seconds=3)
    stopper = threading.Thread(target=stop)
    with Run(
        Options(
            input=InputOptions(path=str(clip)),
            output=OutputOptions(path=str(tmp_path / "out.mkv")),
            engine="blend",
            threads=1,
        )
    ) as opened:
        stopper.start()
        with pytest.raises(Interrupted):
            opened.go()
    stopper.join()
    assert sizes == [part.stat().st_size]
    with av.open(str(part), format="matroska") as container:
        assert len(list(container.decode(video=0))) == opened.progress.frames_out


def test_another_thread_completes_the_output_of_a_run_that_does_not_return(tmp_path, monkeypatch):
    """The encoder keeps the thread that writes inside one call."""
    stuck, encode, lines = threading.Event(), Muxer.encode, []

    def slow(self, picture):
        encode(self, picture)
        if picture is not None and picture.pts == 30:
            stuck.set()
            assert given_up.wait(TIMEOUT)
            encode(self, None)  # what comes now is too late

    def give_up():
        assert stuck.wait(TIMEOUT)
        opened.cancel(15)
        lines.append(opened.abandon(TIMEOUT))
        given_up.set()

    given_up = threading.Event()
    monkeypatch.setattr(Muxer, "encode", slow)
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size=SIZE, seconds=2)
    report = tmp_path / "report.json"
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(tmp_path / "out.mp4"), encoder={"rc-lookahead": "10"}),
        engine="hold",
        report=str(report),
    )
    thread = threading.Thread(target=give_up)
    with Run(options) as opened:
        thread.start()
        with pytest.raises(Interrupted):
            opened.go()
    thread.join()
    said = re.search(
        r"out\.mp4\.part holds the first .* s; lost in the encoder: (\d+) fr", lines[0]
    )
    assert 0 < int(said[1]) < 31
    with av.open(str(tmp_path / "out.mp4.part"), format="mov") as container:
        assert len(list(container.decode(video=0))) == 31 - int(said[1])
    assert json.loads(report.read_text())["ended"] == "stopped"


def test_a_stop_while_the_encoder_is_drained_leaves_the_rest_in_it(tmp_path, monkeypatch):
    finish = ContainerSink.finish

    def cancelled(sink):
        sink._muxer.hurry(0)
        opened.cancel(15)
        finish(sink)

    monkeypatch.setattr(ContainerSink, "finish", cancelled)
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", size=SIZE)
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(tmp_path / "out.mkv")),
        engine="hold",
    )
    with Run(options) as opened, pytest.raises(Interrupted):
        opened.go()
    assert "lost in the encoder: " in (opened.assembly.partial or "")
    assert [path.name for path in tmp_path.glob("out*")] == ["out.mkv.part"]


def test_an_error_while_drawing_ends_every_thread(tmp_path, clip, monkeypatch):
    def fails(self, window, motion):
        raise RuntimeError("the engine broke")
        yield

    monkeypatch.setattr(Blend, "draw", fails)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the engine broke"):
        ltxfilter.convert(clip, tmp_path / "out.mkv", engine="blend", cuts=False)
    assert threading.active_count() == before
    assert not (tmp_path / "out.mkv").exists()


def test_errors_are_raised_before_work_starts(tmp_path, clip):
    with pytest.raises(InputError, match=r"missing\.mp4"):
        ltxfilter.convert(tmp_path / "missing.mp4", tmp_path / "out.mkv")
    with pytest.raises(OptionError, match="no engine"):
        ltxfilter.convert(clip, tmp_path / "out.mkv", engine="magic")
    with pytest.raises(OptionError, match="colour"):
        ltxfilter.convert(clip, tmp_path / "out.mkv", colour="red")
    (tmp_path / "out.mkv").write_bytes(b"precious")
    with pytest.raises(OutputError, match="-y"):
        ltxfilter.convert(clip, tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv").read_bytes() == b"precious"


def test_a_static_picture_keeps_its_brightness(tmp_path):
    still = ["-vf", "trim=end_frame=1,loop=25:1:0,noise=alls=6:allf=t,setpts=N/25/TB"]
    clip = make_clip(tmp_path / "in.y4m", *still, size="320x240")
    ltxfilter.convert(clip, tmp_path / "out.y4m", fps=50)
    data = np.frombuffer(samples(tmp_path / "out.y4m"), np.uint8).reshape(-1, 320 * 240 * 3 // 2)
    means = data[:, : 320 * 240].mean(axis=1, dtype=np.float64)
    between = (means[:-2:2] + means[2::2]) / 2
    assert len(between) >= 20
    assert np.abs(means[1:-2:2] - between).max() < 0.05
