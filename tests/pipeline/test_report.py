"""The report is valid JSON however a run ends, and tells of every output frame once."""

from __future__ import annotations

import json
import signal
import subprocess
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tools import TIMEOUT, ltxfilter, make_clip, run_pipe

from ltxfilter import convert
from ltxfilter.engines import Drawn
from ltxfilter.engines.base import Choice
from ltxfilter.engines.blend import Blend
from ltxfilter.errors import Interrupted, OptionError, OutputError
from ltxfilter.frame import Credit, Frame, Made
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline import report
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.report import Report, ReportedWindow
from ltxfilter.pipeline.run import Run
from ltxfilter.windows.cuts import Note
from ltxfilter.windows.window import Interval, Join, Slot, Window

SIZE = "96x64"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("report") / "in.y4m", size=SIZE, seconds=2)


def read(path: Path) -> dict:
    assert not path.with_name(path.name + ".part").exists()
    return json.loads(path.read_text())


def frames_of(found: dict) -> list[dict]:
    return [frame for window in found["windows"] for frame in window["frames"]]


def test_the_report_tells_of_every_output_frame(clip: Path, tmp_path: Path):
    path = tmp_path / "out.json"
    spans = "0.4:0.5"
    done = convert(clip, tmp_path / "out.y4m", fps=60, engine="flow", redraw=spans, report=path)
    found = read(path)
    assert (found["format"], found["version"], found["ended"]) == (report.FORMAT, 2, "complete")
    assert found["input"]["rate"] == "25"
    assert found["options"]["redraw"] == [["2/5", "1/2"]]
    assert found["versions"]["ltxfilter"]
    out = frames_of(found)
    assert [frame["index"] for frame in out] == list(range(done.frames_out))
    made = [frame["made"] for frame in out]
    counts = [made.count(kind) for kind in ("source", "interpolated", "repeated")]
    assert counts == [done.passed, done.interpolated, done.repeated]
    assert all(
        f["engine"] == "flow" and f["psnr_db"] > 10 for f in out if f["made"] == "interpolated"
    )
    assert [time for w in found["windows"] for time in w.get("missing", [])] == [0.4, 0.44, 0.48]
    assert found["statistics"]["missing_interpolated"] == done.missing_interpolated == 3
    assert found["statistics"]["frames_out"] == done.frames_out
    for window in found["windows"]:
        keys = window["keyframes"]
        assert keys == sorted(keys)
        assert len(window["intervals"]) == window["last"] - window["first"]
        assert sum(window.get("engines", {}).values()) == sum(
            frame["made"] == "interpolated" for frame in window["frames"]
        )


class Odd(Blend):
    """Makes black pictures in every second window, and names another engine in the others."""

    name = "odd"
    can_be_wrong = True

    def draw(self, window, motion):
        for picture in super().draw(window, motion):
            if window.index % 2:
                yield Drawn(tuple(np.zeros_like(plane) for plane in picture.planes))
            else:
                yield Drawn(picture.planes, 31.234, Choice("best", 0.5, tried="best", share=0.75))


def test_the_report_tells_which_engine_made_a_frame_and_why(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ltxfilter import engines

    monkeypatch.setitem(engines.ENGINES, "odd", f"{__name__}:Odd")
    path = tmp_path / "out.json"
    done = convert(clip, tmp_path / "out.y4m", fps=50, engine="odd", report=path)
    drawn = [frame for frame in frames_of(read(path)) if frame["made"] == "interpolated"]
    assert {
        (frame["engine"], frame["psnr_db"], frame["difficulty"])
        for frame in drawn
        if "gate" in frame
    } == {("best", 31.23, 0.5)}
    assert drawn[0]["gate"] == {"tried": "best", "share": 0.75, "failed": False}
    again = [frame for frame in drawn if "rejected" in frame]
    assert len(again) == done.fallbacks > 10
    assert {frame["engine"] for frame in again} <= {"flow", "blend"}
    assert "mean left the range" in again[0]["rejected"]


def test_the_report_is_whole_after_an_early_end(clip: Path, tmp_path: Path):
    path, target = tmp_path / "out.json", tmp_path / "out.y4m"
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(target)),
        report=str(path),
        engine="blend",
    )
    with Run(options) as opened:
        write = opened.assembly.sink.write

        def writes(frame: Frame) -> None:
            write(frame)
            if opened.progress.frames_out == 20:
                opened.cancel(signal.SIGTERM)

        opened.assembly.sink.write = writes
        with pytest.raises(Interrupted):
            opened.go()
    found = read(path)
    assert found["ended"] == "stopped"
    assert found["error"] == "stopped by signal 15"
    assert found["statistics"]["frames_out"] == opened.progress.frames_out
    assert 0 < len(frames_of(found)) <= opened.progress.frames_out


def test_the_report_is_whole_after_a_failure(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(self, window, motion):
        if window.index == 9:
            raise RuntimeError("out of paint")
        return draw(self, window, motion)

    draw = Blend.draw
    monkeypatch.setattr(Blend, "draw", fails)
    path = tmp_path / "out.json"
    with pytest.raises(RuntimeError, match="out of paint"):
        convert(clip, tmp_path / "out.y4m", engine="blend", report=path)
    found = read(path)
    assert (found["ended"], found["error"]) == ("failed", "out of paint")


def test_the_report_of_a_run_in_a_pipe(clip: Path, tmp_path: Path):
    path = tmp_path / "out.json"
    done = run_pipe(["cat", str(clip)], ltxfilter("--engine", "blend", "--report", path))
    assert done.codes == [0, 0], done.err
    assert len(frames_of(read(path))) == 100


def test_the_report_is_whole_when_the_reader_leaves(clip: Path, tmp_path: Path):
    path = tmp_path / "out.json"
    words = ["-i", clip, "--engine", "blend", "--fps", 400, "--report", path, "-f", "yuv4mpegpipe"]
    done = run_pipe(ltxfilter(*words, "-"), ["head", "-c", "100000"])
    assert done.codes[0] == 141, done.err
    assert read(path)["ended"] == "stopped"


def test_sigint_completes_the_report(tmp_path: Path):
    path = tmp_path / "out.json"
    source = make_clip(tmp_path / "long.y4m", size="320x240", seconds=40)
    words = ["-i", source, "--engine", "flow", "--report", path, "-v", "info", tmp_path / "o.y4m"]
    process = subprocess.Popen(ltxfilter(*words), stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr as said:
        assert any(b"memory:" in line for line in said)
        process.send_signal(signal.SIGINT)
        said.read()
    assert process.wait(TIMEOUT) == 130
    assert read(path)["ended"] == "stopped"


@pytest.mark.parametrize("name", ["no/such/folder/r.json", "."])
def test_a_report_that_cannot_be_written_is_refused_before_work(
    clip: Path, tmp_path: Path, name: str
):
    target = tmp_path / "out.y4m"
    with pytest.raises(OutputError) as caught:
        convert(clip, target, engine="blend", report=tmp_path / name)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(clip: Path, tmp_path: Path):
    target = tmp_path / "out.y4m"
    other = tmp_path / "x.json"
    other.write_text("mine")
    twin = tmp_path / "twin.y4m"
    twin.symlink_to(clip)
    for path in (target, f"{target}.part", tmp_path / "." / "out.y4m"):
        with pytest.raises(OutputError, match=r"(is|of) the output itself"):
            convert(clip, target, engine="blend", report=path)
    for path in (clip, twin):
        with pytest.raises(OutputError, match="is the input itself"):
            convert(clip, target, engine="blend", report=path, overwrite=True)
    with pytest.raises(OutputError, match="add -y"):
        convert(clip, target, engine="blend", report=other)
    assert other.read_text() == "mine"
    for path in ("-", ""):
        with pytest.raises(OptionError, match="--report"):
            Report(path, Options())


def test_nothing_is_left_of_a_run_that_does_not_start(tmp_path: Path, clip: Path):
    with pytest.raises(OptionError, match="memory"):
        convert(clip, tmp_path / "o.y4m", engine="blend", memory=1, report=tmp_path / "o.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_ends_the_report_and_not_the_run(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ltxfilter.media.output_file.BUFFER", 16)
    target = tmp_path / "out.y4m"
    with pytest.raises(OutputError, match="report is not complete"):
        convert(clip, target, engine="blend", report="/dev/full", overwrite=True)
    assert target.stat().st_size > 100 * 96 * 64
    assert caplog.text.count("report is not complete") == 1


@given(
    sizes=st.lists(st.integers(0, 5), max_size=12),
    split=st.integers(1, 3),
    odd=st.text(max_size=5),
)
def test_windows_that_were_drawn_in_parts_are_whole_in_the_report(
    tmp_path_factory, sizes: list[int], split: int, odd: str
):
    path = tmp_path_factory.mktemp("parts") / "r.json"
    made = Report(str(path), Options())
    made.begin({"odd": odd})
    key, number = Frame(F(0), ()), 0
    for index, size in enumerate(sizes):
        slots = [Slot(number + k, F(number + k, 50), 0, F(1, 2)) for k in range(size)]
        number += size
        for at in range(0, max(size, 1), split):
            chosen = tuple(slots[at : at + split])
            window = Window(index, (key, key), 0, 1, (Interval(Join.INTERPOLATE, False),), chosen)
            drawn = [Frame(s.time, (), made=Made.INTERPOLATED, credit=Credit("x")) for s in chosen]
            made.add(ReportedWindow.of(window, drawn), [Note(F(1), "flash")] if at == 0 else ())
    made.finish(Progress())
    made.finish(Progress())
    found = read(path)
    assert found["odd"] == odd
    assert [len(window["frames"]) for window in found["windows"]] == sizes
    assert [frame["index"] for frame in frames_of(found)] == list(range(number))
    assert sum(len(window.get("noticed", ())) for window in found["windows"]) == len(sizes)
