"""Live video: no slot waits longer than the stated latency; what cannot keep to it is refused."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import TIMEOUT, make_clip

import ltxfilter
from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame, PlaneShape, VideoInfo
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline import latency
from ltxfilter.pipeline.assemble import Assembly, assemble_engine
from ltxfilter.pipeline.latency import Latency, Lateness, without_lookahead
from ltxfilter.pipeline.run import run
from ltxfilter.windows.missing import MissingFrames
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, WindowShape

LAYOUT = (PlaneShape("y", 64, 48, 0, 0, 8),)
INFO = VideoInfo(64, 48, "gray", LAYOUT, F(25), F(1, 25))
SHAPES = st.builds(
    WindowShape, keyframes=st.integers(2, 6), before=st.integers(0, 2), after=st.integers(0, 2)
)


class Script:
    """Answers from the right frame's first sample: 0 interpolate, 1 scene cut, 2 duplicate."""

    def join(self, left, right, reset):
        return [Join.INTERPOLATE, Join.CUT, Join.DUPLICATE][right.planes[0][0, 0]]


def worker(bound, engine="flow", info=INFO, **more):
    options = Options(max_latency=bound, engine=engine, **more)
    return assemble_engine(options, info, F(50)).runner


@given(
    marks=st.lists(st.sampled_from([0, 0, 0, 1, 2, 2, "corrupt"]), min_size=20, max_size=50),
    shape=SHAPES,
    smooth=st.booleans(),
    spare=st.integers(0, 5),
    rate=st.sampled_from([F(50), F(60), F(24), None]),
)
def test_no_slot_waits_longer_than_the_stated_latency(marks, shape, smooth, spare, rate):
    repeats = "smooth" if smooth else "report"
    said = Latency.of(shape, INFO, repeats)
    longest = F(spare, 25)
    rolling = RollingWindow(
        shape, rate, Script(), INFO.interval, repeats, missing=MissingFrames(longest=longest)
    )
    for number, mark in enumerate(marks):
        code = 0 if mark == "corrupt" else mark
        now = F(number, 25)
        planes = (np.full((2, 2), code, np.uint8),)
        for window in rolling.push(Frame(now, planes, corrupt=mark == "corrupt")):
            for slot in window.slots:
                assert now - slot.time <= said.ahead * (said.interval + longest)


def test_flow_looks_ahead_only_if_there_is_time(caplog):
    assert worker(F(120, 1000)).shape.after == 1
    assert not caplog.text
    assert worker(F(119, 1000)).shape.after == 0
    assert "flow looks no frame ahead" in caplog.text
    assert worker(F(80, 1000), "auto").shape.after == 0
    assert worker(F(80, 1000), "blend").shape.after == 0
    assert worker(F(80, 1000), "flow:curved=0").shape.after == 0


@pytest.mark.parametrize(
    ("bound", "engine", "more", "says"),
    [
        (F(79, 1000), "flow", {}, "at this frame rate no engine takes less than 80 ms"),
        (
            F(79, 1000),
            "blend",
            {},
            "engine blend takes 80 ms (1 source frame ahead, 1 to interpolate)",
        ),
        (F(3, 25), "flow:lookahead=0", {"repeats": "smooth"}, "with --repeats report"),
        (F(3, 25), "blend", {"repeats": "smooth"}, "use --engine flow or flow:lookahead=0 or"),
    ],
)
def test_a_bound_that_cannot_be_kept_is_refused_with_what_can_be_done(bound, engine, more, says):
    with pytest.raises(OptionError, match=re.escape(says)) as caught:
        worker(bound, engine, **more)
    assert caught.value.exit_code == 2


def test_engines_that_draw_many_frames_at_once_are_refused(monkeypatch):
    from ltxfilter.engines.blend import Blend

    monkeypatch.setattr(Blend, "open", lambda *_, **__: WindowShape(keyframes=9, slots=0))
    with pytest.raises(
        OptionError, match=r"640 ms \(8 source frames ahead, 8 to interpolate\); use"
    ):
        worker(F(1, 2), "blend")
    assert worker(F(64, 100), "blend").shape.keyframes == 9


def test_a_variable_rate_counts_with_its_longest_interval():
    info = VideoInfo(64, 48, "gray", LAYOUT, None, F(1, 25))
    assert Latency.of(WindowShape(), info).seconds == F(2, 10)


def test_spans_that_cannot_be_waited_for_are_refused():
    options = Options(max_latency=F(1, 5), redraw=((F(1), F(3, 2)),), engine="blend")
    with pytest.raises(OptionError, match="no more than 120 ms in one go"):
        assemble_engine(options, INFO, F(50))
    assemble_engine(replace(options, max_latency=None), INFO, F(50)).close()


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(OptionError, match="above 0"):
        Options(max_latency=F(0))
    with pytest.raises(OptionError, match="--speed"):
        Options(max_latency=F(1), speed=F(1, 2))


def test_only_engines_with_a_lookahead_can_do_without():
    assert without_lookahead("flow:preset=fast") == "flow:preset=fast:lookahead=0"
    assert without_lookahead("flow:lookahead=1") == "flow:lookahead=0"
    assert without_lookahead("flow:lookahead=0") is None
    assert without_lookahead("hold") is None


def test_small_frames_do_not_wait_for_each_other():
    """Without a bound, frames of 3 KB change threads in groups of 128 KiB; with one, each alone."""
    size = 64 * 48
    words = ["-f", "rawvideo", "-s", "64x48", "-pix_fmt", "gray", "-r", "25", "--fps", "50"]
    words += ["--engine", "blend", "--max-latency", "5", "-v", "error", "-f", "rawvideo", "-"]
    command = [sys.executable, "-m", "ltxfilter", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        got = 0
        for number in range(4):
            os.write(process.stdin.fileno(), bytes([40 * number]) * size)
            while got < 2 * number * size:  # the output up to the previous frame
                ready, _, _ = select.select([process.stdout], [], [], TIMEOUT)
                assert ready, f"frame {number} brought nothing"
                got += len(os.read(process.stdout.fileno(), size))
        process.stdin.close()
        got += len(process.stdout.read())
    assert process.returncode == 0
    assert got == 8 * size


def test_frames_that_leave_too_late_are_reported_once(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(latency, "perf_counter", lambda: now[0])
    live = Lateness(F(1, 5))
    source = live.arriving(Frame(F(n, 25), ()) for n in range(60))
    for number in range(60):
        assert next(source).time == F(number, 25)
        now[0] += 0.3 if number in (3, 40, 50) else 0.1  # seconds that the engine takes
        live.leaving(F(number, 25))
        live.leaving(F(2 * number + 1, 50))
        now[0] += 0.04
    assert live.worst == pytest.approx(0.3)
    assert caplog.text.count("--max-latency 200 ms is not kept: 300 ms late at 1.600 s") == 1
    assert caplog.text.count("not kept") == 1


def test_without_a_bound_nothing_is_measured_or_shortened(clip, tmp_path):
    options = Options(
        input=InputOptions(path=str(clip)), output=OutputOptions(path=str(tmp_path / "out.y4m"))
    )
    other = OutputOptions(path=str(tmp_path / "bounded.y4m"))
    live = replace(options, output=other, max_latency=F(1))
    with Assembly(options) as free, Assembly(live) as bounded:
        assert free.lateness() is None
        assert free.group_bytes > bounded.group_bytes == 1
        assert free.budget.decode_bytes > bounded.budget.decode_bytes == 1


@pytest.mark.parametrize(
    ("suffix", "made", "delay"),
    [
        ("y4m", [], 0),
        ("nut", ["-c:v", "rawvideo"], 0),
        ("ts", ["-c:v", "libx264", "-bf", "0"], 2),
        ("mkv", ["-c:v", "libx264", "-bf", "3"], 6),
    ],
)
def test_frames_that_reading_holds_back_count_too(tmp_path, suffix, made, delay):
    clip = make_clip(tmp_path / f"in.{suffix}", *made)
    least = F(2 + delay, 25)
    for bound, fits in ((least, True), (least - F(1, 1000), False)):
        options = Options(
            input=InputOptions(path=str(clip)),
            output=OutputOptions(path=str(tmp_path / "out.y4m"), overwrite=True),
            fps="50",
            max_latency=bound,
        )
        if fits:
            done = run(options)
            assert done.frames_out == 50
        else:
            with pytest.raises(OptionError, match="no engine takes less"):
                run(options)


def test_an_interpolator_keeps_to_the_bound():
    av = pytest.importorskip("av")

    def picture(number):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64), 9 * number, np.uint8), "gray")
        frame.pts, frame.time_base = number, F(1, 25)
        return frame

    with ltxfilter.Interpolator(50, fps_in=25, max_latency="100ms") as live:
        assert live.latency is None
        counts = []
        for number in range(5):
            live.push(picture(number))
            counts.append(len(list(live.frames())))
        assert live.latency == F(8, 100)
    assert counts == [0, 2, 2, 2, 2]
    with (
        ltxfilter.Interpolator(50, fps_in=25, max_latency=0.05) as live,
        pytest.raises(OptionError, match="no engine takes less"),
    ):
        live.push(picture(0))
