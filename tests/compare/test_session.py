from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.html_pages import HtmlPage
from support.media import decoded
from support.small_clips import info_of, moving, moving_clip, write
from support.tools import make_clip

from benchmarks import scores as benchmark
from ltxfilter.compare.request import CompareOptions
from ltxfilter.compare.results.files import NAMES
from ltxfilter.compare.results.plot import HEIGHT, averaged, psnr_plot
from ltxfilter.compare.results.table import Comparisons, as_csv, as_json, as_text, frames_as_csv
from ltxfilter.compare.session import compare_clip, short_names
from ltxfilter.errors import InputError, OptionError, OutputError
from ltxfilter.frame import Frame, Planes
from ltxfilter.options import Options
from ltxfilter.pipeline.frame_path import FramePath


def compare(clip: Path, *engines: str, **options: object) -> Comparisons:
    named = {"engines": engines, "ffmpeg": "/nowhere/ffmpeg", **options}
    return compare_clip(CompareOptions(clip=str(clip), **named))  # type: ignore[arg-type]


def drawn_back(frames: list[Planes], engine: str, step: int) -> list[Planes]:
    """Draw frames back as benchmarks/quality.py does."""
    rate = Fraction(25)
    path = FramePath(info_of(), rate * step, Options(engine=engine))
    made = []
    for number, planes in enumerate(frames[::step]):
        made += path.push(Frame(number / rate, planes))
    made += path.finish()
    path.close()
    return [frame.planes for frame in made]


@pytest.mark.parametrize(("engine", "step"), [("flow", 2), ("blend", 2), ("flow", 4)])
def test_scores_are_those_of_the_benchmark(tmp_path: Path, engine: str, step: int):
    frames = moving(17, info_of())
    found = compare(moving_clip(tmp_path / "a.y4m", 17), engine, step=step)
    made = drawn_back(frames, engine, step)
    wanted = [at for at in range(17) if at % step]
    drawn, true = [made[at] for at in wanted], [frames[at] for at in wanted]
    around = [frames[at - 1] for at in wanted], [frames[at + 1] for at in wanted]
    levels = [benchmark.psnr(a[0], b[0], 8) for a, b in zip(drawn, true, strict=True)]
    summary = found.scores[0].summary()
    assert list(found.scores[0].index) == wanted
    assert summary == {
        "psnr": float(np.mean(levels)),
        "p10": float(np.percentile(levels, 10)),
        "ssim": np.mean([benchmark.ssim(a[0], b[0], 8) for a, b in zip(drawn, true, strict=True)]),
        "vmaf": None,
        "flicker": benchmark.flicker(drawn, true),
        "pulse": benchmark.pulse(drawn, *around),
    }


def test_the_files_agree_with_each_other(tmp_path: Path):
    folder = tmp_path / "out"
    clip = moving_clip(tmp_path / "a.y4m", 13)
    found = compare(clip, "hold", "flow", folder=str(folder), worst=2)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    loaded = json.loads((folder / "comparison.json").read_text())
    rows = list(csv.DictReader(io.StringIO((folder / "frames.csv").read_text())))
    summary = {each["name"]: each for each in loaded["candidates"]}
    for scores in found.scores:
        levels = [float(row["psnr"]) for row in rows if row["candidate"] == scores.name]
        assert levels == summary[scores.name]["per_frame"]["psnr"]
        assert np.mean(levels) == summary[scores.name]["psnr"] == scores.summary()["psnr"]
        line = f"{scores.summary()['psnr']:.3f}"
        assert line in (folder / "table.txt").read_text()
        assert line in (folder / "index.html").read_text()
    assert {row["frame"] for row in rows} == {str(at) for at in (1, 3, 5, 7, 9, 11)}
    assert loaded["format"] == "ltxfilter comparison"
    pictures = list(decoded(folder / "side-by-side.mp4"))
    assert len(pictures) == 13
    assert pictures[0].width >= 3 * 64
    with av.open(str(folder / "worst-frames.png")) as sheet:
        assert next(sheet.decode(video=0)).width == 3 * 64


def test_the_page_shows_worst_frames_under_sliders_and_asks_for_nothing(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 13)
    compare(clip, "hold", "flow", folder=str(tmp_path), worst=2, overwrite=True)
    page = HtmlPage((tmp_path / "index.html").read_text())
    assert all(each.startswith(("data:", "#")) for each in page.addresses())
    assert len([each for each in page.all("figure") if "data-pair" in each]) == 2
    images = page.all("img")
    assert len(images) == 2 * 3
    assert {(each["width"], each["height"]) for each in images} == {("64", "48")}
    assert str(tmp_path) not in (tmp_path / "index.html").read_text().replace(str(clip), "")


def test_results_of_others_are_compared_at_the_frames_that_were_left_out(tmp_path: Path):
    frames = moving(13, info_of())
    clip = write(tmp_path / "a.y4m", frames, info_of())
    off = [tuple(plane + np.uint8(4) for plane in planes) for planes in frames]
    mixed = [off[at] if at % 2 else frames[at] for at in range(9)]
    other = write(tmp_path / "other.y4m", mixed, info_of())
    found = compare(clip, "hold", others=(str(other),))
    assert [scores.name for scores in found.scores] == ["other.y4m", "hold"]
    assert found.frames == 4
    assert found.scores[0].summary()["psnr"] == pytest.approx(10 * np.log10(255**2 / 16))
    assert found.scores[0].summary()["flicker"] == 4
    assert any("other.y4m has 9 frames" in note for note in found.notes)


def test_two_results_are_compared_at_every_frame(tmp_path: Path):
    frames = moving(6, info_of())
    first = write(tmp_path / "a.y4m", frames, info_of())
    second = write(tmp_path / "b.y4m", [frames[0], *frames[:5]], info_of())
    found = compare(first, others=(str(second),), step=1, folder=str(tmp_path / "out"))
    assert found.frames == 6
    assert found.scores[0].summary()["pulse"] is None
    levels = found.scores[0].values["psnr"]
    assert levels[0] == pytest.approx(70, abs=0.1)
    assert max(levels[1:]) < 50
    assert "b.y4m: 1 of 6 frames are equal to those of a.y4m, which counts as 70 dB." in found.notes
    assert "higher is nearer to a.y4m" in as_text(found)
    assert "a.y4m" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "gray", "yuv444p"])
def test_any_depth_and_odd_sizes_work(tmp_path: Path, pix_fmt: str):
    clip = moving_clip(tmp_path / "a.y4m", 7, width=51, height=35, pix_fmt=pix_fmt)
    found = compare(clip, "flow", folder=str(tmp_path / "out"))
    assert found.frames == 3
    assert (found.scores[0].summary()["psnr"] or 0) > 30
    assert len(list(decoded(tmp_path / "out" / "side-by-side.mp4"))) == 7


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"width": 80}, r"other.y4m: is 80x48, .*a.y4m 64x48; both must have one size"),
        ({"rate": 50}, r"other.y4m: has 50 frames per second, .*a.y4m 25"),
    ],
)
def test_files_that_cannot_be_compared_are_refused(
    tmp_path: Path, other: dict[str, int], message: str
):
    clip = moving_clip(tmp_path / "a.y4m", 5)
    unlike = moving_clip(tmp_path / "other.y4m", 5, **other)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        compare(clip, others=(str(unlike),), step=1)


def test_a_variable_rate_is_refused_with_a_line_to_type(tmp_path: Path):
    still = "setpts='if(lt(N,3),N,2*N+N*N/9)/25/TB'"
    clip = make_clip(tmp_path / "vfr.mkv", "-vf", still, "-fps_mode", "vfr", "-c:v", "ffv1")
    with pytest.raises(InputError, match=r"variable frame rate, .*ffmpeg -i .* -vf fps=30"):
        compare(clip, "blend")


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 2)
    with pytest.raises(InputError, match="has 2 frames; 3 are needed"):
        compare(clip, "blend")


def test_existing_files_stay_and_nothing_else_is_left(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"table\.csv already exists; add -y"):
        compare(clip, "blend", folder=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["table.csv"]
    compare(clip, "blend", folder=str(tmp_path / "out"), overwrite=True)
    assert (tmp_path / "out" / "table.csv").read_text() != "mine"


def test_a_file_that_is_read_is_never_overwritten(tmp_path: Path):
    clip = moving_clip(tmp_path / "side-by-side.mp4", 5)  # y4m, whatever its name
    with pytest.raises(OutputError, match="is an input itself"):
        compare(clip, "blend", folder=str(tmp_path), overwrite=True)


def test_only_the_first_frames_are_read_if_so_asked(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 13)
    assert compare(clip, "blend", most=7).frames == 3


def test_tables_tell_what_is_missing(tmp_path: Path):
    found = compare(moving_clip(tmp_path / "a.y4m", 5), "blend", "hold")
    text = as_text(found)
    assert "VMAF is missing: /nowhere/ffmpeg has no libvmaf" in text
    assert text.count("VMAF is missing") == 1
    assert "-" in text.splitlines()[1].split()  # in the column of VMAF
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["candidate"] for row in rows] == ["blend", "hold"]
    assert rows[0]["vmaf"] == ""
    assert json.loads(b"".join(as_json(found)))["candidates"][0]["vmaf"] is None
    assert b"NaN" not in b"".join(frames_as_csv(found))


def test_progress_is_told(tmp_path: Path):
    clip = moving_clip(tmp_path / "a.y4m", 40)
    seen = []
    options = CompareOptions(clip=str(clip), engines=("flow",), ffmpeg="/nowhere", most=31)
    compare_clip(options, lambda progress: seen.append(progress.duration))
    assert set(seen) <= {Fraction(31, 25)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engines": ("flow", "flow")}, "flow is named twice"),
        ({"engines": ()}, "nothing to compare"),
        ({"step": 1}, "--step 1"),
        ({"step": 99}, "--step 99"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, object], message: str):
    options = CompareOptions(clip="a", engines=("flow",))
    with pytest.raises(OptionError, match=message):
        replace(options, **change)  # type: ignore[arg-type]


def test_names_are_short_unless_two_files_share_one():
    assert short_names(["x/a.mp4", "y/b.mp4"]) == ["a.mp4", "b.mp4"]
    assert short_names(["x/a.mp4", "y/a.mp4"]) == ["x/a.mp4", "y/a.mp4"]


def test_the_plot_and_its_table_are_means_of_the_scores(tmp_path: Path):
    found = compare(moving_clip(tmp_path / "a.y4m", 21), "hold", "flow")
    times, levels = averaged(found.scores, 4)
    exact = found.scores[1].values["psnr"]
    assert times == [found.scores[0].time[at] for at in (0, 2, 5, 7)]
    assert levels[1][:2] == pytest.approx([np.mean(exact[:2]), np.mean(exact[2:5])])
    assert averaged(found.scores, 99)[1][0] == pytest.approx(list(found.scores[0].values["psnr"]))
    page = HtmlPage(psnr_plot(found.scores))
    assert len(page.all("polyline")) == 2
    for line in page.all("polyline"):
        assert len(line["points"].split()) == 10
        heights = [float(point.split(",")[1]) for point in line["points"].split()]
        assert min(heights) >= 0
        assert max(heights) <= HEIGHT
