"""The page of a report says what the run's JSON says, and shows trouble first."""

from __future__ import annotations

import json
import re
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_clip import write_bad_clip
from support.html_pages import HtmlPage
from support.tools import ltxfilter, make_clip, run_pipe

from ltxfilter import convert
from ltxfilter.engines.blend import Blend
from ltxfilter.errors import OutputError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.stills.still import still_of
from ltxfilter.options import Options
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.record.least_certain import (
    LONGEST,
    MOST_BYTES,
    UncertainFrame,
    flow_picture,
)
from ltxfilter.pipeline.report import ReportedWindow
from ltxfilter.view.report_page import PageRecord


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[HtmlPage, dict[str, Any]]:
    """Return the page and the JSON of one run over a deliberately bad clip."""
    folder = tmp_path_factory.mktemp("page")
    source = write_bad_clip(folder / "bad.ts")
    reports = ["--report", folder / "r.html", "--report", folder / "r.json"]
    words = ["-i", source, "--fps", "50", "-no-cuts", "--engine", "flow", "-y", *reports]
    done = run_pipe(ltxfilter(*words, folder / "out.mkv"))
    assert done.codes == [0], done.err
    return read(folder / "r.html"), json.loads((folder / "r.json").read_text())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.y4m", size="96x64", seconds=1)


def read(path: Path) -> HtmlPage:
    assert not path.with_name(path.name + ".part").exists()
    return HtmlPage(path.read_text())


def test_the_figures_are_those_of_the_json(bad: tuple[HtmlPage, dict[str, Any]]):
    page, found = bad
    assert page.data("figures")["statistics"] == found["statistics"]
    rows = re.sub(r"\s+", " ", page.texts["what"])
    for title, name in {
        "source frames decoded": "frames_in",
        "output frames": "frames_out",
        "source frames passed through": "passed",
        "interpolated frames": "interpolated",
    }.items():
        assert f"{title}{found['statistics'][name]}" in rows
    plots = page.data("timeline-data")
    frames = [frame for window in found["windows"] for frame in window["frames"]]
    made = [frame["made"] for frame in frames]
    assert sum(plots["made"]["source"]) == made.count("source")
    assert sum(plots["made"]["flow"]) == made.count("interpolated")
    estimates = [f["psnr_db"] for f in frames if f.get("psnr_db") is not None]
    assert min(each for each in plots["min"] if each is not None) == min(estimates)


def test_trouble_stands_first(bad: tuple[HtmlPage, dict[str, Any]]):
    page, found = bad
    assert found["statistics"]["corrupt"]
    (verdict,) = [each for _, each in page.elements if "verdict" in each.get("class", "")]
    assert "bad" in verdict["class"]
    order = page.ids()
    assert order.index("verdict-title") < order.index("what")
    said = page.texts["main"].partition("In and out")[0]
    for trouble in (
        "The source is damaged",
        "as at a scene cut that was not recognised",
        "Repeating pattern in about",
        "Still text or logo in about",
        "are expected below 25 dB",
    ):
        assert trouble in said
    assert said.index("damaged") < said.index("Repeating pattern")


def test_streams_are_kept_and_named(bad: tuple[HtmlPage, dict[str, Any]]):
    page, found = bad
    assert [(each["kind"], each["action"]) for each in found["streams"]] == [
        ("video", "interpolate"),
        ("audio", "copy"),
    ]
    assert "kept as it is" in page.texts["what"]


def test_the_least_certain_frames_stand_between_their_neighbours(
    bad: tuple[HtmlPage, dict[str, Any]],
):
    page, found = bad
    pictures = page.all("img")
    figures = [each for each in page.all("figure") if each.get("class") == "pair"]
    assert 2 <= len(figures) <= 12
    assert len(pictures) == 4 * len(figures)
    assert all(each["src"].startswith("data:image/") and each["alt"] for each in pictures)
    assert max(int(each["width"]) for each in pictures) <= 480
    frames = [frame for window in found["windows"] for frame in window["frames"]]
    estimates = [f["psnr_db"] for f in frames if f.get("psnr_db") is not None]
    assert f"{min(estimates):g} dB expected" in page.texts["doubts"]


def test_originals_are_proved_with_their_digest(bad: tuple[HtmlPage, dict[str, Any]]):
    page, found = bad
    proof = found["statistics"]["originals"]
    assert proof["identical"] == proof["passed"] == found["statistics"]["passed"] > 100
    assert proof["decoded_sha256"] in page.texts["proof"]


def test_a_page_is_replaced_by_the_next_run_and_no_other_file_is(clip: Path, tmp_path: Path):
    page, target = tmp_path / "r.html", tmp_path / "out.y4m"
    convert(clip, target, engine="hold", report=page)
    target.unlink()
    convert(clip, target, engine="hold", report=page)
    target.unlink()
    page.write_text("<!DOCTYPE html>\n<html>mine</html>")
    with pytest.raises(OutputError, match="add -y"):
        convert(clip, target, engine="hold", report=page)
    assert "mine" in page.read_text()
    assert not target.exists()


def test_the_page_is_whole_after_a_failure(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(self, window, motion):  # type: ignore[no-untyped-def]
        if window.index == 9:
            raise RuntimeError("out of <paint>")
        return draw(self, window, motion)

    draw = Blend.draw
    monkeypatch.setattr(Blend, "draw", fails)
    with pytest.raises(RuntimeError, match="out of <paint>"):
        convert(clip, tmp_path / "out.y4m", engine="blend", report=tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    assert page.data("figures")["ended"] == "failed"
    assert "The run failed and the output is not complete: out of <paint>" in page.texts["main"]


def test_a_good_run_has_nothing_that_stands_out(clip: Path, tmp_path: Path):
    convert(clip, tmp_path / "out.y4m", engine="hold", fps=50, report=tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    (verdict,) = [each for _, each in page.elements if "verdict" in each.get("class", "")]
    assert verdict["class"] == "verdict good"


def test_the_page_of_a_film_stays_below_five_megabytes_whatever_it_shows(tmp_path: Path):
    info = VideoInfo(960, 540, "yuv444p", plane_shapes("yuv444p", 960, 540), F(24))
    rng = np.random.default_rng(1)
    noise = tuple(rng.integers(0, 256, (540, 960), np.uint8) for _ in range(3))
    picture = still_of(noise, info, LONGEST, "jpeg", most_bytes=MOST_BYTES)
    motion = flow_picture(rng.normal(0, 9, (540, 960, 2)))
    record = PageRecord(str(tmp_path / "r.html"), Options())
    record.begin({"output": {"name": "film.mkv"}})
    for number in range(7200):
        doubt = UncertainFrame(
            number, float(number), 10 - number / 7200, 10.0, "flow", None, (0.0, 1.0),
            (picture.data,) * 3, (picture.width, picture.height), motion, 30.0,
        )  # fmt: skip
        outline = {"keyframes": [number, number + 1], "first": 0, "last": 1, "intervals": ["cut"]}
        frame = {"index": number, "time": float(number), "made": "interpolated", "engine": "flow",
                 "psnr_db": 10.0, "rejected": f"reason {number}"}  # fmt: skip
        record.add(ReportedWindow(number, outline, (frame,), (doubt,)))
    record.finish(Progress(interpolated=7200))
    page = tmp_path / "r.html"
    assert len([each for each in read(page).all("figure") if each.get("class") == "pair"]) == 12
    assert page.stat().st_size < 5_000_000


def test_names_of_files_are_no_markup(clip: Path, tmp_path: Path):
    target = tmp_path / "<img src=x onerror=alert(1)>.y4m"
    convert(clip, target, engine="hold", report=tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    assert page.all("img") == []
    assert "<img src=x" in page.texts["what"]


def test_warnings_of_the_run_are_told(clip: Path, tmp_path: Path):
    reports = [tmp_path / "r.html", tmp_path / "r.json"]
    convert(clip, tmp_path / "out.mkv", engine="hold", speed=2, report=reports)
    told = json.loads((tmp_path / "r.json").read_text())["statistics"]["warnings"]
    assert any("--speed 2" in text for text in told)
    assert all(text in read(tmp_path / "r.html").texts["messages"] for text in told)
