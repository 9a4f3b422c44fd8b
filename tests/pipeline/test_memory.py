"""How memory is divided: by what a job needs, within what the user or the machine allows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import pytest
from support.tools import make_clip

import ltxfilter
from ltxfilter.errors import OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline import memory
from ltxfilter.pipeline.memory import UNKNOWN_HOURS, USUAL_MEMORY, Needs, divide
from ltxfilter.pipeline.run import Run
from ltxfilter.values import MIB
from ltxfilter.windows.window import WindowShape

GIB = 1024 * MIB


def job(sink_bytes: int = 0, **more: object) -> Needs:
    video = VideoInfo(1920, 1080, "yuv420p", plane_shapes("yuv420p", 1920, 1080), F(25))
    made = Needs(video, F(50), WindowShape(), 0, sink_bytes, threads=2)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def eight_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 8 * GIB)


@pytest.mark.usefixtures("eight_gib")
def test_the_default_grows_to_what_the_job_needs():
    assert divide(None, job()).total <= USUAL_MEMORY
    roomy, large = divide(None, job()), divide(None, job(3 * GIB))
    assert 3 * GIB < large.total < 4 * GIB
    assert large.decode_bytes < roomy.decode_bytes


@pytest.mark.usefixtures("eight_gib")
def test_the_default_is_at_most_half_of_the_machine():
    with pytest.raises(OptionError, match=r"^half of this machine's memory, 4096M is") as caught:
        divide(None, job(4 * GIB))
    needed = int(str(caught.value).partition("--memory ")[2].partition("M")[0])
    assert divide(needed * MIB, job(4 * GIB)).total <= needed * MIB


@pytest.mark.usefixtures("eight_gib")
def test_a_bound_that_is_given_does_not_grow():
    with pytest.raises(OptionError, match=r"^--memory 1024M is too little .* at least \d+M$"):
        divide(GIB, job(GIB))


@pytest.mark.usefixtures("eight_gib")
def test_models_are_stated_apart_from_frames():
    plain, heavy = WindowShape(work_bytes=GIB), WindowShape(work_bytes=3 * GIB, model_bytes=2 * GIB)
    without, found = (divide(None, job(shape=shape)).parts for shape in (plain, heavy))
    assert "models" not in without
    assert found["models"] == 2 * GIB
    assert found["motion"] == without["motion"]
    with pytest.raises(OptionError, match=r"at least \d+M, of which models take 2048M$"):
        divide(GIB, job(shape=heavy))
    with pytest.raises(ValueError, match="a part of work_bytes"):
        WindowShape(work_bytes=1, model_bytes=2)


def test_the_machine_has_memory():
    assert 64 * MIB < memory.machine_memory() < 1 << 60


def test_a_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(limit), str(tmp_path / "none")))
    free = memory.machine_memory()
    limit.write_text(f"{300 * MIB}\n")
    assert memory.machine_memory() == 300 * MIB
    limit.write_text("max\n")
    assert memory.machine_memory() == free


def test_the_index_is_counted_by_the_duration():
    day = divide(None, job(index_bytes=100, duration=F(24 * 3600)))
    assert day.parts["index"] == 100 * 50 * 24 * 3600
    unknown = divide(None, job(index_bytes=100))
    assert unknown.parts["index"] == 100 * 50 * 3600 * UNKNOWN_HOURS
    own_times = job(index_bytes=100, duration=F(60), rate=None)
    frames = 2 * 60 / own_times.video.usual_interval
    assert divide(None, own_times).parts["index"] == 100 * frames


def plan(source: Path, target: Path, **more: object) -> dict[str, int]:
    encoder = {"preset": "ultrafast"} if target.suffix in (".mp4", ".mkv", ".ts") else {}
    output = OutputOptions(path=str(target), encoder=encoder)
    given = InputOptions(path=str(source))
    with Run(Options(input=given, output=output, engine="hold", fps="50", **more)) as opened:
        return dict(opened.progress.memory)


def test_what_a_run_states_has_the_index_of_its_container(tmp_path: Path):
    clip = make_clip(tmp_path / "in.mp4", "-c:v", "libx264", seconds=40, size="96x64")
    stated = {suffix: plan(clip, tmp_path / f"o.{suffix}") for suffix in ("mp4", "mkv", "ts")}
    assert stated["mp4"]["index"] > stated["mkv"]["index"] > stated["ts"]["index"] == 0
    slower = plan(clip, tmp_path / "slow.mp4", speed="1/4")
    assert slower["index"] == 4 * stated["mp4"]["index"]


def test_an_attachment_and_a_pipe_are_counted(tmp_path: Path):
    blob = tmp_path / "blob.ttf"
    blob.write_bytes(bytes(3 * MIB))
    plain = make_clip(tmp_path / "plain.mkv", "-c:v", "libx264", size="96x64")
    attached = make_clip(
        tmp_path / "attached.mkv", "-c:v", "libx264", "-attach", str(blob),
        "-metadata:s:t", "mimetype=font/ttf", size="96x64",
    )  # fmt: skip
    without, having = (plan(clip, tmp_path / "o.mkv") for clip in (plain, attached))
    assert without["copied"] == 0
    assert having["copied"] > 5 * 3 * MIB


def test_an_encoder_that_holds_much_runs_without_a_bound(tmp_path: Path, monkeypatch):
    clip = make_clip(tmp_path / "in.y4m", size="96x64")
    monkeypatch.setattr("ltxfilter.pipeline.memory.USUAL_MEMORY", 64 * MIB)
    assert ltxfilter.convert(clip, tmp_path / "out.mkv", engine="hold").frames_out > 0
